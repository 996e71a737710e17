// Claims about rankings: moved on by what has changed they say what a full scan says, to the byte,
// and a burst of placements needs a full scan hardly ever.
#include "runtime/state/ranking.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/state/helpers.hpp"

namespace blixard::state {
namespace {

using testing::fixture;
using testing::GiB;

constexpr plan_options without_reasons{.listed_max = 8, .rejected_max = 0};

pb::VmSpec request(pb::Strategy strategy) {
  auto s = fixture::spec_of("web");
  s.set_memory_bytes(GiB);
  s.mutable_placement()->set_strategy(strategy);
  fill_defaults(s);
  return s;
}

/// A fleet that changes at random. The changes need not make sense, placement is to follow them.
class fleet_of {
 public:
  fleet_of(std::size_t nodes, std::uint64_t seed) : nodes_(nodes), random_(seed) {
    for (std::uint64_t id = 1; id <= nodes; ++id) change_node(id);
    move();
  }

  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  std::shared_ptr<const inventory> publish() const {
    return std::make_shared<const inventory>(in_);
  }
  /// One placement of one VCPU and 1 GiB.
  void place(node_id where) {
    auto n = *in_.find(where);
    n.allocated += {1, GiB, 0};
    in_.nodes.put(std::move(n));
    in_.round_robin = where;
    move();
  }
  void change() {
    const auto what = below(100);
    const std::uint64_t many = what == 0 ? 2 * rescored_max : 1 + below(3);
    for (std::uint64_t i = 0; i < many; ++i) change_something();
    move();
  }

 private:
  void move() { in_.version = in_.version.next(); }

  void change_something() {
    const auto what = below(10);
    if (what < 4)
      change_amounts(some_node());
    else if (what < 7)
      change_group(some_node());
    else if (what < 9)
      change_node(some_node());
    else
      in_.round_robin = node_id{below(nodes_ + 2)};
    if (below(30) == 0) change_node(++nodes_);  // joins
  }
  std::uint64_t some_node() { return 1 + below(nodes_); }

  void change_amounts(std::uint64_t id) {
    auto n = *in_.find(node_id{id});
    n.allocated = {below(9), below(9) * GiB, below(2) * GiB};
    ++n.vms[below(phase_count)];  // nobody is to care
    in_.nodes.put(std::move(n));
  }
  void change_group(std::uint64_t id) {
    const auto group = group_name(below(4) == 0 ? "other" : "default", "g");
    if (below(3) == 0)
      in_.groups.erase(group_probe{group, node_id{id}});
    else
      in_.groups.put({group, node_id{id}, static_cast<std::uint32_t>(1 + below(3))});
  }
  void change_node(std::uint64_t id) {
    auto facts = std::make_shared<pb::Node>(fixture::node_of(id, 4 + below(8)));
    facts->set_state(below(4) != 0 ? pb::NODE_READY : static_cast<pb::NodeState>(below(6)));
    facts->set_removed(below(50) == 0);
    auto& zone = *facts->add_labels();
    zone.set_key("zone");
    zone.set_value(std::to_string(below(3)));
    const auto* old = in_.find(node_id{id});
    node_usage n = old == nullptr ? node_usage{} : *old;
    n.id = node_id{id};
    n.capacity = from_proto(facts->capacity());
    n.facts = std::move(facts);
    in_.nodes.put(std::move(n));
  }

  inventory in_;
  std::uint64_t nodes_;
  std::mt19937_64 random_;
};

/// One request that is asked again and again: as the cache does it.
struct follower {
  pb::VmSpec spec;
  plan_options options;
  std::unique_ptr<ranking> known;
  int scans = 0;

  const pb::Decision& ask(const std::shared_ptr<const inventory>& in) {
    if (known && known->advance(in)) return known->decision();
    ++scans;
    known = std::make_unique<ranking>(in, spec, options);
    return known->decision();
  }
};

/// Requests of every kind that there is.
std::vector<follower> all_kinds(const std::vector<std::uint64_t>& gave_up) {
  std::vector<follower> out;
  const auto add = [&](pb::VmSpec spec, plan_options options) {
    out.push_back({std::move(spec), options, nullptr});
  };
  for (const auto strategy :
       {pb::STRATEGY_MOST_AVAILABLE, pb::STRATEGY_LEAST_AVAILABLE, pb::STRATEGY_ROUND_ROBIN}) {
    const auto plain = request(strategy);
    auto one = without_reasons;
    add(plain, one);
    one.seed = 77;
    add(plain, one);
    one.resident = node_id{3};
    one.avoid = gave_up;
    one.listed_max = 3;
    add(plain, one);
    for (const bool soft : {false, true}) {
      auto grouped = plain;
      grouped.mutable_placement()->set_anti_affinity_group("g");
      grouped.mutable_placement()->set_soft(soft);
      grouped.mutable_placement()->set_max_per_node(2);
      add(grouped, without_reasons);
      auto zoned = grouped;
      auto& where = *zoned.mutable_placement()->add_constraints();
      where.set_key("zone");
      where.set_value("1");
      add(zoned, {.avoid = gave_up, .listed_max = 0, .rejected_max = 0});
    }
    add(plain, {.listed_max = 8, .rejected_max = 2});  // reasons are wanted: a scan each time
  }
  auto pinned = request(pb::STRATEGY_MANUAL);
  pinned.mutable_placement()->set_node(2);
  add(pinned, without_reasons);
  auto large = request(pb::STRATEGY_MOST_AVAILABLE);
  large.set_vcpus(11);  // fits now and then, in few places
  add(large, without_reasons);
  return out;
}

TEST(ranking, says_what_a_full_scan_says_after_any_changes) {
  const std::vector<std::uint64_t> gave_up{2, 5, 9};
  for (const std::size_t nodes : {3, 40, 1500}) {
    for (std::uint64_t seed = 0; seed < (nodes < 100 ? 20U : 2U); ++seed) {
      fleet_of fleet(nodes, seed);
      auto all = all_kinds(gave_up);
      int asked = 0;
      int scans = 0;
      for (int step = 0; step < 200; ++step) {
        fleet.change();
        const auto in = fleet.publish();
        for (std::size_t i = 0; i < all.size(); ++i) {
          if (fleet.below(3) == 0) continue;  // falls behind by some versions
          auto& one = all[i];
          ++asked;
          ASSERT_EQ(one.ask(in).SerializeAsString(),
                    plan(*in, one.spec, one.options).SerializeAsString())
              << nodes << " nodes, seed " << seed << ", step " << step << ", request " << i << "\n"
              << one.known->decision().ShortDebugString();
        }
      }
      for (const auto& one : all) scans += one.options.rejected_max == 0 ? one.scans : 0;
      EXPECT_LT(scans, asked / 2) << "most moved on: " << nodes << " nodes, seed " << seed;
    }
  }
}

TEST(ranking, of_a_burst_of_placements_of_one_shape_hardly_one_needs_a_full_scan) {
  constexpr int placements = 3000;
  for (const auto strategy :
       {pb::STRATEGY_MOST_AVAILABLE, pb::STRATEGY_LEAST_AVAILABLE, pb::STRATEGY_ROUND_ROBIN}) {
    for (const std::size_t nodes : {400, 2000}) {
      fleet_of fleet(nodes, 1);
      follower one{request(strategy), without_reasons, nullptr};
      for (int i = 0; i < placements; ++i) {
        const auto in = fleet.publish();
        const auto& decision = one.ask(in);
        if (decision.node() == 0) break;  // full
        if (i % 50 == 0) {
          ASSERT_EQ(decision.SerializeAsString(),
                    plan(*in, one.spec, one.options).SerializeAsString());
        }
        fleet.place(node_id{decision.node()});
      }
      EXPECT_LE(one.scans,
                nodes <= ranked_max ? 2 : placements / (static_cast<int>(ranked_max) / 2))
          << nodes << " nodes, strategy " << strategy;
    }
  }
}

TEST(ranking, moves_on_between_inventories_that_share_nothing) {
  fleet_of one(50, 1);
  fleet_of other(50, 2);
  ranking known(one.publish(), request(pb::STRATEGY_MOST_AVAILABLE), without_reasons);
  const auto in = other.publish();
  ASSERT_TRUE(known.advance(in));
  EXPECT_EQ(known.decision().SerializeAsString(),
            plan(*in, request(pb::STRATEGY_MOST_AVAILABLE), without_reasons).SerializeAsString());
}

TEST(ranking, does_not_move_on_where_more_has_changed_than_a_scan_is_worth) {
  fleet_of one(rescored_max + 1, 1);
  fleet_of other(rescored_max + 1, 2);
  ranking known(one.publish(), request(pb::STRATEGY_MOST_AVAILABLE), without_reasons);
  EXPECT_FALSE(known.advance(other.publish()));
}

}  // namespace
}  // namespace blixard::state
