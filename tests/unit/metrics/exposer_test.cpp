// The metrics address over real sockets on loopback: what it answers, and what clients that stall,
// flood, talk nonsense or vanish cannot do to it.
#include "metrics/exposer.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "metrics/registry.hpp"

namespace blixard::metrics {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A blocking client connection.
class client {
 public:
  explicit client(const std::string& address) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port =
        htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  client(client&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  client& operator=(client&&) = delete;
  ~client() { close(); }

  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const auto put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) return;  // the other side closed: what it said tells why
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  }
  /// Everything until the other side closes.
  [[nodiscard]] std::string read_all() const {
    std::string out;
    char buffer[4096];
    for (ssize_t got; (got = ::recv(fd_, buffer, sizeof buffer, 0)) > 0;)
      out.append(buffer, static_cast<std::size_t>(got));
    return out;
  }
  /// Until `end` has come.
  [[nodiscard]] std::string read_until(std::string_view end) const {
    std::string out;
    char byte = 0;
    while (!out.ends_with(end) && ::recv(fd_, &byte, 1, 0) == 1) out += byte;
    return out;
  }
  /// Waits, without reading, until the other side has closed with requests unread.
  [[nodiscard]] bool is_reset() const {
    pollfd waiting{fd_, 0, 0};
    return ::poll(&waiting, 1, 30'000) == 1 && (waiting.revents & (POLLERR | POLLHUP)) != 0;
  }
  void half_close() const { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

struct exposer_test : ::testing::Test {
  registry numbers{"test"};
  std::atomic<bool> has_leader{true};

  std::unique_ptr<exposer> start(exposer_limits limits = {}) {
    exposer_sources sources;
    sources.metrics = [this] { return numbers.text(); };
    sources.ready = [this] {
      return has_leader ? readiness{} : readiness{{"no leader", "apply lag 2000"}};
    };
    auto started = exposer::start("127.0.0.1:0", std::move(sources), limits);
    EXPECT_TRUE(started) << started.error().message;
    return std::move(*started);
  }
  static std::string get(const exposer& e, const std::string& path) {
    const client c(e.address());
    c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return c.read_all();
  }
};

TEST_F(exposer_test, tells_the_port_it_got) {
  const auto e = start();
  EXPECT_THAT(e->address(), StartsWith("127.0.0.1:"));
  EXPECT_THAT(e->address(), ::testing::Not(EndsWith(":0")));
}

TEST_F(exposer_test, metrics_are_those_of_the_registry) {
  const auto e = start();
  numbers.gauge<metric::raft_term>().set(12U);
  const auto answer = get(*e, "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(answer, HasSubstr("\nblixard_raft_term 12\n"));
}

TEST_F(exposer_test, readyz_gives_the_reasons) {
  const auto e = start();
  EXPECT_THAT(get(*e, "/readyz"), StartsWith("HTTP/1.1 200 OK"));
  has_leader = false;
  const auto answer = get(*e, "/readyz");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer,
              EndsWith("{\"ready\":false,\"reasons\":[\"no leader\",\"apply lag 2000\"]}\n"));
  EXPECT_THAT(get(*e, "/livez"), EndsWith("{\"live\":true,\"reasons\":[]}\n"));
}

TEST_F(exposer_test, other_paths_and_methods_are_refused) {
  const auto e = start();
  EXPECT_THAT(get(*e, "/"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(get(*e, "/metrics/"), StartsWith("HTTP/1.1 404 "));
  const client c(e->address());
  c.send("DELETE /metrics HTTP/1.0\r\n\r\n");
  const auto answer = c.read_all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD"));
}

TEST_F(exposer_test, head_is_told_the_length_without_the_body) {
  const auto e = start();
  const client c(e->address());
  c.send("HEAD /livez HTTP/1.0\r\n\r\n");
  const auto answer = c.read_all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_F(exposer_test, one_connection_serves_many_requests_also_pipelined) {
  const auto e = start();
  const client c(e->address());
  std::string many;
  for (int i = 0; i < 50; ++i) many += "GET /livez HTTP/1.1\r\n\r\n";
  c.send(many);
  for (int i = 0; i < 50; ++i) EXPECT_THAT(c.read_until("}\n"), HasSubstr("200 OK")) << i;
}

TEST_F(exposer_test, a_request_may_come_byte_by_byte) {
  const auto e = start();
  const client c(e->address());
  for (const char byte : std::string("GET /livez HTTP/1.0\r\nA: b\r\n\r\n")) c.send({&byte, 1});
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(exposer_test, nonsense_is_answered_with_400_and_the_connection_closed) {
  const auto e = start();
  const client c(e->address());
  c.send("\x16\x03\x01 this is not HTTP\r\n\r\n");
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 400 "));
}

TEST_F(exposer_test, an_endless_request_is_answered_with_431) {
  const auto e = start();
  const client c(e->address());
  c.send("GET /metrics HTTP/1.1\r\nX: " + std::string(20'000, 'a'));
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 431 "));
}

TEST_F(exposer_test, a_half_closed_client_still_gets_its_answer) {
  const auto e = start();
  const client c(e->address());
  c.send("GET /livez HTTP/1.0\r\n\r\n");
  c.half_close();
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(exposer_test, a_client_that_sends_half_a_request_is_closed_and_others_are_served) {
  exposer_limits limits;
  limits.request_timeout = std::chrono::milliseconds(50);
  const auto e = start(limits);
  const client stalled(e->address());
  stalled.send("GET /metr");
  EXPECT_THAT(get(*e, "/livez"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_EQ(stalled.read_all(), "");  // returns when it is closed
}

TEST_F(exposer_test, a_client_that_never_takes_its_answers_is_closed) {
  exposer_limits limits;
  limits.answer_timeout = std::chrono::milliseconds(50);
  const auto e = start(limits);
  client greedy(e->address());
  // More answers than the sockets' buffers hold, and none of them is read.
  std::string many;
  for (int i = 0; i < 1'600; ++i) many += "GET /metrics HTTP/1.1\r\n\r\n";
  greedy.send(many);
  EXPECT_THAT(get(*e, "/livez"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_TRUE(greedy.is_reset());
}

TEST_F(exposer_test, connections_beyond_the_limit_are_closed_at_once_and_room_comes_back) {
  exposer_limits limits;
  limits.connections_max = 2;
  const auto e = start(limits);
  client one(e->address());
  client two(e->address());
  for (const auto* c : {&one, &two}) {
    c->send("GET /livez HTTP/1.1\r\n\r\n");
    EXPECT_THAT(c->read_until("}\n"), HasSubstr("200 OK"));
  }
  EXPECT_EQ(get(*e, "/livez"), "");
  one.close();
  std::string answer;
  while (answer.empty()) answer = get(*e, "/livez");  // until the close has been noticed
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(exposer_test, a_taken_port_is_an_error_that_names_it) {
  const auto e = start();
  const auto second = exposer::start(e->address(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::unavailable);
  EXPECT_THAT(second.error().message, HasSubstr(e->address()));
  EXPECT_THAT(second.error().message, HasSubstr("in use"));
}

TEST_F(exposer_test, a_port_is_free_again_after_the_exposer_is_gone) {
  auto e = start();
  const auto address = e->address();
  EXPECT_THAT(get(*e, "/livez"), StartsWith("HTTP/1.1 200 OK"));
  e.reset();
  const auto again = exposer::start(address, {});
  EXPECT_TRUE(again) << again.error().message;
}

TEST_F(exposer_test, what_is_no_address_is_an_error) {
  for (const char* address : {"", "9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x",
                              "127.0.0.1:65536", "::1:9464", "999.1.1.1:1"}) {
    const auto refused = exposer::start(address, {});
    ASSERT_FALSE(refused) << address;
    EXPECT_EQ(refused.error().code, errc::invalid_argument) << address;
  }
}

TEST_F(exposer_test, a_source_that_fails_is_answered_with_500) {
  exposer_sources sources;
  sources.metrics = []() -> std::string { throw std::runtime_error("broken"); };
  const auto e = exposer::start("127.0.0.1:0", sources);
  ASSERT_TRUE(e);
  EXPECT_THAT(get(**e, "/metrics"), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(get(**e, "/livez"), StartsWith("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace blixard::metrics
