#include "tests/unit/repl/fake_node.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace blixard::repl::test {

struct fake_node::peer {
  int fd = -1;
  bool greeted = false;
  bool ended = false;
  std::string in;
  ~peer() { ::close(fd); }
};

pb::Command fake_node::asked::command() const {
  pb::Command out;
  EXPECT_TRUE(out.ParseFromString(body));
  return out;
}
pb::Query fake_node::asked::query() const {
  pb::Query out;
  EXPECT_TRUE(out.ParseFromString(body));
  return out;
}

fake_node::fake_node(std::uint64_t id) : id_(id) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  EXPECT_EQ(::listen(listener_, 64), 0);
  socklen_t size = sizeof a;
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&a), &size);
  port_ = ntohs(a.sin_port);
}

fake_node::~fake_node() { stop_listening(); }

endpoint fake_node::where() const { return {"127.0.0.1", port_}; }

void fake_node::stop_listening() {
  if (listener_ >= 0) ::close(listener_);
  listener_ = -1;
}

void fake_node::drop_connections() { peers_.clear(); }

void fake_node::turn() {
  while (listener_ >= 0) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) break;
    ++connections_seen;
    auto p = std::make_unique<peer>();
    p->fd = fd;
    peers_[next_key_++] = std::move(p);
  }
  for (auto& [key, p] : peers_) read_from(key, *p);
}

void fake_node::read_from(int key, peer& p) {
  std::array<char, 65536> bytes;
  while (true) {
    const auto n = ::recv(p.fd, bytes.data(), bytes.size(), 0);
    if (n == 0) connections_ended += std::exchange(p.ended, true) ? 0 : 1;
    if (n <= 0) break;
    p.in.append(bytes.data(), static_cast<std::size_t>(n));
  }
  while (p.in.size() >= frame_header_bytes) {
    const auto h = decode_header(std::as_bytes(std::span(p.in)));
    ASSERT_TRUE(h);
    if (p.in.size() < frame_header_bytes + h->length) return;
    const auto body = p.in.substr(frame_header_bytes, h->length);
    p.in.erase(0, frame_header_bytes + h->length);
    if (p.greeted) {
      requests.push_back({key, *h, body});
      continue;
    }
    ASSERT_EQ(h->kind, frame_kind::hello);
    if (mute) continue;
    pb::Hello hello;
    ASSERT_TRUE(hello.ParseFromString(body));
    EXPECT_EQ(hello.role(), pb::Hello::CLIENT);
    EXPECT_EQ(hello.cluster_id(), 0u);
    p.greeted = true;
    pb::Hello mine;
    mine.set_role(pb::Hello::PEER);
    mine.set_node_id(id_);
    if (!refuse_with.empty()) {
      mine.set_error(21);
      mine.set_error_message(refuse_with);
    }
    const auto text = mine.SerializeAsString();
    const auto head = encode({.kind = frame_kind::hello,
                              .cls = priority::critical,
                              .flags = 0,
                              .length = static_cast<std::uint32_t>(text.size()),
                              .deadline_ms = 0,
                              .request = {},
                              .target = {}});
    const auto all = std::string(reinterpret_cast<const char*>(head.data()), head.size()) + text;
    ::send(p.fd, all.data(), all.size(), MSG_NOSIGNAL);
  }
}

void fake_node::answer(const asked& to, pb::Answer a) {
  const auto at = peers_.find(to.connection);
  if (at == peers_.end()) return;
  if (a.node() == 0) a.set_node(id_);
  const auto text = a.SerializeAsString();
  const auto head = encode({.kind = frame_kind::answer,
                            .cls = priority::normal,
                            .flags = 0,
                            .length = static_cast<std::uint32_t>(text.size()),
                            .deadline_ms = 0,
                            .request = to.header.request,
                            .target = {}});
  const auto all = std::string(reinterpret_cast<const char*>(head.data()), head.size()) + text;
  for (std::size_t sent = 0; sent < all.size();) {
    const auto n = ::send(at->second->fd, all.data() + sent, all.size() - sent, MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<std::size_t>(n);
    if (n < 0 && errno != EAGAIN) return;
  }
}

void fake_node::send_raw(const std::string& bytes) {
  for (auto& [key, p] : peers_) ::send(p->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

}  // namespace blixard::repl::test
