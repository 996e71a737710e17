// A double-ended queue in one block that grows by doubling and never shrinks below what it grew to.
//
// Positions are running numbers: an element keeps its position while it waits, so that an index may
// refer to it. `std::deque` allocates and frees blocks in the steady state and has no such names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "messages/check.hpp"

namespace blixard::routing {

/// T must be default-constructible and movable; a popped place is overwritten with T{}.
template <class T>
class ring {
 public:
  using position = std::uint64_t;

  [[nodiscard]] bool empty() const noexcept { return first_ == end_; }
  [[nodiscard]] std::size_t size() const noexcept {
    return static_cast<std::size_t>(end_ - first_);
  }

  position push_back(T value) {
    if (size() == places_.size()) grow();
    place(end_) = std::move(value);
    return end_++;
  }
  position push_front(T value) {
    if (size() == places_.size()) grow();
    place(--first_) = std::move(value);
    return first_;
  }
  /// Precondition: not empty.
  [[nodiscard]] T pop_front() {
    CHECK(!empty());
    return std::exchange(place(first_++), T{});
  }
  /// Precondition: `p` is the position of an element that waits.
  [[nodiscard]] T& at(position p) {
    CHECK_LT(p - first_, size());
    return place(p);
  }
  void clear() noexcept {
    while (first_ != end_) place(first_++) = T{};
  }

 private:
  // Starts in the middle of the number space: push_front needs numbers below the first.
  static constexpr position origin = position{1} << 62;
  static constexpr std::size_t initial = 16;

  [[nodiscard]] T& place(position p) noexcept { return places_[p & (places_.size() - 1)]; }

  void grow() {
    std::vector<T> next(places_.empty() ? initial : places_.size() * 2);
    for (position p = first_; p != end_; ++p) next[p & (next.size() - 1)] = std::move(place(p));
    places_ = std::move(next);
  }

  std::vector<T> places_;  // size is 0 or a power of two
  position first_ = origin;
  position end_ = origin;
};

}  // namespace blixard::routing
