// An immutable value that one thread replaces whole and that any thread may take, without a lock.
//
// For what is too large for the published page: the members with their roles, the links to them.
// The standard's atomic<shared_ptr> does the same, but libstdc++ 12 guards it with a lock bit: a
// reader spins while a writer, or another reader, has lost its core with the bit held. Here nobody
// waits for anybody. One word holds the address of the current holder (48 bits on x86-64, as the
// kernel hands them out) and how many readers are about to copy from it (16 bits):
//
//   take      word += one reader; copy the holder's shared_ptr; word -= one reader, or, if the word
//             has moved on meanwhile, holder.pins -= 1
//   replace   old = exchange(word, new holder, no readers); old holder.pins += readers in old
//
// Whoever brings `pins` to zero after the exchange deletes the holder: before it, pins is at most
// zero minus those who left late, and reaches zero only when the writer has added as many as there
// were. A holder that a reader has counted itself on cannot be deleted, so its address is not used
// again while the reader compares it: no ABA.
//
// Costs: a reader two locked operations more than a plain copy of a shared_ptr; a writer one
// allocation. Limits: one writer; 65,535 readers inside `take` at one moment.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "messages/check.hpp"

namespace blixard {

template <class T>
class replaced {
 public:
  using value = std::shared_ptr<const T>;

  replaced() = default;
  replaced(const replaced&) = delete;
  replaced& operator=(const replaced&) = delete;
  /// Nobody may be inside take() any more; values that were taken live on.
  ~replaced() { delete holder_in(word_.load(std::memory_order_relaxed)); }

  /// The one writer.
  void store(value next) {
    const auto fresh = reinterpret_cast<std::uint64_t>(new holder{std::move(next)});
    CHECK_EQ(fresh & ~address_mask, std::uint64_t{0});
    // release: who sees the address sees the holder. acquire: what readers did with the old one.
    const auto old = word_.exchange(fresh, std::memory_order_acq_rel);
    if (holder* h = holder_in(old); h != nullptr)
      settle(h, static_cast<std::int64_t>(old >> reader_shift));
  }

  /// What was stored last, null before the first time. Any thread.
  [[nodiscard]] value load() const {
    auto seen = word_.fetch_add(one_reader, std::memory_order_acquire) + one_reader;
    holder* const h = holder_in(seen);
    // Counted on it: it lives. Before the first store there is nothing to copy or to delete.
    value out = h != nullptr ? h->kept : value{};
    while (holder_in(seen) == h) {
      // release: the copy is made before the writer can know that nobody reads the holder.
      if (word_.compare_exchange_weak(seen, seen - one_reader, std::memory_order_release,
                                      std::memory_order_relaxed))
        return out;
    }
    if (h != nullptr) settle(h, -1);
    return out;
  }

 private:
  struct holder {
    value kept;
    std::atomic<std::int64_t> pins{0};
  };
  static constexpr unsigned reader_shift = 48;
  static constexpr std::uint64_t one_reader = std::uint64_t{1} << reader_shift;
  static constexpr std::uint64_t address_mask = one_reader - 1;

  static holder* holder_in(std::uint64_t word) noexcept {
    return reinterpret_cast<holder*>(word & address_mask);
  }
  static void settle(holder* h, std::int64_t readers) noexcept {
    // acq_rel: whoever deletes has seen everything that the others did with it.
    if (h->pins.fetch_add(readers, std::memory_order_acq_rel) + readers == 0) delete h;
  }

  mutable std::atomic<std::uint64_t> word_{0};
};

}  // namespace blixard
