// What every fuzz target is made of: one function that takes an input, and examples to start from.
//
//   examples() ──► mutated by libFuzzer, guided by the decoder's branches ──► one(input)
//
// A target fails by a CHECK that fires, by a sanitizer, by taking too long. It says more than "does
// not crash" where that is cheap: what was accepted survives a round trip, what arrives in pieces
// means what it means whole, what was damaged is not taken for the truth. No state may survive a
// call: an input that was found must fail alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "messages/buffer.hpp"
#include "messages/check.hpp"

namespace blixard::fuzz {

/// The bytes of one run, taken from the front. Behind their end there are zeros.
class input {
 public:
  explicit input(std::string_view bytes) noexcept : rest_(bytes) {}

  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }
  [[nodiscard]] std::uint8_t byte() noexcept {
    if (rest_.empty()) return 0;
    const auto b = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return b;
  }
  /// Two bytes.
  [[nodiscard]] std::uint32_t word() noexcept {
    const std::uint32_t low = byte();
    return low | std::uint32_t{byte()} << 8U;
  }
  /// At most `size` bytes.
  [[nodiscard]] std::string_view text(std::size_t size) noexcept {
    const auto taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  [[nodiscard]] std::string_view rest() const noexcept { return rest_; }

 private:
  std::string_view rest_;
};

/// The target: defined by each.
void one(input in);
/// Inputs that a decoder accepts, for a start. Made once.
[[nodiscard]] std::vector<std::string> examples();

/// In a buffer of exactly that size: whoever reads on is seen.
[[nodiscard]] inline slice whole(std::string_view text) { return slice::copy_of(text); }
[[nodiscard]] inline std::span<const std::byte> bytes_of(std::string_view text) noexcept {
  return std::as_bytes(std::span{text.data(), text.size()});
}

}  // namespace blixard::fuzz
