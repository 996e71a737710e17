#include "runtime/net/address.hpp"

#include <gtest/gtest.h>

namespace blixard::net {
namespace {

TEST(address, text_of_every_accepted_form_reads_back) {
  const std::pair<const char*, const char*> table[] = {
      {"127.0.0.1:7001", "127.0.0.1:7001"},
      {"localhost:7001", "127.0.0.1:7001"},
      {"0.0.0.0:0", "0.0.0.0:0"},
      {"[::1]:65535", "[::1]:65535"},
      {"[2001:db8:0:0::2]:80", "[2001:db8::2]:80"},
      {"[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1"},
  };
  for (const auto& [text, canonical] : table) {
    const auto a = address::parse(text);
    ASSERT_TRUE(a) << text;
    EXPECT_EQ(a->to_string(), canonical);
    EXPECT_EQ(*address::parse(a->to_string()), *a);
  }
}

TEST(address, bad_text_is_an_error_that_shows_it) {
  for (const auto* text :
       {"", "7001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "1.2.3:4", "256.1.1.1:80",
        "host.example:80", "::1:80", "[::1]", "[::zz]:80", "127.0.0.1:80x", " 127.0.0.1:80"}) {
    const auto a = address::parse(text);
    ASSERT_FALSE(a) << text;
    EXPECT_EQ(a.error().code, errc::invalid_argument);
    EXPECT_NE(a.error().message.find(std::string("\"") + text + "\""), std::string::npos);
  }
}

TEST(address, only_loopback_is_loopback) {
  for (const auto* text : {"127.0.0.1:1", "127.255.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"})
    EXPECT_TRUE(is_loopback(*address::parse(text))) << text;
  for (const auto* text : {"0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[::2]:1", "[fe80::1]:1",
                           "[::ffff:10.0.0.1]:1", "128.0.0.1:1"})
    EXPECT_FALSE(is_loopback(*address::parse(text))) << text;
  EXPECT_FALSE(is_loopback(address{}));
}

TEST(address, where_one_can_only_listen_cannot_be_dialled) {
  for (const auto* text : {"127.0.0.1:1", "10.0.0.1:7001", "[::1]:1", "localhost:1"})
    EXPECT_TRUE(can_be_dialled(*address::parse(text))) << text;
  for (const auto* text : {"127.0.0.1:0", "0.0.0.0:1", "[::]:1"})
    EXPECT_FALSE(can_be_dialled(*address::parse(text))) << text;
  EXPECT_FALSE(can_be_dialled(address{}));
}

TEST(address, nowhere_is_not_valid) {
  EXPECT_FALSE(address{}.valid());
  EXPECT_TRUE(address::loopback(0).valid());
}

}  // namespace
}  // namespace blixard::net
