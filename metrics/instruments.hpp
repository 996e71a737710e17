// What hot paths hold: counters, gauges and histograms that cost a few instructions per event.
//
// A registry keeps one block of 64-bit cells per thread, each on cache lines of its own. A counter
// or a histogram is a position in the block; a thread adds in its own block, a scrape sums the
// position over all blocks:
//
//   slot 0 (say the I/O loop)     | cell 0 | cell 1 | ... |
//   slot 1 (say the WAL thread)   | cell 0 | cell 1 | ... |
//   ...
//   slot 32 (shared by the rest)  | cell 0 | cell 1 | ... |
//
// A thread owns its slot alone until it ends, so that adding is a load and a store, not a locked
// instruction; threads beyond `exclusive_slots` share the last slot and use fetch_add there. All
// accesses of cells are relaxed: they are independent statistics, nothing is published through
// them. An event takes no lock, allocates nothing and touches no string. Handles are resolved once
// (registry.hpp), are one to three words, trivially copyable, and valid as long as the registry
// lives.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace blixard::metrics {

inline constexpr std::size_t cache_line_bytes = 64;
inline constexpr std::size_t exclusive_slots = 32;
inline constexpr std::size_t slots = exclusive_slots + 1;

using cell = std::atomic<std::uint64_t>;

namespace detail {
inline constexpr std::uint32_t unassigned_slot = 0xFFFFFFFF;
/// The calling thread's slot. constinit: read without a guard or a wrapper call.
extern constinit thread_local std::uint32_t thread_slot;
/// First event of a thread: takes a free slot, given back when the thread ends.
std::uint32_t assign_slot() noexcept;
/// Slots that are owned now.
[[nodiscard]] std::size_t owned_slots() noexcept;

[[nodiscard]] inline std::uint32_t this_slot() noexcept {
  const std::uint32_t slot = thread_slot;
  return slot != unassigned_slot ? slot : assign_slot();
}
inline void add(cell& c, std::uint64_t n, bool exclusive) noexcept {
  if (exclusive)
    c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  else
    c.fetch_add(n, std::memory_order_relaxed);
}
}  // namespace detail

/// A count of events since the start, for any number of threads. Monotonic.
class counter {
 public:
  void add(std::uint64_t n = 1) const noexcept {
    const auto slot = detail::this_slot();
    detail::add(first_[slot * stride_], n, slot < exclusive_slots);
  }

 private:
  friend class registry;
  counter(cell* first, std::size_t stride) noexcept : first_(first), stride_(stride) {}
  cell* first_;         // this counter's cell in slot 0
  std::size_t stride_;  // cells per slot
};

/// A value that goes up and down. It is set to what is true, never adjusted by differences, so that
/// it cannot drift. Any thread may set it; the last one wins.
class gauge {
 public:
  void set(double value) const noexcept {
    // release, for a peer's gauge: its place may be given to another peer, and a scrape that reads
    // the other's value must then see the other's id too.
    value_->store(value, std::memory_order_release);
  }
  template <class T>
  requires std::is_integral_v<T>
  void set(T value) const noexcept { set(static_cast<double>(value)); }

 private:
  friend class registry;
  explicit gauge(std::atomic<double>* value) noexcept : value_(value) {}
  std::atomic<double>* value_;
};

/// The fixed buckets of a histogram: 2^min_log2, then 2^sub_log2 equal steps per power of two up to
/// 2^max_log2, then infinity. Bounds are inclusive, as Prometheus's `le` is.
struct bucket_layout {
  unsigned min_log2;
  unsigned max_log2;
  unsigned sub_log2;

  /// Buckets including the one for infinity.
  [[nodiscard]] constexpr std::size_t count() const noexcept {
    return ((max_log2 - min_log2) << sub_log2) + 2;
  }
  [[nodiscard]] constexpr std::size_t index(std::uint64_t value) const noexcept {
    const std::uint64_t below = value == 0 ? 0 : value - 1;  // makes the upper bound inclusive
    if (below >> min_log2 == 0) return 0;
    if (below >> max_log2 != 0) return count() - 1;
    const auto power = static_cast<unsigned>(std::bit_width(below)) - 1;
    const auto step = (below >> (power - sub_log2)) & ((std::uint64_t{1} << sub_log2) - 1);
    return 1 + ((power - min_log2) << sub_log2) + step;
  }
  /// Upper bound of bucket `i`, which is not the last.
  [[nodiscard]] constexpr std::uint64_t bound(std::size_t i) const noexcept {
    if (i == 0) return std::uint64_t{1} << min_log2;
    const auto power = min_log2 + static_cast<unsigned>((i - 1) >> sub_log2);
    const auto step = ((i - 1) & ((std::size_t{1} << sub_log2) - 1)) + 1;
    return (std::uint64_t{1} << power) + (std::uint64_t{step} << (power - sub_log2));
  }
};
/// Nanoseconds: 8.2 us to 69 s, two steps per power of two.
inline constexpr bucket_layout duration_buckets{13, 36, 1};
/// Counts: 1 to 65,536, one step per power of two.
inline constexpr bucket_layout size_buckets{0, 16, 0};

/// A distribution, for any number of threads. Count and sum are those of the same cells, so a
/// scrape in the middle of an observation may see it in one and not yet in the other, never twice.
class histogram {
 public:
  /// `value` in nanoseconds (kind::durations) or units (kind::sizes).
  void observe(std::uint64_t value) const noexcept {
    const auto slot = detail::this_slot();
    cell* mine = first_ + slot * stride_;
    const bool exclusive = slot < exclusive_slots;
    detail::add(mine[layout_->index(value)], 1, exclusive);
    detail::add(mine[layout_->count()], value, exclusive);
  }

 private:
  friend class registry;
  histogram(cell* first, std::size_t stride, const bucket_layout* layout) noexcept
      : first_(first), stride_(stride), layout_(layout) {}
  cell* first_;
  std::size_t stride_;
  const bucket_layout* layout_;
};

}  // namespace blixard::metrics
