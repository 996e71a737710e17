// Claims about which operation on a VM took how long.
#include "actors/vm_operations.hpp"

#include <gtest/gtest.h>

namespace blixard::actors {
namespace {

/// One VM: wishes and reports at times that the test names.
struct tracked {
  vm_operations operations;
  pb::Vm vm;

  tracked() { vm.set_id(1); }
  void want(std::uint64_t now, pb::Desired desired, bool found = false) {
    vm.set_generation(vm.generation() + 1);
    vm.set_desired(desired);
    operations.wanted(vm, found, now);
  }
  /// The operation that ends with this report, as text.
  std::string report(std::uint64_t now, pb::Phase phase, const std::string& reason = {},
                     bool gone = false) {
    pb::VmReport_One r;
    r.set_vm(1);
    r.set_generation(vm.generation());
    r.set_phase(phase);
    r.set_reason(reason);
    r.set_gone(gone);
    const auto e = operations.seen(r, now);
    if (!e) return "";
    const auto name =
        metrics::info(metrics::label::operation).values.at(static_cast<std::size_t>(e->what));
    return std::string{name} + (e->failed ? " failed " : " ") + std::to_string(e->took_ns);
  }
};

TEST(vm_operations, each_is_timed_from_the_wish_to_its_fulfilment) {
  tracked t;
  t.want(100, pb::DESIRED_RUNNING);
  EXPECT_EQ(t.report(110, pb::PHASE_STARTING), "");
  EXPECT_EQ(t.report(130, pb::PHASE_RUNNING), "start 30");
  t.want(200, pb::DESIRED_PAUSED);
  EXPECT_EQ(t.report(201, pb::PHASE_RUNNING), "");
  EXPECT_EQ(t.report(205, pb::PHASE_PAUSED), "pause 5");
  t.want(300, pb::DESIRED_RUNNING);
  EXPECT_EQ(t.report(301, pb::PHASE_PAUSED), "");
  EXPECT_EQ(t.report(306, pb::PHASE_RUNNING), "resume 6");
  t.vm.set_restarts(1);
  t.want(400, pb::DESIRED_RUNNING);
  EXPECT_EQ(t.report(401, pb::PHASE_STOPPING), "");
  EXPECT_EQ(t.report(402, pb::PHASE_STARTING), "");
  EXPECT_EQ(t.report(407, pb::PHASE_RUNNING), "restart 7");
  t.want(500, pb::DESIRED_STOPPED);
  EXPECT_EQ(t.report(501, pb::PHASE_STOPPING), "");
  EXPECT_EQ(t.report(508, pb::PHASE_STOPPED), "stop 8");
  t.want(600, pb::DESIRED_RUNNING);
  EXPECT_EQ(t.report(609, pb::PHASE_RUNNING), "start 9");
  t.want(700, pb::DESIRED_DELETED);
  EXPECT_EQ(t.report(701, pb::PHASE_DELETING), "");
  EXPECT_EQ(t.report(710, pb::PHASE_DELETING, "", true), "delete 10");
  EXPECT_EQ(t.report(711, pb::PHASE_RUNNING), "") << "nothing is known of it any more";
}

TEST(vm_operations, a_restart_by_the_policy_is_a_start) {
  tracked t;
  t.want(0, pb::DESIRED_RUNNING);
  (void)t.report(1, pb::PHASE_RUNNING);
  EXPECT_EQ(t.report(10, pb::PHASE_FAILED, "exited"), "");
  EXPECT_EQ(t.report(20, pb::PHASE_STARTING, "exited"), "");
  EXPECT_EQ(t.report(23, pb::PHASE_RUNNING), "start 3");
}

TEST(vm_operations, what_does_not_work_has_failed) {
  tracked t;
  t.want(0, pb::DESIRED_RUNNING);
  EXPECT_EQ(t.report(4, pb::PHASE_FAILED, "no kernel"), "start failed 4");
  EXPECT_EQ(t.report(5, pb::PHASE_STARTING, "no kernel"), "");
  EXPECT_EQ(t.report(9, pb::PHASE_RUNNING), "start 4");
  t.want(10, pb::DESIRED_PAUSED);
  EXPECT_EQ(t.report(13, pb::PHASE_RUNNING, "pause failed: QEMU did not answer"), "pause failed 3");
  EXPECT_EQ(t.report(14, pb::PHASE_RUNNING, "pause failed: again"), "") << "once";
}

TEST(vm_operations, one_that_was_found_is_adopted_or_started) {
  tracked alive;
  alive.want(0, pb::DESIRED_RUNNING, true);
  EXPECT_EQ(alive.report(2, pb::PHASE_RUNNING), "adopt 2");
  tracked dead;
  dead.want(0, pb::DESIRED_RUNNING, true);
  EXPECT_EQ(dead.report(5, pb::PHASE_STARTING), "");
  EXPECT_EQ(dead.report(7, pb::PHASE_RUNNING), "start 2");
  tracked stopped;
  stopped.want(0, pb::DESIRED_STOPPED, true);
  EXPECT_EQ(stopped.report(1, pb::PHASE_STOPPED), "") << "nothing was asked for";
}

TEST(vm_operations, reports_about_an_older_wish_end_nothing) {
  tracked t;
  t.want(0, pb::DESIRED_RUNNING);
  (void)t.report(1, pb::PHASE_RUNNING);
  pb::VmReport_One stale;
  stale.set_vm(1);
  stale.set_generation(t.vm.generation());
  stale.set_phase(pb::PHASE_STOPPED);
  t.want(10, pb::DESIRED_STOPPED);
  EXPECT_FALSE(t.operations.seen(stale, 11));
  EXPECT_EQ(t.report(12, pb::PHASE_STOPPED), "stop 2");
}

}  // namespace
}  // namespace blixard::actors
