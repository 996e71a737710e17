// Sizes and durations as people write them: 256M, 2G, 250ms, 1.5s; and numbers that must be whole.
//
// Sizes are binary (K = 1024). Durations are written with a unit or as plain seconds. All of them
// are pure functions of text; every error says what was wrong and what a right one looks like.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "messages/errc.hpp"

namespace blixard {

/// Bytes of "512", "256M", "2G", "1.5GiB", "64KB" (K M G T P, any case, all binary).
/// Errors: errc::invalid_argument (no number, unknown unit, negative, more than 2^63 - 1).
[[nodiscard]] tl::expected<std::uint64_t, error> parse_size(std::string_view text);
/// The shortest exact text where there is one ("256M"), else one decimal ("1.4G"); 0 is "0".
[[nodiscard]] std::string format_size(std::uint64_t bytes);

/// Milliseconds of "1500ms", "2s", "0.5", "3m", "1h"; a number without a unit is seconds.
/// Errors: errc::invalid_argument (no number, unknown unit, negative, more than a year).
[[nodiscard]] tl::expected<std::uint64_t, error> parse_duration_ms(std::string_view text);
/// "850us", "12.3ms", "1.2s", "3m05s" of nanoseconds: three telling digits, the unit last.
[[nodiscard]] std::string format_duration_ns(std::uint64_t ns);

/// "2026-11-24 02:10:33Z" of milliseconds since the Unix epoch; "-" for 0 and before.
[[nodiscard]] std::string format_utc(std::int64_t unix_ms);

/// A decimal number without sign, spaces or rest, at most `max`.
[[nodiscard]] tl::expected<std::uint64_t, error> parse_unsigned(std::string_view text,
                                                                std::uint64_t max = UINT64_MAX);
/// A finite decimal fraction in [min, max].
struct fraction_range {
  double min = 0;
  double max = 1;
};
[[nodiscard]] tl::expected<double, error> parse_fraction(std::string_view text,
                                                         fraction_range range);

}  // namespace blixard
