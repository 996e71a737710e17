// The request parser and the answers' bytes.
#include "metrics/http.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

namespace blixard::metrics {
namespace {

using namespace std::string_view_literals;

TEST(http_request, takes_the_path_without_the_query_and_the_bytes_of_one_request) {
  const std::string bytes =
      "GET /metrics?name=x HTTP/1.1\r\nHost: a:1\r\nAccept: */*\r\n\r\nGET /next";
  const auto parsed = parse_http_request(bytes);
  ASSERT_TRUE(parsed && *parsed);
  EXPECT_EQ((*parsed)->method, "GET");
  EXPECT_EQ((*parsed)->path, "/metrics");
  EXPECT_TRUE((*parsed)->keep_alive);
  EXPECT_EQ(bytes.substr((*parsed)->size), "GET /next");
}

TEST(http_request, waits_for_the_blank_line_at_every_cut) {
  const std::string whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    const auto parsed = parse_http_request(std::string_view(whole).substr(0, cut));
    ASSERT_TRUE(parsed) << cut;
    EXPECT_FALSE(*parsed) << cut;
  }
  EXPECT_TRUE(*parse_http_request(whole));
}

TEST(http_request, keep_alive_follows_version_and_header) {
  const struct {
    const char* bytes;
    bool keeps;
  } cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", true},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\ncOnnection:   Close \r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
  };
  for (const auto& c : cases) {
    const auto parsed = parse_http_request(c.bytes);
    ASSERT_TRUE(parsed && *parsed) << c.bytes;
    EXPECT_EQ((*parsed)->keep_alive, c.keeps) << c.bytes;
  }
}

TEST(http_request, refuses_what_it_does_not_understand) {
  const struct {
    std::string bytes;
    int status;
  } cases[] = {
      {"\r\n\r\n", 400},
      {"GET\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET  HTTP/1.1\r\n\r\n", 400},
      {"GET metrics HTTP/1.1\r\n\r\n", 400},
      {"GET /a b HTTP/1.1\r\n\r\n", 400},
      {"G(T / HTTP/1.1\r\n\r\n", 400},
      {"GET / FTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\n\r\n", 505},
      {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n: nameless\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : space\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 413},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 413},
      {std::string("GET /\0 HTTP/1.1\r\n\r\n", 19), 400},
  };
  for (const auto& c : cases) {
    const auto parsed = parse_http_request(c.bytes);
    ASSERT_FALSE(parsed) << c.bytes;
    EXPECT_EQ(parsed.error(), c.status) << c.bytes;
  }
}

TEST(http_request, a_body_of_length_zero_is_none) {
  const auto parsed = parse_http_request("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(parsed && *parsed);
}

TEST(http_request, any_bytes_give_a_request_inside_them_a_status_or_nothing) {
  const std::string seeds[] = {
      "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
      "HEAD / HTTP/1.0\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
  };
  const std::string_view pieces = "\r\n :/?AGET.10%\t\0\xff"sv;
  std::mt19937 random(7);
  for (int i = 0; i < 100'000; ++i) {
    std::string bytes = seeds[i % 2];
    for (auto changes = random() % 6; changes > 0; --changes) {
      const auto at = random() % bytes.size();
      switch (random() % 3) {
        case 0:
          bytes[at] = pieces[random() % pieces.size()];
          break;
        case 1:
          bytes.insert(at, 1, pieces[random() % pieces.size()]);
          break;
        case 2:
          bytes.erase(at, random() % 4);
          break;
      }
      if (bytes.empty()) break;
    }
    const auto parsed = parse_http_request(bytes);
    if (!parsed) {
      ASSERT_THAT(parsed.error(), ::testing::AnyOf(400, 413, 505)) << bytes;
    } else if (*parsed) {
      const auto& r = **parsed;
      ASSERT_LE(r.size, bytes.size());
      ASSERT_TRUE(r.path.starts_with('/')) << bytes;
      ASSERT_GE(r.path.data(), bytes.data());
      ASSERT_LE(r.path.data() + r.path.size(), bytes.data() + r.size);
      ASSERT_FALSE(r.method.empty()) << bytes;
    }
  }
}

TEST(http_answer, has_length_type_and_connection) {
  EXPECT_EQ(
      encode_http_answer({.status = 200, .content_type = "text/plain", .body = "hi"}, true, false),
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
      "Connection: keep-alive\r\n\r\nhi");
  EXPECT_EQ(encode_http_answer({.status = 503, .content_type = "a/b", .body = "xyz"}, false, true),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: a/b\r\nContent-Length: 3\r\n"
            "Connection: close\r\n\r\n");
}

}  // namespace
}  // namespace blixard::metrics
