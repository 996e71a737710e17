#include "runtime/routing/supersede_index.hpp"

#include <utility>

#include "messages/check.hpp"

namespace blixard::routing {

// Fibonacci mixing, high half: keys are often small or differ in few bits.
std::size_t supersede_index::home(std::uint64_t key) const noexcept {
  return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ULL) >> 32) & (cells_.size() - 1);
}

// The cell that holds `key`, or the empty one where it would go. Precondition: cells_ not empty.
std::size_t supersede_index::locate(std::uint64_t key) const noexcept {
  std::size_t at = home(key);
  while (cells_[at].key != 0 && cells_[at].key != key) at = (at + 1) & (cells_.size() - 1);
  return at;
}

void supersede_index::put(std::uint64_t key, std::uint64_t position) {
  CHECK_NE(key, 0u);
  if ((used_ + 1) * 2 > cells_.size()) grow();
  cell& c = cells_[locate(key)];
  if (c.key == 0) ++used_;
  c = {key, position};
}

std::optional<std::uint64_t> supersede_index::find(std::uint64_t key) const noexcept {
  if (used_ == 0) return std::nullopt;
  const cell& c = cells_[locate(key)];
  if (c.key == 0) return std::nullopt;
  return c.position;
}

void supersede_index::remove(std::uint64_t key) noexcept {
  if (used_ == 0) return;
  std::size_t hole = locate(key);
  if (cells_[hole].key == 0) return;
  --used_;
  // Close the gap: whatever probed past the hole moves into it (Knuth 6.4, algorithm R).
  const std::size_t mask = cells_.size() - 1;
  for (std::size_t at = (hole + 1) & mask; cells_[at].key != 0; at = (at + 1) & mask) {
    const std::size_t distance = (at - home(cells_[at].key)) & mask;
    if (distance < ((at - hole) & mask)) continue;
    cells_[hole] = cells_[at];
    hole = at;
  }
  cells_[hole] = {};
}

void supersede_index::clear() noexcept {
  for (auto& c : cells_) c = {};
  used_ = 0;
}

void supersede_index::grow() {
  auto old = std::exchange(cells_, std::vector<cell>(cells_.empty() ? 16 : cells_.size() * 2));
  for (const auto& c : old)
    if (c.key != 0) cells_[locate(c.key)] = c;
}

}  // namespace blixard::routing
