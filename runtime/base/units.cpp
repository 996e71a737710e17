#include "runtime/base/units.hpp"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace blixard {
namespace {

tl::unexpected<error> refuse(std::string_view text, std::string_view what, std::string_view hint) {
  return tl::unexpected(make_error(errc::invalid_argument,
                                   "\"" + std::string(text) + "\" is not " + std::string(what),
                                   std::string(hint)));
}

struct quantity {
  double value = 0;
  bool whole = true;  // no decimal point: `exact` holds
  std::uint64_t exact = 0;
  std::string_view unit;
};

/// Digits with at most one point, then a unit of letters. Nothing where that is not the form.
bool split_quantity(std::string_view text, quantity& out) {
  std::size_t end = 0;
  bool point = false;
  while (end < text.size() &&
         ((text[end] >= '0' && text[end] <= '9') || (text[end] == '.' && !point))) {
    point = point || text[end] == '.';
    ++end;
  }
  const auto number = text.substr(0, end);
  if (number.empty() || number.front() == '.' || number.back() == '.') return false;
  out.unit = text.substr(end);
  out.whole = !point;
  const char* last = number.data() + number.size();
  if (!point) {
    const auto r = std::from_chars(number.data(), last, out.exact);
    if (r.ec != std::errc{}) return false;
  }
  const auto r = std::from_chars(number.data(), last, out.value);
  return r.ec == std::errc{};
}

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

/// The power of 1024 of a size unit, or -1.
int size_power(std::string_view unit) {
  if (unit.empty()) return 0;
  if (unit.size() == 1 && upper(unit[0]) == 'B') return 0;
  constexpr std::string_view prefixes = "KMGTP";
  const auto at = prefixes.find(upper(unit[0]));
  if (at == std::string_view::npos) return -1;
  const auto rest = unit.substr(1);
  const bool bytes = rest.size() == 1 && upper(rest[0]) == 'B';
  const bool binary = rest.size() == 2 && upper(rest[0]) == 'I' && upper(rest[1]) == 'B';
  const bool short_binary = rest.size() == 1 && upper(rest[0]) == 'I';
  if (!rest.empty() && !bytes && !binary && !short_binary) return -1;
  return static_cast<int>(at) + 1;
}

/// Milliseconds of one unit, or 0.
double duration_unit_ms(std::string_view unit) {
  if (unit == "ms") return 1;
  if (unit.empty() || unit == "s") return 1000;
  if (unit == "m" || unit == "min") return 60'000;
  if (unit == "h") return 3'600'000;
  return 0;
}

std::string with_unit(double value, const char* unit) {
  char text[48];
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  std::string out = text;
  if (decimals > 0) {
    while (out.back() == '0') out.pop_back();
    if (out.back() == '.') out.pop_back();
  }
  return out + unit;
}

}  // namespace

tl::expected<std::uint64_t, error> parse_size(std::string_view text) {
  constexpr std::string_view hint = "sizes are bytes, or a number with K, M, G, T: 256M, 2G";
  quantity q;
  if (!split_quantity(text, q)) return refuse(text, "a size", hint);
  const int power = size_power(q.unit);
  if (power < 0) return refuse(text, "a size (unknown unit)", hint);
  const std::uint64_t factor = std::uint64_t{1} << (10 * power);
  constexpr auto max = static_cast<std::uint64_t>(INT64_MAX);
  if (q.whole) {
    if (q.exact > max / factor) return refuse(text, "a size that fits in 63 bits", hint);
    return q.exact * factor;
  }
  const double bytes = q.value * static_cast<double>(factor);
  if (bytes >= 9.2e18) return refuse(text, "a size that fits in 63 bits", hint);
  if (bytes != std::floor(bytes)) return refuse(text, "a whole number of bytes", hint);
  return static_cast<std::uint64_t>(bytes);
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array<const char*, 6> units{"", "K", "M", "G", "T", "P"};
  std::size_t exact = 0;
  std::uint64_t n = bytes;
  while (n >= 1024 && n % 1024 == 0 && exact + 1 < units.size()) {
    n /= 1024;
    ++exact;
  }
  if (n < 10'000) return std::to_string(n) + units[exact];
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1023.95 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.1f%s", value, units[unit]);
  return text;
}

tl::expected<std::uint64_t, error> parse_duration_ms(std::string_view text) {
  constexpr std::string_view hint =
      "durations are seconds, or a number with ms, s, m, h: 250ms, 2s";
  quantity q;
  if (!split_quantity(text, q)) return refuse(text, "a duration", hint);
  const double unit = duration_unit_ms(q.unit);
  if (unit == 0) return refuse(text, "a duration (unknown unit)", hint);
  const double ms = q.value * unit;
  if (ms > 366.0 * 24 * 3'600'000) return refuse(text, "a duration of at most a year", hint);
  return static_cast<std::uint64_t>(std::llround(ms));
}

std::string format_duration_ns(std::uint64_t ns) {
  if (ns < 1000) return std::to_string(ns) + "ns";
  const auto value = static_cast<double>(ns);
  if (value < 999.5e3) return with_unit(value / 1e3, "us");
  if (value < 999.5e6) return with_unit(value / 1e6, "ms");
  if (value < 59.95e9) return with_unit(value / 1e9, "s");
  const std::uint64_t seconds = (ns + 500'000'000) / 1'000'000'000;
  char text[48];
  if (seconds < 3600)
    std::snprintf(text, sizeof text, "%um%02us", static_cast<unsigned>(seconds / 60),
                  static_cast<unsigned>(seconds % 60));
  else
    std::snprintf(text, sizeof text, "%lluh%02um", static_cast<unsigned long long>(seconds / 3600),
                  static_cast<unsigned>(seconds / 60 % 60));
  return text;
}

std::string format_utc(std::int64_t unix_ms) {
  constexpr std::int64_t year_9999_ms = 253'402'300'799'999;
  if (unix_ms <= 0 || unix_ms > year_9999_ms) return "-";
  const std::chrono::sys_seconds when{std::chrono::seconds{unix_ms / 1000}};
  const auto day = std::chrono::floor<std::chrono::days>(when);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{when - day};
  char text[32];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()));
  return text;
}

tl::expected<std::uint64_t, error> parse_unsigned(std::string_view text, std::uint64_t max) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto r = std::from_chars(text.data(), end, value);
  if (text.empty() || r.ptr != end || r.ec == std::errc::invalid_argument)
    return refuse(text, "a whole number", "");
  if (r.ec != std::errc{} || value > max)
    return refuse(text, "a number up to " + std::to_string(max), "");
  return value;
}

tl::expected<double, error> parse_fraction(std::string_view text, fraction_range range) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto r = std::from_chars(text.data(), end, value);
  if (text.empty() || r.ptr != end || r.ec != std::errc{} || !std::isfinite(value))
    return refuse(text, "a number", "");
  if (value < range.min || value > range.max) {
    char limits[64];
    std::snprintf(limits, sizeof limits, "a number from %g to %g", range.min, range.max);
    return refuse(text, limits, "");
  }
  return value;
}

}  // namespace blixard
