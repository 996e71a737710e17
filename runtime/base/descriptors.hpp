// How many files and sockets this process may have open, and how many of them clients may take.
//
// The usual soft limit of 1,024 is there for programs that call select(2), which this one does not:
// it takes what the hard limit allows, up to a number that costs nothing (programs that a VM runs
// inherit it, and some of them close all descriptors up to the limit one by one). Whoever comes as
// a client gets half of what is left after the node's own needs, so that clients alone can never
// keep the node from opening a segment of its log, a VM's sockets or a connection to a peer.
#pragma once

#include <cstddef>
#include <cstdint>

namespace blixard {

/// Beyond this a higher limit is of no use to a node.
inline constexpr std::uint64_t descriptors_max = 65'536;
/// The log, the loops, the HTTP endpoint and its connections, a few peers.
inline constexpr std::uint64_t descriptors_of_the_node = 128;

/// Raises the soft limit to the hard one, at most to descriptors_max. Returns the limit as it is
/// now; a limit that cannot be raised stays.
std::uint64_t raise_descriptor_limit() noexcept;

/// Connections of clients where so many descriptors are allowed; at least 16, at most
/// limits::connections_max.
[[nodiscard]] std::size_t clients_for(std::uint64_t descriptors) noexcept;
/// The descriptors that limits::connections_max clients take.
[[nodiscard]] std::uint64_t descriptors_for_all_clients() noexcept;

}  // namespace blixard
