#include "runtime/repl/utf8.hpp"

#include <cstdint>

namespace blixard::repl {
namespace {

/// What a first byte says: how long the character is, and which second bytes may follow it. The
/// bounds of the second byte exclude longer forms than needed, surrogates, and what lies above
/// U+10FFFF.
struct lead {
  std::size_t length = 0;
  std::uint8_t second_min = 0x80;
  std::uint8_t second_max = 0xBF;
};

lead lead_of(std::uint8_t byte) noexcept {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

}  // namespace

std::size_t utf8_length(std::string_view text) noexcept {
  if (text.empty()) return 0;
  const auto byte = [text](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const auto l = lead_of(byte(0));
  if (l.length > text.size()) return 0;
  for (std::size_t i = 1; i < l.length; ++i) {
    const auto min = i == 1 ? l.second_min : std::uint8_t{0x80};
    const auto max = i == 1 ? l.second_max : std::uint8_t{0xBF};
    if (byte(i) < min || byte(i) > max) return 0;
  }
  return l.length;
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto n = utf8_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

}  // namespace blixard::repl
