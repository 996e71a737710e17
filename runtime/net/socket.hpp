// The few socket calls that the transport needs: everything non-blocking and close-on-exec.
#pragma once

#include <cstdint>
#include <tl/expected.hpp>
#include <utility>

#include "messages/errc.hpp"
#include "runtime/net/address.hpp"

namespace blixard::net {

/// Owns a file descriptor.
class unique_fd {
 public:
  unique_fd() noexcept = default;
  explicit unique_fd(int fd) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~unique_fd() { reset(); }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

/// A listening socket. Errors: unavailable, with the address and the system's reason.
[[nodiscard]] tl::expected<unique_fd, error> listen_on(const address& where);

/// A socket whose connect has begun (it becomes writable when it is decided), or errno.
[[nodiscard]] tl::expected<unique_fd, int> start_connect(const address& to);
/// 0 when the connect succeeded, else its errno.
[[nodiscard]] int connect_result(int fd) noexcept;

struct accepted {
  unique_fd fd;
  address remote;
};
/// The next connection of a listener, or errno (EAGAIN: none waits).
[[nodiscard]] tl::expected<accepted, int> accept_one(int listener);

[[nodiscard]] address local_endpoint(int fd) noexcept;

/// No delay, keep-alive, little unsent data in the kernel (so that an urgent frame does not wait
/// behind megabytes that were already handed over), and an error when sent data stays
/// unacknowledged for `unacked_timeout_ms`.
void tune_stream_socket(int fd, std::uint32_t unacked_timeout_ms) noexcept;

}  // namespace blixard::net
