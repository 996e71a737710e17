// The lifecycle as a pure machine: inputs in, actions and condition out, time as a number.
#include "runtime/vm/lifecycle.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace blixard::vm {
namespace {

using actions = std::vector<action>;

class vm_lifecycle : public ::testing::Test {
 public:
  desired_state wish(want state) {
    desired_state d = wish_;
    d.state = state;
    d.generation = ++wish_.generation;
    return d;
  }
  /// A VM that is up at time 100.
  void bring_up() {
    life_.desire(wish(want::running), 0);
    ASSERT_EQ(life_.take_actions(), actions{action::start});
    life_.started(100);
    ASSERT_EQ(life_.now(), condition::running);
  }
  void drop() { static_cast<void>(life_.take_actions()); }

  lifecycle life_{lifecycle_limits{30'000, 20'000, 5'000}};
  desired_state wish_;
  const exit_info crash_{ended_by::itself, "boom", "", false};
};

TEST_F(vm_lifecycle, nothing_happens_before_a_wish) {
  life_.tick(1'000'000);
  EXPECT_TRUE(life_.take_actions().empty());
  EXPECT_EQ(life_.now(), condition::absent);
}

TEST_F(vm_lifecycle, running_starts_once_and_has_a_deadline) {
  life_.desire(wish(want::running), 1000);
  EXPECT_EQ(life_.take_actions(), actions{action::start});
  EXPECT_EQ(life_.deadline(), 31'000U);
  life_.tick(30'999);
  EXPECT_TRUE(life_.take_actions().empty());
}

TEST_F(vm_lifecycle, a_start_that_takes_too_long_is_killed_and_counts_as_a_failure) {
  life_.desire(wish(want::running), 0);
  drop();
  life_.tick(30'000);
  EXPECT_EQ(life_.take_actions(), actions{action::kill});
  EXPECT_EQ(life_.now(), condition::stopping);
  life_.exited({ended_by::command, "killed", "last console line", false}, 30'010);
  EXPECT_EQ(life_.now(), condition::waiting);
  EXPECT_EQ(life_.reason(),
            "did not come up within 30 s: last console line (restart 1 of 3 in 5 s)");
}

TEST_F(vm_lifecycle, a_guest_that_hangs_in_its_boot_is_killed_and_counts_as_a_failure) {
  life_.desire(wish(want::running), 0);
  drop();
  life_.boots(1'000);
  life_.boots(50'000);  // it is told once more: the time goes on
  EXPECT_EQ(life_.now(), condition::starting);
  EXPECT_EQ(life_.deadline(), 121'000U);
  life_.tick(120'999);
  EXPECT_TRUE(life_.take_actions().empty());
  life_.tick(121'000);
  EXPECT_EQ(life_.take_actions(), actions{action::kill});
  life_.exited({ended_by::command, "killed", "last console line", false}, 121'010);
  EXPECT_EQ(life_.reason(),
            "the guest did not come up within 120 s: last console line (restart 1 of 3 in 5 s)");
  life_.tick(126'010);
  EXPECT_EQ(life_.take_actions(), actions{action::start});
  EXPECT_EQ(life_.deadline(), 156'010U) << "QEMU has its own time again";
  life_.boots(127'000);
  life_.started(130'000);
  EXPECT_EQ(life_.now(), condition::running);
}

TEST_F(vm_lifecycle, a_vm_that_is_not_wanted_any_more_is_not_waited_for_while_it_boots) {
  life_.desire(wish(want::running), 0);
  drop();
  life_.boots(1'000);
  life_.desire(wish(want::stopped), 2'000);
  EXPECT_EQ(life_.take_actions(), actions{action::kill});
}

TEST_F(vm_lifecycle, back_off_doubles_up_to_its_maximum_and_then_it_gives_up) {
  wish_.policy = {5, 5'000, 15'000};
  life_.desire(wish(want::running), 0);
  std::uint64_t now = 0;
  for (const std::uint64_t wait : {5'000U, 10'000U, 15'000U, 15'000U, 15'000U}) {
    ASSERT_EQ(life_.take_actions(), actions{action::start});
    life_.exited(crash_, now);
    ASSERT_EQ(life_.now(), condition::waiting);
    EXPECT_EQ(life_.deadline(), now + wait);
    life_.tick(now + wait - 1);
    ASSERT_TRUE(life_.take_actions().empty());
    now += wait;
    life_.tick(now);
  }
  EXPECT_EQ(life_.take_actions(), actions{action::start});
  life_.exited(crash_, now);
  EXPECT_EQ(life_.now(), condition::gave_up);
  EXPECT_EQ(life_.reason(), "boom (gave up after 5 restarts)");
  EXPECT_EQ(life_.crashes(), 6U);
  life_.tick(now + 1'000'000);
  EXPECT_TRUE(life_.take_actions().empty());
}

TEST_F(vm_lifecycle, a_new_generation_begins_anew_after_giving_up) {
  life_.desire(wish(want::running), 0);
  life_.exited({ended_by::start, "no kernel", "", true}, 0);
  ASSERT_EQ(life_.now(), condition::gave_up);
  EXPECT_EQ(life_.reason(), "no kernel") << "hopeless: not tried again";
  drop();
  life_.desire(wish(want::running), 10);
  EXPECT_EQ(life_.take_actions(), actions{action::start});
  EXPECT_EQ(life_.failures(), 0U);
}

TEST_F(vm_lifecycle, a_long_healthy_run_forgives_earlier_failures) {
  bring_up();
  life_.exited(crash_, 200);
  life_.tick(5'200);
  drop();
  life_.started(6'000);
  life_.exited(crash_, 6'000 + 299'999);
  EXPECT_EQ(life_.failures(), 2U);
  life_.tick(1'000'000);
  drop();
  life_.started(1'000'000);
  life_.exited(crash_, 1'300'000);
  EXPECT_EQ(life_.failures(), 1U);
}

TEST_F(vm_lifecycle, an_exit_with_success_is_an_exit_too) {
  bring_up();
  life_.exited({ended_by::itself, "exited with code 0", "", false}, 200);
  EXPECT_EQ(life_.now(), condition::waiting);
}

TEST_F(vm_lifecycle, stop_asks_then_kills_then_kills_again) {
  bring_up();
  life_.desire(wish(want::stopped), 1000);
  EXPECT_EQ(life_.take_actions(), actions{action::power_down});
  life_.tick(20'999);
  EXPECT_TRUE(life_.take_actions().empty());
  life_.tick(21'000);
  EXPECT_EQ(life_.take_actions(), actions{action::kill});
  life_.tick(26'000);
  EXPECT_EQ(life_.take_actions(), actions{action::kill});
  EXPECT_EQ(life_.reason(), "does not die though it was killed; trying again");
  life_.exited({ended_by::command, "killed", "", false}, 26'001);
  EXPECT_EQ(life_.now(), condition::absent);
  EXPECT_EQ(life_.reason(), "did not shut down within 20 s and was killed");
  EXPECT_EQ(life_.deadline(), std::nullopt);
  life_.tick(30'000);
  EXPECT_EQ(life_.reason(), "did not shut down within 20 s and was killed")
      << "for who looks later";
  life_.desire(wish(want::running), 40'000);
  life_.started(41'000);
  EXPECT_EQ(life_.reason(), "");
}

TEST_F(vm_lifecycle, a_stop_that_was_forced_or_in_time_leaves_no_reason) {
  for (const bool force : {false, true}) {
    SCOPED_TRACE(force);
    bring_up();
    auto d = wish(want::stopped);
    d.force = force;
    life_.desire(d, 1000);
    life_.exited({ended_by::command, "exited", "", false}, 1001);
    EXPECT_EQ(life_.reason(), "");
    drop();
  }
}

TEST_F(vm_lifecycle, force_while_stopping_kills_at_once) {
  bring_up();
  life_.desire(wish(want::stopped), 1000);
  drop();
  auto d = wish(want::stopped);
  d.force = true;
  life_.desire(d, 1001);
  EXPECT_EQ(life_.take_actions(), actions{action::kill});
}

TEST_F(vm_lifecycle, delete_in_every_condition_ends_in_gone) {
  struct row {
    const char* name;
    std::function<void(vm_lifecycle&)> reach;
    actions expected;
    bool runs;  // an exit is needed before it is gone
  };
  const std::vector<row> rows{
      {"absent",
       [](auto& t) { t.life_.desire(t.wish(want::stopped), 0); },
       {action::remove},
       false},
      {"starting", [](auto& t) { t.life_.desire(t.wish(want::running), 0); }, {action::kill}, true},
      {"running", [](auto& t) { t.bring_up(); }, {action::kill}, true},
      {"paused",
       [](auto& t) {
         t.bring_up();
         t.life_.desire(t.wish(want::paused), 150);
         t.life_.paused(160);
       },
       {action::kill},
       true},
      {"stopping",
       [](auto& t) {
         t.bring_up();
         t.life_.desire(t.wish(want::stopped), 150);
       },
       {action::kill},
       true},
      {"waiting",
       [](auto& t) {
         t.bring_up();
         t.life_.exited(t.crash_, 150);
       },
       {action::remove},
       false},
      {"gave up",
       [](auto& t) {
         t.life_.desire(t.wish(want::running), 0);
         t.life_.exited({ended_by::start, "no", "", true}, 0);
       },
       {action::remove},
       false},
  };
  for (const auto& r : rows) {
    SCOPED_TRACE(r.name);
    life_ = lifecycle{lifecycle_limits{}};
    r.reach(*this);
    drop();
    life_.desire(wish(want::deleted), 200);
    EXPECT_EQ(life_.take_actions(), r.expected);
    if (r.runs) {
      EXPECT_EQ(life_.now(), condition::stopping);
      life_.exited({ended_by::command, "", "", false}, 210);
      EXPECT_EQ(life_.take_actions(), actions{action::remove});
    }
    EXPECT_EQ(life_.now(), condition::gone);
  }
}

TEST_F(vm_lifecycle, pause_and_resume_ask_once_and_wait_for_the_answer) {
  bring_up();
  life_.desire(wish(want::paused), 200);
  EXPECT_EQ(life_.take_actions(), actions{action::pause});
  life_.tick(300);
  EXPECT_TRUE(life_.take_actions().empty());
  life_.paused(310);
  EXPECT_EQ(life_.now(), condition::paused);
  life_.desire(wish(want::running), 400);
  EXPECT_EQ(life_.take_actions(), actions{action::resume});
  life_.resumed(410);
  EXPECT_EQ(life_.now(), condition::running);
}

TEST_F(vm_lifecycle, a_pause_that_fails_leaves_it_running_with_the_reason) {
  bring_up();
  life_.desire(wish(want::paused), 200);
  drop();
  life_.remark("pause failed: QEMU did not answer in time", 5'200);
  EXPECT_EQ(life_.now(), condition::running);
  EXPECT_EQ(life_.reason(), "pause failed: QEMU did not answer in time");
  EXPECT_TRUE(life_.take_actions().empty()) << "not tried again before a new generation";
  life_.desire(wish(want::paused), 6'000);
  EXPECT_EQ(life_.take_actions(), actions{action::pause});
}

TEST_F(vm_lifecycle, a_vm_wanted_paused_is_started_first) {
  life_.desire(wish(want::paused), 0);
  EXPECT_EQ(life_.take_actions(), actions{action::start});
  life_.started(100);
  EXPECT_EQ(life_.take_actions(), actions{action::pause});
}

TEST_F(vm_lifecycle, stopping_a_paused_guest_wakes_it_so_that_it_hears) {
  bring_up();
  life_.desire(wish(want::paused), 200);
  life_.paused(210);
  drop();
  life_.desire(wish(want::stopped), 300);
  EXPECT_EQ(life_.take_actions(), (actions{action::resume, action::power_down}));
}

TEST_F(vm_lifecycle, restart_stops_and_starts_exactly_once) {
  bring_up();
  wish_.restarts = 1;
  const auto d = wish(want::running);
  life_.desire(d, 200);
  EXPECT_EQ(life_.take_actions(), actions{action::power_down});
  life_.exited({ended_by::command, "", "", false}, 300);
  EXPECT_EQ(life_.take_actions(), actions{action::start});
  EXPECT_EQ(life_.honoured_restarts(), 1U);
  life_.started(400);
  life_.desire(d, 500);
  EXPECT_TRUE(life_.take_actions().empty());
}

TEST_F(vm_lifecycle, start_while_stopping_starts_after_the_stop) {
  bring_up();
  life_.desire(wish(want::stopped), 200);
  drop();
  life_.desire(wish(want::running), 300);
  EXPECT_TRUE(life_.take_actions().empty());
  life_.exited({ended_by::command, "", "", false}, 400);
  EXPECT_EQ(life_.take_actions(), actions{action::start});
}

TEST_F(vm_lifecycle, an_older_generation_is_ignored) {
  bring_up();
  desired_state old;
  old.generation = 0;
  old.state = want::stopped;
  life_.desire(old, 200);
  EXPECT_TRUE(life_.take_actions().empty());
  EXPECT_EQ(life_.wish().state, want::running);
}

TEST_F(vm_lifecycle, no_lease_no_start) {
  life_.lease(false, 0);
  life_.desire(wish(want::running), 0);
  EXPECT_TRUE(life_.take_actions().empty());
  EXPECT_TRUE(life_.waits_for_lease());
  life_.lease(true, 100);
  EXPECT_EQ(life_.take_actions(), actions{action::start});
  EXPECT_FALSE(life_.waits_for_lease());
}

TEST_F(vm_lifecycle, the_end_of_the_lease_is_no_failure_and_waits_for_the_next) {
  bring_up();
  life_.lease(false, 200);
  life_.exited({ended_by::lease, "the node's lease expired", "", false}, 210);
  EXPECT_EQ(life_.failures(), 0U);
  EXPECT_TRUE(life_.waits_for_lease());
  EXPECT_TRUE(life_.take_actions().empty());
  life_.lease(true, 300);
  EXPECT_EQ(life_.take_actions(), actions{action::start});
}

TEST_F(vm_lifecycle, a_lost_lease_does_not_touch_a_running_vm_that_is_the_guards_work) {
  bring_up();
  life_.lease(false, 200);
  EXPECT_EQ(life_.now(), condition::running);
  EXPECT_TRUE(life_.take_actions().empty());
}

TEST_F(vm_lifecycle, an_adopted_vm_waits_for_a_wish_and_keeps_its_history) {
  life_.adopt({condition::starting, 4, 2}, 0);
  life_.started(10);
  EXPECT_TRUE(life_.take_actions().empty());
  wish_.restarts = 4;
  life_.desire(wish(want::running), 20);
  EXPECT_TRUE(life_.take_actions().empty()) << "that restart was already honoured";
  life_.exited(crash_, 30);
  EXPECT_EQ(life_.failures(), 3U);
}

}  // namespace
}  // namespace blixard::vm
