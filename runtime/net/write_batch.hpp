// One gathered write: headers and small pieces copied side by side, large pieces referenced.
//
// Sixty-four tiny regions cost the kernel more than copying them together, a copy of a large piece
// costs more than a region (CAF.md "Gathered write"): the border is `copy_max_bytes`. The batch is
// scratch space of one loop: nothing in it outlives the write, because what the socket did not take
// is gathered again.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "messages/frame.hpp"
#include "messages/limits.hpp"

namespace blixard::net {

class write_batch {
 public:
  static constexpr std::size_t copy_max_bytes = 512;
  static constexpr std::size_t regions_max = 512;
  static constexpr std::size_t stage_bytes = 128 * limits::KiB;
  static constexpr std::size_t batch_max_bytes = 512 * limits::KiB;

  write_batch();

  void clear() noexcept;
  /// Adds the wire form of `f` from byte `skip` on, as far as there is room. Returns the number of
  /// bytes added: fewer than wire_size() - skip when the batch is full.
  std::size_t add(const frame& f, std::size_t skip);
  [[nodiscard]] bool full() const noexcept { return full_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t staged_bytes() const noexcept { return staged_; }
  [[nodiscard]] std::span<const iovec> regions() const noexcept { return regions_; }

 private:
  [[nodiscard]] bool add_piece(std::span<const std::byte> piece);
  [[nodiscard]] bool stage(std::span<const std::byte> piece);

  std::vector<iovec> regions_;
  std::vector<std::byte> stage_;
  std::size_t staged_ = 0;
  std::size_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace blixard::net
