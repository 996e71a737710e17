#include "messages/block_pool.hpp"

#include <array>
#include <atomic>
#include <bit>

namespace blixard::block_pool {
namespace {

constexpr std::size_t smallest_bytes = 64;
constexpr std::size_t class_count = 7;  // 64, 128, ... 4096
static_assert(smallest_bytes << (class_count - 1) == block_max_bytes);
constexpr std::size_t chain_blocks = 32;
constexpr std::size_t depot_max_bytes = std::size_t{1} << 20;  // per class, about

// What a free block holds.
struct block {
  block* next = nullptr;        // in its chain or list
  block* next_chain = nullptr;  // in the first block of a chain
};
static_assert(sizeof(block) <= smallest_bytes);

struct depot {
  alignas(64) std::atomic<block*> chains{nullptr};
  std::atomic<std::size_t> count{0};  // of chains; may lag, bounds what is kept and nothing else
};

// One thread's blocks of one class.
struct shelf {
  block* free = nullptr;
  std::size_t count = 0;
  block* chains = nullptr;  // taken from the depot and not begun
};

struct cache {
  std::array<shelf, class_count> shelves;
  bool ended = false;  // the thread is ending: its blocks are gone, later ones go to the heap
};

// Zero-initialised and never destroyed, so that both work before main and while a thread ends.
constinit std::array<depot, class_count> depots;
constinit std::atomic<std::uint64_t> heap_served{0};
constinit thread_local cache mine;

constexpr std::size_t class_of(std::size_t bytes) noexcept {
  const auto rounded = std::bit_ceil(bytes < smallest_bytes ? smallest_bytes : bytes);
  return static_cast<std::size_t>(std::countr_zero(rounded / smallest_bytes));
}

constexpr std::size_t bytes_of(std::size_t c) noexcept { return smallest_bytes << c; }

void free_list(block* b) noexcept {
  while (b != nullptr) {
    block* next = b->next;
    ::operator delete(b);
    b = next;
  }
}

void give_chain(std::size_t c, block* chain) noexcept {
  auto& d = depots[c];
  if (d.count.load(std::memory_order_relaxed) * chain_blocks * bytes_of(c) >= depot_max_bytes) {
    free_list(chain);
    return;
  }
  d.count.fetch_add(1, std::memory_order_relaxed);
  auto* head = d.chains.load(std::memory_order_relaxed);
  do {
    chain->next_chain = head;
    // release: whoever takes the chain sees its links.
  } while (!d.chains.compare_exchange_weak(head, chain, std::memory_order_release,
                                           std::memory_order_relaxed));
}

// Gives a thread's blocks away when it ends.
struct farewell {
  ~farewell() {
    mine.ended = true;
    for (std::size_t c = 0; c < class_count; ++c) {
      auto& s = mine.shelves[c];
      free_list(s.free);
      while (s.chains != nullptr) {
        block* chain = s.chains;
        s.chains = chain->next_chain;
        give_chain(c, chain);
      }
      s = {};
    }
  }
};

// A list is about to get or hand out its first block on this thread.
void remember_to_leave() {
  static thread_local farewell at_end;
  (void)at_end;
}

void* from_heap(std::size_t bytes) {
  heap_served.fetch_add(1, std::memory_order_relaxed);
  return ::operator new(bytes);
}

// The list is empty: a chain, or one block of the heap.
void* refill(std::size_t c) {
  remember_to_leave();
  auto& s = mine.shelves[c];
  if (s.chains == nullptr) {
    auto& d = depots[c];
    s.chains = d.chains.exchange(nullptr, std::memory_order_acquire);
    std::size_t taken = 0;
    for (const block* b = s.chains; b != nullptr; b = b->next_chain) ++taken;
    if (taken != 0) d.count.fetch_sub(taken, std::memory_order_relaxed);
  }
  if (s.chains == nullptr) return from_heap(bytes_of(c));
  block* b = s.chains;
  s.chains = b->next_chain;
  s.free = b->next;
  s.count = chain_blocks - 1;
  return b;
}

}  // namespace

void* allocate(std::size_t bytes) {
  if (!enabled || bytes > block_max_bytes) return from_heap(bytes);
  const auto c = class_of(bytes);
  if (mine.ended) return from_heap(bytes_of(c));
  auto& s = mine.shelves[c];
  if (s.free == nullptr) return refill(c);
  block* b = s.free;
  s.free = b->next;
  --s.count;
  return b;
}

void release(void* memory, std::size_t bytes) noexcept {
  if (memory == nullptr) return;
  if (!enabled || bytes > block_max_bytes || mine.ended) {
    ::operator delete(memory);
    return;
  }
  const auto c = class_of(bytes);
  auto& s = mine.shelves[c];
  if (s.free == nullptr) remember_to_leave();
  auto* b = new (memory) block{s.free, nullptr};
  s.free = b;
  if (++s.count < 2 * chain_blocks) return;
  block* last = b;
  for (std::size_t i = 1; i < chain_blocks; ++i) last = last->next;
  s.free = last->next;
  s.count -= chain_blocks;
  last->next = nullptr;
  give_chain(c, b);
}

std::uint64_t heap_allocations() noexcept { return heap_served.load(std::memory_order_relaxed); }

}  // namespace blixard::block_pool
