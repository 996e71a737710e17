// Claims about commands and queries on VMs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/state/helpers.hpp"

namespace blixard::state {
namespace {

using testing::code_of;
using ::testing::ElementsAre;
using testing::fixture;
using testing::GiB;
using ::testing::HasSubstr;
using testing::MiB;

/// Two nodes with 8 vcpus and 8 GiB each.
struct vms : ::testing::Test {
  fixture f;
  void SetUp() override {
    f.register_node(1);
    f.register_node(2);
  }
  /// A VM on node 1 in that desired state, its node having reported the phase.
  void vm_in(const std::string& name, pb::Desired desired, pb::Phase phase) {
    ASSERT_EQ(code_of(f.create(name, 1)), errc::ok);
    f.observe(name, pb::PHASE_RUNNING);
    if (desired == pb::DESIRED_STOPPED) f.act(name, pb::VM_STOP);
    if (desired == pb::DESIRED_PAUSED) f.act(name, pb::VM_PAUSE);
    if (desired == pb::DESIRED_DELETED) f.act(name, pb::VM_DELETE);
    if (f.vm(name).phase() != phase) f.observe(name, phase);
    ASSERT_EQ(f.vm(name).desired(), desired) << name;
    ASSERT_EQ(f.vm(name).phase(), phase) << name;
  }
};

// ---------------------------------------------------------------- create

TEST_F(vms, create_fills_in_defaults_and_places_where_the_decision_says) {
  const auto a = f.create("web", 2);
  ASSERT_EQ(code_of(a), errc::ok);
  const auto& vm = a.vm();
  EXPECT_EQ(vm.id(), 1);
  EXPECT_EQ(vm.generation(), 1);
  EXPECT_EQ(vm.node(), 2);
  EXPECT_EQ(vm.phase(), pb::PHASE_SCHEDULED);
  EXPECT_EQ(vm.desired(), pb::DESIRED_RUNNING);
  EXPECT_EQ(vm.created_index(), a.index());
  EXPECT_EQ(vm.created_ms(), 1234) << "the proposer's clock";
  EXPECT_EQ(vm.spec().tenant(), "default");
  EXPECT_EQ(vm.spec().vcpus(), 1);
  EXPECT_EQ(vm.spec().memory_bytes(), 256 * MiB);
  EXPECT_EQ(vm.spec().priority(), 500);
  EXPECT_EQ(vm.spec().restart().max_restarts(), 3);
  EXPECT_EQ(vm.spec().restart().backoff_seconds(), 5);
  EXPECT_EQ(vm.spec().restart().backoff_max_seconds(), 300);
  EXPECT_EQ(f.node(2).allocated().memory_bytes(), 256 * MiB);
}

TEST_F(vms, zero_is_a_priority_and_a_number_of_restarts) {
  auto spec = f.spec_of("web");
  spec.set_priority(0);
  spec.mutable_restart()->set_max_restarts(0);
  ASSERT_EQ(code_of(f.create(spec, 1)), errc::ok);
  EXPECT_EQ(f.vm("web").spec().priority(), 0);
  EXPECT_EQ(f.vm("web").spec().restart().max_restarts(), 0);
  EXPECT_EQ(f.vm("web").spec().restart().backoff_seconds(), 5);
}

TEST_F(vms, create_refuses_what_is_not_valid) {
  struct {
    const char* what;
    void (*change)(pb::VmSpec&);
  } const rows[] = {
      {"no name", [](pb::VmSpec& s) { s.clear_name(); }},
      {"upper case", [](pb::VmSpec& s) { s.set_name("Web"); }},
      {"dash first", [](pb::VmSpec& s) { s.set_name("-web"); }},
      {"dash last", [](pb::VmSpec& s) { s.set_name("web-"); }},
      {"a dot", [](pb::VmSpec& s) { s.set_name("web.1"); }},
      {"64 bytes", [](pb::VmSpec& s) { s.set_name(std::string(64, 'a')); }},
      {"bad tenant", [](pb::VmSpec& s) { s.set_tenant("T"); }},
      {"created paused", [](pb::VmSpec& s) { s.set_desired(pb::DESIRED_PAUSED); }},
      {"created deleted", [](pb::VmSpec& s) { s.set_desired(pb::DESIRED_DELETED); }},
      {"unknown desired", [](pb::VmSpec& s) { s.set_desired(static_cast<pb::Desired>(77)); }},
      {"too many vcpus", [](pb::VmSpec& s) { s.set_vcpus(1025); }},
      {"too little memory", [](pb::VmSpec& s) { s.set_memory_bytes(1000); }},
      {"too much memory", [](pb::VmSpec& s) { s.set_memory_bytes(UINT64_MAX); }},
      {"too much disk", [](pb::VmSpec& s) { s.set_disk_bytes(UINT64_MAX); }},
      {"priority", [](pb::VmSpec& s) { s.set_priority(1001); }},
      {"empty label", [](pb::VmSpec& s) { s.add_labels(); }},
      {"unknown backend", [](pb::VmSpec& s) { s.set_backend(static_cast<pb::Backend>(9)); }},
      {"process without command", [](pb::VmSpec& s) { s.set_backend(pb::BACKEND_PROCESS); }},
      {"port 0", [](pb::VmSpec& s) { s.add_ports()->set_host(80); }},
      {"unknown strategy",
       [](pb::VmSpec& s) { s.mutable_placement()->set_strategy(static_cast<pb::Strategy>(9)); }},
      {"manual without node",
       [](pb::VmSpec& s) { s.mutable_placement()->set_strategy(pb::STRATEGY_MANUAL); }},
      {"constraint without key", [](pb::VmSpec& s) { s.mutable_placement()->add_constraints(); }},
      {"bad group", [](pb::VmSpec& s) { s.mutable_placement()->set_anti_affinity_group("A B"); }},
  };
  for (const auto& row : rows) {
    auto spec = fixture::spec_of("web");
    row.change(spec);
    const auto a = f.create(spec, 1);
    EXPECT_EQ(code_of(a), errc::invalid_argument) << row.what;
    EXPECT_FALSE(a.message().empty()) << row.what;
  }
  EXPECT_EQ(f.sm.size().vms, 0);
}

TEST_F(vms, create_accepts_a_name_of_63_bytes_and_digits) {
  EXPECT_EQ(code_of(f.create(std::string(63, 'a'))), errc::ok);
  EXPECT_EQ(code_of(f.create("0-9")), errc::ok);
}

TEST_F(vms, a_command_means_the_process_backend_and_a_kernel_means_qemu) {
  auto spec = fixture::spec_of("p");
  spec.mutable_process()->add_argv("/bin/sleep");
  EXPECT_EQ(f.create(spec).vm().spec().backend(), pb::BACKEND_PROCESS);
  spec = fixture::spec_of("q");
  spec.mutable_qemu()->set_kernel("/boot/k");
  EXPECT_EQ(f.create(spec).vm().spec().backend(), pb::BACKEND_QEMU);
}

TEST_F(vms, a_name_is_taken_within_its_tenant_only) {
  f.create("web");
  const auto again = f.create("web");
  EXPECT_EQ(code_of(again), errc::already_exists);
  auto spec = fixture::spec_of("web");
  spec.set_tenant("other");
  EXPECT_EQ(code_of(f.create(spec)), errc::ok);
  EXPECT_EQ(f.sm.size().vms, 2);
}

TEST_F(vms, decisions_of_one_moment_do_not_all_fill_one_node) {
  f.register_node(3);
  const auto decision = plan(*f.sm.inventory(), f.create("first").vm().spec());
  for (int i = 0; i < 9; ++i) {
    auto c = fixture::create_command(fixture::spec_of("vm" + std::to_string(i)));
    *c.mutable_vm_create()->mutable_decision() = decision;
    ASSERT_EQ(code_of(f.run(c)), errc::ok);
  }
  for (const std::uint64_t id : {1, 2, 3})
    EXPECT_GE(f.sm.vms_on(node_id{id}).size(), 3U) << "node " << id;
}

TEST_F(vms, a_decision_is_taken_as_it_is_until_the_inventory_changes) {
  f.create("other", 2);
  auto c = fixture::create_command(fixture::spec_of("web"), 2);
  auto& decision = *c.mutable_vm_create()->mutable_decision();
  for (const std::uint64_t id : {2, 1}) decision.add_candidates()->set_node(id);
  decision.set_inventory_version(f.sm.inventory()->version.value());
  EXPECT_EQ(f.run(c).vm().node(), 2);
  c.mutable_vm_create()->mutable_spec()->set_name("late");
  const auto late = f.run(c).vm();
  EXPECT_EQ(late.node(), 1);
  EXPECT_EQ(late.events(late.events_size() - 1).text().find("placed on node 1"), 0U);
}

TEST_F(vms, where_no_candidate_of_a_late_decision_fits_all_nodes_are_looked_at) {
  auto big = fixture::spec_of("big");
  big.set_memory_bytes(6 * GiB);
  f.create(big, 1);
  big.set_name("big2");
  auto c = fixture::create_command(big, 1);
  for (const std::uint64_t id : {1, 9})
    c.mutable_vm_create()->mutable_decision()->add_candidates()->set_node(id);
  EXPECT_EQ(f.run(c).vm().node(), 2);
}

TEST_F(vms, a_decision_that_no_longer_fits_is_planned_again) {
  auto big = fixture::spec_of("big");
  big.set_memory_bytes(6 * GiB);
  ASSERT_EQ(f.create(big, 1).vm().node(), 1);
  big.set_name("big2");
  EXPECT_EQ(f.create(big, 1).vm().node(), 2) << "node 1 is full by now";
  big.set_name("big3");
  const auto none = f.create(big, 1);
  EXPECT_EQ(code_of(none), errc::unplaceable);
  ASSERT_EQ(none.decision().rejected_size(), 2);
  EXPECT_THAT(none.decision().rejected(0).reasons(0),
              HasSubstr("needs 6 GiB memory, 2 GiB of 8 GiB free"));
  EXPECT_EQ(none.hint(), none.decision().fix());
  EXPECT_FALSE(none.hint().empty());
  EXPECT_EQ(f.sm.vm("default", "big3"), nullptr) << "nothing is created";
  EXPECT_EQ(f.create("small").vm().id(), 3) << "no id was used up";
}

TEST_F(vms, a_stopped_vm_gets_a_node_only_when_it_is_started) {
  auto spec = fixture::spec_of("web");
  spec.set_desired(pb::DESIRED_STOPPED);
  const auto a = f.create(spec, 1);
  EXPECT_EQ(a.vm().node(), 0);
  EXPECT_EQ(a.vm().phase(), pb::PHASE_STOPPED);
  EXPECT_EQ(f.node(1).allocated().memory_bytes(), 0);
  const auto started = f.act("web", pb::VM_START);
  EXPECT_EQ(code_of(started), errc::ok);
  EXPECT_NE(started.vm().node(), 0);
  EXPECT_EQ(started.vm().phase(), pb::PHASE_SCHEDULED);
  EXPECT_EQ(started.vm().generation(), 2);
}

TEST_F(vms, starting_a_vm_that_fits_nowhere_is_refused_and_changes_nothing) {
  auto spec = fixture::spec_of("web");
  spec.set_desired(pb::DESIRED_STOPPED);
  spec.set_memory_bytes(64 * GiB);
  f.create(spec);
  const auto before = f.vm("web").SerializeAsString();
  const auto a = f.act("web", pb::VM_START);
  EXPECT_EQ(code_of(a), errc::unplaceable);
  EXPECT_EQ(a.decision().rejected_size(), 2);
  EXPECT_EQ(f.vm("web").SerializeAsString(), before);
}

// ---------------------------------------------------------------- actions

TEST_F(vms, actions_follow_the_table) {
  struct row {
    pb::Desired desired;
    pb::Phase phase;
    pb::VmActionKind action;
    errc outcome;
    pb::Desired then_desired;
    pb::Phase then_phase;
    bool new_generation;
  };
  const auto running = pb::DESIRED_RUNNING;
  const auto stopped = pb::DESIRED_STOPPED;
  const auto paused = pb::DESIRED_PAUSED;
  const auto deleted = pb::DESIRED_DELETED;
  const auto ok = errc::ok;
  const auto no = errc::invalid_state;
  const row rows[] = {
      {running, pb::PHASE_RUNNING, pb::VM_START, ok, running, pb::PHASE_RUNNING, false},
      {running, pb::PHASE_STARTING, pb::VM_START, ok, running, pb::PHASE_STARTING, false},
      {running, pb::PHASE_FAILED, pb::VM_START, ok, running, pb::PHASE_SCHEDULED, true},
      {running, pb::PHASE_STOPPED, pb::VM_START, ok, running, pb::PHASE_SCHEDULED, true},
      {running, pb::PHASE_RUNNING, pb::VM_STOP, ok, stopped, pb::PHASE_STOPPING, true},
      {running, pb::PHASE_FAILED, pb::VM_STOP, ok, stopped, pb::PHASE_STOPPING, true},
      {running, pb::PHASE_RUNNING, pb::VM_RESTART, ok, running, pb::PHASE_SCHEDULED, true},
      {running, pb::PHASE_FAILED, pb::VM_RESTART, ok, running, pb::PHASE_SCHEDULED, true},
      {running, pb::PHASE_RUNNING, pb::VM_PAUSE, ok, paused, pb::PHASE_RUNNING, true},
      {running, pb::PHASE_STARTING, pb::VM_PAUSE, no, running, pb::PHASE_STARTING, false},
      {running, pb::PHASE_RUNNING, pb::VM_RESUME, ok, running, pb::PHASE_RUNNING, false},
      {running, pb::PHASE_RUNNING, pb::VM_DELETE, ok, deleted, pb::PHASE_DELETING, true},
      {stopped, pb::PHASE_STOPPED, pb::VM_START, ok, running, pb::PHASE_SCHEDULED, true},
      {stopped, pb::PHASE_STOPPING, pb::VM_START, ok, running, pb::PHASE_SCHEDULED, true},
      {stopped, pb::PHASE_STOPPED, pb::VM_STOP, ok, stopped, pb::PHASE_STOPPED, false},
      {stopped, pb::PHASE_STOPPED, pb::VM_RESTART, no, stopped, pb::PHASE_STOPPED, false},
      {stopped, pb::PHASE_STOPPED, pb::VM_PAUSE, no, stopped, pb::PHASE_STOPPED, false},
      {stopped, pb::PHASE_STOPPED, pb::VM_RESUME, no, stopped, pb::PHASE_STOPPED, false},
      {stopped, pb::PHASE_STOPPED, pb::VM_DELETE, ok, deleted, pb::PHASE_DELETING, true},
      {paused, pb::PHASE_PAUSED, pb::VM_START, no, paused, pb::PHASE_PAUSED, false},
      {paused, pb::PHASE_PAUSED, pb::VM_STOP, ok, stopped, pb::PHASE_STOPPING, true},
      {paused, pb::PHASE_PAUSED, pb::VM_RESTART, ok, running, pb::PHASE_SCHEDULED, true},
      {paused, pb::PHASE_PAUSED, pb::VM_PAUSE, ok, paused, pb::PHASE_PAUSED, false},
      {paused, pb::PHASE_PAUSED, pb::VM_RESUME, ok, running, pb::PHASE_PAUSED, true},
      {paused, pb::PHASE_PAUSED, pb::VM_DELETE, ok, deleted, pb::PHASE_DELETING, true},
      {deleted, pb::PHASE_DELETING, pb::VM_START, no, deleted, pb::PHASE_DELETING, false},
      {deleted, pb::PHASE_DELETING, pb::VM_STOP, no, deleted, pb::PHASE_DELETING, false},
      {deleted, pb::PHASE_DELETING, pb::VM_RESTART, no, deleted, pb::PHASE_DELETING, false},
      {deleted, pb::PHASE_DELETING, pb::VM_PAUSE, no, deleted, pb::PHASE_DELETING, false},
      {deleted, pb::PHASE_DELETING, pb::VM_RESUME, no, deleted, pb::PHASE_DELETING, false},
      {deleted, pb::PHASE_DELETING, pb::VM_DELETE, ok, deleted, pb::PHASE_DELETING, false},
  };
  for (const auto& r : rows) {
    f = {};
    SetUp();
    vm_in("web", r.desired, r.phase);
    const auto before = f.vm("web");
    const auto a = f.act("web", r.action);
    const auto after = f.vm("web");
    const std::string what = pb::Desired_Name(r.desired) + " " + pb::Phase_Name(r.phase) + " " +
                             pb::VmActionKind_Name(r.action);
    EXPECT_EQ(code_of(a), r.outcome) << what << ": " << a.message();
    EXPECT_EQ(after.desired(), r.then_desired) << what;
    EXPECT_EQ(after.phase(), r.then_phase) << what;
    EXPECT_EQ(after.generation(), before.generation() + (r.new_generation ? 1 : 0)) << what;
    const bool restarts = r.action == pb::VM_RESTART || r.phase == pb::PHASE_FAILED ||
                          (r.desired == running && r.phase == pb::PHASE_STOPPED);
    const bool counted = restarts && r.then_desired == running && r.outcome == ok;
    EXPECT_EQ(after.restarts(), before.restarts() + (counted ? 1 : 0)) << what;
    if (r.outcome == ok) {
      EXPECT_EQ(a.vm().SerializeAsString(), after.SerializeAsString()) << what;
    }
  }
}

TEST_F(vms, an_action_on_an_unknown_vm_is_not_found) {
  for (const auto what : {pb::VM_START, pb::VM_STOP, pb::VM_DELETE})
    EXPECT_EQ(code_of(f.act("ghost", what)), errc::not_found);
}

TEST_F(vms, force_makes_a_stop_and_a_delete_harder_once) {
  vm_in("web", pb::DESIRED_STOPPED, pb::PHASE_STOPPING);
  const auto generation = f.vm("web").generation();
  EXPECT_TRUE(f.act("web", pb::VM_STOP, true).vm().force_stop());
  EXPECT_EQ(f.vm("web").generation(), generation + 1);
  f.act("web", pb::VM_STOP, true);
  EXPECT_EQ(f.vm("web").generation(), generation + 1);
  f.act("web", pb::VM_DELETE);
  EXPECT_TRUE(f.act("web", pb::VM_DELETE, true).vm().force_stop());
}

TEST_F(vms, deleting_a_vm_without_a_node_removes_it_at_once) {
  auto spec = fixture::spec_of("web");
  spec.set_desired(pb::DESIRED_STOPPED);
  f.create(spec);
  EXPECT_EQ(f.act("web", pb::VM_DELETE).vm().phase(), pb::PHASE_DELETING);
  EXPECT_EQ(f.sm.size().vms, 0);
  EXPECT_EQ(code_of(f.create("web")), errc::ok);
  EXPECT_EQ(f.vm("web").id(), 2) << "ids are never used again";
}

TEST_F(vms, a_name_is_taken_until_the_deleted_vm_is_gone) {
  vm_in("web", pb::DESIRED_DELETED, pb::PHASE_DELETING);
  EXPECT_EQ(code_of(f.create("web")), errc::already_exists);
  auto gone = f.one_of("web", pb::PHASE_STOPPED);
  gone.set_gone(true);
  f.report(1, gone);
  EXPECT_EQ(f.sm.size().vms, 0);
  EXPECT_EQ(f.node(1).allocated().vcpus(), 0);
  EXPECT_EQ(code_of(f.create("web")), errc::ok);
}

// ---------------------------------------------------------------- reports

TEST_F(vms, a_report_sets_what_the_node_saw) {
  f.create("web", 1);
  auto one = f.one_of("web", pb::PHASE_RUNNING);
  one.set_accelerator("tcg");
  const auto a = f.report(1, one);
  EXPECT_EQ(code_of(a), errc::ok);
  EXPECT_EQ(a.lines().lines_size(), 0);
  EXPECT_EQ(f.vm("web").phase(), pb::PHASE_RUNNING);
  EXPECT_EQ(f.vm("web").pid(), 4711);
  EXPECT_EQ(f.vm("web").backend(), pb::BACKEND_QEMU);
  EXPECT_EQ(f.vm("web").accelerator(), "tcg");
}

TEST_F(vms, a_long_reason_is_cut_between_characters) {
  f.create("web", 1);
  auto one = f.one_of("web", pb::PHASE_FAILED);
  std::string text = "x";
  while (text.size() < 2 * limits::reason_max_bytes) text += "\xc3\xa4";
  one.set_reason(text);
  f.report(1, one);
  EXPECT_EQ(f.vm("web").reason(), text.substr(0, limits::reason_max_bytes - 1));
}

TEST_F(vms, the_same_report_again_changes_nothing) {
  f.create("web", 1);
  f.observe("web", pb::PHASE_RUNNING);
  pb::Command c;
  c.mutable_vm_report()->set_node(1);
  *c.mutable_vm_report()->add_vms() = f.one_of("web", pb::PHASE_RUNNING);
  const auto again = f.apply(c);
  EXPECT_TRUE(again.changed.vms.empty());
  EXPECT_FALSE(again.changed.summary);
}

TEST_F(vms, stale_reports_are_refused_one_by_one) {
  f.create("web", 1);
  f.create("db", 1);
  pb::Command c;
  c.mutable_vm_report()->set_node(1);
  auto stale = f.one_of("web", pb::PHASE_RUNNING);
  stale.set_generation(stale.generation() + 1);
  *c.mutable_vm_report()->add_vms() = stale;
  *c.mutable_vm_report()->add_vms() = f.one_of("db", pb::PHASE_RUNNING);
  auto unknown = stale;
  unknown.set_vm(99);
  *c.mutable_vm_report()->add_vms() = unknown;
  auto pending = f.one_of("web", pb::PHASE_PENDING);
  *c.mutable_vm_report()->add_vms() = pending;
  const auto a = f.run(c);
  EXPECT_EQ(code_of(a), errc::ok);
  EXPECT_THAT(a.lines().lines(), ElementsAre("vm 1: generation 2, now 1", "vm 99: not known",
                                             "vm 1: no phase or backend that a node can report"));
  EXPECT_EQ(f.vm("web").phase(), pb::PHASE_SCHEDULED);
  EXPECT_EQ(f.vm("db").phase(), pb::PHASE_RUNNING);
}

TEST_F(vms, only_the_assigned_node_may_report) {
  f.create("web", 1);
  const auto a = f.report(2, f.one_of("web", pb::PHASE_RUNNING));
  EXPECT_EQ(a.lines().lines_size(), 1);
  EXPECT_EQ(f.vm("web").phase(), pb::PHASE_SCHEDULED);
  EXPECT_EQ(code_of(f.report(77, f.one_of("web", pb::PHASE_RUNNING))), errc::not_found);
}

TEST_F(vms, a_vm_that_is_given_up_waits_for_another_node) {
  f.create("web", 1);
  auto one = f.one_of("web", pb::PHASE_FAILED);
  one.set_gave_up(true);
  one.set_reason("no kernel");
  f.report(1, one);
  auto vm = f.vm("web");
  EXPECT_EQ(vm.node(), 0);
  EXPECT_THAT(vm.gave_up(), ElementsAre(1));
  EXPECT_EQ(vm.phase(), pb::PHASE_PENDING);
  EXPECT_EQ(vm.generation(), 2);
  EXPECT_THAT(vm.reason(), HasSubstr("no kernel"));
  EXPECT_EQ(f.node(1).allocated().vcpus(), 0);
  ASSERT_EQ(f.sm.pending_vms(vm_id{}, 10).size(), 1);
  EXPECT_EQ(f.place(vm.id(), 2, 0).vm().node(), 2) << "not the one that failed";
  EXPECT_TRUE(f.sm.pending_vms(vm_id{}, 10).empty());
}

/// What a back-off of 5 s up to 300 s says when node after node gives a VM up.
TEST_F(vms, nodes_that_gave_a_vm_up_get_it_again_in_turn_and_later_each_time) {
  f.create("web", 1);
  struct {
    std::uint64_t next;        // where it goes then
    std::int64_t wait_second;  // how long that node has to wait for it
    bool at_once;
  } const turns[] = {{2, 5, true},    {1, 5, false},   {2, 10, false},
                     {1, 20, false},  {2, 40, false},  {1, 80, false},
                     {2, 160, false}, {1, 300, false}, {2, 300, false}};
  for (const auto& t : turns) {
    f.clock_ms += 1'000'000;
    auto one = f.one_of("web", pb::PHASE_FAILED);
    one.set_gave_up(true);
    f.report(f.vm("web").node(), one);
    const auto vm = f.vm("web");
    ASSERT_EQ(vm.retry_ms() - f.clock_ms, t.wait_second * 1000);
    ASSERT_EQ(plan(*f.sm.inventory(), vm.spec(), {.avoid = gave_up(vm)}).node(), t.next);
    EXPECT_EQ(may_place(vm, node_id{t.next}, vm.retry_ms() - 1), t.at_once);
    EXPECT_TRUE(may_place(vm, node_id{t.next}, vm.retry_ms()));
    EXPECT_TRUE(may_place(vm, node_id{3}, 0)) << "a node that has not tried it need not wait";
    f.place(vm.id(), vm.generation(), 0);
    ASSERT_EQ(f.vm("web").node(), t.next);
  }
  EXPECT_EQ(f.vm("web").gave_up_size(), 2) << "each once";
  EXPECT_EQ(f.vm("web").give_ups(), 9);
}

TEST_F(vms, a_vm_that_many_nodes_gave_up_waits_for_every_node) {
  for (std::uint64_t n = 1; n <= limits::gave_up_max_nodes + 4; ++n) f.register_node(n);
  f.create("web", 1);
  for (std::uint64_t n = 0; n < limits::gave_up_max_nodes + 2; ++n) {
    auto one = f.one_of("web", pb::PHASE_FAILED);
    one.set_gave_up(true);
    f.report(f.vm("web").node(), one);
    const auto vm = f.vm("web");
    EXPECT_EQ(may_place(vm, node_id{limits::gave_up_max_nodes + 4}, vm.retry_ms() - 1),
              n + 1 < limits::gave_up_max_nodes);
    f.place(vm.id(), vm.generation(), 0);
  }
  EXPECT_EQ(f.vm("web").gave_up_size(), limits::gave_up_max_nodes);
}

TEST_F(vms, a_good_run_a_start_and_a_restart_forgive_the_nodes_that_gave_a_vm_up) {
  const auto give_up = [&] {
    auto one = f.one_of("web", pb::PHASE_FAILED);
    one.set_gave_up(true);
    f.report(f.vm("web").node(), one);
    ASSERT_EQ(f.vm("web").phase(), pb::PHASE_PENDING);
  };
  f.create("web", 1);
  give_up();
  f.act("web", pb::VM_RESTART);
  EXPECT_EQ(f.vm("web").gave_up_size(), 0);
  EXPECT_TRUE(may_place(f.vm("web"), node_id{1}, 0));
  f.place(1, f.vm("web").generation(), 1);
  give_up();
  f.place(1, f.vm("web").generation(), 2);
  f.observe("web", pb::PHASE_RUNNING);
  f.clock_ms += 299'999;
  f.observe("web", pb::PHASE_FAILED);
  EXPECT_THAT(f.vm("web").gave_up(), ElementsAre(1)) << "a short run proves nothing";
  f.observe("web", pb::PHASE_RUNNING);
  f.clock_ms += 300'000;
  f.observe("web", pb::PHASE_FAILED);
  EXPECT_EQ(f.vm("web").gave_up_size(), 0) << "it ran for the longest back-off";
  give_up();
  f.act("web", pb::VM_STOP);
  f.act("web", pb::VM_START);
  EXPECT_EQ(f.vm("web").gave_up_size(), 0);
}

TEST_F(vms, a_pinned_vm_that_is_given_up_has_failed_where_it_is) {
  auto spec = fixture::spec_of("web");
  spec.mutable_placement()->set_node(1);
  f.create(spec);
  auto one = f.one_of("web", pb::PHASE_FAILED);
  one.set_gave_up(true);
  f.report(1, one);
  EXPECT_EQ(f.vm("web").node(), 1);
  EXPECT_EQ(f.vm("web").phase(), pb::PHASE_FAILED);
}

TEST_F(vms, a_stopped_vm_that_is_given_up_stays) {
  vm_in("web", pb::DESIRED_STOPPED, pb::PHASE_STOPPING);
  auto one = f.one_of("web", pb::PHASE_FAILED);
  one.set_gave_up(true);
  f.report(1, one);
  EXPECT_EQ(f.vm("web").node(), 1);
}

TEST_F(vms, a_deleting_vm_keeps_its_phase_until_it_is_gone) {
  vm_in("web", pb::DESIRED_DELETED, pb::PHASE_DELETING);
  f.observe("web", pb::PHASE_STOPPED);
  EXPECT_EQ(f.vm("web").phase(), pb::PHASE_DELETING);
}

// ---------------------------------------------------------------- place

TEST_F(vms, place_checks_the_generation_and_that_the_vm_waits) {
  f.create("web", 1);
  EXPECT_EQ(code_of(f.place(1, 1, 2)), errc::invalid_state);
  EXPECT_EQ(code_of(f.place(99, 1, 2)), errc::not_found);
  f.node_down(1);
  EXPECT_EQ(code_of(f.place(1, 1, 2)), errc::conflict) << "the generation has moved on";
  const auto a = f.place(1, 2, 2);
  EXPECT_EQ(code_of(a), errc::ok);
  EXPECT_EQ(a.vm().node(), 2);
  EXPECT_EQ(a.vm().generation(), 3);
  EXPECT_EQ(a.vm().phase(), pb::PHASE_SCHEDULED);
  EXPECT_TRUE(a.vm().reason().empty());
}

TEST_F(vms, a_pending_vm_carries_the_reasons_and_the_fix) {
  auto spec = fixture::spec_of("web");
  spec.set_vcpus(8);
  f.create(spec, 1);
  f.create("filler", 2);
  f.node_down(1);
  const auto a = f.place(1, 2, 0);
  EXPECT_EQ(code_of(a), errc::unplaceable);
  const auto vm = f.vm("web");
  EXPECT_EQ(vm.generation(), 2) << "a reason is no new generation";
  ASSERT_EQ(vm.rejected_size(), 2);
  EXPECT_EQ(vm.rejected(0).node(), 1);
  EXPECT_THAT(vm.rejected(0).reasons(0), HasSubstr("down"));
  EXPECT_THAT(vm.rejected(1).reasons(0), HasSubstr("needs 8 vcpus, 7 of 8 vcpus free"));
  EXPECT_THAT(vm.fix(), HasSubstr("node 2"));
  f.register_node(1, 2);
  f.place(1, 2, 1);
  EXPECT_EQ(f.vm("web").rejected_size(), 0);
  EXPECT_TRUE(f.vm("web").fix().empty());
}

// ---------------------------------------------------------------- queries and changes

TEST_F(vms, list_is_by_tenant_and_name_and_show_finds_one) {
  f.create("b");
  f.create("a");
  auto spec = fixture::spec_of("c");
  spec.set_tenant("acme");
  f.create(spec);
  pb::Query all;
  all.mutable_vm_list();
  std::vector<std::string> names;
  const auto listed = f.ask(all);
  for (const auto& vm : listed.vms().vms()) names.push_back(vm.spec().name());
  EXPECT_THAT(names, ElementsAre("c", "a", "b"));
  all.mutable_vm_list()->set_tenant("acme");
  EXPECT_EQ(f.ask(all).vms().vms_size(), 1);
  pb::Query show;
  show.mutable_vm_show()->set_name("a");
  EXPECT_EQ(f.ask(show).vm().spec().name(), "a");
  show.mutable_vm_show()->set_tenant("acme");
  EXPECT_EQ(code_of(f.ask(show)), errc::not_found);
}

TEST_F(vms, explain_does_not_hold_a_vms_own_needs_against_its_node) {
  auto spec = fixture::spec_of("web");
  spec.set_memory_bytes(6 * GiB);
  f.create(spec, 1);
  f.cordon(2);
  pb::Query q;
  q.mutable_vm_explain()->set_name("web");
  const auto d = f.ask(q).decision();
  EXPECT_EQ(d.node(), 1);
  ASSERT_EQ(d.candidates_size(), 1);
  EXPECT_EQ(d.candidates(0).node(), 1);
  ASSERT_EQ(d.rejected_size(), 1);
  EXPECT_THAT(d.rejected(0).reasons(), ElementsAre("is cordoned"));
  q.mutable_vm_explain()->set_name("ghost");
  EXPECT_EQ(code_of(f.ask(q)), errc::not_found);
}

TEST_F(vms, completion_offers_names_by_prefix) {
  for (const char* n : {"web1", "web2", "db"}) f.create(n);
  f.put("weird key", "");
  f.put("web/key", "");
  f.put("we\nird", "");  // cannot be typed
  pb::Query q;
  q.mutable_complete()->set_prefix("we");
  q.mutable_complete()->set_what(pb::Complete::VMS);
  EXPECT_THAT(f.ask(q).lines().lines(), ElementsAre("web1", "web2"));
  q.mutable_complete()->set_what(pb::Complete::KEYS);
  EXPECT_THAT(f.ask(q).lines().lines(), ElementsAre("web/key", "weird key"));
  q.mutable_complete()->set_what(pb::Complete::NODES);
  q.mutable_complete()->set_prefix("");
  EXPECT_THAT(f.ask(q).lines().lines(), ElementsAre("1", "2"));
}

TEST_F(vms, changes_name_the_vms_and_say_what_moved) {
  const auto created = f.apply(fixture::create_command(fixture::spec_of("web"), 1));
  EXPECT_THAT(created.changed.vms, ElementsAre(vm_id{1}));
  EXPECT_TRUE(created.changed.inventory);
  EXPECT_TRUE(created.changed.summary);
  EXPECT_TRUE(created.changed.nodes.empty()) << "allocation alone is no change of a node";
  f.create("db", 1);
  const auto down = f.node_down(1);
  EXPECT_THAT(down.changed.vms, ElementsAre(vm_id{1}, vm_id{2}));
  EXPECT_THAT(down.changed.nodes, ElementsAre(node_id{1}));
}

TEST_F(vms, what_a_node_runs_is_found_without_a_scan) {
  f.create("a", 1);
  f.create("b", 2);
  f.create("c", 1);
  const auto on = f.sm.vms_on(node_id{1});
  ASSERT_EQ(on.size(), 2);
  EXPECT_EQ(on[0]->spec().name(), "a");
  EXPECT_EQ(on[1]->spec().name(), "c");
  EXPECT_TRUE(f.sm.vms_on(node_id{9}).empty());
}

TEST_F(vms, a_handed_out_vm_never_changes) {
  f.create("web", 1);
  const auto before = f.sm.vm(vm_id{1});
  f.act("web", pb::VM_STOP);
  EXPECT_EQ(before->desired(), pb::DESIRED_RUNNING);
  EXPECT_EQ(f.sm.vm(vm_id{1})->desired(), pb::DESIRED_STOPPED);
}

}  // namespace
}  // namespace blixard::state
