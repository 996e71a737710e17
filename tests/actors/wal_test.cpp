// Claims about the WAL actor, on a simulated disk.
#include "actors/wal.hpp"

#include <gtest/gtest.h>

#include "runtime/net/loop.hpp"
#include "runtime/storage/sim_disk.hpp"
#include "tests/actors/stubs.hpp"

namespace blixard::actors::test {
namespace {

entry make_entry(std::uint64_t index) {
  return {.term = term{1}, .index = log_index{index}, .data = slice::copy_of("command")};
}

struct wal_node : surroundings {
  storage::sim_disk disk;
  int fatal_code = 0;

  wal_node() {
    to.raft = system.spawn<raft_stub>(seen);
    auto opened = storage::store::open(
        disk, "data", {.owner = {node_id{1}, cluster_id{7}}, .segment_bytes = 1 << 20});
    EXPECT_TRUE(opened.has_value());
    to.wal = system.spawn<wal>(static_cast<host*>(nullptr), to, facts, std::move(opened->disk),
                               [this](int code, const std::string&) { fatal_code = code; });
  }
  void wait(std::chrono::nanoseconds time) {
    dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler()).advance_time(time);
    run();
  }
  void persist(std::uint64_t seq, std::uint64_t index, std::uint64_t asked_ns = 0) {
    persist_request p{.seq = persist_seq{seq}, .asked_ns = asked_ns};
    p.entries.push_back(make_entry(index));
    p.hard = hard_state{term{1}, node_id{1}, log_index{}};
    caf::anon_send(to.wal, std::move(p));
  }
};

TEST(wal_actor, requests_that_queued_up_share_one_sync_and_are_acknowledged_together) {
  wal_node n;
  for (std::uint64_t i = 1; i <= 50; ++i) n.persist(i, i);
  n.run();
  ASSERT_EQ(n.seen.acknowledged.size(), 1u);
  EXPECT_EQ(n.seen.acknowledged.front().seq, persist_seq{50});
}

TEST(wal_actor, counts_the_syncs_that_each_entry_waits_for) {
  wal_node n;
  const auto waits = [&] {
    const auto text = n.facts.registry->text("blixard_wal_sync_waits_total");
    return std::stod(text.substr(text.rfind(' ')));
  };
  n.persist(1, 1, net::monotonic_ns());
  n.run();
  EXPECT_EQ(waits(), 1);
  n.persist(2, 2, net::monotonic_ns());
  n.persist(3, 3, net::monotonic_ns());
  n.run();
  EXPECT_EQ(waits(), 3) << "no sync was running";
  n.persist(4, 4, 1);  // before the last sync, which did not take it
  n.run();
  EXPECT_EQ(waits(), 5);
}

TEST(wal_actor, a_full_disk_is_waited_for_and_nothing_is_acknowledged_meanwhile) {
  wal_node n;
  n.disk.fail_write(1, ENOSPC);
  n.persist(1, 1);
  n.run();
  EXPECT_EQ(n.seen.disk_full, std::vector<bool>{true});
  EXPECT_TRUE(n.seen.acknowledged.empty());
  n.persist(2, 2);
  n.wait(std::chrono::milliseconds(250));
  EXPECT_EQ(n.seen.disk_full, (std::vector<bool>{true, false}));
  ASSERT_EQ(n.seen.acknowledged.size(), 1u);
  EXPECT_EQ(n.seen.acknowledged.front().seq, persist_seq{2});
  EXPECT_EQ(n.fatal_code, 0);
}

TEST(wal_actor, a_segment_that_cannot_be_opened_is_waited_for_like_a_full_disk) {
  wal_node n;
  n.disk.fail_write(1, EMFILE);  // the store asks for no other file here, the error is the same
  n.persist(1, 1);
  n.run();
  EXPECT_EQ(n.seen.disk_full, std::vector<bool>{true});
  EXPECT_TRUE(n.seen.acknowledged.empty());
  n.wait(std::chrono::milliseconds(250));
  EXPECT_EQ(n.seen.disk_full, (std::vector<bool>{true, false}));
  EXPECT_EQ(n.seen.acknowledged.size(), 1u);
  EXPECT_EQ(n.fatal_code, 0);
}

TEST(wal_actor, a_snapshot_is_not_stored_before_the_entries_that_it_covers) {
  wal_node n;
  n.disk.fail_write(1, ENOSPC);
  n.persist(1, 1);
  n.run();
  ASSERT_TRUE(n.seen.acknowledged.empty());
  caf::anon_send(n.to.wal, store_snapshot{{.index = log_index{1},
                                           .term = term{1},
                                           .conf = {.voters = {node_id{1}}},
                                           .data = slice::copy_of("state")}});
  n.run();
  EXPECT_TRUE(n.seen.snapshots.empty());
  n.wait(std::chrono::milliseconds(250));
  EXPECT_EQ(n.seen.acknowledged.size(), 1u);
  EXPECT_EQ(n.seen.snapshots, std::vector<log_index>{log_index{1}});
}

TEST(wal_actor, a_failed_sync_is_fatal_at_once) {
  wal_node n;
  n.disk.fail_sync(1, EIO);
  n.persist(1, 1);
  n.run();
  EXPECT_EQ(n.fatal_code, 12);
  EXPECT_TRUE(n.seen.acknowledged.empty());
}

TEST(wal_actor, what_was_acknowledged_survives_a_power_cut) {
  wal_node n;
  for (std::uint64_t i = 1; i <= 20; ++i) n.persist(i, i);
  n.run();
  ASSERT_FALSE(n.seen.acknowledged.empty());
  caf::anon_send_exit(n.to.wal, caf::exit_reason::kill);
  n.run();
  auto after = n.disk;
  after.crash();
  const auto again = storage::store::open(
      after, "data", {.owner = {node_id{1}, cluster_id{7}}, .segment_bytes = 1 << 20});
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->found.last_index, log_index{20});
}

}  // namespace
}  // namespace blixard::actors::test
