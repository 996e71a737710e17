#include "runtime/base/names.hpp"

#include <algorithm>

#include "messages/limits.hpp"

namespace blixard {

bool is_dns_label(std::string_view text) noexcept {
  if (text.empty() || text.size() > limits::name_max_bytes) return false;
  if (text.front() == '-' || text.back() == '-') return false;
  return std::ranges::all_of(
      text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

std::string hex_digits(std::uint64_t id) {
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[id >> shift & 15];
  return out;
}

}  // namespace blixard
