// Claims about what a VM remembers of its life, as `vm show` tells it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/state/helpers.hpp"

namespace blixard::state {
namespace {

using ::testing::ElementsAre;
using testing::fixture;

struct history : ::testing::Test {
  fixture f;
  void SetUp() override {
    f.register_node(1);
    f.register_node(2);
  }
  std::vector<std::string> texts(const std::string& name = "web") const {
    std::vector<std::string> out;
    const auto vm = f.vm(name);
    for (const auto& e : vm.events()) out.push_back(e.text());
    return out;
  }
  /// A create as the leader's planner proposes it.
  void create_planned(const std::string& name) {
    auto spec = fixture::spec_of(name);
    fill_defaults(spec);
    auto c = fixture::create_command(spec);
    *c.mutable_vm_create()->mutable_decision() = plan(*f.sm.inventory(), spec);
    f.run(c);
  }
  void report(pb::Phase phase, const std::string& reason, std::uint64_t pid = 0) {
    auto one = f.one_of("web", phase);
    one.set_reason(reason);
    one.set_pid(pid);
    f.report(f.vm("web").node(), one);
  }
};

TEST_F(history, says_where_a_vm_was_placed_why_there_and_that_it_runs) {
  create_planned("web");
  report(pb::PHASE_STARTING, "");
  report(pb::PHASE_RUNNING, "", 4711);
  EXPECT_THAT(
      texts(),
      ElementsAre("created", "placed on node 1: most_available, score 0.95, best of 2 that fit",
                  "runs on node 1 as process 4711, qemu"));
}

TEST_F(history, a_pinned_vm_was_placed_by_its_pin) {
  auto spec = fixture::spec_of("web");
  spec.mutable_placement()->set_node(2);
  f.create(spec);
  EXPECT_EQ(texts().back(), "placed on node 2: pinned, score 0.95");
}

TEST_F(history, carries_index_and_time_of_the_entry) {
  f.clock_ms = 5000;
  const auto a = f.create("web", 1);
  f.clock_ms = 7000;
  const auto b = f.act("web", pb::VM_STOP);
  const auto vm = f.vm("web");
  EXPECT_EQ(vm.events(0).index(), a.index());
  EXPECT_EQ(vm.events(0).time_ms(), 5000);
  EXPECT_EQ(vm.events(2).index(), b.index());
  EXPECT_EQ(vm.events(2).time_ms(), 7000);
  EXPECT_EQ(vm.phase_ms(), 7000) << "since when it is stopping";
}

TEST_F(history, tells_why_a_vm_restarted_and_counts_its_crashes) {
  f.create("web", 1);
  report(pb::PHASE_RUNNING, "", 10);
  report(pb::PHASE_FAILED, "exited with code 3 (restart 1 of 3 in 5 s)");
  report(pb::PHASE_STARTING, "exited with code 3 (restart 1 of 3 in 5 s)");
  report(pb::PHASE_RUNNING, "", 11);
  EXPECT_EQ(f.vm("web").reason(), "");
  EXPECT_EQ(f.vm("web").crashes(), 1U);
  const auto all = texts();
  EXPECT_THAT((std::vector(all.begin() + 2, all.end())),
              ElementsAre("runs on node 1 as process 10, qemu",
                          "failed: exited with code 3 (restart 1 of 3 in 5 s)",
                          "runs on node 1 as process 11, qemu"));
}

TEST_F(history, tells_why_a_vm_is_on_another_node) {
  f.create("web", 1);
  report(pb::PHASE_RUNNING, "", 10);
  f.node_down(1);
  f.place(1, f.vm("web").generation(), 2);
  report(pb::PHASE_RUNNING, "", 20);
  const auto all = texts();
  EXPECT_THAT(
      (std::vector(all.begin() + 3, all.end())),
      ElementsAre("node 1 is down: waits for another node", "placed on node 2: most_available",
                  "runs on node 2 as process 20, qemu"));
}

TEST_F(history, tells_what_a_person_asked_for) {
  f.create("web", 1);
  report(pb::PHASE_RUNNING, "", 10);
  f.act("web", pb::VM_PAUSE);
  report(pb::PHASE_PAUSED, "", 10);
  f.act("web", pb::VM_RESUME);
  report(pb::PHASE_RUNNING, "", 10);
  f.act("web", pb::VM_STOP);
  report(pb::PHASE_STOPPED, "");
  const auto all = texts();
  EXPECT_THAT((std::vector(all.begin() + 3, all.end())),
              ElementsAre("told to pause", "paused", "told to resume", "resumed", "told to stop",
                          "stopped"));
}

TEST_F(history, a_remark_about_a_running_vm_is_kept_once) {
  f.create("web", 1);
  report(pb::PHASE_RUNNING, "", 10);
  report(pb::PHASE_RUNNING, "QEMU does not answer its control socket", 10);
  const auto before = texts();
  EXPECT_EQ(before.back(), "QEMU does not answer its control socket");
  report(pb::PHASE_RUNNING, "QEMU does not answer its control socket", 10);
  EXPECT_EQ(texts(), before);
}

TEST_F(history, keeps_the_last_ones_and_cuts_long_ones) {
  f.create("web", 1);
  for (std::uint64_t pid = 1; pid <= 30; ++pid) report(pb::PHASE_RUNNING, "", pid);
  report(pb::PHASE_FAILED, std::string(10'000, 'x'));
  const auto all = texts();
  ASSERT_EQ(all.size(), limits::vm_events_max);
  EXPECT_EQ(all.front(), "runs on node 1 as process 22, qemu");
  EXPECT_EQ(all.back().size(), limits::vm_event_max_bytes);
}

TEST_F(history, is_shown_but_not_listed) {
  f.create("web", 1);
  pb::Query q;
  q.mutable_vm_list();
  EXPECT_EQ(f.ask(q).vms().vms(0).events_size(), 0);
  q.mutable_vm_show()->set_name("web");
  EXPECT_EQ(f.ask(q).vm().events_size(), 2);
}

TEST_F(history, an_entry_with_absurd_numbers_does_no_harm) {
  auto c = fixture::create_command(fixture::spec_of("web"));
  c.set_time_ms(INT64_MIN);
  auto& score = *c.mutable_vm_create()->mutable_decision();
  score.set_node(1);
  score.add_candidates()->set_node(1);
  score.mutable_candidates(0)->set_score(std::numeric_limits<double>::quiet_NaN());
  f.run(c);
  EXPECT_EQ(texts().back(), "placed on node 1: most_available");
  f.clock_ms = INT64_MAX;
  auto one = f.one_of("web", pb::PHASE_FAILED);
  one.set_gave_up(true);
  f.report(1, one);
  EXPECT_EQ(f.vm("web").phase(), pb::PHASE_PENDING);
}

}  // namespace
}  // namespace blixard::state
