// The heap of a program with one thread: small blocks from lists by size, without locks, headers or
// a search. A simulation makes and drops some ten of them per event; half of the time of the usual
// heap goes into what several threads would need.
//
//   region  [ page: 16-byte blocks ][ page: 48 ][ page: 16 ] ...      free_[size / 16] --> o --> o
//
// A page of the region holds blocks of one size, so that an address tells the size. What is large
// comes from the usual heap, as does everything once there is a second thread. Linked into the
// programs, not into what they simulate; not under sanitizers, which watch the usual heap.
#include <sys/mman.h>
#include <sys/single_threaded.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t step_bytes = 16;
constexpr std::size_t block_max_bytes = 1024;
constexpr std::size_t page_bytes = std::size_t{64} * 1024;
constexpr std::size_t page_count = 16 * 1024;  // 1 GiB of addresses; memory when it is used

struct block {
  block* next;
};

class small_blocks {
 public:
  /// Null: not from here.
  void* take(std::size_t bytes) noexcept {
    const auto kind = (bytes + step_bytes - 1) / step_bytes;
    if (bytes > block_max_bytes || !__libc_single_threaded) return nullptr;
    auto*& list = free_[kind];
    if (list == nullptr && !add_page(kind)) return nullptr;
    auto* const first = list;
    list = first->next;
    __builtin_prefetch(list);  // it was let go long ago, maybe
    return first;
  }
  /// False: it is not from here.
  bool give(void* memory) noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(memory) - begin_;
    if (at >= page_count * page_bytes) return false;
    if (!__libc_single_threaded) return true;  // never used again
    auto* const b = static_cast<block*>(memory);
    auto*& list = free_[kinds_[at / page_bytes]];
    b->next = list;
    list = b;
    return true;
  }

 private:
  bool add_page(std::size_t kind) noexcept {
    if (begin_ == nowhere && !reserve()) return false;
    if (used_ == page_count) return false;
    kinds_[used_] = static_cast<std::uint8_t>(kind);
    const auto bytes = kind == 0 ? step_bytes : kind * step_bytes;
    const auto page = begin_ + used_++ * page_bytes;
    for (auto n = page_bytes / bytes; n > 0; --n) {
      auto* const b = reinterpret_cast<block*>(page + (n - 1) * bytes);
      b->next = free_[kind];
      free_[kind] = b;
    }
    return true;
  }
  bool reserve() noexcept {
    void* const region = ::mmap(nullptr, page_count * page_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) return false;
    begin_ = reinterpret_cast<std::uintptr_t>(region);
    return true;
  }

  // No address is within a region that begins here.
  static constexpr std::uintptr_t nowhere = UINTPTR_MAX - page_count * page_bytes;
  std::uintptr_t begin_ = nowhere;
  std::size_t used_ = 0;  // pages
  std::array<block*, block_max_bytes / step_bytes + 1> free_{};
  std::array<std::uint8_t, page_count> kinds_{};
};

// Without a constructor that runs: memory is asked for before any.
constinit small_blocks blocks;

}  // namespace

void* operator new(std::size_t bytes) {
  if (void* const memory = blocks.take(bytes)) return memory;
  if (void* const memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc{};
}

void operator delete(void* memory) noexcept {
  if (!blocks.give(memory)) std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
