// host:port, as a person types it and as a node tells others.
//
// The host stays text: it may be a name, an IPv4 address or an IPv6 address ("[::1]:7001" in text,
// "::1" here). Nothing is resolved in this file.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"

namespace blixard {

/// Where something listens or is dialled. Port 0: any free one (listening only).
struct endpoint {
  std::string host;  // without brackets
  std::uint16_t port = 0;

  friend auto operator<=>(const endpoint&, const endpoint&) = default;
};

/// "host:port" or "[v6]:port". Errors: errc::invalid_argument with what is wrong and an example.
[[nodiscard]] tl::expected<endpoint, error> parse_endpoint(std::string_view text);
/// A comma-separated list with at least one endpoint.
[[nodiscard]] tl::expected<std::vector<endpoint>, error> parse_endpoints(std::string_view text);
/// "host:port", with brackets where the host has colons. Reads back.
[[nodiscard]] std::string to_string(const endpoint& e);
/// True for 127.0.0.0/8, ::1 and "localhost"; any other name counts as not loopback.
[[nodiscard]] bool is_loopback(const endpoint& e) noexcept;

}  // namespace blixard
