// Adds to a benchmark's figures what an iteration of the calling thread cost besides time: heap
// allocations, locks taken and locks waited for.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

#include "tests/bench/allocations.hpp"
#include "tests/bench/locks.hpp"

namespace blixard::bench {

class counted {
 public:
  explicit counted(benchmark::State& state) : state_(state) {}
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() {
    const auto now = locks();
    show("allocs", allocations() - allocations_);
    show("locks", now.taken - locks_.taken);
    show("lock_waits", now.waited - locks_.waited);
  }

 private:
  void show(const char* name, std::uint64_t n) {
    state_.counters[name] =
        benchmark::Counter(static_cast<double>(n), benchmark::Counter::kAvgIterations);
  }
  benchmark::State& state_;
  std::uint64_t allocations_ = allocations();
  lock_count locks_ = locks();
};

}  // namespace blixard::bench
