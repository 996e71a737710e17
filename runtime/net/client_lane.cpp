#include "runtime/net/client_lane.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "messages/check.hpp"
#include "messages/cluster.pb.h"
#include "messages/limits.hpp"
#include "runtime/net/tls_credentials.hpp"

namespace blixard::net {
namespace {

constexpr std::size_t read_bytes = 64 * limits::KiB;

tl::unexpected<error> failed(std::string why) {
  return tl::unexpected(make_error(errc::unavailable, std::move(why)));
}
tl::unexpected<error> failed_with_errno() {
  return failed(std::strerror(errno));  // NOLINT: one thread
}

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

using address_list = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

tl::expected<address_list, error> resolve(const endpoint& to) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int rc = getaddrinfo(to.host.c_str(), std::to_string(to.port).c_str(), &hints, &found);
  if (rc != 0) return failed(gai_strerror(rc));
  return address_list(found, freeaddrinfo);
}

}  // namespace

tl::expected<void, error> client_lane::start(const endpoint& to) {
  CHECK(state_ == lane_state::idle);
  const auto addresses = resolve(to);
  if (!addresses) return tl::unexpected(addresses.error());
  const auto& a = **addresses;
  unique_fd fd{::socket(a.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!fd) return failed_with_errno();
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), a.ai_addr, a.ai_addrlen) != 0 && errno != EINPROGRESS)
    return failed_with_errno();
  stream_ = make_stream(std::move(fd));
  state_ = lane_state::connecting;
  epoll_event event{};
  event.events = EPOLLOUT;
  event.data.u32 = index_;
  CHECK_EQ(::epoll_ctl(epoll_, EPOLL_CTL_ADD, stream_->fd(), &event), 0);
  return {};
}

std::unique_ptr<byte_stream> client_lane::make_stream(unique_fd fd) {
  if (!options_.tls) return make_socket_stream(std::move(fd));
  tls_ = std::make_shared<tls_outcome>();
  return std::make_unique<tls_stream>(
      std::move(fd), tls_stream_options{.dials = true, .meant = {}, .plain_answer = {}},
      options_.tls->context(now_ns()).get(), scratch_, tls_);
}

error client_lane::broken(const io_result& by) const {
  if (by.status == io_status::refused) {
    const auto& why = *tls_->problem;
    // A node that dies just then ends a handshake, too: that is no verdict.
    const auto code = why.what == tls_failure::closed ? errc::unavailable : errc::unauthenticated;
    return make_error(code, why.message, why.hint);
  }
  if (by.status == io_status::cut) return make_error(errc::unavailable, "the connection was cut");
  return make_error(errc::unavailable, std::strerror(by.error));  // NOLINT: one thread
}

void client_lane::close() noexcept {
  stream_.reset();
  tls_.reset();
  state_ = lane_state::idle;
  blocked_ = false;
  want_read_ = false;
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
  CHECK_EQ(::epoll_ctl(epoll_, EPOLL_CTL_MOD, stream_->fd(), &event), 0);
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

tl::expected<void, error> client_lane::flush() {
  want_read_ = false;
  std::size_t held = 0;
  do {
    const iovec rest{out_.data() + sent_, out_.size() - sent_};
    const auto done = stream_->write({&rest, rest.iov_len > 0 ? 1U : 0U});
    held = done.held;
    switch (done.status) {
      case io_status::ok:
        sent_ += done.bytes;
        written_ += done.bytes;
        break;
      case io_status::needs_read:
        want_read_ = true;
        return {};
      case io_status::would_block:
        held = 1;
        break;
      case io_status::end:
      case io_status::cut:
      case io_status::failed:
      case io_status::refused:
        return tl::unexpected(broken(done));
    }
  } while (held == 0 && sent_ < out_.size());
  if (held > 0) {
    if (!blocked_) watch(true);
    return {};
  }
  out_.clear();
  sent_ = 0;
  if (blocked_) watch(false);
  return {};
}

tl::expected<void, error> client_lane::greet() {
  pb::Hello hello;
  hello.set_role(pb::Hello::CLIENT);
  hello.set_cluster_id(options_.cluster.value());  // a node of another one refuses
  const auto bytes = hello.SerializeAsString();
  append({.kind = frame_kind::hello, .length = static_cast<std::uint32_t>(bytes.size())},
         std::as_bytes(std::span(bytes)));
  state_ = lane_state::greeting;
  watch(false);
  return flush();
}

tl::expected<void, error> client_lane::writable() {
  if (state_ != lane_state::connecting) return flush();
  int problem = 0;
  socklen_t size = sizeof problem;
  ::getsockopt(stream_->fd(), SOL_SOCKET, SO_ERROR, &problem, &size);
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
    if (const auto h = decode_header({in_.data(), in_end_});
        h && h->length <= options_.max_frame_bytes)
      wanted = std::max(wanted, frame_header_bytes + h->length);
  if (in_.size() < wanted) in_.resize(wanted);
}

tl::expected<void, error> client_lane::readable() {
  make_room();
  const iovec room{in_.data() + in_end_, in_.size() - in_end_};
  const auto got = stream_->read({&room, 1});
  switch (got.status) {
    case io_status::ok:
      in_end_ += got.bytes;
      heard_ += got.bytes;
      break;
    case io_status::would_block:
    case io_status::needs_read:
      break;
    case io_status::end:
      peer_closed_ = true;  // what it sent before is still read
      return {};
    case io_status::cut:
    case io_status::failed:
    case io_status::refused:
      return tl::unexpected(broken(got));
  }
  return want_read_ || (got.held > 0 && !blocked_) ? flush() : tl::expected<void, error>{};
}

tl::expected<void, error> client_lane::accept_hello(std::span<const std::byte> body) {
  pb::Hello hello;
  if (!hello.ParseFromArray(body.data(), static_cast<int>(body.size())))
    return failed("it does not speak Blixard's protocol");
  if (hello.error() != 0) {
    auto why = make_error(errc::unavailable, hello.error_message().empty() ? "it refuses clients"
                                                                           : hello.error_message());
    if (hello.error() == static_cast<std::uint32_t>(errc::unauthenticated))
      why.code = errc::unauthenticated;
    return tl::unexpected(std::move(why));
  }
  if (options_.cluster && cluster_id{hello.cluster_id()} != options_.cluster)
    return failed("it is not of the cluster that is meant");
  peer_ = node_id{hello.node_id()};
  if (tls_ && tls_->other->node != peer_)
    return tl::unexpected(make_error(errc::unauthenticated,
                                     "it says that it is node " + to_string(peer_) +
                                         " and has the certificate of " + to_string(*tls_->other)));
  state_ = lane_state::ready;
  return {};
}

tl::expected<std::optional<client_lane::received>, error> client_lane::next_frame() {
  while (in_end_ - in_begin_ >= frame_header_bytes) {
    const std::span<const std::byte> bytes(in_.data() + in_begin_, in_end_ - in_begin_);
    const auto h = decode_header(bytes);
    if (!h) return failed("it does not speak Blixard's protocol");
    if (h->length > options_.max_frame_bytes)
      return failed("it sent a frame of " + std::to_string(h->length) + " bytes");
    if (bytes.size() < frame_header_bytes + h->length) break;
    in_begin_ += frame_header_bytes + h->length;
    const auto body = bytes.subspan(frame_header_bytes, h->length);
    if (state_ == lane_state::ready) return received{*h, body};
    if (h->kind != frame_kind::hello) return failed("it did not greet");
    if (auto ok = accept_hello(body); !ok) return tl::unexpected(ok.error());
  }
  if (peer_closed_) return failed("the node closed the connection");
  return std::optional<received>{};
}

}  // namespace blixard::net
