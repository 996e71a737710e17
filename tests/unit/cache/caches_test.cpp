// Claims about the three caches: never different from what they stand for.
#include "runtime/cache/caches.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "tests/unit/state/random_log.hpp"

namespace blixard::cache {
namespace {

using state::machine;
using state::testing::fixture;
using state::testing::random_log;
using ::testing::ElementsAre;

pb::VmSpec shape(random_log& random) {
  auto s = fixture::spec_of("vm" + std::to_string(random.below(1000)));
  s.set_vcpus(static_cast<std::uint32_t>(1 + random.below(3)));
  s.set_memory_bytes((1 + random.below(3)) * state::testing::GiB);
  s.mutable_placement()->set_strategy(static_cast<pb::Strategy>(random.below(3)));
  if (random.below(3) == 0) s.mutable_placement()->set_anti_affinity_group("g");
  state::fill_defaults(s);
  return s;
}

using inventory_ptr = std::shared_ptr<const state::inventory>;

/// The decision, planned on the spot where the cache has none.
pb::Decision decide(placement_cache& cache, const inventory_ptr& in, const pb::VmSpec& spec,
                    const state::plan_options& options, std::uint64_t now_ns) {
  const auto answer = cache.ask(in, spec, options, 1, now_ns);
  if (const auto* known = std::get_if<const pb::Decision*>(&answer)) return **known;
  const auto& job = std::get<placement_cache::job>(answer);
  const auto found = job->run();
  EXPECT_THAT(cache.finish(*job, found, now_ns), ElementsAre(1));
  return found->decision();
}

/// As the node asks for a `vm create`.
constexpr state::plan_options for_a_create{.listed_max = 8, .rejected_max = 0};

TEST(placement_cache, is_never_different_from_a_full_scan) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    random_log log(seed);
    machine sm;
    placement_cache cache;
    std::uint64_t now = 0;
    for (int i = 0; i < 300; ++i) {
      sm.apply(log.next(sm));
      const auto in = sm.inventory();
      for (int k = 0; k < 12; ++k) {
        now += 100'000'000;  // 100 ms: the time to live passes now and then
        const auto spec = shape(log);
        auto options = k % 2 == 0 ? for_a_create : state::plan_options{};
        const std::vector<std::uint64_t> gave_up{log.below(3)};
        options.avoid = gave_up;
        const auto cached = decide(cache, in, spec, options, now);
        ASSERT_EQ(cached.SerializeAsString(), state::plan(*in, spec, options).SerializeAsString())
            << "seed " << seed << " entry " << i;
      }
    }
    EXPECT_GT(cache.stats().hits.get(), 50) << "seed " << seed;
    EXPECT_GT(cache.stats().renewals.get(), 50) << "seed " << seed;
    EXPECT_GT(cache.stats().hits.get() - cache.stats().renewals.get(), 50) << "seed " << seed;
    EXPECT_GT(cache.stats().misses.get(), 50) << "seed " << seed;
  }
}

TEST(placement_cache, plans_once_per_shape_and_version) {
  fixture f;
  f.register_node(1);
  f.register_node(2);
  placement_cache cache;
  auto spec = fixture::spec_of("a");
  state::fill_defaults(spec);
  const auto first = decide(cache, f.sm.inventory(), spec, {}, 0);
  spec.set_name("b");
  (void)decide(cache, f.sm.inventory(), spec, {}, 1);
  EXPECT_EQ(cache.stats().hits.get(), 1) << "the name does not matter";
  f.put("k", "v");
  (void)decide(cache, f.sm.inventory(), spec, {}, 2);
  EXPECT_EQ(cache.stats().hits.get(), 2) << "keys do not matter";
  f.create("c", first.node());
  const auto second = decide(cache, f.sm.inventory(), spec, {}, 3);
  EXPECT_EQ(second.inventory_version(), f.sm.inventory()->version.value());
  EXPECT_EQ(cache.stats().misses.get(), 2) << "reasons are wanted of every node";
  EXPECT_EQ(cache.stats().hits.get(), 2);
}

TEST(placement_cache, creates_of_one_shape_one_after_the_other_are_planned_once) {
  fixture f;
  for (std::uint64_t id = 1; id <= 20; ++id) f.register_node(id);
  placement_cache cache;
  auto spec = fixture::spec_of("vm");
  state::fill_defaults(spec);
  for (int i = 0; i < 100; ++i) {
    const auto decision = decide(cache, f.sm.inventory(), spec, for_a_create, 0);
    ASSERT_NE(decision.node(), 0U);
    f.create("vm" + std::to_string(i), decision.node());
  }
  EXPECT_EQ(cache.stats().misses.get(), 1);
  EXPECT_EQ(cache.stats().hits.get(), 99);
  EXPECT_EQ(cache.stats().renewals.get(), 99);
}

TEST(placement_cache, a_decision_lives_ten_seconds_at_most) {
  fixture f;
  f.register_node(1);
  placement_cache cache;
  auto spec = fixture::spec_of("a");
  state::fill_defaults(spec);
  constexpr std::uint64_t second = 1'000'000'000;
  (void)decide(cache, f.sm.inventory(), spec, for_a_create, 0);
  (void)decide(cache, f.sm.inventory(), spec, for_a_create, 5 * second);
  f.create("a", 1);
  (void)decide(cache, f.sm.inventory(), spec, for_a_create, 10 * second - 1);
  EXPECT_EQ(cache.stats().hits.get(), 2);
  (void)decide(cache, f.sm.inventory(), spec, for_a_create, 10 * second);
  EXPECT_EQ(cache.stats().misses.get(), 2) << "since it was planned, however often it moved on";
}

TEST(placement_cache, a_thousand_who_ask_at_once_get_one_plan) {
  fixture f;
  f.register_node(1);
  placement_cache cache;
  auto spec = fixture::spec_of("a");
  state::fill_defaults(spec);
  const auto in = f.sm.inventory();
  const auto first = cache.ask(in, spec, {}, 1, 0);
  const auto& job = std::get<placement_cache::job>(first);
  for (waiter_id w = 2; w <= 1000; ++w)
    ASSERT_TRUE(std::holds_alternative<joined>(cache.ask(in, spec, {}, w, 0)));
  EXPECT_EQ(cache.stats().in_flight.get(), 1);
  const auto waiters = cache.finish(*job, job->run(), 0);
  ASSERT_EQ(waiters.size(), 1000U);
  EXPECT_EQ(waiters.front(), 1U);
  EXPECT_EQ(waiters.back(), 1000U);
  EXPECT_EQ(cache.stats().misses.get(), 1);
  EXPECT_EQ(cache.stats().waited.get(), 999);
}

TEST(placement_cache, a_job_holds_all_it_needs) {
  placement_cache cache;
  std::optional<placement_cache::job> job;
  pb::Decision expected;
  {
    fixture f;
    f.register_node(1);
    f.register_node(2);
    auto spec = fixture::spec_of("a");
    state::fill_defaults(spec);
    const std::vector<std::uint64_t> gave_up{1};
    expected = state::plan(*f.sm.inventory(), spec, {.avoid = gave_up});
    job =
        std::get<placement_cache::job>(cache.ask(f.sm.inventory(), spec, {.avoid = gave_up}, 1, 0));
  }
  EXPECT_EQ((*job)->run()->decision().SerializeAsString(), expected.SerializeAsString());
}

TEST(placement_cache, beyond_its_flights_everybody_plans_and_the_result_is_kept_all_the_same) {
  fixture f;
  f.register_node(1);
  placement_cache cache;
  auto spec = fixture::spec_of("a");
  state::fill_defaults(spec);
  std::vector<placement_cache::job> jobs;
  for (std::uint32_t i = 0; i <= limits::cache_flights_max; ++i) {
    spec.set_vcpus(i + 1);
    jobs.push_back(std::get<placement_cache::job>(cache.ask(f.sm.inventory(), spec, {}, i + 1, 0)));
  }
  EXPECT_EQ(cache.stats().in_flight.get(), limits::cache_flights_max);
  EXPECT_THAT(cache.finish(*jobs.back(), jobs.back()->run(), 0),
              ElementsAre(limits::cache_flights_max + 1));
  EXPECT_TRUE(
      std::holds_alternative<const pb::Decision*>(cache.ask(f.sm.inventory(), spec, {}, 9999, 0)));
}

/// The summary of the cluster (node 0) or of one node, added up from every node and every VM there
/// is; nothing if the node is not known.
std::optional<pb::Summary> recount(const machine& sm, node_id node) {
  pb::Summary out;
  state::resources capacity;
  state::resources used;
  state::phase_counts phases{};
  bool known = !node;
  sm.inventory()->nodes.for_each([&](const state::node_usage& n) {
    if (node && n.id != node) return;
    known = true;
    const auto facts = sm.node(n.id);
    const bool is_leaving = !node && facts->removed() && facts->state() != pb::NODE_LEFT;
    const bool is_there = facts->state() != pb::NODE_LEFT && !is_leaving;
    const bool is_healthy =
        !is_leaving && (facts->state() == pb::NODE_READY || facts->state() == pb::NODE_CORDONED ||
                        facts->state() == pb::NODE_DRAINING);
    if (is_leaving) out.set_nodes_leaving(out.nodes_leaving() + 1);
    if (is_there || node) out.set_nodes_total(out.nodes_total() + 1);
    if (is_healthy) out.set_nodes_healthy(out.nodes_healthy() + 1);
    if (is_healthy || node) capacity += state::from_proto(facts->capacity());
  });
  for (std::uint64_t id = 1; id <= sm.applied_index().value(); ++id) {
    const auto vm = sm.vm(vm_id{id});
    if (!vm || (node && vm->node() != node.value())) continue;
    ++phases[static_cast<std::size_t>(vm->phase())];
    if (vm->node() != 0)
      used += {vm->spec().vcpus(), vm->spec().memory_bytes(), vm->spec().disk_bytes()};
  }
  state::to_proto(capacity, *out.mutable_total());
  state::to_proto(used, *out.mutable_used());
  for (const auto n : phases) out.add_vms_by_phase(n);
  out.set_at_index(sm.inventory()->summary_version.value());
  if (!known) return std::nullopt;
  return out;
}

TEST(summary_cache, equals_a_full_recount_at_every_version) {
  std::size_t most_vms = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    random_log log(seed);
    machine sm;
    summary_cache cache;
    for (int i = 0; i < 400; ++i) {
      sm.apply(log.next(sm));
      most_vms = std::max(most_vms, sm.size().vms);
      for (std::uint64_t node = 0; node < 8; ++node) {
        const auto got = cache.get(*sm.inventory(), node_id{node}, 0);
        const auto expected = recount(sm, node_id{node});
        ASSERT_EQ(got != nullptr, expected.has_value()) << "seed " << seed << " entry " << i;
        if (expected) {
          ASSERT_EQ(got->SerializeAsString(), expected->SerializeAsString())
              << "seed " << seed << " entry " << i << " node " << node << "\ncached "
              << got->ShortDebugString() << "\nrecount " << expected->ShortDebugString();
        }
      }
    }
  }
  EXPECT_GT(most_vms, 10U);
}

TEST(summary_cache, is_exact_at_every_version) {
  random_log log(99);
  machine sm;
  summary_cache cache;
  for (int i = 0; i < 2000; ++i) {
    sm.apply(log.next(sm));
    const auto in = sm.inventory();
    for (std::uint64_t node = 0; node < 8; ++node) {
      pb::Summary expected;
      const bool known = state::summarize(*in, node_id{node}, expected);
      const auto got = cache.get(*in, node_id{node}, 0);
      ASSERT_EQ(got != nullptr, known);
      if (known) {
        ASSERT_EQ(got->SerializeAsString(), expected.SerializeAsString()) << i << "/" << node;
      }
    }
  }
  EXPECT_GT(cache.stats().hits.get(), 1000);
}

TEST(summary_cache, sees_a_change_of_phase_that_placement_does_not_care_about) {
  fixture f;
  f.register_node(1);
  f.create("web", 1);
  summary_cache cache;
  const auto before = cache.get(*f.sm.inventory(), node_id{}, 0);
  const auto version = f.sm.inventory()->version;
  f.observe("web", pb::PHASE_RUNNING);
  const auto after = cache.get(*f.sm.inventory(), node_id{}, 0);
  EXPECT_EQ(f.sm.inventory()->version, version);
  EXPECT_EQ(before->vms_by_phase(pb::PHASE_RUNNING), 0);
  EXPECT_EQ(after->vms_by_phase(pb::PHASE_RUNNING), 1);
}

TEST(peer_cache, grades_the_connection_and_forgets_after_five_seconds) {
  const struct {
    bool connected;
    std::uint32_t rtt_us;
    link_quality quality;
    const char* name;
  } rows[] = {
      {false, 10, link_quality::disconnected, "disconnected"},
      {true, 0, link_quality::excellent, "excellent"},
      {true, 2'000, link_quality::excellent, "excellent"},
      {true, 2'001, link_quality::good, "good"},
      {true, 10'001, link_quality::fair, "fair"},
      {true, 50'001, link_quality::poor, "poor"},
  };
  for (const auto& row : rows) {
    peer_cache cache;
    cache.record(node_id{1}, row.connected, row.rtt_us, 0);
    const auto* link = cache.get(node_id{1}, 4'999'999'999);
    ASSERT_NE(link, nullptr);
    EXPECT_EQ(link->quality, row.quality);
    EXPECT_EQ(to_string(link->quality), row.name);
    EXPECT_EQ(link->rtt_us, row.connected ? row.rtt_us : 0);
    EXPECT_EQ(cache.get(node_id{1}, 5'000'000'000), nullptr);
    EXPECT_EQ(cache.get(node_id{2}, 0), nullptr);
  }
}

TEST(cache_stats, are_written_into_an_answer) {
  cache_stats s;
  s.hits.add(1);
  s.misses.add(2);
  s.evictions.add(3);
  s.invalidations.add(4);
  s.in_flight.set(5);
  s.waited.add(6);
  s.size.set(7);
  pb::CacheStats out;
  append_stats("placement", s, 8, out);
  ASSERT_EQ(out.caches_size(), 1);
  const auto& c = out.caches(0);
  EXPECT_EQ(c.name(), "placement");
  EXPECT_EQ(c.hits(), 1);
  EXPECT_EQ(c.misses(), 2);
  EXPECT_EQ(c.evictions(), 3);
  EXPECT_EQ(c.invalidations(), 4);
  EXPECT_EQ(c.in_flight(), 5);
  EXPECT_EQ(c.waited(), 6);
  EXPECT_EQ(c.size(), 7);
  EXPECT_EQ(c.capacity(), 8);
}

}  // namespace
}  // namespace blixard::cache
