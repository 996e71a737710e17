// The order of glibc's heap, where one thread frees what another one allocated.
//
// What is freed beyond a thread's own small lists goes to an unsorted list of the arena that it
// came from. It is sorted by the next request that this arena serves, up to 10,000 pieces at once:
// with cache misses, a pause of 10 to 20 ms. A thread that allocates and frees objects of one size
// is served by its own lists and may not ask its arena for a long time; meanwhile the pile grows.
// So it asks now and then, for nothing, and the pile is sorted while it is small.
#pragma once

#include <cstdlib>

namespace blixard {

/// Lets the calling thread's arena sort what has come back since the last time: about 0.1 us where
/// that is little.
inline void keep_heap_in_order() noexcept {
  void* memory = std::malloc(2048);  // more than what a thread's own lists hold (1,032 bytes)
  asm volatile("" : : "r"(memory) : "memory");  // else the pair is left out
  std::free(memory);
}

}  // namespace blixard
