// Placement and summaries: from the cache, and computed in full.
//
// Placement: range(0) nodes, 2,000 VMs. `plan_full_scan` and `plan_cached` are asked as a burst of
// `vm create` of one shape asks: each decision is committed, so that the inventory moves every
// time; what committing costs is the same for both and is not counted. `plan_again` asks while
// nothing moves. `planned` is how often per request the cached way had to scan after all; it is in
// the time.
//
// Summaries: 10,000 nodes and range(0) VMs. A miss of the cache is `summary_from_aggregates`: the
// sums are kept at apply. `summary_by_adding_up` is what an answer would cost without them.
//
// allocs, locks and lock_waits are per operation (not for the moving inventory: they would count
// committing, too).
#include <benchmark/benchmark.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "messages/cluster.pb.h"
#include "runtime/cache/caches.hpp"
#include "runtime/state/machine.hpp"
#include "tests/bench/counted.hpp"

namespace blixard::cache {
namespace {

using bench::counted;

constexpr std::uint64_t GiB = limits::GiB;

class cluster {
 public:
  cluster(std::uint64_t nodes, std::uint64_t vms) {
    for (std::uint64_t id = 1; id <= nodes; ++id) {
      pb::Command c;
      auto& n = *c.mutable_node_register()->mutable_node();
      n.set_id(id);
      n.mutable_capacity()->set_vcpus(4096);
      n.mutable_capacity()->set_memory_bytes(4096 * GiB);
      n.mutable_capacity()->set_disk_bytes(4096 * GiB);
      n.add_backends(pb::BACKEND_QEMU);
      auto* zone = n.add_labels();
      zone->set_key("zone");
      zone->set_value(std::to_string(id % 3));
      run(c);
    }
    for (std::uint64_t i = 0; i < vms; ++i)
      create("vm" + std::to_string(i), node_id{1 + i % nodes}, {});
  }
  void create(const std::string& name, node_id where, const pb::Placement& placement) {
    pb::Command c;
    c.mutable_vm_create()->mutable_spec()->set_name(name);
    *c.mutable_vm_create()->mutable_spec()->mutable_placement() = placement;
    c.mutable_vm_create()->mutable_decision()->set_node(where.value());
    run(c);
  }
  state::machine sm;
  std::vector<std::shared_ptr<const pb::Vm>> all() const {
    std::vector<std::shared_ptr<const pb::Vm>> out;
    for (std::uint64_t id = 1; id <= sm.size().vms; ++id) out.push_back(sm.vm(vm_id{id}));
    return out;
  }

 private:
  void run(const pb::Command& c) {
    state::applied_result r;
    sm.apply({term{1}, sm.applied_index().next(), entry_kind::normal,
              slice::copy_of(c.SerializeAsString())},
             r);
  }
};

/// Made once for each size: a million VMs take seconds.
const cluster& cluster_of(std::uint64_t nodes, std::int64_t vms) {
  static std::map<std::pair<std::uint64_t, std::int64_t>, std::unique_ptr<const cluster>> all;
  auto& one = all[{nodes, vms}];
  if (!one) one = std::make_unique<const cluster>(nodes, static_cast<std::uint64_t>(vms));
  return *one;
}

/// As the cache actor asks for a `vm create`.
constexpr state::plan_options as_the_node_asks{.listed_max = 8, .rejected_max = 0};

pb::VmSpec request() {
  pb::VmSpec s;
  s.set_name("web");
  auto* c = s.mutable_placement()->add_constraints();
  c->set_key("zone");
  c->set_value("1");
  state::fill_defaults(s);
  return s;
}
pb::VmSpec request_that_fits_everywhere(pb::Strategy strategy) {
  auto spec = request();
  spec.mutable_placement()->clear_constraints();
  spec.mutable_placement()->set_strategy(strategy);
  return spec;
}

/// A burst of creates of one shape. `decide` is timed, committing is not.
template <class Decide>
void place_and_commit(benchmark::State& state, const pb::VmSpec& spec, Decide decide) {
  using clock = std::chrono::steady_clock;
  cluster c(static_cast<std::uint64_t>(state.range(0)), 2000);  // changed here: its own
  std::uint64_t made = 0;
  for (auto _ : state) {
    const auto in = c.sm.inventory();
    const auto started = clock::now();
    const node_id chosen = decide(in);
    state.SetIterationTime(std::chrono::duration<double>(clock::now() - started).count());
    if (!chosen) {
      state.SkipWithError("nothing fits any more");
      return;
    }
    c.create("one" + std::to_string(made++), chosen, spec.placement());
  }
}

void full_scans(benchmark::State& state, const pb::VmSpec& spec) {
  place_and_commit(state, spec, [&](const auto& in) {
    return node_id{state::plan(*in, spec, as_the_node_asks).node()};
  });
}

/// A miss is planned on the spot.
void through_the_cache(benchmark::State& state, const pb::VmSpec& spec) {
  placement_cache cache;
  place_and_commit(state, spec, [&](const auto& in) {
    const auto answer = cache.ask(in, spec, as_the_node_asks, 1, 0);
    if (const auto* known = std::get_if<const pb::Decision*>(&answer))
      return node_id{(*known)->node()};
    const auto& job = std::get<placement_cache::job>(answer);
    const auto found = job->run();
    (void)cache.finish(*job, found, 0);
    return node_id{found->decision().node()};
  });
  state.counters["planned"] = benchmark::Counter(static_cast<double>(cache.stats().misses.get()),
                                                 benchmark::Counter::kAvgIterations);
}

void plan_full_scan(benchmark::State& state) { full_scans(state, request()); }
BENCHMARK(plan_full_scan)->Arg(1'000)->Arg(10'000)->UseManualTime()->Unit(benchmark::kMicrosecond);

void plan_cached(benchmark::State& state) { through_the_cache(state, request()); }
BENCHMARK(plan_cached)->Arg(1'000)->Arg(10'000)->UseManualTime()->Unit(benchmark::kMicrosecond);

/// Every node fits: the most scores to compute and to put in order.
void plan_where_all_fit(benchmark::State& state) {
  full_scans(state, request_that_fits_everywhere(static_cast<pb::Strategy>(state.range(1))));
}
void plan_cached_where_all_fit(benchmark::State& state) {
  through_the_cache(state, request_that_fits_everywhere(static_cast<pb::Strategy>(state.range(1))));
}
void sizes_and_strategies(benchmark::internal::Benchmark* b) {
  b->ArgNames({"nodes", "strategy"})->UseManualTime()->Unit(benchmark::kMicrosecond);
  for (const auto strategy :
       {pb::STRATEGY_MOST_AVAILABLE, pb::STRATEGY_LEAST_AVAILABLE, pb::STRATEGY_ROUND_ROBIN})
    b->Args({10'000, strategy});
}
BENCHMARK(plan_where_all_fit)->Apply(sizes_and_strategies);
BENCHMARK(plan_cached_where_all_fit)->Apply(sizes_and_strategies);

/// Nothing has changed since the last one who asked.
void plan_again(benchmark::State& state) {
  const auto& c = cluster_of(static_cast<std::uint64_t>(state.range(0)), 2000);
  const auto in = c.sm.inventory();
  const auto spec = request();
  placement_cache cache;
  const auto first = cache.ask(in, spec, as_the_node_asks, 1, 0);
  const auto& job = std::get<placement_cache::job>(first);
  (void)cache.finish(*job, job->run(), 0);
  const counted costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(cache.ask(in, spec, as_the_node_asks, 1, 0));
}
BENCHMARK(plan_again)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMicrosecond);

/// A thousand who ask for the same shape at once, nothing being known: each plans.
void thousand_misses_ordinary(benchmark::State& state) {
  const auto& c = cluster_of(1'000, 2000);
  const auto in = c.sm.inventory();
  const auto spec = request();
  for (auto _ : state) {
    for (int i = 0; i < 1'000; ++i)
      benchmark::DoNotOptimize(state::plan(*in, spec, as_the_node_asks));
  }
}
BENCHMARK(thousand_misses_ordinary)->Unit(benchmark::kMillisecond);

/// The same in one flight: the first plans, the others are told.
void thousand_misses_hot(benchmark::State& state) {
  const auto& c = cluster_of(1'000, 2000);
  const auto in = c.sm.inventory();
  const auto spec = request();
  std::uint64_t planned = 0;
  for (auto _ : state) {
    placement_cache cache;
    const auto first = cache.ask(in, spec, as_the_node_asks, 1, 0);
    for (waiter_id w = 2; w <= 1'000; ++w)
      benchmark::DoNotOptimize(cache.ask(in, spec, as_the_node_asks, w, 0));
    const auto& job = std::get<placement_cache::job>(first);
    if (cache.finish(*job, job->run(), 0).size() != 1'000)
      state.SkipWithError("somebody was not told");
    planned += cache.stats().misses.get();
  }
  state.counters["planned"] =
      benchmark::Counter(static_cast<double>(planned), benchmark::Counter::kAvgIterations);
}
BENCHMARK(thousand_misses_hot)->Unit(benchmark::kMillisecond);

void summary_by_adding_up(benchmark::State& state) {
  const auto& c = cluster_of(10'000, state.range(0));
  const auto vms = c.all();
  for (auto _ : state) {
    pb::Summary s;
    std::uint64_t vcpus = 0;
    std::uint64_t memory = 0;
    std::array<std::uint64_t, state::phase_count> phases{};
    for (const auto& vm : vms) {
      vcpus += vm->spec().vcpus();
      memory += vm->spec().memory_bytes();
      ++phases[static_cast<std::size_t>(vm->phase())];
    }
    s.mutable_used()->set_vcpus(vcpus);
    s.mutable_used()->set_memory_bytes(memory);
    for (const auto n : phases) s.add_vms_by_phase(n);
    benchmark::DoNotOptimize(s);
  }
}
BENCHMARK(summary_by_adding_up)->Arg(20'000)->Arg(1'000'000);

void summary_from_aggregates(benchmark::State& state) {
  const auto& c = cluster_of(10'000, state.range(0));
  const auto in = c.sm.inventory();
  const counted costs(state);
  for (auto _ : state) {
    pb::Summary s;
    benchmark::DoNotOptimize(state::summarize(*in, node_id{}, s));
  }
}
BENCHMARK(summary_from_aggregates)->Arg(20'000)->Arg(1'000'000);

void summary_hit(benchmark::State& state) {
  const auto& c = cluster_of(10'000, state.range(0));
  const auto in = c.sm.inventory();
  summary_cache cache;
  const counted costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(cache.get(*in, node_id{}, 0));
}
BENCHMARK(summary_hit)->Arg(20'000)->Arg(1'000'000);

/// What a change of one VM costs while every inventory is handed out.
void publish_inventory(benchmark::State& state) {
  cluster c(10'000, 0);  // changed here: its own
  std::uint64_t i = 0;
  state::applied_result r;
  for (auto _ : state) {
    pb::Command command;
    command.mutable_node_cordon()->set_node(1 + i % 10'000);
    command.mutable_node_cordon()->set_cordon(++i / 10'000 % 2 == 0);
    c.sm.apply({term{1}, c.sm.applied_index().next(), entry_kind::normal,
                slice::copy_of(command.SerializeAsString())},
               r);
    benchmark::DoNotOptimize(c.sm.inventory());
  }
}
BENCHMARK(publish_inventory);

}  // namespace
}  // namespace blixard::cache
