// Names that people give to VMs, nodes and tenants, and those that they are shown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace blixard {

/// True for a DNS label: 1 to 63 of a-z, 0-9 and '-', no '-' at either end.
[[nodiscard]] bool is_dns_label(std::string_view text) noexcept;

inline constexpr std::string_view dns_label_hint =
    "a name is 1 to 63 of a-z, 0-9 and '-', with no '-' at either end";

/// A random id as it is shown and stored everywhere: 16 hex digits. 64 bits do not survive every
/// reader of JSON numbers, and decimal digits cannot be compared by eye.
[[nodiscard]] std::string hex_digits(std::uint64_t id);

/// The order that people expect of names: runs of digits count as numbers (p2 before p10), the rest
/// by bytes. Names that differ in leading zeros alone are in order of bytes, so it is a total
/// order.
[[nodiscard]] bool natural_less(std::string_view a, std::string_view b) noexcept;

}  // namespace blixard
