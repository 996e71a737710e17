// Buffers and lanes: the hot path of a frame against the ordinary one, in one run.
//
//   ordinary   new / delete of a byte array per message; one std::deque per class
//   hot        routing::buffer_pool; routing::lanes
#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <thread>

#include "runtime/routing/buffer_pool.hpp"
#include "runtime/routing/lanes.hpp"
#include "tests/bench/allocations.hpp"

namespace blixard::routing {
namespace {

// ---------------------------------------------------------------- buffers

void buffer_ordinary(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    auto b = std::make_unique<std::byte[]>(bytes);  // zeroed, as a vector would be
    benchmark::DoNotOptimize(b.get());
  }
}
BENCHMARK(buffer_ordinary)->Arg(1 << 10)->Arg(1 << 16)->Arg(1 << 20);

void buffer_heap_unzeroed(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    auto b = buffer::make(bytes);
    b->data()[0] = std::byte{1};
    benchmark::DoNotOptimize(b->data());
  }
}
BENCHMARK(buffer_heap_unzeroed)->Arg(1 << 10)->Arg(1 << 16)->Arg(1 << 20);

void buffer_pool_hot(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  buffer_pool pool;
  for (auto _ : state) {
    auto b = pool.acquire(bytes);
    b->data()[0] = std::byte{1};
    benchmark::DoNotOptimize(b->data());
  }
}
BENCHMARK(buffer_pool_hot)->Arg(1 << 10)->Arg(1 << 16)->Arg(1 << 20);

// One thread acquires, another drops: the way of a frame from the loop to the log.
template <class Acquire>
void handed_over(benchmark::State& state, Acquire&& acquire) {
  constexpr std::size_t places = 64;
  std::array<std::atomic<buffer*>, places> box{};
  std::atomic<bool> done{false};
  std::thread dropper{[&] {
    while (!done.load(std::memory_order_relaxed)) {
      bool any = false;
      for (auto& b : box)
        if (buffer* p = b.exchange(nullptr, std::memory_order_acquire)) {
          p->release();
          any = true;
        }
      if (!any) std::this_thread::yield();
    }
  }};
  std::size_t at = 0;
  for (auto _ : state) {
    buffer* expected = nullptr;
    auto b = acquire();
    auto& place = box[at++ % places];
    if (place.compare_exchange_strong(expected, b.get(), std::memory_order_release))
      (void)b.detach();
  }
  done = true;
  dropper.join();
  for (auto& b : box)
    if (buffer* p = b.load()) p->release();
}

void buffer_heap_dropped_by_another_thread(benchmark::State& state) {
  handed_over(state, [] { return buffer::make(1024); });
}
BENCHMARK(buffer_heap_dropped_by_another_thread)->UseRealTime();

void buffer_pool_dropped_by_another_thread(benchmark::State& state) {
  buffer_pool pool;
  handed_over(state, [&] { return pool.acquire(1024); });
}
BENCHMARK(buffer_pool_dropped_by_another_thread)->UseRealTime();

// ---------------------------------------------------------------- lanes

constexpr int waiting = 256;

void lanes_ordinary(benchmark::State& state) {
  std::array<std::deque<std::pair<frame_ptr, std::size_t>>, priority_count> queues;
  const auto f = frame::make(frame_header{}, slice{});
  for (int i = 0; i < waiting; ++i) queues[static_cast<std::size_t>(i) % 4].emplace_back(f, 32);
  std::size_t i = 0;
  for (auto _ : state) {
    queues[i++ % 4].emplace_back(f, 32);
    for (auto& q : queues) {
      if (q.empty()) continue;
      q.pop_front();
      break;
    }
  }
}
BENCHMARK(lanes_ordinary);

void lanes_hot(benchmark::State& state) {
  lanes_config c;
  for (auto& l : c.lane) l = {.max_items = 1 << 20, .max_bytes = 1 << 30};
  lanes<frame_ptr> l{c};
  const auto f = frame::make(frame_header{}, slice{});
  for (int i = 0; i < waiting; ++i) (void)l.push(static_cast<priority>(i % 4), f, 32);
  int i = 0;
  const auto before = bench::allocations();
  for (auto _ : state) {
    (void)l.push(static_cast<priority>(i++ % 4), f, 32);
    benchmark::DoNotOptimize(l.pop());
  }
  state.counters["allocations"] =
      static_cast<double>(bench::allocations() - before) / static_cast<double>(state.iterations());
}
BENCHMARK(lanes_hot);

void lanes_superseding(benchmark::State& state) {
  lanes_config c;
  for (auto& l : c.lane) l = {.max_items = 1 << 20, .max_bytes = 1 << 30};
  lanes<frame_ptr> l{c};
  const auto f = frame::make(frame_header{}, slice{});
  std::uint64_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(l.push(priority::critical, f, 32, 1 + i++ % 64));
  if (l.size() > 64) state.SkipWithError("superseding does not bound the lane");
}
BENCHMARK(lanes_superseding);

// A critical item behind n low ones: how long until it is out (the floor lets one low item go
// before every sixteenth).
void lanes_overtake(benchmark::State& state) {
  lanes_config c;
  for (auto& l : c.lane) l = {.max_items = 1 << 20, .max_bytes = 1 << 30};
  lanes<int> l{c};
  for (int i = 0; i < state.range(0); ++i) (void)l.push(priority::low, 0, 32);
  for (auto _ : state) {
    (void)l.push(priority::critical, 1, 32);
    if (l.pop()->value == 1) continue;
    if (l.pop()->value != 1) return state.SkipWithError("not overtaken");
    (void)l.push(priority::low, 0, 32);
  }
}
BENCHMARK(lanes_overtake)->Arg(0)->Arg(100'000);

}  // namespace
}  // namespace blixard::routing
