// What there is one of per node, by id: ids are 1, 2, 3 and so on, none is ever taken away.
// Ascending, as in a map; a reference stays valid.
#pragma once

#include <cstddef>
#include <deque>
#include <utility>

#include "messages/check.hpp"
#include "messages/ids.hpp"

namespace blixard::sim {

template <class T>
class roster {
 public:
  using value_type = std::pair<const node_id, T>;

  [[nodiscard]] T* find(node_id id) noexcept {
    return contains(id) ? &all_[id.value() - 1].second : nullptr;
  }
  [[nodiscard]] const T* find(node_id id) const noexcept {
    return contains(id) ? &all_[id.value() - 1].second : nullptr;
  }
  [[nodiscard]] T& at(node_id id) {
    CHECK(contains(id));
    return all_[id.value() - 1].second;
  }
  [[nodiscard]] const T& at(node_id id) const {
    CHECK(contains(id));
    return all_[id.value() - 1].second;
  }
  [[nodiscard]] bool contains(node_id id) const noexcept { return id.value() - 1 < all_.size(); }
  /// The next one.
  template <class... Args>
  T& add(node_id id, Args&&... args) {
    CHECK_EQ(id.value(), all_.size() + 1);
    return all_
        .emplace_back(std::piecewise_construct, std::forward_as_tuple(id),
                      std::forward_as_tuple(std::forward<Args>(args)...))
        .second;
  }
  auto begin() noexcept { return all_.begin(); }
  auto end() noexcept { return all_.end(); }
  [[nodiscard]] auto begin() const noexcept { return all_.begin(); }
  [[nodiscard]] auto end() const noexcept { return all_.end(); }

 private:
  std::deque<value_type> all_;
};

}  // namespace blixard::sim
