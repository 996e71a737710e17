#include "runtime/base/fault.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace blixard::fault {
namespace {

constexpr int crash_status = 137;  // as if by SIGKILL

enum class action : std::uint8_t { crash, error, sleep, shorten };

struct rule {
  std::string point;
  action what = action::crash;
  std::uint64_t argument = 0;  // errno, milliseconds or bytes
  std::uint64_t nth = 0;       // 0: not by count
  std::uint32_t percent = 100;
  std::uint64_t passed = 0;
};

// The only global of the product, and only in builds with fault points: a point is named from
// anywhere, and a test arms it from outside the process.
struct armed_rules {
  std::mutex guard;
  std::vector<rule> rules;
  std::uint64_t random = 0;
};
armed_rules& armed() {
  static armed_rules all;
  return all;
}

/// splitmix64
std::uint64_t next(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size())
    return std::nullopt;
  return value;
}

std::optional<std::uint64_t> errno_of(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, int>, 10> names{
      {{"EIO", EIO},
       {"ENOSPC", ENOSPC},
       {"EDQUOT", EDQUOT},
       {"EROFS", EROFS},
       {"EACCES", EACCES},
       {"ENOENT", ENOENT},
       {"ENOMEM", ENOMEM},
       {"EAGAIN", EAGAIN},
       {"ECONNRESET", ECONNRESET},
       {"EPIPE", EPIPE}}};
  for (const auto& [known, value] : names)
    if (known == name) return static_cast<std::uint64_t>(value);
  return number(name);
}

bool parse_action(std::string_view text, rule& r) {
  const auto colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  if (name == "crash") return r.what = action::crash, colon == std::string_view::npos;
  if (colon == std::string_view::npos) return false;
  const std::string_view argument = text.substr(colon + 1);
  std::optional<std::uint64_t> value;
  if (name == "error") {
    r.what = action::error;
    value = errno_of(argument);
    if (value == 0U) return false;
  } else if (name == "sleep") {
    r.what = action::sleep;
    value = number(argument);
  } else if (name == "short") {
    r.what = action::shorten;
    value = number(argument);
  }
  if (!value) return false;
  r.argument = *value;
  return true;
}

bool parse_trigger(std::string_view& text, rule& r) {
  const auto at = text.find_first_of("@%");
  if (at == std::string_view::npos) return true;
  const auto value = number(text.substr(at + 1));
  if (!value) return false;
  if (text[at] == '@') {
    if (*value == 0) return false;
    r.nth = *value;
  } else {
    if (*value > 100) return false;
    r.percent = static_cast<std::uint32_t>(*value);
  }
  text = text.substr(0, at);
  return true;
}

std::optional<rule> parse_rule(std::string_view item) {
  const auto equals = item.find('=');
  if (equals == std::string_view::npos || equals == 0) return std::nullopt;
  rule r;
  r.point = item.substr(0, equals);
  std::string_view rest = item.substr(equals + 1);
  if (!parse_trigger(rest, r) || !parse_action(rest, r)) return std::nullopt;
  return r;
}

/// Whether this passage is one that the rule is for.
bool fires(rule& r, std::uint64_t& random) {
  ++r.passed;
  if (r.nth != 0) return r.passed == r.nth;
  return r.percent == 100 || next(random) % 100 < r.percent;
}

}  // namespace

tl::expected<void, std::string> arm(std::string_view spec, std::uint64_t seed) {
  std::vector<rule> rules;
  while (!spec.empty()) {
    const auto comma = spec.find(',');
    const std::string_view item = spec.substr(0, comma);
    auto r = parse_rule(item);
    if (!r)
      return tl::unexpected("fault point \"" + std::string{item} +
                            "\": expected POINT=crash|error:E|sleep:MS|short:N[@nth|%percent]");
    rules.push_back(std::move(*r));
    spec = comma == std::string_view::npos ? std::string_view{} : spec.substr(comma + 1);
  }
  auto& all = armed();
  const std::lock_guard lock{all.guard};
  all.rules = std::move(rules);
  all.random = seed;
  return {};
}

tl::expected<void, std::string> arm_from_environment(std::uint64_t seed) {
  const char* spec = std::getenv("BLIXARD_FAULTS");
  return spec == nullptr ? tl::expected<void, std::string>{} : arm(spec, seed);
}

effect hit(std::string_view point) {
  effect result;
  std::uint64_t sleep_ms = 0;
  {
    auto& all = armed();
    const std::lock_guard lock{all.guard};
    for (rule& r : all.rules) {
      if (r.point != point || !fires(r, all.random)) continue;
      switch (r.what) {
        case action::crash:
          ::_exit(crash_status);
        case action::error:
          result.error = static_cast<int>(r.argument);
          break;
        case action::sleep:
          sleep_ms += r.argument;
          break;
        case action::shorten:
          result.short_bytes = static_cast<std::size_t>(r.argument);
          break;
      }
    }
  }
  if (sleep_ms != 0) std::this_thread::sleep_for(std::chrono::milliseconds{sleep_ms});
  return result;
}

}  // namespace blixard::fault
