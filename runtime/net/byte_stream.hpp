// The seam between framing and the socket: where TLS goes.
//
// A connection reads and writes bytes through this interface. There are two implementations: the
// bare socket, and TLS (tls_stream.hpp), which decrypts into and encrypts from the same calls and
// keeps what the socket did not take yet.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "runtime/net/socket.hpp"

namespace blixard::net {

enum class io_status : std::uint8_t {
  ok,
  would_block,  // until the socket is ready again
  needs_read,   // a write: nothing can be sent before something was read (a handshake goes on)
  end,          // the other side has sent everything it will send
  cut,          // TLS: the other side is gone without having said so
  failed,       // the socket's error
  refused,      // TLS: one side does not accept the other, or what came is not TLS
};

struct io_result {
  io_status status = io_status::ok;
  std::size_t bytes = 0;  // only with ok; never 0 then, except for a write of nothing
  int error = 0;          // errno, only with failed
  // Taken by this or an earlier write (or said by TLS itself) and not by the socket yet: write
  // again when the socket is ready, with nothing if there is nothing new. Always 0 without TLS.
  std::size_t held = 0;
};

class byte_stream {
 public:
  static constexpr std::size_t read_min_bytes = 64 * 1024;

  virtual ~byte_stream() = default;
  /// Fills the regions in order. They must have room for `read_min_bytes` together.
  virtual io_result read(std::span<const iovec> into) noexcept = 0;
  /// Takes a prefix of the regions, in order.
  virtual io_result write(std::span<const iovec> from) noexcept = 0;
  /// No more writes, except of nothing; the other side reads to the end. Returns what is held.
  virtual std::size_t finish_writing() noexcept = 0;
  /// The descriptor whose readiness drives this stream.
  [[nodiscard]] virtual int fd() const noexcept = 0;
};

[[nodiscard]] std::unique_ptr<byte_stream> make_socket_stream(unique_fd fd);

}  // namespace blixard::net
