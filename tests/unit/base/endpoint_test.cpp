#include "runtime/base/endpoint.hpp"

namespace blixard {
namespace {

TEST(endpoint, right_ones_read_back) {
  for (const std::string text :
       {"127.0.0.1:7001", "localhost:0", "[::1]:65535", "node-1.lan:80", "[fe80::1%eth0]:1"}) {
    const auto e = parse_endpoint(text);
    ASSERT_TRUE(e) << text;
    EXPECT_EQ(to_string(*e), text);
  }
}

TEST(endpoint, wrong_ones_say_why) {
  const std::vector<std::pair<std::string, std::string>> cases{{"", "no port"},
                                                               {"127.0.0.1", "no port"},
                                                               {":7001", "no host"},
                                                               {"host:", "port is not"},
                                                               {"host:65536", "port is not"},
                                                               {"host:7x", "port is not"},
                                                               {"::1:7001", "brackets"},
                                                               {"[]:1", "IPv6"},
                                                               {"[x]:1", "IPv6"},
                                                               {"[21%.k1]:71", "IPv6"},
                                                               {"[127.0.0.1]:1", "IPv6"},
                                                               {"a b:1", "bad character"},
                                                               {"http://h:1", "brackets"}};
  for (const auto& [text, why] : cases) {
    const auto e = parse_endpoint(text);
    ASSERT_FALSE(e) << text;
    EXPECT_NE(e.error().message.find(why), std::string::npos) << e.error().message;
    EXPECT_NE(e.error().hint.find("HOST:PORT"), std::string::npos);
  }
}

TEST(endpoint, a_list_needs_every_part_to_be_right) {
  const auto some = parse_endpoints("127.0.0.1:1,[::1]:2");
  ASSERT_TRUE(some);
  EXPECT_EQ(some->size(), 2u);
  EXPECT_FALSE(parse_endpoints("127.0.0.1:1,"));
  EXPECT_FALSE(parse_endpoints(",127.0.0.1:1"));
  EXPECT_FALSE(parse_endpoints(""));
}

TEST(endpoint, loopback_is_recognised_by_number_not_by_prefix) {
  for (const std::string host : {"127.0.0.1", "127.255.0.9", "::1", "localhost"})
    EXPECT_TRUE(is_loopback({host, 1})) << host;
  for (const std::string host : {"0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.org", "127.0.1",
                                 "128.0.0.1", "localhost.example.org", "127.0.0.256"})
    EXPECT_FALSE(is_loopback({host, 1})) << host;
}

}  // namespace
}  // namespace blixard
