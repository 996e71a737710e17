#include "runtime/net/byte_stream.hpp"

#include <sys/socket.h>

#include <cerrno>

namespace blixard::net {
namespace {

class socket_stream final : public byte_stream {
 public:
  explicit socket_stream(unique_fd fd) noexcept : fd_(std::move(fd)) {}

  io_result read(std::span<const iovec> into) noexcept override {
    for (;;) {
      const auto n = ::readv(fd_.get(), into.data(), static_cast<int>(into.size()));
      if (n > 0) return {.bytes = static_cast<std::size_t>(n)};
      if (n == 0) return {.status = io_status::end};
      if (errno == EINTR) continue;
      return failure();
    }
  }

  io_result write(std::span<const iovec> from) noexcept override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(from.data());  // sendmsg only reads it
    message.msg_iovlen = from.size();
    for (;;) {
      const auto n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
      if (n > 0) return {.bytes = static_cast<std::size_t>(n)};
      if (n < 0 && errno == EINTR) continue;
      return failure();
    }
  }

  std::size_t finish_writing() noexcept override {
    ::shutdown(fd_.get(), SHUT_WR);
    return 0;
  }
  [[nodiscard]] int fd() const noexcept override { return fd_.get(); }

 private:
  static io_result failure() noexcept {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {.status = io_status::would_block};
    return {.status = io_status::failed, .error = errno};
  }

  unique_fd fd_;
};

}  // namespace

std::unique_ptr<byte_stream> make_socket_stream(unique_fd fd) {
  return std::make_unique<socket_stream>(std::move(fd));
}

}  // namespace blixard::net
