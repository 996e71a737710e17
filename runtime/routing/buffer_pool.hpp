// Buffers by size class, made once and used again (DOMAIN "Buffer classes").
//
//             acquire (owner)                     last reference dropped (any thread)
//   shelf:  [ local list ] <--- takes all --- [ returned: lock-free stack ] <--- push
//
// One thread acquires (the I/O loop), any thread gives back. The owner pops from a plain list; when
// that is empty it takes the whole stack of returned buffers with one exchange. Because nobody ever
// pops a single element from the shared stack, there is no ABA problem and no lock. Of 64 KiB and
// more the owner puts what was returned on top of its list each time, so that the buffer that came
// back last goes out first: memory that a quiet node does not need is not touched.
//
// A shelf owns at most `bound` buffers. When all of them are out, `acquire` still succeeds with a
// buffer from the heap, which is freed and not kept when its last reference goes: the pool bounds
// what is kept, not what is used (admission and queue bounds do that).
//
// Buffers may outlive the pool: each shelf lives until its last buffer has come home.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "messages/buffer.hpp"
#include "messages/limits.hpp"
#include "runtime/routing/tally.hpp"

namespace blixard::routing {

inline constexpr std::size_t buffer_class_count = 3;

/// One size class. `made` buffers exist from the start, up to `bound` are kept.
struct buffer_class {
  std::size_t capacity_bytes = 0;
  std::size_t made = 0;
  std::size_t bound = 0;
};

using buffer_classes = std::array<buffer_class, buffer_class_count>;

/// Small, medium and large of limits.hpp; up to four times the initial number is kept.
[[nodiscard]] buffer_classes default_buffer_classes() noexcept;

/// What a size class did so far. Numbers from one moment are not taken at one instant.
struct buffer_class_stats {
  std::size_t capacity_bytes = 0;
  std::uint64_t hits = 0;    // served from the pool
  std::uint64_t misses = 0;  // served from the heap because the bound was reached
  std::uint64_t in_use = 0;  // pooled buffers that are out now
  std::uint64_t owned = 0;   // pooled buffers that exist, in use or free
};

struct buffer_pool_stats {
  std::array<buffer_class_stats, buffer_class_count> classes;
  std::uint64_t oversized = 0;  // requests above the largest class, served from the heap
};

class buffer_pool {
 public:
  /// Precondition: capacities strictly ascending, made <= bound.
  explicit buffer_pool(const buffer_classes& classes = default_buffer_classes());
  ~buffer_pool();
  buffer_pool(const buffer_pool&) = delete;
  buffer_pool& operator=(const buffer_pool&) = delete;

  /// A buffer with capacity >= `bytes`, unshared. Owner thread only. O(1); never fails (heap when
  /// the bound is reached or `bytes` is above the largest class).
  [[nodiscard]] ref<buffer> acquire(std::size_t bytes);

  /// Any thread.
  [[nodiscard]] buffer_pool_stats stats() const noexcept;

 private:
  class shelf;
  std::array<shelf*, buffer_class_count> shelves_{};
  tally oversized_;
};

}  // namespace blixard::routing
