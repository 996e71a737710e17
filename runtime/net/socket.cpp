#include "runtime/net/socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace blixard::net {
namespace {

constexpr int backlog = 1024;
constexpr int unsent_low_water_bytes = 256 * 1024;
constexpr int keepalive_idle_s = 15;
constexpr int keepalive_interval_s = 5;
constexpr int keepalive_probes = 3;

struct raw_address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
};

raw_address to_raw(const address& e) noexcept {
  raw_address out;
  if (e.kind() == address::family::v6) {
    sockaddr_in6 a{};
    a.sin6_family = AF_INET6;
    a.sin6_port = htons(e.port());
    std::memcpy(&a.sin6_addr, e.bytes().data(), 16);
    std::memcpy(&out.storage, &a, sizeof a);
    out.size = sizeof a;
  } else {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(e.port());
    std::memcpy(&a.sin_addr, e.bytes().data(), 4);
    std::memcpy(&out.storage, &a, sizeof a);
    out.size = sizeof a;
  }
  return out;
}

address from_raw(const raw_address& r) noexcept {
  if (r.storage.ss_family == AF_INET6) {
    sockaddr_in6 a{};
    std::memcpy(&a, &r.storage, sizeof a);
    return address::from_bytes(address::family::v6, a.sin6_addr.s6_addr, ntohs(a.sin6_port));
  }
  if (r.storage.ss_family == AF_INET) {
    sockaddr_in a{};
    std::memcpy(&a, &r.storage, sizeof a);
    std::uint8_t bytes[4];
    std::memcpy(bytes, &a.sin_addr, sizeof bytes);
    return address::from_bytes(address::family::v4, bytes, ntohs(a.sin_port));
  }
  return {};
}

unique_fd stream_socket(const address& e) noexcept {
  const int domain = e.kind() == address::family::v6 ? AF_INET6 : AF_INET;
  return unique_fd{::socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
}

void set_option(int fd, int level, int name, int value) noexcept {
  // Tuning only: a kernel without the option works, a little worse.
  ::setsockopt(fd, level, name, &value, sizeof value);
}

tl::unexpected<error> cannot_listen(const address& where, int code) {
  return tl::unexpected(make_error(
      errc::unavailable,
      "cannot listen on " + where.to_string() + ": " + std::generic_category().message(code),
      code == EADDRINUSE ? "another process listens there: choose another port, or 0 for any"
                         : ""));
}

}  // namespace

tl::expected<unique_fd, error> listen_on(const address& where) {
  auto fd = stream_socket(where);
  if (!fd) return cannot_listen(where, errno);
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const auto raw = to_raw(where);
  if (::bind(fd.get(), raw.get(), raw.size) != 0) return cannot_listen(where, errno);
  if (::listen(fd.get(), backlog) != 0) return cannot_listen(where, errno);
  return fd;
}

tl::expected<unique_fd, int> start_connect(const address& to) {
  auto fd = stream_socket(to);
  if (!fd) return tl::unexpected(errno);
  const auto raw = to_raw(to);
  if (::connect(fd.get(), raw.get(), raw.size) != 0 && errno != EINPROGRESS)
    return tl::unexpected(errno);
  return fd;
}

int connect_result(int fd) noexcept {
  int code = 0;
  socklen_t size = sizeof code;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) return errno;
  return code;
}

tl::expected<accepted, int> accept_one(int listener) {
  raw_address raw;
  raw.size = sizeof raw.storage;
  unique_fd fd{::accept4(listener, raw.get(), &raw.size, SOCK_NONBLOCK | SOCK_CLOEXEC)};
  if (!fd) return tl::unexpected(errno);
  return accepted{std::move(fd), from_raw(raw)};
}

address local_endpoint(int fd) noexcept {
  raw_address raw;
  raw.size = sizeof raw.storage;
  if (::getsockname(fd, raw.get(), &raw.size) != 0) return {};
  return from_raw(raw);
}

void tune_stream_socket(int fd, std::uint32_t unacked_timeout_ms) noexcept {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent_low_water_bytes);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive_interval_s);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive_probes);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(unacked_timeout_ms));
}

}  // namespace blixard::net
