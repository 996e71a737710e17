#include "runtime/net/address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "runtime/base/endpoint.hpp"

namespace blixard::net {
namespace {

constexpr std::array<std::uint8_t, 4> loopback_v4{127, 0, 0, 1};

bool is_mapped_v4(const std::array<std::uint8_t, 16>& b) noexcept {
  return std::all_of(b.begin(), b.begin() + 10, [](auto x) { return x == 0; }) && b[10] == 0xff &&
         b[11] == 0xff;
}

}  // namespace

tl::expected<address, error> address::parse(std::string_view text) {
  auto parts = parse_endpoint(text);
  if (!parts) return tl::unexpected(std::move(parts.error()));
  if (parts->host == "localhost") return loopback(parts->port);
  std::array<std::uint8_t, 16> bytes{};
  if (::inet_pton(AF_INET, parts->host.c_str(), bytes.data()) == 1)
    return from_bytes(family::v4, bytes.data(), parts->port);
  if (::inet_pton(AF_INET6, parts->host.c_str(), bytes.data()) == 1)
    return from_bytes(family::v6, bytes.data(), parts->port);
  return tl::unexpected(make_error(
      errc::invalid_argument, "\"" + std::string(text) + "\" does not name an IP address",
      "host names are not resolved, except localhost: write 192.0.2.1:7001 or [2001:db8::1]:7001"));
}

address address::loopback(std::uint16_t port) noexcept {
  return from_bytes(family::v4, loopback_v4.data(), port);
}

address address::from_bytes(family f, const std::uint8_t* bytes, std::uint16_t port) noexcept {
  address e;
  e.family_ = f;
  e.port_ = port;
  const std::size_t n = f == family::v6 ? 16 : f == family::v4 ? 4 : 0;
  std::copy_n(bytes, n, e.bytes_.begin());
  return e;
}

std::string address::to_string() const {
  if (!valid()) return "nowhere";
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool v6 = family_ == family::v6;
  ::inet_ntop(v6 ? AF_INET6 : AF_INET, bytes_.data(), text.data(), text.size());
  const std::string host = text.data();
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port_);
}

bool can_be_dialled(const address& e) noexcept {
  return e.port() != 0 && std::ranges::any_of(e.bytes(), [](auto b) { return b != 0; });
}

bool is_loopback(const address& e) noexcept {
  const auto& b = e.bytes();
  switch (e.kind()) {
    case address::family::none:
      return false;
    case address::family::v4:
      return b[0] == 127;
    case address::family::v6:
      if (is_mapped_v4(b)) return b[12] == 127;
      return std::all_of(b.begin(), b.end() - 1, [](auto x) { return x == 0; }) && b[15] == 1;
  }
  return false;
}

}  // namespace blixard::net
