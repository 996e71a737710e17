// How deep a JSON text nests, before it is parsed: the JSON library writes (and we walk) by
// recursion, so a line of brackets from the other side would take the whole stack. Pure.
#pragma once

#include <string_view>

namespace blixard {

/// Far above anything that is sent in earnest.
inline constexpr int json_depth_max = 64;

/// True where arrays and objects lie in each other deeper than json_depth_max. Of text that is not
/// JSON the answer means nothing. O(text).
[[nodiscard]] bool nests_too_deeply(std::string_view json) noexcept;

}  // namespace blixard
