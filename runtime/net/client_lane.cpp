#include "runtime/net/client_lane.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include "messages/check.hpp"
#include "messages/cluster.pb.h"
#include "messages/limits.hpp"

namespace blixard::net {
namespace {

constexpr std::size_t read_bytes = 64 * limits::KiB;

tl::unexpected<std::string> failed(std::string why) { return tl::unexpected(std::move(why)); }
tl::unexpected<std::string> failed_with_errno() {
  return tl::unexpected(std::string(std::strerror(errno)));  // NOLINT: one thread
}

using address_list = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

tl::expected<address_list, std::string> resolve(const endpoint& to) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int rc = getaddrinfo(to.host.c_str(), std::to_string(to.port).c_str(), &hints, &found);
  if (rc != 0) return failed(gai_strerror(rc));
  return address_list(found, freeaddrinfo);
}

}  // namespace

tl::expected<void, std::string> client_lane::start(const endpoint& to) {
  CHECK(state_ == lane_state::idle);
  const auto addresses = resolve(to);
  if (!addresses) return failed(addresses.error());
  const auto& a = **addresses;
  fd_ = unique_fd{::socket(a.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!fd_) return failed_with_errno();
  const int on = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd_.get(), a.ai_addr, a.ai_addrlen) != 0 && errno != EINPROGRESS) {
    auto why = failed_with_errno();
    close();
    return why;
  }
  state_ = lane_state::connecting;
  epoll_event event{};
  event.events = EPOLLOUT;
  event.data.u32 = index_;
  CHECK_EQ(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_.get(), &event), 0);
  return {};
}

void client_lane::close() noexcept {
  fd_.reset();
  state_ = lane_state::idle;
  blocked_ = false;
  peer_closed_ = false;
  peer_ = {};
  out_.clear();
  sent_ = 0;
  written_ = appended_ = heard_ = 0;
  in_begin_ = in_end_ = 0;
}

void client_lane::watch(bool write) {
  epoll_event event{};
  event.events = EPOLLIN | (write ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
  event.data.u32 = index_;
  CHECK_EQ(::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd_.get(), &event), 0);
  blocked_ = write;
}

std::uint64_t client_lane::append(const frame_header& h, std::span<const std::byte> body) {
  const auto start = appended_;
  const auto head = encode(h);
  out_.append(reinterpret_cast<const char*>(head.data()), head.size());
  out_.append(reinterpret_cast<const char*>(body.data()), body.size());
  appended_ += head.size() + body.size();
  return start;
}

tl::expected<void, std::string> client_lane::flush() {
  while (sent_ < out_.size()) {
    const auto n = ::send(fd_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      watch(true);
      return {};
    }
    if (n < 0) return failed_with_errno();
    sent_ += static_cast<std::size_t>(n);
    written_ += static_cast<std::uint64_t>(n);
  }
  out_.clear();
  sent_ = 0;
  if (blocked_) watch(false);
  return {};
}

tl::expected<void, std::string> client_lane::greet() {
  pb::Hello hello;
  hello.set_role(pb::Hello::CLIENT);
  hello.set_cluster_id(cluster_.value());  // a node of another one refuses
  const auto bytes = hello.SerializeAsString();
  append({.kind = frame_kind::hello, .length = static_cast<std::uint32_t>(bytes.size())},
         std::as_bytes(std::span(bytes)));
  state_ = lane_state::greeting;
  watch(false);
  return flush();
}

tl::expected<void, std::string> client_lane::writable() {
  if (state_ != lane_state::connecting) return flush();
  int problem = 0;
  socklen_t size = sizeof problem;
  ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &problem, &size);
  if (problem != 0) return failed(std::strerror(problem));  // NOLINT: one thread
  return greet();
}

void client_lane::make_room() {
  if (in_begin_ > 0) {
    std::memmove(in_.data(), in_.data() + in_begin_, in_end_ - in_begin_);
    in_end_ -= in_begin_;
    in_begin_ = 0;
  }
  std::size_t wanted = in_end_ + read_bytes;
  if (in_end_ >= frame_header_bytes)  // a frame that is known to be larger than one read
    if (const auto h = decode_header({in_.data(), in_end_}); h && h->length <= max_frame_bytes_)
      wanted = std::max(wanted, frame_header_bytes + h->length);
  if (in_.size() < wanted) in_.resize(wanted);
}

tl::expected<void, std::string> client_lane::readable() {
  make_room();
  const auto n = ::recv(fd_.get(), in_.data() + in_end_, in_.size() - in_end_, 0);
  if (n > 0) {
    in_end_ += static_cast<std::size_t>(n);
    heard_ += static_cast<std::uint64_t>(n);
    return {};
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (n < 0) return failed_with_errno();
  peer_closed_ = true;  // what it sent before is still read
  return {};
}

tl::expected<void, std::string> client_lane::accept_hello(std::span<const std::byte> body) {
  pb::Hello hello;
  if (!hello.ParseFromArray(body.data(), static_cast<int>(body.size())))
    return failed("it does not speak Blixard's protocol");
  if (hello.error() != 0)
    return failed(hello.error_message().empty() ? "it refuses clients" : hello.error_message());
  if (cluster_ && cluster_id{hello.cluster_id()} != cluster_)
    return failed("it is not of the cluster that is meant");
  peer_ = node_id{hello.node_id()};
  state_ = lane_state::ready;
  return {};
}

tl::expected<std::optional<client_lane::received>, std::string> client_lane::next_frame() {
  while (in_end_ - in_begin_ >= frame_header_bytes) {
    const std::span<const std::byte> bytes(in_.data() + in_begin_, in_end_ - in_begin_);
    const auto h = decode_header(bytes);
    if (!h) return failed("it does not speak Blixard's protocol");
    if (h->length > max_frame_bytes_)
      return failed("it sent a frame of " + std::to_string(h->length) + " bytes");
    if (bytes.size() < frame_header_bytes + h->length) break;
    in_begin_ += frame_header_bytes + h->length;
    const auto body = bytes.subspan(frame_header_bytes, h->length);
    if (state_ == lane_state::ready) return received{*h, body};
    if (h->kind != frame_kind::hello) return failed("it did not greet");
    if (auto ok = accept_hello(body); !ok) return failed(ok.error());
  }
  if (peer_closed_) return failed("the node closed the connection");
  return std::optional<received>{};
}

}  // namespace blixard::net
