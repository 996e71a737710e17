// The state machine's costs: puts, a consistent view, a snapshot written and loaded.
//
// The ordinary way beside it: the command parsed into a Protobuf object, strings in a std::map, no
// digest, no sessions, no consistent view.
#include <benchmark/benchmark.h>
#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "messages/cluster.pb.h"
#include "runtime/base/background.hpp"
#include "runtime/state/machine.hpp"
#include "runtime/storage/packing.hpp"
#include "tests/bench/allocations.hpp"

namespace blixard::state {
namespace {

std::string key_of(std::uint64_t i) { return "bench/key/" + std::to_string(i * 7919 % 1'000'003); }

/// Encoded puts over `keys` keys, values of `value_bytes`.
std::vector<slice> puts(std::size_t keys, std::size_t value_bytes) {
  std::vector<slice> out;
  for (std::size_t i = 0; i < keys; ++i) {
    pb::Command c;
    c.mutable_kv_put()->set_key(key_of(i));
    c.mutable_kv_put()->set_value(std::string(value_bytes, static_cast<char>('a' + i % 26)));
    out.push_back(slice::copy_of(c.SerializeAsString()));
  }
  return out;
}

void apply_all(machine& sm, const std::vector<slice>& commands) {
  applied_result r;
  for (const auto& c : commands)
    sm.apply({term{1}, sm.applied_index().next(), entry_kind::normal, c}, r);
}

void count(benchmark::State& state, std::uint64_t allocations) {
  state.SetItemsProcessed(state.iterations());
  state.counters["allocs_per_op"] =
      static_cast<double>(allocations) / static_cast<double>(state.iterations());
}

/// Overwrites of 256 B values over range(0) keys.
void apply_put(benchmark::State& state) {
  const auto commands = puts(static_cast<std::size_t>(state.range(0)), 256);
  machine sm;
  apply_all(sm, commands);
  applied_result r;
  std::size_t i = 0;
  const auto before = bench::allocations();
  for (auto _ : state) {
    sm.apply({term{1}, sm.applied_index().next(), entry_kind::normal, commands[i]}, r);
    if (++i == commands.size()) i = 0;
  }
  count(state, bench::allocations() - before);
}
BENCHMARK(apply_put)->Arg(1'000)->Arg(100'000);

/// The ordinary way: parse the command, keep strings in a std::map.
void ordinary_put(benchmark::State& state) {
  const auto commands = puts(static_cast<std::size_t>(state.range(0)), 256);
  std::map<std::string, std::pair<std::string, std::uint64_t>> store;
  std::uint64_t index = 0;
  std::size_t i = 0;
  const auto run = [&] {
    pb::Command c;
    c.ParseFromArray(commands[i].data(), static_cast<int>(commands[i].size()));
    store[c.kv_put().key()] = {c.kv_put().value(), ++index};
    if (++i == commands.size()) i = 0;
  };
  for (std::size_t n = 0; n < commands.size(); ++n) run();
  const auto before = bench::allocations();
  for (auto _ : state) run();
  count(state, bench::allocations() - before);
}
BENCHMARK(ordinary_put)->Arg(1'000)->Arg(100'000);

// ---------------------------------------------------------------- in a cold cache

// Between two batches of a running node the caches of its processor are everybody's: other nodes',
// the kernel's, the sockets'. Here three stores take turns, and before each turn 2 MiB are swept,
// twice what a processor's second cache holds. Only the batch is timed; its commands are warm, as
// what has just been received is.
constexpr std::size_t cold_stores = 3;
constexpr std::size_t cold_batch = 8;

void sweep_caches() {
  static std::vector<std::uint64_t> lines(std::size_t{2} << 17U);
  for (std::size_t i = 0; i < lines.size(); i += 8) ++lines[i];
  benchmark::ClobberMemory();
}

/// `run(store, picks)` for a batch of keys out of range(0), stores in turns.
template <class Run>
void in_cold_cache(benchmark::State& state, const Run& run) {
  std::mt19937_64 random(1);
  std::array<std::size_t, cold_batch> picks{};
  std::size_t turn = 0;
  double seconds = 0;
  for (auto _ : state) {
    for (auto& p : picks) p = random() % static_cast<std::size_t>(state.range(0));
    const double took = run(turn++ % cold_stores, picks);
    state.SetIterationTime(took);
    seconds += took;
  }
  state.counters["ns_per_op"] =
      seconds * 1e9 / static_cast<double>(state.iterations()) / static_cast<double>(cold_batch);
}

template <class Work>
double seconds_of(const Work& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// Batches of puts over keys that are there, 256 B values.
void put_in_cold_cache(benchmark::State& state) {
  const auto commands = puts(static_cast<std::size_t>(state.range(0)), 256);
  std::array<machine, cold_stores> stores;
  for (auto& sm : stores) apply_all(sm, commands);
  applied_result r;
  in_cold_cache(state, [&](std::size_t turn, const auto& picks) {
    sweep_caches();
    std::vector<slice> batch;
    for (const auto p : picks) batch.push_back(slice::copy_of(commands[p].bytes()));
    machine& sm = stores[turn];
    return seconds_of([&] {
      for (auto& c : batch)
        sm.apply({term{1}, sm.applied_index().next(), entry_kind::normal, c}, r);
    });
  });
}
BENCHMARK(put_in_cold_cache)->Arg(10'000)->Arg(100'000)->UseManualTime();

void ordinary_put_in_cold_cache(benchmark::State& state) {
  const auto commands = puts(static_cast<std::size_t>(state.range(0)), 256);
  using store = std::map<std::string, std::pair<std::string, std::uint64_t>>;
  std::array<store, cold_stores> stores;
  std::uint64_t index = 0;
  const auto run = [&](store& s, const slice& command) {
    pb::Command c;
    c.ParseFromArray(command.data(), static_cast<int>(command.size()));
    s[c.kv_put().key()] = {c.kv_put().value(), ++index};
  };
  for (auto& s : stores)
    for (const auto& c : commands) run(s, c);
  in_cold_cache(state, [&](std::size_t turn, const auto& picks) {
    sweep_caches();
    std::vector<slice> batch;
    for (const auto p : picks) batch.push_back(slice::copy_of(commands[p].bytes()));
    return seconds_of([&] {
      for (auto& c : batch) run(stores[turn], c);
    });
  });
}
BENCHMARK(ordinary_put_in_cold_cache)->Arg(10'000)->Arg(100'000)->UseManualTime();

void get_in_cold_cache(benchmark::State& state) {
  const auto commands = puts(static_cast<std::size_t>(state.range(0)), 256);
  std::array<machine, cold_stores> stores;
  for (auto& sm : stores) apply_all(sm, commands);
  std::array<pb::Query, cold_batch> queries;
  pb::Answer answer;
  in_cold_cache(state, [&](std::size_t turn, const auto& picks) {
    sweep_caches();
    for (std::size_t i = 0; i < cold_batch; ++i)
      queries[i].mutable_kv_get()->set_key(key_of(picks[i]));
    return seconds_of([&] {
      for (const auto& q : queries) {
        answer.Clear();
        stores[turn].answer(q, answer);
      }
    });
  });
  if (answer.kv().value().size() != 256) state.SkipWithError("no value");
}
BENCHMARK(get_in_cold_cache)->Arg(10'000)->Arg(100'000)->UseManualTime();

/// A store of range(0) keys; the view is what pauses apply.
void take_view(benchmark::State& state) {
  machine sm;
  apply_all(sm, puts(static_cast<std::size_t>(state.range(0)), 16));
  for (auto _ : state) benchmark::DoNotOptimize(sm.view());
}
BENCHMARK(take_view)->Arg(1'000)->Arg(200'000);

/// The first put after a view copies the path to its leaf.
void put_after_view(benchmark::State& state) {
  const auto commands = puts(static_cast<std::size_t>(state.range(0)), 256);
  machine sm;
  apply_all(sm, commands);
  applied_result r;
  std::size_t i = 0;
  for (auto _ : state) {
    const auto view = sm.view();
    sm.apply({term{1}, sm.applied_index().next(), entry_kind::normal, commands[i]}, r);
    if (++i == commands.size()) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(put_after_view)->Arg(100'000);

double thread_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// The longest put while `other` runs in a thread of its own, with a node's priority for snapshots.
/// By the clock, which is the time of an iteration, and in this thread's processor time
/// (worst_cpu_ms): what is between the two, somebody else was on this processor.
template <class Other>
void pause_beside(benchmark::State& state, const Other& other) {
  const auto commands = puts(static_cast<std::size_t>(state.range(0)), 256);
  machine sm;
  apply_all(sm, commands);
  applied_result r;
  std::size_t i = 0;
  std::size_t applied = 0;
  double worst_cpu = 0;
  using clock = std::chrono::steady_clock;
  for (auto _ : state) {
    auto worst = clock::duration::zero();
    std::atomic<bool> done = false;
    auto began = clock::now();
    double began_cpu = thread_seconds();
    std::thread thread([&, view = sm.view()]() mutable {
      background pace;
      other(view, pace);
      view.let_go([&] { pace.rest_from_freeing(); });
      done = true;
    });
    while (!done) {
      sm.apply({term{1}, sm.applied_index().next(), entry_kind::normal, commands[i]}, r);
      const auto now = clock::now();
      const auto now_cpu = thread_seconds();
      worst = std::max(worst, now - began);
      worst_cpu = std::max(worst_cpu, now_cpu - began_cpu);
      began = now;
      began_cpu = now_cpu;
      ++applied;
      if (++i == commands.size()) i = 0;
    }
    thread.join();
    state.SetIterationTime(std::chrono::duration<double>(worst).count());
  }
  state.counters["puts_meanwhile"] =
      static_cast<double>(applied) / static_cast<double>(state.iterations());
  state.counters["worst_cpu_ms"] = worst_cpu * 1e3;
}

/// What a snapshot of range(0) keys costs apply: the longest put, the view before it included,
/// while another thread encodes and packs the view and lets it go. From the second round on also
/// what the one before left behind in the heap.
void pause_by_snapshot(benchmark::State& state) {
  std::size_t bytes = 0;
  pause_beside(state, [&](const auto& view, background& pace) {
    storage::packer packed;
    view.write({}, [&](std::span<const std::byte> piece) {
      packed.add(piece);
      pace.rest_when_due();
      return true;
    });
    bytes = packed.finish().size();
  });
  state.counters["packed_bytes"] = static_cast<double>(bytes);
}
BENCHMARK(pause_by_snapshot)
    ->Arg(100'000)
    ->Arg(1'000'000)
    ->Iterations(3)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

/// The same beside a thread that computes for about as long and touches nothing: what the machine
/// costs and no snapshot.
void pause_by_busy_thread(benchmark::State& state) {
  const auto until = std::chrono::microseconds(2 * state.range(0));
  pause_beside(state, [&](const auto&, const background&) {
    const auto end = std::chrono::steady_clock::now() + until;
    while (std::chrono::steady_clock::now() < end) {
    }
  });
}
BENCHMARK(pause_by_busy_thread)
    ->Arg(1'000'000)
    ->Iterations(3)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

void write_snapshot(benchmark::State& state) {
  machine sm;
  apply_all(sm, puts(static_cast<std::size_t>(state.range(0)), 256));
  std::size_t bytes = 0;
  for (auto _ : state) {
    sm.view().write({}, [&](auto piece) {
      bytes += piece.size();
      return true;
    });
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(write_snapshot)->Arg(100'000)->Unit(benchmark::kMillisecond);

void load_snapshot(benchmark::State& state) {
  machine sm;
  apply_all(sm, puts(static_cast<std::size_t>(state.range(0)), 256));
  const slice bytes = sm.view().encode({});
  for (auto _ : state) {
    machine other;
    if (!other.load(bytes.bytes())) state.SkipWithError("the snapshot does not load");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(load_snapshot)->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace blixard::state
