#include "runtime/base/names.hpp"

#include <algorithm>

#include "messages/limits.hpp"

namespace blixard {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Takes the run of digits that `text` begins with, without its leading zeros.
std::string_view take_number(std::string_view& text) noexcept {
  std::size_t digits = 0;
  while (digits < text.size() && is_digit(text[digits])) ++digits;
  auto out = text.substr(0, digits);
  text.remove_prefix(digits);
  out.remove_prefix(std::min(out.find_first_not_of('0'), out.size()));
  return out;
}

}  // namespace

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

bool natural_less(std::string_view a, std::string_view b) noexcept {
  const auto whole_a = a;
  const auto whole_b = b;
  while (!a.empty() && !b.empty()) {
    if (is_digit(a[0]) && is_digit(b[0])) {
      const auto x = take_number(a);
      const auto y = take_number(b);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
      continue;
    }
    if (a[0] != b[0]) return std::string_view(a.data(), 1) < std::string_view(b.data(), 1);
    a.remove_prefix(1);
    b.remove_prefix(1);
  }
  return a.empty() && b.empty() ? whole_a < whole_b : a.empty();
}

}  // namespace blixard
