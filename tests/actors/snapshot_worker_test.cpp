// Claims about the threads that encode snapshots. They are real threads: a test waits until one has
// ended, or has sent what it has.
#include "actors/snapshot_worker.hpp"

#include "tests/actors/stubs.hpp"

namespace blixard::actors::test {
namespace {

state::machine with_keys(std::uint64_t count) {
  state::machine out;
  for (std::uint64_t i = 1; i <= count; ++i) {
    const auto put = kv_put("key" + std::to_string(i), request_id{i});
    out.apply(entry{blixard::term{1}, log_index{i}, entry_kind::normal, put->body()});
  }
  return out;
}

TEST(snapshot_encoder, ends_without_a_snapshot_when_the_process_ends) {
  surroundings s;
  s.to.wal = s.system.spawn<wal_stub>(s.seen);
  s.facts.process_ends = true;
  const auto machine = with_keys(1000);
  const auto others = s.system.registry().running();
  spawn_snapshot_encoder(s.system, s.facts, s.to.wal, machine.view(), {cluster_id{7}, {}});
  s.system.registry().await_running_count_equal(others);
  s.run();
  EXPECT_TRUE(s.seen.offered.empty());
}

TEST(snapshot_encoder, offers_its_snapshot_otherwise_and_ends_with_the_log) {
  surroundings s;
  s.to.wal = s.system.spawn<wal_stub>(s.seen);
  const auto machine = with_keys(1000);
  const auto others = s.system.registry().running();
  spawn_snapshot_encoder(s.system, s.facts, s.to.wal, machine.view(), {cluster_id{7}, {}});
  while (s.seen.offered.empty()) s.run();
  EXPECT_EQ(s.seen.offered, std::vector{log_index{1000}});
  caf::anon_send_exit(s.to.wal, caf::exit_reason::user_shutdown);
  s.run();
  s.system.registry().await_running_count_equal(others - 1);
}

}  // namespace
}  // namespace blixard::actors::test
