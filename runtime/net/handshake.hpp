// Who is on the other side: pb::Hello without Protobuf in the header, and the rules that accept or
// refuse one. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "messages/buffer.hpp"
#include "messages/errc.hpp"
#include "messages/frame.hpp"
#include "messages/ids.hpp"
#include "runtime/net/tls_identity.hpp"
#include "runtime/net/transport.hpp"

namespace blixard::net {

inline constexpr std::size_t hello_max_bytes = 4 * limits::KiB;

/// The first frame in both directions.
struct hello {
  peer_role role = peer_role::client;
  channel chan = channel::main;
  cluster_id cluster;     // 0: not known
  node_id node;           // of the sender; 0 for a client
  node_id expected_node;  // whom the dialler means; 0: anyone
  std::string advertise;
  std::string version;
  bool packs = false;       // understands frames with compressed bodies
  errc refusal = errc::ok;  // in an answer: why the connection is closed now
  std::string refusal_message;

  friend bool operator==(const hello&, const hello&) = default;
};

/// A frame of kind hello, class critical.
[[nodiscard]] frame_ptr encode_hello(const hello& h);
/// Nothing if the bytes are not a pb::Hello with values this version knows.
[[nodiscard]] std::optional<hello> decode_hello(std::span<const std::byte> bytes);

struct local_identity {
  node_id self;
  cluster_id cluster;
};

/// The listener's side: why this dialler is not let in, or nothing.
/// permission_denied: another cluster; not_found: it means another node; invalid_argument: a peer
/// without an id, or with ours.
[[nodiscard]] std::optional<error> judge_dialler(const hello& theirs, const local_identity& us);

/// The dialler's side: why the one that answered is not the one that was meant, or nothing.
[[nodiscard]] std::optional<error> judge_listener(const hello& theirs, const local_identity& us,
                                                  node_id meant);

/// Either side, with TLS: why a hello does not go with the certificate that it came with, or
/// nothing. A node speaks as itself only; a client never as a node; a node also as a client (it
/// asks for admission before it is a member, and `blixard ctl` on its host needs no other files).
/// permission_denied.
[[nodiscard]] std::optional<error> judge_certificate(const hello& theirs, const certified& by);

}  // namespace blixard::net
