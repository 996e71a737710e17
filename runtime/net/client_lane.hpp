// One connection of a client (INTERNAL to net::client): bytes out, frames in, nothing about
// requests.
//
//   idle ── start ──► connecting ── hello out ──► greeting ── hello in ──► ready
//     ▲                   │        (TLS: behind      │                       │
//     │                   │         the handshake)   │                       │
//     └────────────────── any failure: close() ◄─────┴───────────────────────┘
//
// Errors are errc::unavailable with the reason in words, or errc::unauthenticated where TLS is the
// reason.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "messages/frame.hpp"
#include "runtime/base/endpoint.hpp"
#include "runtime/net/client.hpp"
#include "runtime/net/tls_stream.hpp"

namespace blixard::net {

enum class lane_state : std::uint8_t { idle, connecting, greeting, ready };

class client_lane {
 public:
  /// `options` and `scratch` (used with TLS only) outlive the lane.
  client_lane(int epoll_fd, std::uint32_t index, const client_options& options,
              tls_scratch& scratch)
      : epoll_(epoll_fd), index_(index), options_(options), scratch_(scratch) {}
  client_lane(const client_lane&) = delete;
  client_lane& operator=(const client_lane&) = delete;
  ~client_lane() = default;

  [[nodiscard]] lane_state state() const noexcept { return state_; }
  [[nodiscard]] node_id peer() const noexcept { return peer_; }

  /// Begins to connect. Errors: the address cannot be dialled (text for a person).
  tl::expected<void, error> start(const endpoint& to);
  /// Closes the socket and forgets all bytes; idle afterwards.
  void close() noexcept;

  /// Adds a frame to what is to be sent. @returns its first byte's position in the stream.
  std::uint64_t append(const frame_header& h, std::span<const std::byte> body);
  /// Bytes that were given to the kernel (or to TLS, which may hold some) since the connection
  /// began.
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
  /// Bytes that came in since the connection began.
  [[nodiscard]] std::uint64_t heard() const noexcept { return heard_; }
  [[nodiscard]] bool wants_flush() const noexcept {
    return state_ == lane_state::ready && sent_ < out_.size() && !blocked_;
  }
  /// Sends what the kernel takes. Errors: the connection is broken.
  tl::expected<void, error> flush();

  /// The socket can be written: finishes the connect, or goes on sending.
  tl::expected<void, error> writable();
  /// Reads what is there, in one go; call next_frame() until it is empty.
  tl::expected<void, error> readable();

  struct received {
    frame_header header;
    std::span<const std::byte> body;  // valid until the next call of this lane
  };
  /// The next whole frame; a hello is consumed here and makes the lane ready. Errors: bytes that
  /// are no frame, or a hello that refuses us.
  tl::expected<std::optional<received>, error> next_frame();

 private:
  void watch(bool write);
  tl::expected<void, error> greet();
  tl::expected<void, error> accept_hello(std::span<const std::byte> body);
  void make_room();
  [[nodiscard]] std::unique_ptr<byte_stream> make_stream(unique_fd fd);
  [[nodiscard]] error broken(const io_result& by) const;

  int epoll_;
  std::uint32_t index_;
  const client_options& options_;
  tls_scratch& scratch_;
  lane_state state_ = lane_state::idle;
  std::unique_ptr<byte_stream> stream_;
  std::shared_ptr<tls_outcome> tls_;  // of the stream; null without TLS
  bool blocked_ = false;              // the kernel's buffer is full: EPOLLOUT will tell
  bool want_read_ = false;            // nothing can be sent before TLS is through its handshake
  node_id peer_;
  std::string out_;
  std::size_t sent_ = 0;  // of out_
  std::uint64_t written_ = 0;
  std::uint64_t appended_ = 0;
  std::uint64_t heard_ = 0;
  std::vector<std::byte> in_;
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
  bool peer_closed_ = false;
};

}  // namespace blixard::net
