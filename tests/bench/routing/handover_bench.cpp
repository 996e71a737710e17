// From one thread to another: what the loop's queue of posted tasks could be made of.
//
//   ordinary   std::mutex and std::deque; the reader swaps the whole queue out
//   stack      what net::loop::post does: compare-and-swap of intrusive tasks, newest first; the
//              reader takes all with one exchange and turns them round. Unbounded, no allocation
//   ring       1,024 places, each with a turn number (after Vyukov): any number of writers, one
//              reader. A writer that finds it full has to wait
//
// handed_over: a writer on another thread keeps at most 512 items on the way, so that nobody is
// ever full; time is per item, as the reader sees it. There are two cores: nobody sleeps. locks and
// lock_waits are the reader's. posted_and_slept is the real loop: an item each time that it
// sleeps, which is how most come, with the wake-up that any queue needs.
#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>

#include "runtime/net/loop.hpp"
#include "tests/bench/counted.hpp"

namespace blixard::net {
namespace {

struct item {
  item* next = nullptr;
};

class ordinary {
 public:
  bool push(item& i) {
    const std::lock_guard hold(mutex_);
    queue_.push_back(&i);
    return true;
  }
  template <class Take>
  void take_all(Take&& take) {
    {
      const std::lock_guard hold(mutex_);
      std::swap(queue_, taken_);
    }
    for (auto* i : taken_) take(*i);
    taken_.clear();
  }

 private:
  std::mutex mutex_;
  std::deque<item*> queue_;
  std::deque<item*> taken_;  // the reader's
};

class stack {
 public:
  bool push(item& i) {
    item* head = newest_.load(std::memory_order_relaxed);
    do {
      i.next = head;
    } while (!newest_.compare_exchange_weak(head, &i, std::memory_order_seq_cst,
                                            std::memory_order_relaxed));
    return true;
  }
  template <class Take>
  void take_all(Take&& take) {
    if (newest_.load(std::memory_order_relaxed) == nullptr) return;
    item* i = newest_.exchange(nullptr, std::memory_order_acquire);
    item* oldest = nullptr;
    while (i != nullptr) {
      item* next = i->next;
      i->next = oldest;
      oldest = i;
      i = next;
    }
    while (oldest != nullptr) {
      item* next = oldest->next;
      take(*oldest);
      oldest = next;
    }
  }

 private:
  alignas(64) std::atomic<item*> newest_{nullptr};
};

class ring {
 public:
  ring() {
    for (std::uint64_t i = 0; i < places_.size(); ++i) places_[i].turn = i;
  }
  bool push(item& i) {
    auto at = end_.load(std::memory_order_relaxed);
    for (;;) {
      auto& one = places_[at % places_.size()];
      const auto turn = one.turn.load(std::memory_order_acquire);
      if (turn < at) return false;
      if (turn > at) {
        at = end_.load(std::memory_order_relaxed);
      } else if (end_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
        one.value = &i;
        one.turn.store(at + 1, std::memory_order_release);
        return true;
      }
    }
  }
  template <class Take>
  void take_all(Take&& take) {
    for (;; ++first_) {
      auto& one = places_[first_ % places_.size()];
      if (one.turn.load(std::memory_order_acquire) != first_ + 1) return;
      take(*one.value);
      one.turn.store(first_ + places_.size(), std::memory_order_release);
    }
  }

 private:
  struct place {
    std::atomic<std::uint64_t> turn{0};
    item* value = nullptr;
  };
  std::array<place, 1024> places_;
  alignas(64) std::atomic<std::uint64_t> end_{0};
  alignas(64) std::uint64_t first_ = 0;  // the reader's
};

template <class Queue>
void handed_over(benchmark::State& state) {
  constexpr std::uint64_t on_the_way_max = 512;
  Queue queue;
  std::array<item, on_the_way_max> items;
  alignas(64) std::atomic<std::uint64_t> taken{0};
  std::atomic<bool> done{false};
  std::thread writer{[&] {
    for (std::uint64_t sent = 0; !done.load(std::memory_order_relaxed);) {
      if (sent - taken.load(std::memory_order_acquire) == on_the_way_max) continue;
      if (queue.push(items[sent % on_the_way_max])) ++sent;
    }
  }};
  const bench::counted costs(state);
  std::uint64_t got = 0;
  std::uint64_t wanted = 0;
  for (auto _ : state) {
    ++wanted;
    while (got < wanted) {
      queue.take_all([&](item& i) {
        benchmark::DoNotOptimize(&i);
        ++got;
      });
      taken.store(got, std::memory_order_release);
    }
  }
  done = true;
  writer.join();
}
BENCHMARK(handed_over<ordinary>)->UseRealTime();
BENCHMARK(handed_over<stack>)->UseRealTime();
BENCHMARK(handed_over<ring>)->UseRealTime();

/// From posting to running, and back to the one who posted: the loop sleeps before each.
void posted_and_slept(benchmark::State& state) {
  struct answer final : loop_task {
    void run() noexcept override { ran.store(true, std::memory_order_release); }
    std::atomic<bool> ran{false};
  };
  loop io;
  std::thread runner{[&] { io.run(); }};
  answer task;
  for (auto _ : state) {
    const auto slept = io.stats().sleeps;
    task.ran = false;
    io.post(task);
    while (!task.ran.load(std::memory_order_acquire) || io.stats().sleeps == slept) {
    }
  }
  io.stop();
  runner.join();
}
BENCHMARK(posted_and_slept)->UseRealTime();

}  // namespace
}  // namespace blixard::net
