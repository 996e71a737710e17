// Where a socket listens or connects to: an IP address and a port, as numbers.
//
// The text form that people write and nodes tell each other is `blixard::endpoint`
// (runtime/base/endpoint.hpp); this is what becomes of it before it meets a socket.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "messages/errc.hpp"

namespace blixard::net {

/// An IPv4 or IPv6 address and a port. Default: nowhere (`valid()` is false).
class address {
 public:
  enum class family : std::uint8_t { none, v4, v6 };

  constexpr address() noexcept = default;

  /// `127.0.0.1:7001`, `[::1]:7001`, `localhost:7001` (which is 127.0.0.1). Names are not resolved:
  /// that could block the loop for seconds. Port 0 is allowed ("any free port"). Errors:
  /// invalid_argument, with the text and what is wrong with it.
  [[nodiscard]] static tl::expected<address, error> parse(std::string_view text);
  [[nodiscard]] static address loopback(std::uint16_t port) noexcept;
  /// From network-order bytes (4 or 16 of them, by family).
  [[nodiscard]] static address from_bytes(family f, const std::uint8_t* bytes,
                                          std::uint16_t port) noexcept;

  [[nodiscard]] family kind() const noexcept { return family_; }
  [[nodiscard]] const std::array<std::uint8_t, 16>& bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] bool valid() const noexcept { return family_ != family::none; }
  /// `host:port`, readable by `parse`.
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const address&, const address&) noexcept = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
  std::uint16_t port_ = 0;
  family family_ = family::none;
};

/// True for 127.0.0.0/8, ::1 and IPv4-mapped 127.0.0.0/8: what may be bound without TLS.
[[nodiscard]] bool is_loopback(const address& e) noexcept;
/// False for port 0 and for "any address" (0.0.0.0, [::]), where one can only listen.
[[nodiscard]] bool can_be_dialled(const address& e) noexcept;

}  // namespace blixard::net
