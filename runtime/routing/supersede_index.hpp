// Which waiting item a newer one replaces: a small hash table from key to queue position.
//
// Linear probing with backward-shift deletion, at most half full, doubling; no allocation once it
// has grown to the number of keys in use. Key 0 means "no key" and is never stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace blixard::routing {

class supersede_index {
 public:
  /// Adds or replaces. Precondition: key != 0.
  void put(std::uint64_t key, std::uint64_t position);
  [[nodiscard]] std::optional<std::uint64_t> find(std::uint64_t key) const noexcept;
  /// Removes the key; nothing happens if it is not there.
  void remove(std::uint64_t key) noexcept;
  void clear() noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return used_; }

 private:
  struct cell {
    std::uint64_t key = 0;
    std::uint64_t position = 0;
  };
  [[nodiscard]] std::size_t home(std::uint64_t key) const noexcept;
  [[nodiscard]] std::size_t locate(std::uint64_t key) const noexcept;
  void grow();

  std::vector<cell> cells_;  // size is 0 or a power of two
  std::size_t used_ = 0;
};

}  // namespace blixard::routing
