// Names that people give to VMs, nodes and tenants.
#pragma once

#include <string_view>

namespace blixard {

/// True for a DNS label: 1 to 63 of a-z, 0-9 and '-', no '-' at either end.
[[nodiscard]] bool is_dns_label(std::string_view text) noexcept;

inline constexpr std::string_view dns_label_hint =
    "a name is 1 to 63 of a-z, 0-9 and '-', with no '-' at either end";

}  // namespace blixard
