// Error codes that a client can see (stable, documented, never renamed) and the error value itself.
//
// `outcome` is what the code means for the command that got it (CLIENT "Machine-readable answers"):
// fail = it did not happen and never will; info = nobody here can tell.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace blixard {

// The numbers are on the wire: append only.
enum class errc : std::uint8_t {
  ok = 0,
  invalid_argument = 1,
  not_found = 2,
  already_exists = 3,
  conflict = 4,
  quota_exceeded = 5,
  unplaceable = 6,
  no_leader = 7,
  not_leader = 8,
  overloaded = 9,  // carries retry_after_ms
  timeout = 10,    // outcome unknown
  cancelled = 11,
  unauthenticated = 12,
  permission_denied = 13,
  too_large = 14,
  unsupported = 15,
  internal = 16,  // outcome unknown
  invalid_state = 17,
  connection_lost = 18,  // outcome unknown
  leadership_lost = 19,  // outcome unknown
  disk_full = 20,
  unavailable = 21,  // the node is starting, recovering or stopping; nothing was done
};

inline constexpr int errc_count = 22;

enum class outcome : std::uint8_t { ok, fail, info };

[[nodiscard]] std::string_view to_string(errc code) noexcept;
/// The code of that name, or `internal` for a name that is not one.
[[nodiscard]] errc errc_from_string(std::string_view name) noexcept;
[[nodiscard]] outcome outcome_of(errc code) noexcept;

/// An error with what a person needs: what went wrong, and what to do about it (may be empty).
struct error {
  errc code = errc::internal;
  std::string message;
  std::string hint;
  std::uint32_t retry_after_ms = 0;  // only with errc::overloaded
};

[[nodiscard]] inline error make_error(errc code, std::string message, std::string hint = {}) {
  return error{code, std::move(message), std::move(hint), 0};
}

}  // namespace blixard
