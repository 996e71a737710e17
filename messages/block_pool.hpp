// Small blocks of memory that are made once and used again: frames, messages between actors, short
// lists of both. A frame is made on the I/O loop and let go on whatever thread used it last, so a
// block may come back anywhere.
//
//   thread A   [ free list ] ── 32 at a time ──►  depot   ── all of it ──► [ free list ]   thread B
//                pop, push: no atomic          lock-free stack of chains
//
// Each thread has a list per size class and touches nothing shared while that list is neither empty
// nor full. A full list gives a chain of 32 to the depot with one compare-and-swap; an empty one
// takes all chains there are with one exchange. Nobody pops a single chain, hence no ABA and no
// lock. Bounded: a thread keeps at most 64 blocks per class of its own making, the depot about a
// mebibyte per class; what is beyond that is freed.
//
// Process-wide like the heap that it stands in front of, since the operators new and delete of a
// class have no argument that could say where. Off under the address sanitizer, which would not see
// a use after free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace blixard {

namespace block_pool {

inline constexpr std::size_t block_max_bytes = 4096;

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool enabled = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool enabled = false;
#else
inline constexpr bool enabled = true;
#endif
#else
inline constexpr bool enabled = true;
#endif

/// Memory for `bytes`, aligned as operator new aligns it. More than block_max_bytes comes from the
/// heap. Any thread.
[[nodiscard]] void* allocate(std::size_t bytes);
/// Gives back what allocate(bytes) returned. Any thread, also while it ends.
void release(void* block, std::size_t bytes) noexcept;

/// Requests that the heap had to serve since the process started: no free block, or too large.
[[nodiscard]] std::uint64_t heap_allocations() noexcept;

}  // namespace block_pool

/// For containers whose memory comes and goes with every message.
template <class T>
struct pooled_allocator {
  using value_type = T;
  pooled_allocator() = default;
  template <class U>
  pooled_allocator(const pooled_allocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor)
  [[nodiscard]] T* allocate(std::size_t n) {
    static_assert(alignof(T) <= alignof(std::max_align_t));
    return static_cast<T*>(block_pool::allocate(n * sizeof(T)));
  }
  void deallocate(T* p, std::size_t n) noexcept { block_pool::release(p, n * sizeof(T)); }
  friend bool operator==(const pooled_allocator&, const pooled_allocator&) noexcept { return true; }
};

template <class T>
using pooled_vector = std::vector<T, pooled_allocator<T>>;

}  // namespace blixard
