// A double-ended queue in one power-of-two array that keeps its capacity: pushing and popping in
// the steady state allocates nothing. Popped slots are reset, so that what they held is released.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "messages/check.hpp"

namespace blixard::raft {

template <class T>
class ring {
 public:
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Precondition for all element access: position < size().
  [[nodiscard]] T& operator[](std::size_t position) noexcept { return slots_[slot(position)]; }
  [[nodiscard]] const T& operator[](std::size_t position) const noexcept {
    return slots_[slot(position)];
  }
  [[nodiscard]] T& front() noexcept { return (*this)[0]; }
  [[nodiscard]] const T& front() const noexcept { return (*this)[0]; }
  [[nodiscard]] T& back() noexcept { return (*this)[size_ - 1]; }
  [[nodiscard]] const T& back() const noexcept { return (*this)[size_ - 1]; }

  void push_back(T&& value) {
    if (size_ == capacity_) grow();
    slots_[slot(size_)] = std::move(value);
    ++size_;
  }
  void push_back(const T& value) { push_back(T(value)); }
  void pop_front() {
    CHECK_GT(size_, std::size_t{0});
    front() = T{};
    begin_ = (begin_ + 1) & (capacity_ - 1);
    --size_;
  }
  void pop_back() {
    CHECK_GT(size_, std::size_t{0});
    back() = T{};
    --size_;
  }
  void clear() {
    while (!empty()) pop_back();
    begin_ = 0;
  }

 private:
  [[nodiscard]] std::size_t slot(std::size_t position) const noexcept {
    return (begin_ + position) & (capacity_ - 1);
  }
  // Out of the way: inlined, it would cost every push the registers that it needs.
  [[gnu::noinline]] void grow() {
    std::vector<T> bigger(capacity_ == 0 ? 8 : capacity_ * 2);
    for (std::size_t i = 0; i < size_; ++i) bigger[i] = std::move((*this)[i]);
    slots_ = std::move(bigger);
    capacity_ = slots_.size();
    begin_ = 0;
  }

  std::vector<T> slots_;
  std::size_t capacity_ = 0;  // of slots_: zero or a power of two. A vector's size is a division.
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
};

}  // namespace blixard::raft
