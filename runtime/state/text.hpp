// Small texts of the replicated answers. Integer arithmetic only: every node must write the same.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "messages/cluster.pb.h"

namespace blixard::state {

/// "512 MiB", "1.5 GiB", "0 B": one decimal where the amount is not whole, rounded down.
[[nodiscard]] std::string size_text(std::uint64_t bytes);
/// In single quotes, at most 64 bytes of it; bytes that are not printable ASCII as \xNN.
[[nodiscard]] std::string quote(std::string_view text);
/// The first `max` bytes at most, cut between characters: the rest stays valid UTF-8.
[[nodiscard]] std::string bounded(std::string_view utf8, std::size_t max);
/// auto | qemu | process
[[nodiscard]] std::string_view backend_name(pb::Backend b) noexcept;
/// running | stopped | paused | deleted
[[nodiscard]] std::string_view desired_name(pb::Desired d) noexcept;
/// pending | scheduled | ...
[[nodiscard]] std::string_view phase_name(pb::Phase p) noexcept;
/// most_available | least_available | round_robin | manual
[[nodiscard]] std::string_view strategy_name(pb::Strategy s) noexcept;
/// joining | ready | ...
[[nodiscard]] std::string_view node_state_name(pb::NodeState s) noexcept;

}  // namespace blixard::state
