// What a search in an inner node reads of its separators where they are texts.
//
// A separator is a string of its own, perhaps with its bytes elsewhere: a binary search over 32 of
// them touches five objects in memory. Separators that stand beside each other mostly begin alike,
// so the node keeps their common prefix once, and of each the eight bytes behind it as a number.
// Big-endian, these numbers are in the order of the texts: four cache lines, read one after the
// other, decide nearly every search. Only separators whose number is that of the key itself are
// compared in full.
//
//   bench/10422   ┐ prefix "bench/1"     heads "0422" "0835" "2407"
//   bench/10835   ├
//   bench/12407   ┘ a key below "bench/1": before all; above it: behind all
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

namespace blixard::state {

/// Of at most `max` texts in order.
template <std::size_t max>
class key_heads {
 public:
  /// The texts before `first` are not above the key, those from `last` on are above it; what is
  /// between begins like the key and has to be compared.
  struct range {
    std::size_t first;
    std::size_t last;
  };

  /// Reads `count` texts; `text(i)` is the one at i.
  template <class Text>
  void read(std::size_t count, const Text& text) {
    count_ = static_cast<std::uint8_t>(count);
    prefix_size_ = 0;
    heads_.fill(std::numeric_limits<std::uint64_t>::max());
    if (count == 0) return;
    // In order: what the first and the last share, all share.
    const std::string_view low = text(0);
    const std::string_view high = text(count - 1);
    const std::size_t longest = std::min({low.size(), high.size(), prefix_.size()});
    const auto differ = std::mismatch(low.begin(), low.begin() + longest, high.begin()).first;
    prefix_size_ = static_cast<std::uint8_t>(differ - low.begin());
    std::memcpy(prefix_.data(), low.data(), prefix_size_);
    for (std::size_t i = 0; i < count; ++i) heads_[i] = head_of(text(i).substr(prefix_size_));
  }

  [[nodiscard]] range find(std::string_view key) const noexcept {
    const std::size_t shared = std::min<std::size_t>(prefix_size_, key.size());
    const int side = shared == 0 ? 0 : std::memcmp(key.data(), prefix_.data(), shared);
    if (side < 0 || (side == 0 && shared < prefix_size_)) return {0, 0};
    if (side > 0) return {count_, count_};
    const std::uint64_t head = head_of(key.substr(prefix_size_));
    std::size_t below = 0;
    for (const auto h : heads_)
      below += h < head ? 1 : 0;  // no branch to guess; unused are maximal
    std::size_t last = below;
    while (last < count_ && heads_[last] == head) ++last;
    return {below, last};
  }

 private:
  /// The first eight bytes as a number, big-endian, zeros where the text ends. Unequal ones are in
  /// the order of their texts.
  static std::uint64_t head_of(std::string_view text) noexcept {
    std::uint64_t out = 0;
    if (text.size() >= sizeof out) {
      std::memcpy(&out, text.data(), sizeof out);
      return std::endian::native == std::endian::little ? __builtin_bswap64(out) : out;
    }
    for (const char c : text) out = out << 8U | static_cast<unsigned char>(c);
    return text.empty() ? 0 : out << 8 * (sizeof out - text.size());
  }

  std::uint8_t count_ = 0;
  std::uint8_t prefix_size_ = 0;
  std::array<char, 54> prefix_{};  // with the node's own header a cache line
  std::array<std::uint64_t, max> heads_{};
};

}  // namespace blixard::state
