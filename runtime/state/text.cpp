// See text.hpp.
#include "runtime/state/text.hpp"

#include <array>

namespace blixard::state {
namespace {

template <std::size_t N>
std::string_view name_in(const std::array<std::string_view, N>& names, int value) noexcept {
  return value >= 0 && static_cast<std::size_t>(value) < N ? names[static_cast<std::size_t>(value)]
                                                           : std::string_view{"unknown"};
}

}  // namespace

std::string size_text(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 6> units{" B",   " KiB", " MiB",
                                                         " GiB", " TiB", " PiB"};
  std::size_t unit = 0;
  std::uint64_t scale = 1;
  while (unit + 1 < units.size() && bytes / scale >= 1024) {
    scale *= 1024;
    ++unit;
  }
  std::string out = std::to_string(bytes / scale);
  const std::uint64_t tenth = bytes % scale * 10 / scale;
  if (tenth > 0) out += "." + std::to_string(tenth);
  out += units[unit];
  return out;
}

std::string quote(std::string_view text) {
  static constexpr std::string_view digits = "0123456789abcdef";
  static constexpr std::size_t max = 64;
  std::string out = "'";
  for (const char c : text.substr(0, max)) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x20 && u < 0x7f && c != '\\') {
      out += c;
    } else {
      out += "\\x";
      out += digits[u >> 4];
      out += digits[u & 15];
    }
  }
  return out + (text.size() > max ? "...'" : "'");
}

std::string bounded(std::string_view utf8, std::size_t max) {
  if (utf8.size() <= max) return std::string{utf8};
  std::size_t end = max;
  while (end > 0 && (static_cast<unsigned char>(utf8[end]) & 0xC0) == 0x80) --end;
  return std::string{utf8.substr(0, end)};
}

std::string_view backend_name(pb::Backend b) noexcept {
  static constexpr std::array<std::string_view, 3> names{"auto", "qemu", "process"};
  return name_in(names, b);
}

std::string_view desired_name(pb::Desired d) noexcept {
  static constexpr std::array<std::string_view, 4> names{"running", "stopped", "paused", "deleted"};
  return name_in(names, d);
}

std::string_view phase_name(pb::Phase p) noexcept {
  static constexpr std::array<std::string_view, 9> names{"pending", "scheduled", "starting",
                                                         "running", "paused",    "stopping",
                                                         "stopped", "failed",    "deleting"};
  return name_in(names, p);
}

std::string_view strategy_name(pb::Strategy s) noexcept {
  static constexpr std::array<std::string_view, 4> names{"most_available", "least_available",
                                                         "round_robin", "manual"};
  return name_in(names, s);
}

std::string_view node_state_name(pb::NodeState s) noexcept {
  static constexpr std::array<std::string_view, 6> names{"joining",  "ready", "cordoned",
                                                         "draining", "left",  "down"};
  return name_in(names, s);
}

}  // namespace blixard::state
