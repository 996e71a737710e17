// A counter with one writer and any number of readers.
//
// The writer is the thread that owns the object the tally sits in (the I/O loop). A load and a
// store, both relaxed, are enough: there is no second writer to lose an update to, and readers (a
// scrape) want a number that is true at some moment, not an order between numbers. Costs about as
// much as a plain integer.
#pragma once

#include <atomic>
#include <cstdint>

namespace blixard::routing {

class tally {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void sub(std::uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  /// Any thread.
  [[nodiscard]] std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace blixard::routing
