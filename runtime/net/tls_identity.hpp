// Who a certificate speaks for: a node of the cluster or a client, never a host name.
//
//   subject alternative name, type URI      blixard://node/2         node 2
//                                           blixard://client/ops     the client "ops"
//
// A host has many names and addresses, a certificate for them proves nothing about which node
// answers there; the id is what Raft counts votes by. Exactly one such URI: a certificate with two
// would let its holder choose. Other names beside it are not looked at. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "messages/ids.hpp"

namespace blixard::net {

struct certified {
  enum class role : std::uint8_t { node, client };
  role as = role::client;
  node_id node;      // of a node
  std::string name;  // of a client

  friend bool operator==(const certified&, const certified&) = default;
};

/// `blixard://node/ID` (decimal, 1 or more, no leading zero) or `blixard://client/NAME` (a DNS
/// label). Nothing for any other text.
[[nodiscard]] std::optional<certified> parse_identity(std::string_view uri);

/// The identity among the URIs of one certificate. Nothing: there is none, or more than one URI
/// begins with blixard:// (whether it can be read or not).
[[nodiscard]] std::optional<certified> identity_among(std::span<const std::string> uris);

/// "node 2", "client ops".
[[nodiscard]] std::string to_string(const certified& who);

}  // namespace blixard::net
