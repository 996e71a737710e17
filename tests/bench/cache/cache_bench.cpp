// Placement and summaries: from the cache, and computed in full.
//
// Placement: range(0) nodes, 2,000 VMs. Summaries: 10,000 nodes and range(0) VMs; the ordinary way
// adds up every VM. allocs, locks and lock_waits are per operation.
#include <benchmark/benchmark.h>

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
    for (std::uint64_t i = 0; i < vms; ++i) {
      pb::Command c;
      c.mutable_vm_create()->mutable_spec()->set_name("vm" + std::to_string(i));
      c.mutable_vm_create()->mutable_decision()->set_node(1 + i % nodes);
      run(c);
    }
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

/// As the cache actor asks.
constexpr state::plan_options as_the_node_asks{.listed_max = 64};

pb::VmSpec request() {
  pb::VmSpec s;
  s.set_name("web");
  auto* c = s.mutable_placement()->add_constraints();
  c->set_key("zone");
  c->set_value("1");
  state::fill_defaults(s);
  return s;
}

void plan_full_scan(benchmark::State& state) {
  const auto& c = cluster_of(static_cast<std::uint64_t>(state.range(0)), 2000);
  const auto in = c.sm.inventory();
  const auto spec = request();
  const counted costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(state::plan(*in, spec, as_the_node_asks));
}
BENCHMARK(plan_full_scan)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMicrosecond);

/// Every node fits: the most scores to compute and to put in order.
void plan_where_all_fit(benchmark::State& state) {
  const auto& c = cluster_of(static_cast<std::uint64_t>(state.range(0)), 2000);
  const auto in = c.sm.inventory();
  auto spec = request();
  spec.mutable_placement()->clear_constraints();
  spec.mutable_placement()->set_strategy(static_cast<pb::Strategy>(state.range(1)));
  const counted costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(state::plan(*in, spec, as_the_node_asks));
}
BENCHMARK(plan_where_all_fit)
    ->ArgNames({"nodes", "strategy"})
    ->Args({10'000, pb::STRATEGY_MOST_AVAILABLE})
    ->Args({10'000, pb::STRATEGY_ROUND_ROBIN})
    ->Unit(benchmark::kMicrosecond);

void plan_cached(benchmark::State& state) {
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
BENCHMARK(plan_cached)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMicrosecond);

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
