// Claims about placement: feasibility, scores, words.
#include "runtime/state/placement.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/unit/state/helpers.hpp"

namespace blixard::state {
namespace {

using ::testing::ElementsAre;
using testing::fixture;
using testing::GiB;
using testing::MiB;

struct used {
  std::uint64_t vcpus = 0;
  std::uint64_t memory = 0;
};

/// An inventory made up by hand.
struct world {
  inventory in;

  pb::Node& node(std::uint64_t id, used u = {}) {
    auto facts = std::make_shared<pb::Node>(fixture::node_of(id));
    facts->set_state(pb::NODE_READY);
    node_usage n;
    n.id = node_id{id};
    n.capacity = from_proto(facts->capacity());
    n.allocated = {u.vcpus, u.memory, 0};
    n.facts = facts;
    in.nodes.put(n);
    return *facts;
  }
  void group(std::string name, std::uint64_t node, std::uint32_t vms) {
    in.groups.put({group_name("default", name), node_id{node}, vms});
  }
};

pb::VmSpec request(std::uint32_t vcpus = 1, std::uint64_t memory = GiB) {
  auto s = fixture::spec_of("web");
  s.set_vcpus(vcpus);
  s.set_memory_bytes(memory);
  fill_defaults(s);
  return s;
}

pb::VmSpec with(pb::Strategy strategy, std::uint32_t vcpus = 1) {
  auto s = request(vcpus);
  s.mutable_placement()->set_strategy(strategy);
  return s;
}

std::vector<std::uint64_t> order(const pb::Decision& d) {
  std::vector<std::uint64_t> out;
  for (const auto& c : d.candidates()) out.push_back(c.node());
  return out;
}

std::string reasons(const pb::Decision& d, std::uint64_t node) {
  std::string out;
  for (const auto& r : d.rejected()) {
    if (r.node() != node) continue;
    for (const auto& text : r.reasons()) out += (out.empty() ? "" : "; ") + text;
  }
  return out;
}

// ---------------------------------------------------------------- strategies

TEST(plan, most_available_prefers_the_emptiest_node) {
  world w;
  w.node(1, {4, 4 * GiB});
  w.node(2, {0, 0});
  w.node(3, {2, 2 * GiB});
  const auto d = plan(w.in, with(pb::STRATEGY_MOST_AVAILABLE));
  EXPECT_EQ(d.node(), 2);
  EXPECT_THAT(order(d), ElementsAre(2, 3, 1));
  EXPECT_GT(d.candidates(0).score(), d.candidates(1).score());
  // 7/8 of the vcpus, 7/8 of the memory and all of the disk stay free.
  EXPECT_NEAR(d.candidates(0).score(), (0.875 + 0.875 + 1) / 3, 1e-5);
  EXPECT_TRUE(d.fix().empty());
}

TEST(plan, least_available_fills_the_fullest_node_that_fits) {
  world w;
  w.node(1, {4, 4 * GiB});
  w.node(2, {0, 0});
  w.node(3, {8, 0});  // full
  const auto d = plan(w.in, with(pb::STRATEGY_LEAST_AVAILABLE));
  EXPECT_THAT(order(d), ElementsAre(1, 2));
  EXPECT_NEAR(d.candidates(0).score(), 5.0 / 8, 1e-5) << "the dominant share after placement";
}

TEST(plan, least_available_counts_the_scarcest_resource) {
  world w;
  w.node(1, {0, 6 * GiB});  // memory dominates: 7/8
  w.node(2, {5, 0});        // vcpus dominate: 6/8
  EXPECT_EQ(plan(w.in, with(pb::STRATEGY_LEAST_AVAILABLE)).node(), 1);
}

TEST(plan, round_robin_takes_turns_by_id_and_skips_what_does_not_fit) {
  fixture f;
  for (std::uint64_t id : {1, 2, 3, 4}) f.register_node(id);
  f.cordon(3);
  std::vector<std::uint64_t> turns;
  for (int i = 0; i < 5; ++i) {
    auto s = with(pb::STRATEGY_ROUND_ROBIN);
    s.set_name("vm" + std::to_string(i));
    turns.push_back(f.create(s).vm().node());
  }
  EXPECT_THAT(turns, ElementsAre(1, 2, 4, 1, 2));
}

TEST(plan, manual_takes_the_named_node_or_none) {
  world w;
  w.node(1);
  w.node(2, {8, 0});
  auto s = with(pb::STRATEGY_MANUAL);
  s.mutable_placement()->set_node(1);
  EXPECT_EQ(plan(w.in, s).node(), 1);
  s.mutable_placement()->set_node(2);
  const auto d = plan(w.in, s);
  EXPECT_EQ(d.node(), 0);
  EXPECT_EQ(reasons(d, 1), "the VM is pinned to node 2");
  EXPECT_EQ(reasons(d, 2), "needs 1 vcpu, 0 of 8 vcpus free");
  s.mutable_placement()->set_node(0);
  EXPECT_EQ(reasons(plan(w.in, s), 1), "manual placement names no node");
}

TEST(plan, equal_nodes_are_taken_by_id_or_as_the_seed_says) {
  world w;
  for (std::uint64_t id = 1; id <= 16; ++id) w.node(id);
  EXPECT_EQ(plan(w.in, request()).node(), 1);
  std::set<std::uint64_t> chosen;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    plan_options o;
    o.seed = seed;
    const auto d = plan(w.in, request(), o);
    EXPECT_EQ(d.node(), plan(w.in, request(), o).node()) << "the same seed, the same node";
    chosen.insert(d.node());
  }
  EXPECT_GT(chosen.size(), 5);
}

// ---------------------------------------------------------------- feasibility, in words

TEST(plan, says_every_reason_against_a_node_with_numbers) {
  world w;
  auto& n = w.node(1, {7, 7 * GiB + 512 * MiB});
  n.clear_backends();
  n.add_backends(pb::BACKEND_PROCESS);
  n.set_state(pb::NODE_CORDONED);
  auto s = request(2, 2 * GiB);
  s.set_disk_bytes(200 * GiB);
  s.set_backend(pb::BACKEND_QEMU);
  auto* zone = s.mutable_placement()->add_constraints();
  zone->set_key("zone");
  zone->set_value("eu");
  const auto d = plan(w.in, s);
  EXPECT_EQ(d.node(), 0);
  ASSERT_EQ(d.rejected_size(), 1);
  EXPECT_THAT(
      d.rejected(0).reasons(),
      ElementsAre("is cordoned", "needs backend qemu, the node has process",
                  "needs label zone=eu, the node has no zone", "needs 2 vcpus, 1 of 8 vcpus free",
                  "needs 2 GiB memory, 512 MiB of 8 GiB free",
                  "needs 200 GiB disk, 100 GiB of 100 GiB free"));
}

TEST(plan, uses_ready_nodes_only) {
  const std::pair<pb::NodeState, const char*> rows[] = {
      {pb::NODE_JOINING, "is joining and has not registered yet"},
      {pb::NODE_CORDONED, "is cordoned"},
      {pb::NODE_DRAINING, "is draining"},
      {pb::NODE_DOWN, "is down: its lease expired"},
  };
  for (const auto& [state, words] : rows) {
    world w;
    w.node(1).set_state(state);
    EXPECT_EQ(reasons(plan(w.in, request()), 1), words);
    EXPECT_FALSE(fits(w.in, request(), node_id{1}));
  }
  world w;
  auto& leaving = w.node(1);
  leaving.set_state(pb::NODE_DRAINING);
  leaving.set_removed(true);
  EXPECT_EQ(reasons(plan(w.in, request()), 1),
            "is leaving: it was removed, and may run VMs until its lease has ended (about 8 s)");
  w.node(1).set_state(pb::NODE_LEFT);
  EXPECT_EQ(plan(w.in, request()).rejected_size(), 0) << "it is no node of the cluster any more";
  EXPECT_FALSE(fits(w.in, request(), node_id{1}));
}

TEST(plan, says_of_a_node_that_never_registered_only_that) {
  world w;
  pb::Node facts;
  facts.set_id(1);
  node_usage n;
  n.id = node_id{1};
  n.facts = std::make_shared<const pb::Node>(facts);
  w.in.nodes.put(n);
  EXPECT_EQ(reasons(plan(w.in, request()), 1), "is joining and has not registered yet");
}

TEST(plan, label_constraints_require_or_forbid) {
  struct {
    const char* what;
    const char* value;
    bool exists;
    bool negate;
    std::vector<std::uint64_t> fit;
  } const rows[] = {
      {"zone=eu", "eu", false, false, {1}},
      {"zone is set", "", true, false, {1, 2}},
      {"not zone=eu", "eu", false, true, {2, 3}},
      {"zone is not set", "", true, true, {3}},
  };
  for (const auto& row : rows) {
    world w;
    auto* eu = w.node(1).add_labels();
    eu->set_key("zone");
    eu->set_value("eu");
    auto* us = w.node(2).add_labels();
    us->set_key("zone");
    us->set_value("us");
    w.node(3);
    auto s = request();
    auto* c = s.mutable_placement()->add_constraints();
    c->set_key("zone");
    c->set_value(row.value);
    c->set_exists(row.exists);
    c->set_negate(row.negate);
    EXPECT_EQ(order(plan(w.in, s)), row.fit) << row.what;
  }
}

TEST(plan, any_backend_is_enough_where_none_is_asked_for) {
  world w;
  w.node(1).clear_backends();
  auto& n = w.node(2);
  n.clear_backends();
  n.add_backends(pb::BACKEND_PROCESS);
  const auto d = plan(w.in, request());
  EXPECT_EQ(d.node(), 2);
  EXPECT_EQ(reasons(d, 1), "has no backend that can run VMs");
}

TEST(plan, a_hard_group_is_a_limit_per_node_and_a_soft_one_a_preference) {
  world w;
  w.node(1);
  w.node(2, {4, 4 * GiB});
  w.group("db", 1, 1);
  auto s = request();
  s.mutable_placement()->set_anti_affinity_group("db");
  auto d = plan(w.in, s);
  EXPECT_THAT(order(d), ElementsAre(2));
  EXPECT_EQ(reasons(d, 1), "anti-affinity group 'db' allows 1 per node, 1 here");
  s.mutable_placement()->set_max_per_node(2);
  EXPECT_THAT(order(plan(w.in, s)), ElementsAre(1, 2));
  s.mutable_placement()->set_max_per_node(0);
  s.mutable_placement()->set_soft(true);
  EXPECT_THAT(order(plan(w.in, s)), ElementsAre(2, 1));
  w.group("db", 2, 3);
  EXPECT_THAT(order(plan(w.in, s)), ElementsAre(1, 2)) << "fewest members of the group first";
  s.set_tenant("other");
  EXPECT_THAT(order(plan(w.in, s)), ElementsAre(1, 2)) << "another tenant's group";
}

TEST(plan, a_node_that_gave_the_vm_up_is_the_last_resort) {
  world w;
  w.node(1);
  w.node(2, {7, 7 * GiB});
  const std::vector<std::uint64_t> first{1};
  plan_options o;
  o.avoid = first;
  EXPECT_THAT(order(plan(w.in, request(), o)), ElementsAre(2, 1));
  w.node(2, {8, 8 * GiB});
  EXPECT_EQ(plan(w.in, request(), o).node(), 1) << "no other one fits";
}

TEST(plan, of_nodes_that_all_gave_the_vm_up_the_one_whose_turn_is_longest_ago_is_next) {
  world w;
  w.node(1);
  w.node(2, {1, 1 * GiB});
  w.node(3, {7, 7 * GiB});
  const std::vector<std::uint64_t> all{3, 1, 2};
  EXPECT_THAT(order(plan(w.in, request(), {.avoid = all})), ElementsAre(3, 1, 2));
}

TEST(plan, says_how_many_nodes_fit_however_few_are_listed) {
  world w;
  for (std::uint64_t id = 1; id <= 5; ++id) w.node(id);
  w.node(6, {8, 8 * GiB});
  EXPECT_EQ(plan(w.in, request(), {.listed_max = 1}).fitting(), 5U);
}

TEST(plan, a_node_that_is_allocated_beyond_its_capacity_has_nothing_free) {
  world w;
  w.node(1, {20, 0});  // it registered again with less
  EXPECT_EQ(reasons(plan(w.in, request()), 1), "needs 1 vcpu, 0 of 8 vcpus free");
}

TEST(plan, exactly_what_is_free_fits_and_one_more_does_not) {
  world w;
  w.node(1, {7, 7 * GiB});
  EXPECT_EQ(plan(w.in, request(1, GiB)).node(), 1);
  EXPECT_EQ(plan(w.in, request(1, GiB + 1)).node(), 0);
  EXPECT_EQ(plan(w.in, request(2, GiB)).node(), 0);
}

TEST(plan, fits_says_the_same_as_the_list_of_candidates) {
  world w;
  w.node(1, {7, 0});
  w.node(2).set_state(pb::NODE_DOWN);
  w.node(3);
  const auto s = request(2);
  const auto d = plan(w.in, s);
  for (std::uint64_t id = 1; id <= 4; ++id) {
    const bool listed = std::ranges::count(order(d), id) == 1;
    EXPECT_EQ(fits(w.in, s, node_id{id}), listed) << id;
  }
}

TEST(plan, lists_can_be_cut_without_another_choice) {
  world w;
  for (std::uint64_t id = 1; id <= 10; ++id) w.node(id, {id % 2 == 0 ? 8U : 1U, 0});
  plan_options o;
  o.listed_max = o.rejected_max = 2;
  const auto d = plan(w.in, request(), o);
  EXPECT_EQ(d.candidates_size(), 2);
  EXPECT_EQ(d.rejected_size(), 2);
  EXPECT_EQ(d.node(), plan(w.in, request()).node());
}

// ---------------------------------------------------------------- the cheapest fix

TEST(fix, names_the_least_effort) {
  struct {
    const char* what;
    void (*build)(world&);
    const char* fix;
  } const rows[] = {
      {"no node at all", [](world&) {}, "add a node: none is registered"},
      {"a cordon before missing memory",
       [](world& w) {
         w.node(1, {0, 7 * GiB});
         w.node(2).set_state(pb::NODE_CORDONED);
       },
       "uncordon node 2"},
      {"the smaller shortage",
       [](world& w) {
         w.node(1, {0, 7 * GiB});
         w.node(2, {0, 6 * GiB + 512 * MiB});
       },
       "free 512 MiB memory on node 2 or ask for at most 1.5 GiB memory"},
      {"nothing free: no point in asking for less",
       [](world& w) {
         w.node(1, {0, 8 * GiB});
       },
       "free 2 GiB memory on node 1"},
      {"one reason before two",
       [](world& w) {
         w.node(1, {8, 8 * GiB});
         w.node(2, {0, 8 * GiB});
       },
       "free 2 GiB memory on node 2"},
      {"a node that is down is the last", [](world& w) { w.node(1).set_state(pb::NODE_DOWN); },
       "bring node 1 back"},
      {"two reasons",
       [](world& w) {
         w.node(1, {8, 0}).set_state(pb::NODE_CORDONED);
       },
       "uncordon node 1, and free 1 vcpu on node 1"},
  };
  for (const auto& row : rows) {
    world w;
    row.build(w);
    EXPECT_EQ(plan(w.in, request(1, 2 * GiB)).fix(), row.fix) << row.what;
  }
}

TEST(fix, of_a_request_that_no_node_could_ever_take) {
  world w;
  w.node(1, {0, 6 * GiB});
  EXPECT_EQ(plan(w.in, request(1, 16 * GiB)).fix(),
            "add a node with at least 16 GiB memory or ask for at most 2 GiB memory");
}

TEST(fix, of_groups_labels_backends_and_pins) {
  world w;
  w.node(1);
  w.group("db", 1, 1);
  auto s = request();
  s.mutable_placement()->set_anti_affinity_group("db");
  EXPECT_EQ(plan(w.in, s).fix(), "allow 2 per node of anti-affinity group 'db' or add a node");
  s = request();
  s.mutable_placement()->add_constraints()->set_key("zone");
  s.mutable_placement()->mutable_constraints(0)->set_value("eu");
  EXPECT_EQ(plan(w.in, s).fix(), "give node 1 label zone=eu or drop that constraint");
  s = request();
  s.mutable_placement()->set_node(9);
  EXPECT_EQ(plan(w.in, s).fix(), "pin the VM to a node of the cluster: node 9 is not known");
  w.node(1).clear_backends();
  EXPECT_EQ(plan(w.in, request()).fix(), "start node 1 with --backend qemu");
}

// ---------------------------------------------------------------- shapes

TEST(shape, is_equal_exactly_for_requests_that_are_placed_alike) {
  const auto base = request();
  const auto shape = shape_of(base, {});
  auto s = base;
  s.set_name("another");
  s.set_priority(900);
  s.add_labels()->set_key("x");
  s.mutable_restart()->set_max_restarts(9);
  EXPECT_EQ(shape_of(s, {}), shape);
  void (*const changes[])(pb::VmSpec&) = {
      [](pb::VmSpec& v) { v.set_tenant("t"); },
      [](pb::VmSpec& v) { v.set_vcpus(2); },
      [](pb::VmSpec& v) { v.set_memory_bytes(5); },
      [](pb::VmSpec& v) { v.set_disk_bytes(5); },
      [](pb::VmSpec& v) { v.set_backend(pb::BACKEND_QEMU); },
      [](pb::VmSpec& v) { v.mutable_placement()->set_strategy(pb::STRATEGY_ROUND_ROBIN); },
      [](pb::VmSpec& v) { v.mutable_placement()->set_node(2); },
      [](pb::VmSpec& v) { v.mutable_placement()->set_soft(true); },
  };
  for (const auto change : changes) {
    s = base;
    change(s);
    EXPECT_NE(shape_of(s, {}), shape);
  }
  const std::vector<std::uint64_t> one{1};
  const std::vector<std::uint64_t> both{1, 2};
  const std::vector<std::uint64_t> other_way{2, 1};
  EXPECT_NE(shape_of(base, {.avoid = one}), shape);
  EXPECT_NE(shape_of(base, {.avoid = both}), shape_of(base, {.avoid = one}));
  EXPECT_NE(shape_of(base, {.avoid = both}), shape_of(base, {.avoid = other_way}));
  EXPECT_NE(shape_of(base, {.resident = node_id{1}}), shape);
  EXPECT_NE(shape_of(base, {.seed = 1}), shape);
  EXPECT_NE(shape_of(base, {.listed_max = 1}), shape);
  EXPECT_NE(shape_of(base, {.rejected_max = 1}), shape);
}

// ---------------------------------------------------------------- summaries

TEST(summary, of_a_node_counts_only_its_own) {
  fixture f;
  f.register_node(1);
  f.register_node(2);
  f.create("a", 1);
  f.create("b", 2);
  f.observe("a", pb::PHASE_RUNNING);
  pb::Summary s;
  ASSERT_TRUE(summarize(*f.sm.inventory(), node_id{1}, s));
  EXPECT_EQ(s.nodes_total(), 1);
  EXPECT_EQ(s.nodes_healthy(), 1);
  EXPECT_EQ(s.used().vcpus(), 1);
  EXPECT_EQ(s.vms_by_phase(pb::PHASE_RUNNING), 1);
  EXPECT_EQ(s.vms_by_phase(pb::PHASE_SCHEDULED), 0);
  EXPECT_EQ(s.at_index(), f.sm.inventory()->summary_version.value());
  EXPECT_FALSE(summarize(*f.sm.inventory(), node_id{9}, s));
}

}  // namespace
}  // namespace blixard::state
