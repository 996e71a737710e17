// The seam between framing and the socket: where TLS goes.
//
// A connection reads and writes bytes through this interface. Today there is one implementation,
// the bare socket; a TLS stream decrypts into and encrypts from the same calls, owns the socket and
// keeps what the socket did not take yet.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "runtime/net/socket.hpp"

namespace blixard::net {

enum class io_status : std::uint8_t { ok, would_block, end, failed };

struct io_result {
  io_status status = io_status::ok;
  std::size_t bytes = 0;  // only with ok; never 0 then
  int error = 0;          // errno, only with failed
};

class byte_stream {
 public:
  virtual ~byte_stream() = default;
  /// Fills the regions in order. `end`: the other side sent everything it will send.
  virtual io_result read(std::span<const iovec> into) noexcept = 0;
  /// Takes a prefix of the regions, in order.
  virtual io_result write(std::span<const iovec> from) noexcept = 0;
  /// No more writes; the other side reads to the end.
  virtual void finish_writing() noexcept = 0;
  /// The descriptor whose readiness drives this stream.
  [[nodiscard]] virtual int fd() const noexcept = 0;
};

[[nodiscard]] std::unique_ptr<byte_stream> make_socket_stream(unique_fd fd);

}  // namespace blixard::net
