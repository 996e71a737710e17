#include "runtime/base/units.hpp"

namespace blixard {
namespace {

struct size_case {
  std::string text;
  std::uint64_t bytes;
};

TEST(size, every_way_of_writing_one_is_read) {
  constexpr std::uint64_t KiB = 1024;
  const std::vector<size_case> cases{
      {"0", 0},
      {"512", 512},
      {"1B", 1},
      {"1k", KiB},
      {"64KB", 64 * KiB},
      {"256M", 256 * KiB * KiB},
      {"256MiB", 256 * KiB * KiB},
      {"256mi", 256 * KiB * KiB},
      {"2G", 2 * KiB * KiB * KiB},
      {"1.5G", 1536 * KiB * KiB},
      {"0.5K", 512},
      {"3T", 3 * KiB * KiB * KiB * KiB},
      {"8191P", 8191 * KiB * KiB * KiB * KiB * KiB},
      {"9223372036854775807", INT64_MAX},
  };
  for (const auto& c : cases) {
    const auto n = parse_size(c.text);
    ASSERT_TRUE(n) << c.text << ": " << n.error().message;
    EXPECT_EQ(*n, c.bytes) << c.text;
  }
}

TEST(size, what_is_none_is_refused_with_an_example) {
  for (const std::string text : {"",
                                 "M",
                                 "-1",
                                 "+1",
                                 " 1",
                                 "1 M",
                                 "1X",
                                 "1MM",
                                 "1MBB",
                                 ".5G",
                                 "1.",
                                 "1.2.3",
                                 "0.3K",
                                 "0x10",
                                 "9223372036854775808",
                                 "8192P",
                                 "99999999999999999999",
                                 "1e3",
                                 "nan",
                                 "inf"}) {
    const auto n = parse_size(text);
    ASSERT_FALSE(n) << text << " gave " << *n;
    EXPECT_EQ(n.error().code, errc::invalid_argument);
    EXPECT_NE(n.error().message.find("\"" + text + "\""), std::string::npos);
    EXPECT_NE(n.error().hint.find("256M"), std::string::npos);
  }
}

TEST(size, is_written_short_and_reads_back_where_it_is_exact) {
  EXPECT_EQ(format_size(0), "0");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_size(256 << 20), "256M");
  EXPECT_EQ(format_size(1536ULL << 20), "1536M");
  EXPECT_EQ(format_size(2ULL << 30), "2G");
  EXPECT_EQ(format_size(123'456'789), "117.7M");
  for (const std::uint64_t n : {1ULL, 1024ULL, 5ULL << 30, 64ULL << 10, 9999ULL})
    EXPECT_EQ(parse_size(format_size(n)), n);
}

TEST(duration, units_and_plain_seconds) {
  EXPECT_EQ(parse_duration_ms("2"), 2000u);
  EXPECT_EQ(parse_duration_ms("0.25"), 250u);
  EXPECT_EQ(parse_duration_ms("1500ms"), 1500u);
  EXPECT_EQ(parse_duration_ms("1.5s"), 1500u);
  EXPECT_EQ(parse_duration_ms("3m"), 180'000u);
  EXPECT_EQ(parse_duration_ms("1h"), 3'600'000u);
  for (const std::string text : {"", "s", "-1", "1x", "1 s", "9000000h", "ms"})
    EXPECT_FALSE(parse_duration_ms(text)) << text;
}

TEST(duration, is_written_with_three_digits_and_the_fitting_unit) {
  EXPECT_EQ(format_duration_ns(999), "999ns");
  EXPECT_EQ(format_duration_ns(1'500), "1.5us");
  EXPECT_EQ(format_duration_ns(850'400), "850us");
  EXPECT_EQ(format_duration_ns(12'345'678), "12.3ms");
  EXPECT_EQ(format_duration_ns(1'200'000'000), "1.2s");
  EXPECT_EQ(format_duration_ns(185'000'000'000), "3m05s");
  EXPECT_EQ(format_duration_ns(7'380'000'000'000), "2h03m");
}

TEST(utc, is_written_to_the_second_and_absurd_times_are_not) {
  EXPECT_EQ(format_utc(1'795'485'423'609), "2026-11-24 01:57:03Z");
  EXPECT_EQ(format_utc(1), "1970-01-01 00:00:00Z");
  EXPECT_EQ(format_utc(951'782'400'000), "2000-02-29 00:00:00Z");
  for (const std::int64_t none : {INT64_MIN, std::int64_t{0}, INT64_MAX})
    EXPECT_EQ(format_utc(none), "-");
}

TEST(number, only_digits_up_to_the_limit) {
  EXPECT_EQ(parse_unsigned("0"), 0u);
  EXPECT_EQ(parse_unsigned("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parse_unsigned("65535", 65535), 65535u);
  for (const std::string text : {"", "-1", "+1", "1 ", "1x", "0x1", "65536", "1.0"})
    EXPECT_FALSE(parse_unsigned(text, 65535)) << text;
  EXPECT_FALSE(parse_unsigned("18446744073709551616"));
}

TEST(fraction, is_bounded_and_finite) {
  EXPECT_EQ(parse_fraction("0.5", {}), 0.5);
  EXPECT_EQ(parse_fraction("1", {}), 1.0);
  for (const std::string text : {"", "-0.1", "1.1", "nan", "inf", "x", "0.5x"})
    EXPECT_FALSE(parse_fraction(text, {})) << text;
}

}  // namespace
}  // namespace blixard
