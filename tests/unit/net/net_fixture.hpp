// What the network tests share: running a loop until a condition holds, frames with known bodies, a
// plain blocking socket as a stranger on the other side.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "messages/frame.hpp"
#include "runtime/net/handshake.hpp"
#include "runtime/net/loop.hpp"
#include "runtime/net/socket.hpp"
#include "runtime/net/transport.hpp"
#include "runtime/routing/buffer_pool.hpp"

namespace blixard::net::test {

inline constexpr std::uint64_t ms = 1'000'000;
inline constexpr std::uint64_t patience_ns = 20'000 * ms;

/// Runs the loop on this thread until `done` holds; false if it does not within the patience.
inline bool run_until(loop& l, const std::function<bool()>& done) {
  struct check final : turn_hook {
    check(loop& io, const std::function<bool()>& fn) : l(io), done(fn) { l.add_hook(*this); }
    ~check() { l.remove_hook(*this); }
    void end_of_turn() noexcept override {
      if (!met && done()) {
        met = true;
        l.stop();
      }
    }
    loop& l;
    const std::function<bool()>& done;
    bool met = false;
  } hook{l, done};
  const auto late = l.after(patience_ns, [&l] { l.stop(); });
  l.run();
  l.cancel(late);
  return hook.met;
}

/// Runs the loop for that long: for claims that something does not happen.
inline void run_for(loop& l, std::uint64_t ns) {
  l.after(ns, [&l] { l.stop(); });
  l.run();
}

inline frame_ptr make_frame(frame_kind kind, priority cls, slice body, request_id request = {}) {
  frame_header h;
  h.kind = kind;
  h.cls = cls;
  h.request = request;
  return frame::make(h, std::move(body));
}
inline frame_ptr make_frame(frame_kind kind, priority cls, std::string_view body,
                            request_id request = {}) {
  return make_frame(kind, cls, slice::copy_of(body), request);
}

/// The bytes of a frame on the wire.
inline std::string wire(const frame& f) {
  const auto h = encode(f.header());
  std::string out(reinterpret_cast<const char*>(h.data()), h.size());
  for (const auto& p : f.pieces()) out += p.text();
  return out;
}

/// A body that tells position and length apart.
inline std::string pattern(std::size_t size, unsigned seed = 1) {
  std::string s(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    s[i] = static_cast<char>((i * 131 + i / 251 + seed) & 0xff);
  return s;
}

/// A non-blocking socket that speaks bytes, not frames.
class stranger {
 public:
  explicit stranger(const address& to) : fd_(*start_connect(to)) {
    pollfd p{fd_.get(), POLLOUT, 0};
    EXPECT_EQ(::poll(&p, 1, 10'000), 1);  // the kernel completes it: nobody has to accept
  }
  [[nodiscard]] int fd() const { return fd_.get(); }
  void say(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  [[nodiscard]] bool connected() const {
    sockaddr_storage a{};
    socklen_t size = sizeof a;
    return ::getpeername(fd_.get(), reinterpret_cast<sockaddr*>(&a), &size) == 0;
  }
  void end_writing() { ::shutdown(fd_.get(), SHUT_WR); }
  void vanish() { fd_.reset(); }
  /// Reads what is there. Sets ended() when the other side closed.
  void listen() {
    char chunk[65536];
    for (;;) {
      const auto n = ::recv(fd_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
      if (n > 0) {
        heard_.append(chunk, static_cast<std::size_t>(n));
        continue;
      }
      if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOTCONN)) ended_ = true;
      return;
    }
  }
  [[nodiscard]] bool ended() {
    listen();
    return ended_;
  }
  /// Complete frames heard so far.
  [[nodiscard]] std::vector<frame_ptr> frames() {
    listen();
    std::vector<frame_ptr> out;
    std::string_view rest = heard_;
    while (rest.size() >= frame_header_bytes) {
      const auto h = decode_header(std::as_bytes(std::span{rest.data(), rest.size()}));
      if (!h || rest.size() < frame_header_bytes + h->length) break;
      out.push_back(frame::make(*h, slice::copy_of(rest.substr(frame_header_bytes, h->length))));
      rest.remove_prefix(frame_header_bytes + h->length);
    }
    return out;
  }

 private:
  unique_fd fd_;
  std::string heard_;
  bool ended_ = false;
};

/// Remembers everything that a transport reports.
struct recorder final : transport_handler {
  struct received {
    connection_info from;
    frame_ptr f;
  };
  void on_frames(const connection_info& from, std::span<const frame_ptr> frames) override {
    ++calls;
    for (const auto& f : frames) {
      got.push_back({from, f});
      if (on_each) on_each(from, f);
    }
  }
  void on_connected(const connection_info& c) override { connected.push_back(c); }
  void on_disconnected(const connection_info& c, close_reason r) override {
    disconnected.emplace_back(c, r);
  }
  void on_refused(node_id, const error& e) override { refusals.push_back(e); }
  void on_stranger(const address&, const error& e, std::uint64_t) override {
    strangers.push_back(e);
  }
  void on_unreachable(node_id id, const address& where) override {
    unreachable.emplace_back(id, where);
  }

  std::vector<received> got;
  std::vector<connection_info> connected;
  std::vector<std::pair<connection_info, close_reason>> disconnected;
  std::vector<error> refusals;
  std::vector<error> strangers;
  std::vector<std::pair<node_id, address>> unreachable;
  std::function<void(const connection_info&, const frame_ptr&)> on_each;
  int calls = 0;
};

inline transport_config quick_config(node_id self) {
  transport_config c;
  c.self = self;
  c.cluster = cluster_id{77};
  c.bind = address::loopback(0);
  c.seed = self.value();
  c.backoff_min_ms = 1;
  c.backoff_max_ms = 20;
  c.ping_interval_ms = 20;
  return c;
}

/// A node as far as the transport is concerned.
struct node {
  explicit node(loop& l, transport_config c) : io(l), net(l, pool, seen, std::move(c)) {
    where = *net.listen();
  }
  node(loop& l, std::uint64_t id) : node(l, quick_config(node_id{id})) {}
  [[nodiscard]] std::uint64_t closed(close_reason r) const {
    return net.counters().closed[static_cast<std::size_t>(r)].get();
  }

  loop& io;
  routing::buffer_pool pool;
  recorder seen;
  transport net;
  address where;
};

/// The hello of a client.
inline std::string client_hello(cluster_id cluster = {}, node_id expected = {}) {
  hello h;
  h.cluster = cluster;
  h.expected_node = expected;
  h.version = "test";
  return wire(*encode_hello(h));
}

}  // namespace blixard::net::test
