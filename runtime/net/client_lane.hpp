// One connection of a client (INTERNAL to net::client): bytes out, frames in, nothing about
// requests.
//
//   idle ── start ──► connecting ── hello out ──► greeting ── hello in ──► ready
//     ▲                   │                          │                       │
//     └────────────────── any failure: close() ◄─────┴───────────────────────┘
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "messages/frame.hpp"
#include "messages/unique_fd.hpp"
#include "runtime/base/endpoint.hpp"

namespace blixard::net {

enum class lane_state : std::uint8_t { idle, connecting, greeting, ready };

class client_lane {
 public:
  client_lane(int epoll_fd, std::uint32_t index, std::size_t max_frame_bytes, cluster_id cluster)
      : epoll_(epoll_fd), index_(index), max_frame_bytes_(max_frame_bytes), cluster_(cluster) {}
  client_lane(const client_lane&) = delete;
  client_lane& operator=(const client_lane&) = delete;
  ~client_lane() = default;

  [[nodiscard]] lane_state state() const noexcept { return state_; }
  [[nodiscard]] node_id peer() const noexcept { return peer_; }

  /// Begins to connect. Errors: the address cannot be dialled (text for a person).
  tl::expected<void, std::string> start(const endpoint& to);
  /// Closes the socket and forgets all bytes; idle afterwards.
  void close() noexcept;

  /// Adds a frame to what is to be sent. @returns its first byte's position in the stream.
  std::uint64_t append(const frame_header& h, std::span<const std::byte> body);
  /// Bytes that were given to the kernel since the connection began.
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
  /// Bytes that came in since the connection began.
  [[nodiscard]] std::uint64_t heard() const noexcept { return heard_; }
  [[nodiscard]] bool wants_flush() const noexcept {
    return state_ == lane_state::ready && sent_ < out_.size() && !blocked_;
  }
  /// Sends what the kernel takes. Errors: the connection is broken.
  tl::expected<void, std::string> flush();

  /// The socket can be written: finishes the connect, or goes on sending.
  tl::expected<void, std::string> writable();
  /// Reads what is there, in one go; call next_frame() until it is empty.
  tl::expected<void, std::string> readable();

  struct received {
    frame_header header;
    std::span<const std::byte> body;  // valid until the next call of this lane
  };
  /// The next whole frame; a hello is consumed here and makes the lane ready. Errors: bytes that
  /// are no frame, or a hello that refuses us.
  tl::expected<std::optional<received>, std::string> next_frame();

 private:
  void watch(bool write);
  tl::expected<void, std::string> greet();
  tl::expected<void, std::string> accept_hello(std::span<const std::byte> body);
  void make_room();

  int epoll_;
  std::uint32_t index_;
  std::size_t max_frame_bytes_;
  cluster_id cluster_;  // 0: any
  lane_state state_ = lane_state::idle;
  unique_fd fd_;
  bool blocked_ = false;  // the kernel's buffer is full: EPOLLOUT will tell
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
