// Claims about the VM actor: what it reports, how often, and when it may ask for a lease.
#include "actors/vm.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <filesystem>

#include "runtime/vm/files.hpp"
#include "runtime/vm/record.hpp"
#include "tests/actors/stubs.hpp"

namespace blixard::actors::test {
namespace {

namespace fs = std::filesystem;

/// A data directory that is removed in the end.
class folder {
 public:
  folder() { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
  ~folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = (fs::temp_directory_path() / "blixard-actors-XXXXXX").string();
};

struct managed : surroundings {
  folder data;
  std::unique_ptr<vm::supervisor> supervisor;

  managed() {
    to.router = system.spawn<router_stub>(seen);
    to.raft = system.spawn<raft_stub>(seen);
    published_raft r;
    r.leader = facts.self;
    flags.set_raft(r);
  }
  void start() {
    vm::supervisor_options o;
    o.data_dir = data.path();
    supervisor = std::make_unique<vm::supervisor>(std::move(o));
    const auto started = supervisor->start();
    ASSERT_TRUE(started) << started.error().message;
    to.vm = system.spawn<vm_manager>(to, facts, *supervisor, *vm::lease_page::open(lease_path()));
  }
  ~managed() {
    caf::anon_send_exit(to.vm, caf::exit_reason::user_shutdown);
    to.vm = nullptr;
    run();
  }
  [[nodiscard]] std::string lease_path() const { return data.path() + "/lease"; }
  [[nodiscard]] vm::lease_value lease() const {
    return vm::lease_page::open_readonly(lease_path())->current();
  }
  void sync(std::uint64_t incarnation, std::vector<vm_ptr> list = {}) {
    caf::anon_send(to.vm, vm_sync{incarnation, std::move(list)});
    run();
  }
  void tick() {
    caf::anon_send(to.vm, tick_atom::value);
    run();
  }
  void observe(std::uint64_t id, pb::Phase phase) {
    auto r = std::make_shared<pb::VmReport_One>();
    r->set_vm(id);
    r->set_phase(phase);
    caf::anon_send(to.vm, vm_observed{std::move(r)});
    run();
  }
  /// The last report that went out.
  pb::Command reported() {
    pb::Command c;
    if (seen.local_requests.empty()) return c;
    EXPECT_TRUE(parse(c, seen.local_requests.back()->body()));
    return c;
  }
  void answer(errc code) {
    pb::Answer a;
    a.set_error(static_cast<std::uint32_t>(code));
    const auto request = seen.local_requests.back()->header().request;
    caf::anon_send(to.vm, local_answer{request, answer_frame(request, a)});
    run();
  }
  void grant(std::uint64_t incarnation, std::uint64_t sent_ns, bool registered = true) {
    pb::LeaseGrant g;
    g.set_incarnation(incarnation);
    g.set_sent_ns(sent_ns);
    g.set_duration_ms(6000);
    g.set_registered(registered);
    caf::anon_send(to.vm,
                   lease_granted{frame::make({.kind = frame_kind::lease_grant}, to_slice(g))});
    run();
  }
};

// ---------------------------------------------------------------- leases

TEST(vm_actor, asks_for_no_lease_before_it_is_registered) {
  managed m;
  m.start();
  m.tick();
  EXPECT_TRUE(m.seen.renewals.empty());
  m.sync(5);
  ASSERT_EQ(m.seen.renewals.size(), 1U);
  pb::LeaseRenewal r;
  ASSERT_TRUE(parse(r, m.seen.renewals[0].frame->body()));
  EXPECT_EQ(r.incarnation(), 5U);
  EXPECT_EQ(r.node(), m.facts.self.value());
}

TEST(vm_actor, asks_for_no_lease_while_a_vm_that_is_not_its_own_may_live) {
  managed m;
  const auto directory = m.data.path() + "/vms/7";
  fs::create_directories(directory);
  // Held as by a guard that was stopped when its lease ran out.
  auto alive = *vm::take_lock(directory + "/" + vm::name_of::lock);
  m.start();
  m.sync(5);
  m.tick();
  EXPECT_TRUE(m.seen.renewals.empty()) << "with a lease that VM could go on, and it runs elsewhere";
  m.grant(5, vm::boottime_ns());
  EXPECT_EQ(m.lease(), vm::lease_value{}) << "nor is one taken that comes unasked";
  alive.reset();
  for (int i = 0; i < 20'000 && m.seen.renewals.empty(); ++i) {
    ::poll(nullptr, 0, 1);
    m.tick();
  }
  EXPECT_EQ(m.seen.renewals.size(), 1U);
  EXPECT_FALSE(fs::exists(directory));
}

TEST(vm_actor, with_a_lease_that_still_runs_nothing_was_placed_elsewhere) {
  managed m;
  const auto directory = m.data.path() + "/vms/7";
  fs::create_directories(directory);
  const auto alive = *vm::take_lock(directory + "/" + vm::name_of::lock);
  vm::lease_page::open(m.lease_path())->extend(4, vm::boottime_ns() + 60'000'000'000);
  m.start();
  m.sync(5);
  EXPECT_EQ(m.seen.renewals.size(), 1U);
}

TEST(vm_actor, a_lease_counts_from_when_it_was_asked_for_and_for_this_incarnation_only) {
  managed m;
  m.start();
  m.sync(5);
  const auto sent = vm::boottime_ns();
  m.grant(4, sent);
  m.grant(5, sent, false);
  EXPECT_EQ(m.lease(), vm::lease_value{});
  m.grant(5, sent);
  EXPECT_EQ(m.lease(), (vm::lease_value{5, sent + 6'000'000'000}));
  m.grant(5, sent - 1'000'000'000);
  EXPECT_EQ(m.lease().deadline_ns, sent + 6'000'000'000) << "a late grant takes nothing back";
}

// ---------------------------------------------------------------- reports

TEST(vm_actor, what_was_seen_is_reported_until_it_is_acknowledged) {
  managed m;
  m.start();
  m.observe(1, pb::PHASE_RUNNING);
  EXPECT_TRUE(m.seen.local_requests.empty()) << "nobody knows this process yet";
  m.sync(5);
  ASSERT_EQ(m.seen.local_requests.size(), 1U);
  EXPECT_EQ(m.reported().vm_report().vms(0).phase(), pb::PHASE_RUNNING);
  EXPECT_GT(m.reported().time_ms(), 0);
  m.tick();
  EXPECT_EQ(m.seen.local_requests.size(), 1U) << "one at a time";
  m.answer(errc::no_leader);
  m.tick();
  ASSERT_EQ(m.seen.local_requests.size(), 2U) << "again";
  m.answer(errc::ok);
  m.tick();
  EXPECT_EQ(m.seen.local_requests.size(), 2U);
}

TEST(vm_actor, a_newer_report_takes_the_place_of_one_that_got_lost) {
  managed m;
  m.start();
  m.sync(5);
  m.observe(1, pb::PHASE_STARTING);
  m.observe(1, pb::PHASE_RUNNING);
  m.observe(2, pb::PHASE_FAILED);
  m.answer(errc::timeout);
  m.tick();
  const auto c = m.reported();
  ASSERT_EQ(c.vm_report().vms_size(), 2);
  EXPECT_EQ(c.vm_report().vms(0).vm(), 1U);
  EXPECT_EQ(c.vm_report().vms(0).phase(), pb::PHASE_RUNNING);
  EXPECT_EQ(c.vm_report().vms(1).vm(), 2U);
}

TEST(vm_actor, a_flood_of_reports_goes_out_in_pieces) {
  managed m;
  m.start();
  m.sync(5);
  m.observe(1, pb::PHASE_RUNNING);
  for (std::uint64_t id = 2; id <= 301; ++id) m.observe(id, pb::PHASE_RUNNING);
  std::size_t seen = 0;
  std::size_t commands = 0;
  while (m.seen.local_requests.size() > commands) {
    ++commands;
    seen += static_cast<std::size_t>(m.reported().vm_report().vms_size());
    EXPECT_LE(m.reported().vm_report().vms_size(), 256);
    m.answer(errc::ok);
  }
  EXPECT_EQ(seen, 301U);
  EXPECT_EQ(commands, 3U);
}

}  // namespace
}  // namespace blixard::actors::test
