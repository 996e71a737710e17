// The few socket calls that the transport needs: everything non-blocking and close-on-exec.
#pragma once

#include <cstdint>
#include <tl/expected.hpp>

#include "messages/errc.hpp"
#include "messages/unique_fd.hpp"
#include "runtime/net/address.hpp"

namespace blixard::net {

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
