// Claims about commands on nodes, configuration entries and what entries that make no sense do.
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

std::string joining(std::uint64_t id, std::string address, std::uint64_t disk = 0) {
  pb::NodeAddress who;
  who.set_node(id);
  who.set_disk(disk);
  who.set_address(std::move(address));
  pb::ConfChange change;
  change.add_changes()->set_node(id);
  change.set_context(who.SerializeAsString());
  return change.SerializeAsString();
}

std::string removing(std::uint64_t id) {
  pb::ConfChange change;
  auto& one = *change.add_changes();
  one.set_op(pb::CONF_REMOVE);
  one.set_node(id);
  return change.SerializeAsString();
}

TEST(node, registers_as_ready_with_what_it_has) {
  fixture f;
  const auto a = f.register_node(1);
  ASSERT_EQ(code_of(a), errc::ok);
  ASSERT_EQ(a.nodes().nodes_size(), 1);
  EXPECT_EQ(a.nodes().nodes(0).state(), pb::NODE_READY);
  const auto n = f.node(1);
  EXPECT_EQ(n.name(), "n1");
  EXPECT_EQ(n.capacity().memory_bytes(), 8 * GiB);
  EXPECT_EQ(n.allocated().memory_bytes(), 0);
}

TEST(node, a_registration_cannot_bring_its_own_allocation_or_state) {
  fixture f;
  auto n = fixture::node_of(1);
  n.mutable_allocated()->set_vcpus(7);
  n.set_state(pb::NODE_DOWN);
  n.set_cordoned(true);
  f.register_node(n);
  EXPECT_EQ(f.node(1).allocated().vcpus(), 0);
  EXPECT_EQ(f.node(1).state(), pb::NODE_READY);
}

TEST(node, a_lower_incarnation_is_refused_an_equal_or_higher_one_replaces) {
  fixture f;
  auto n = fixture::node_of(1);
  n.set_incarnation(5);
  f.register_node(n);
  n.set_incarnation(4);
  EXPECT_EQ(code_of(f.register_node(n)), errc::conflict);
  n.set_incarnation(5);
  n.set_version("0.2");
  EXPECT_EQ(code_of(f.register_node(n)), errc::ok);
  n.set_incarnation(6);
  EXPECT_EQ(code_of(f.register_node(n)), errc::ok);
  EXPECT_EQ(f.node(1).version(), "0.2");
  EXPECT_EQ(f.node(1).incarnation(), 6);
}

TEST(node, invalid_registrations_are_refused) {
  fixture f;
  auto n = fixture::node_of(0);
  EXPECT_EQ(code_of(f.register_node(n)), errc::invalid_argument);
  n = fixture::node_of(1);
  n.mutable_capacity()->set_memory_bytes(UINT64_MAX);
  EXPECT_EQ(code_of(f.register_node(n)), errc::invalid_argument);
  n = fixture::node_of(1);
  n.set_address(std::string(2000, 'a'));
  EXPECT_EQ(code_of(f.register_node(n)), errc::too_large);
  EXPECT_EQ(f.sm.size().nodes, 0);
}

TEST(node, registering_again_keeps_vms_and_their_allocation) {
  fixture f;
  f.register_node(1);
  f.create("web", 1);
  auto n = fixture::node_of(1, 16);
  n.set_incarnation(2);
  f.register_node(n);
  EXPECT_EQ(f.node(1).allocated().vcpus(), 1);
  EXPECT_EQ(f.node(1).capacity().vcpus(), 16);
  EXPECT_EQ(f.vm("web").node(), 1);
}

TEST(node, down_counts_only_for_the_incarnation_whose_lease_expired) {
  fixture f;
  auto n = fixture::node_of(1);
  n.set_incarnation(2);
  f.register_node(n);
  f.create("web", 1);
  EXPECT_EQ(code_of(*f.node_down(1, 1).answer), errc::conflict);
  EXPECT_EQ(code_of(*f.node_down(1, 3).answer), errc::conflict);
  EXPECT_EQ(f.vm("web").node(), 1);
  EXPECT_EQ(code_of(*f.node_down(1, 2).answer), errc::ok);
  EXPECT_EQ(f.node(1).state(), pb::NODE_DOWN);
  EXPECT_EQ(code_of(*f.node_down(9, 1).answer), errc::not_found);
}

TEST(node, what_was_declared_down_comes_back_as_another_incarnation_only) {
  fixture f;
  auto n = fixture::node_of(1);
  n.set_incarnation(2);
  f.register_node(n);
  f.create("web", 1);
  f.node_down(1, 2);
  EXPECT_EQ(code_of(f.register_node(n)), errc::conflict)
      << "it does not know yet, and would start what its older state assigns to it";
  EXPECT_EQ(f.node(1).state(), pb::NODE_DOWN);
  n.set_incarnation(3);
  EXPECT_EQ(code_of(f.register_node(n)), errc::ok);
  EXPECT_EQ(f.node(1).state(), pb::NODE_READY);
}

TEST(node, down_frees_its_vms_by_what_is_wanted_of_them) {
  fixture f;
  f.register_node(1);
  for (const char* name : {"run", "halt", "gone", "nap"}) {
    f.create(name, 1);
    f.observe(name, pb::PHASE_RUNNING);
  }
  f.act("halt", pb::VM_STOP);
  f.act("gone", pb::VM_DELETE);
  f.act("nap", pb::VM_PAUSE);
  f.node_down(1);

  EXPECT_EQ(f.vm("run").phase(), pb::PHASE_PENDING);
  EXPECT_EQ(f.vm("run").node(), 0);
  EXPECT_EQ(f.vm("run").generation(), 2);
  EXPECT_THAT(f.vm("run").reason(), HasSubstr("node 1 is down"));
  EXPECT_EQ(f.vm("halt").phase(), pb::PHASE_STOPPED);
  EXPECT_EQ(f.vm("halt").node(), 0);
  EXPECT_EQ(f.sm.vm("default", "gone"), nullptr) << "the node that had to clean up has nothing";
  EXPECT_EQ(f.vm("nap").phase(), pb::PHASE_PENDING);
  EXPECT_EQ(f.vm("nap").desired(), pb::DESIRED_PAUSED);
  EXPECT_EQ(f.node(1).allocated().vcpus(), 0);
  std::vector<std::string> waiting;
  for (const auto& vm : f.sm.pending_vms(vm_id{}, 10)) waiting.push_back(vm->spec().name());
  EXPECT_THAT(waiting, ElementsAre("run", "nap"));
  EXPECT_EQ(f.sm.pending_vms(vm_id{}, 1).size(), 1);
  const vm_id first{f.vm("run").id()};
  ASSERT_EQ(f.sm.pending_vms(first, 10).size(), 1) << "the rest, for a planner that takes turns";
  EXPECT_EQ(f.sm.pending_vms(first, 10).front()->spec().name(), "nap");
}

TEST(node, a_report_from_before_the_node_went_down_is_stale) {
  fixture f;
  f.register_node(1);
  f.create("web", 1);
  const auto report = f.one_of("web", pb::PHASE_RUNNING);
  f.node_down(1);
  EXPECT_EQ(f.report(1, report).lines().lines_size(), 1);
  EXPECT_EQ(f.vm("web").phase(), pb::PHASE_PENDING);
}

TEST(node, comes_back_from_down_by_registering) {
  fixture f;
  f.register_node(1);
  f.node_down(1);
  EXPECT_EQ(code_of(*f.node_down(1).answer), errc::ok) << "down twice is no harm";
  f.register_node(1, 2);
  EXPECT_EQ(f.node(1).state(), pb::NODE_READY);
}

TEST(node, another_disk_registers_only_when_the_former_life_is_down) {
  fixture f;
  auto n = fixture::node_of(1);
  n.set_disk(7);
  f.register_node(n);
  f.create("web", 1);
  n.set_incarnation(2);
  EXPECT_EQ(code_of(f.register_node(n)), errc::ok) << "the same disk sees what it runs";
  n.set_incarnation(3);
  n.set_disk(8);
  const auto refused = f.register_node(n);
  EXPECT_EQ(code_of(refused), errc::conflict);
  EXPECT_THAT(refused.message(), HasSubstr("another data directory"));
  EXPECT_EQ(f.node(1).incarnation(), 2);
  f.node_down(1, 2);
  EXPECT_EQ(f.vm("web").node(), 0);
  EXPECT_EQ(code_of(f.register_node(n)), errc::ok);
  EXPECT_EQ(f.node(1).disk(), 8);
}

TEST(node, a_removed_one_that_joins_again_on_another_disk_waits_for_the_end_of_its_lease) {
  fixture f;
  auto n = fixture::node_of(1);
  n.set_disk(7);
  f.register_node(n);
  f.create("web", 1);
  f.apply_bytes(removing(1), entry_kind::conf);
  f.apply_bytes(joining(1, "127.0.0.1:7001"), entry_kind::conf);
  n.set_incarnation(2);
  n.set_disk(8);
  EXPECT_EQ(code_of(f.register_node(n)), errc::conflict);
  f.node_down(1, 1);
  EXPECT_EQ(f.node(1).state(), pb::NODE_DOWN) << "a member again, so it has not left";
  EXPECT_EQ(code_of(f.register_node(n)), errc::ok);
}

TEST(node, of_a_version_that_named_no_disk_registers_with_one) {
  fixture f;
  auto n = fixture::node_of(1);
  f.register_node(n);
  n.set_incarnation(2);
  n.set_disk(7);
  EXPECT_EQ(code_of(f.register_node(n)), errc::ok);
}

TEST(node, cordon_keeps_vms_and_survives_going_down) {
  fixture f;
  f.register_node(1);
  f.create("web", 1);
  EXPECT_EQ(f.cordon(1).nodes().nodes(0).state(), pb::NODE_CORDONED);
  EXPECT_EQ(f.vm("web").node(), 1);
  EXPECT_EQ(code_of(f.create("db")), errc::unplaceable);
  f.node_down(1);
  f.register_node(1, 2);
  EXPECT_EQ(f.node(1).state(), pb::NODE_CORDONED);
  f.cordon(1, false);
  EXPECT_EQ(f.node(1).state(), pb::NODE_READY);
  EXPECT_EQ(code_of(f.create("db")), errc::ok);
  EXPECT_EQ(code_of(f.cordon(9)), errc::not_found);
}

TEST(node, a_cordon_that_changes_nothing_moves_no_version) {
  fixture f;
  f.register_node(1);
  const auto before = f.sm.inventory();
  f.cordon(1, false);
  EXPECT_EQ(f.sm.inventory(), before);
}

TEST(node, left_frees_its_vms_and_is_out_until_it_joins_again) {
  fixture f;
  f.register_node(1);
  f.register_node(2);
  f.create("web", 1);
  f.apply_bytes(removing(1), entry_kind::conf);
  EXPECT_EQ(code_of(*f.node_down(1).answer), errc::ok);
  EXPECT_EQ(f.node(1).state(), pb::NODE_LEFT);
  EXPECT_EQ(f.vm("web").phase(), pb::PHASE_PENDING);
  EXPECT_EQ(code_of(f.register_node(1)), errc::invalid_state);
  EXPECT_EQ(code_of(f.cordon(1)), errc::not_found);
  EXPECT_EQ(code_of(*f.node_down(1).answer), errc::invalid_state);
  f.apply_bytes(joining(1, "127.0.0.1:7001"), entry_kind::conf);
  EXPECT_EQ(f.node(1).state(), pb::NODE_JOINING);
  EXPECT_EQ(code_of(f.register_node(1)), errc::ok);
}

// ---------------------------------------------------------------- configuration entries

TEST(conf_entry, makes_a_joining_node_known_with_its_address) {
  fixture f;
  const auto r = f.apply_bytes(joining(3, "10.0.0.3:7001"), entry_kind::conf);
  EXPECT_EQ(code_of(*r.answer), errc::ok);
  EXPECT_THAT(r.changed.nodes, ElementsAre(node_id{3}));
  EXPECT_EQ(f.node(3).state(), pb::NODE_JOINING);
  EXPECT_EQ(f.node(3).address(), "10.0.0.3:7001");
  EXPECT_EQ(code_of(f.create("web")), errc::unplaceable);
}

TEST(conf_entry, updates_the_address_of_a_known_node_and_nothing_else) {
  fixture f;
  f.register_node(3);
  f.apply_bytes(joining(3, "10.0.0.9:1"), entry_kind::conf);
  EXPECT_EQ(f.node(3).address(), "10.0.0.9:1");
  EXPECT_EQ(f.node(3).state(), pb::NODE_READY);
  EXPECT_EQ(f.node(3).capacity().vcpus(), 8);
}

TEST(conf_entry, that_removes_a_node_without_a_lease_lets_it_leave) {
  fixture f;
  for (const std::uint64_t id : {1, 2, 3}) f.register_node(id);
  f.create("web", 1);
  f.node_down(1);
  f.apply_bytes(joining(4, "10.0.0.4:7001"), entry_kind::conf);
  f.apply_bytes(removing(1), entry_kind::conf);
  EXPECT_EQ(f.node(1).state(), pb::NODE_LEFT) << "nothing of it can run any more";
  f.apply_bytes(removing(4), entry_kind::conf);
  EXPECT_EQ(f.node(4).state(), pb::NODE_LEFT) << "nothing of it ever ran";
  EXPECT_EQ(f.sm.inventory()->sums.nodes, 2U);
  f.apply_bytes(removing(9), entry_kind::conf);
}

TEST(conf_entry, that_removes_a_living_node_waits_for_its_lease) {
  fixture f;
  for (const std::uint64_t id : {1, 2}) f.register_node(id);
  f.create("web", 1);
  f.apply_bytes(removing(1), entry_kind::conf);
  EXPECT_EQ(f.node(1).state(), pb::NODE_DRAINING);
  for (const bool cordon : {true, false}) {
    f.cordon(1, cordon);
    EXPECT_EQ(f.node(1).state(), pb::NODE_DRAINING);
  }
  EXPECT_EQ(f.vm("web").node(), 1) << "it may run there until the lease has ended";
  EXPECT_EQ(f.create("db").vm().node(), 2) << "and gets nothing new";
  EXPECT_EQ(f.sm.inventory()->sums.nodes, 1U) << "it is no member any more";
  EXPECT_EQ(f.sm.inventory()->sums.nodes_healthy, 1U);
  EXPECT_EQ(f.sm.inventory()->sums.nodes_leaving, 1U);
  EXPECT_EQ(f.sm.inventory()->sums.capacity.vcpus, f.node(2).capacity().vcpus());
  f.node_down(1);
  EXPECT_EQ(f.sm.inventory()->sums.nodes_leaving, 0U);
  EXPECT_EQ(f.node(1).state(), pb::NODE_LEFT);
  EXPECT_EQ(f.vm("web").node(), 0);
  EXPECT_THAT(f.vm("web").reason(), HasSubstr("node 1 was removed"));
}

TEST(conf_entry, that_adds_a_removed_node_again_makes_it_an_ordinary_one) {
  fixture f;
  f.register_node(1);
  f.apply_bytes(removing(1), entry_kind::conf);
  auto again = fixture::node_of(1);
  again.set_incarnation(2);
  f.register_node(again);
  EXPECT_TRUE(f.node(1).removed()) << "its process was started anew, which changes nothing";
  EXPECT_EQ(f.node(1).state(), pb::NODE_DRAINING);
  f.apply_bytes(joining(1, f.node(1).address()), entry_kind::conf);
  EXPECT_FALSE(f.node(1).removed());
  EXPECT_EQ(f.node(1).state(), pb::NODE_READY);
  f.node_down(1, 2);
  EXPECT_EQ(f.node(1).state(), pb::NODE_DOWN);
}

TEST(conf_entry, that_admits_a_witness_with_another_disk_keeps_those_before) {
  fixture f;
  const auto former = [&] {
    const auto n = f.node(3);
    return std::vector<std::uint64_t>(n.former_disks().begin(), n.former_disks().end());
  };
  f.apply_bytes(joining(3, "10.0.0.3:1", 31), entry_kind::conf);
  EXPECT_EQ(f.node(3).disk(), 31);
  EXPECT_THAT(former(), ElementsAre());
  f.apply_bytes(joining(3, "10.0.0.3:1", 31), entry_kind::conf);
  EXPECT_THAT(former(), ElementsAre()) << "asked again";
  f.apply_bytes(joining(3, "10.0.0.3:1", 32), entry_kind::conf);
  EXPECT_EQ(f.node(3).disk(), 32) << "at the same address";
  EXPECT_THAT(former(), ElementsAre(31));
  f.apply_bytes(joining(3, "10.0.0.3:2"), entry_kind::conf);
  EXPECT_EQ(f.node(3).disk(), 32) << "another address is no other disk";
  f.apply_bytes(removing(3), entry_kind::conf);
  f.apply_bytes(joining(3, "10.0.0.3:3", 33), entry_kind::conf);
  EXPECT_THAT(former(), ElementsAre(31, 32)) << "also of who was removed meanwhile";
  f.apply_bytes(joining(3, "10.0.0.3:3", 31), entry_kind::conf);
  EXPECT_THAT(former(), ElementsAre(32, 33)) << "the present one is no former one";
  for (std::uint64_t disk = 100; disk < 150; ++disk)
    f.apply_bytes(joining(3, "10.0.0.3:3", disk), entry_kind::conf);
  EXPECT_EQ(former().size(), limits::former_disks_max);
  EXPECT_EQ(former().back(), 148);
}

TEST(conf_entry, without_context_or_with_garbage_only_advances_the_index) {
  fixture f;
  f.apply_bytes("", entry_kind::conf);
  f.apply_bytes("\xff\xff\xff", entry_kind::conf);
  pb::ConfChange change;
  change.set_context("\xff\xff");
  f.apply_bytes(change.SerializeAsString(), entry_kind::conf);
  EXPECT_EQ(f.sm.applied_index(), log_index{3});
  EXPECT_EQ(f.sm.size().nodes, 0);
}

// ---------------------------------------------------------------- entries that make no sense

TEST(entry, an_empty_one_advances_index_and_term) {
  fixture f;
  const auto r = f.sm.apply(entry{term{7}, log_index{1}, entry_kind::normal, {}});
  EXPECT_EQ(code_of(*r.answer), errc::ok);
  EXPECT_EQ(f.sm.applied_index(), log_index{1});
  EXPECT_EQ(f.sm.applied_term(), term{7});
}

TEST(entry, garbage_and_unknown_commands_are_answered_alike_on_every_machine) {
  pb::Command unknown;
  unknown.set_client("c");
  unknown.set_seq(1);
  const std::string rows[] = {"\xff\xff\xff\xff", "\x08", std::string(1000, '\0'),
                              unknown.SerializeAsString(), std::string{"\xa2\x06\x00", 3}};
  fixture a;
  fixture b;
  for (const auto& bytes : rows) {
    const auto ra = a.apply_bytes(bytes);
    const auto rb = b.apply_bytes(bytes);
    EXPECT_EQ(code_of(*ra.answer), errc::internal);
    EXPECT_EQ(ra.answer->SerializeAsString(), rb.answer->SerializeAsString());
  }
  EXPECT_EQ(a.sm.digest(), b.sm.digest());
  EXPECT_EQ(a.sm.digest(), a.sm.digest_from_scratch());
}

TEST(entry, one_that_is_out_of_order_is_a_programming_error) {
  fixture f;
  EXPECT_DEATH(f.sm.apply(entry{term{1}, log_index{2}, entry_kind::normal, {}}), "2 vs 1");
}

// ---------------------------------------------------------------- status, digest

TEST(status, fills_in_members_and_totals) {
  fixture f;
  f.register_node(1);
  f.register_node(2);
  f.register_node(3);
  f.create("web", 1);
  f.observe("web", pb::PHASE_RUNNING);
  f.node_down(2);
  f.apply_bytes(removing(3), entry_kind::conf);
  f.node_down(3);
  pb::Query q;
  q.mutable_cluster_status();
  const auto a = f.ask(q);
  const auto& s = a.status();
  EXPECT_EQ(s.applied_index(), a.index());
  ASSERT_EQ(s.members_size(), 2);
  EXPECT_EQ(s.members(0).id(), 1);
  EXPECT_EQ(s.members(0).address(), "127.0.0.1:7001");
  EXPECT_EQ(s.members(0).state(), "ready");
  EXPECT_EQ(s.members(0).version(), "0.1");
  EXPECT_EQ(s.members(1).state(), "down");
  EXPECT_EQ(s.summary().nodes_total(), 2);
  EXPECT_EQ(s.summary().nodes_healthy(), 1);
  EXPECT_EQ(s.summary().total().vcpus(), 8) << "of healthy nodes";
  EXPECT_EQ(s.summary().used().memory_bytes(), 256 * MiB);
  EXPECT_EQ(s.summary().vms_by_phase(pb::PHASE_RUNNING), 1);
}

TEST(digest, is_given_for_the_applied_index_only) {
  fixture f;
  f.put("k", "v");
  pb::Query q;
  q.mutable_digest();
  const auto now = f.ask(q);
  EXPECT_EQ(now.digest().index(), 1);
  EXPECT_EQ(now.digest().digest(), to_hex(f.sm.digest()));
  EXPECT_EQ(now.digest().digest().size(), 32);
  q.mutable_digest()->set_index(1);
  EXPECT_EQ(code_of(f.ask(q)), errc::ok);
  q.mutable_digest()->set_index(2);
  EXPECT_EQ(code_of(f.ask(q)), errc::unavailable);
}

TEST(digest, differs_when_one_byte_differs_and_returns_with_the_content) {
  fixture a;
  fixture b;
  a.put("k", "v");
  b.put("k", "w");
  EXPECT_NE(a.sm.digest(), b.sm.digest());
  // Swapped values are another state: a digest of unordered parts must not miss it.
  fixture c;
  fixture d;
  c.put("x", "1");
  c.put("y", "2");
  d.put("y", "1");
  d.put("x", "2");
  EXPECT_NE(c.sm.digest(), d.sm.digest());
}

TEST(query, what_is_not_in_the_state_is_unsupported) {
  fixture f;
  pb::Query q;
  EXPECT_EQ(code_of(f.ask(q)), errc::unsupported);
  q.mutable_cache_stats();
  EXPECT_EQ(code_of(f.ask(q)), errc::unsupported);
  q.mutable_vm_logs();
  EXPECT_EQ(code_of(f.ask(q)), errc::unsupported);
  q.mutable_node_show()->set_id(5);
  EXPECT_EQ(code_of(f.ask(q)), errc::not_found);
}

}  // namespace
}  // namespace blixard::state
