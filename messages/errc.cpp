#include "messages/errc.hpp"

#include <array>

namespace blixard {
namespace {
constexpr std::array<std::string_view, errc_count> names{"ok",
                                                         "invalid_argument",
                                                         "not_found",
                                                         "already_exists",
                                                         "conflict",
                                                         "quota_exceeded",
                                                         "unplaceable",
                                                         "no_leader",
                                                         "not_leader",
                                                         "overloaded",
                                                         "timeout",
                                                         "cancelled",
                                                         "unauthenticated",
                                                         "permission_denied",
                                                         "too_large",
                                                         "unsupported",
                                                         "internal",
                                                         "invalid_state",
                                                         "connection_lost",
                                                         "leadership_lost",
                                                         "disk_full",
                                                         "unavailable"};
}  // namespace

std::string_view to_string(errc code) noexcept {
  const auto i = static_cast<std::size_t>(code);
  return i < names.size() ? names[i] : "internal";
}

errc errc_from_string(std::string_view name) noexcept {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<errc>(i);
  return errc::internal;
}

outcome outcome_of(errc code) noexcept {
  switch (code) {
    case errc::ok:
      return outcome::ok;
    case errc::timeout:
    case errc::internal:
    case errc::connection_lost:
    case errc::leadership_lost:
      return outcome::info;
    case errc::invalid_argument:
    case errc::not_found:
    case errc::already_exists:
    case errc::conflict:
    case errc::quota_exceeded:
    case errc::unplaceable:
    case errc::no_leader:
    case errc::not_leader:
    case errc::overloaded:
    case errc::cancelled:
    case errc::unauthenticated:
    case errc::permission_denied:
    case errc::too_large:
    case errc::unsupported:
    case errc::invalid_state:
    case errc::disk_full:
    case errc::unavailable:
      return outcome::fail;
  }
  return outcome::info;
}

}  // namespace blixard
