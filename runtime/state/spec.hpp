// Rules for names and sizes of what users create. Internal to the state machine.
#pragma once

#include <cstdint>
#include <string_view>

namespace blixard::state {

/// RFC 1123 label: a-z, 0-9 and '-', first and last not '-', 1 to 63 bytes.
[[nodiscard]] bool is_dns_label(std::string_view s) noexcept;

/// How an error message goes on after a name that is not a label.
inline constexpr const char* name_rule =
    " is not a DNS label (a-z, 0-9 and '-', 1 to 63, not first or last '-')";

namespace spec_limits {
inline constexpr std::uint32_t vcpus = 1024;
inline constexpr std::uint64_t memory_min = 1ULL << 20;  // bytes, as are the next two
inline constexpr std::uint64_t memory_max = 1ULL << 46;
inline constexpr std::uint64_t disk_max = 1ULL << 50;
inline constexpr std::uint32_t priority = 1000;
inline constexpr int labels = 64;
inline constexpr std::size_t label_bytes = 1024;
}  // namespace spec_limits

}  // namespace blixard::state
