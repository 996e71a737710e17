// The version that the ready line, the handshake and blixard_build_info tell.
#pragma once

#include <string_view>

namespace blixard {

/// Of the program, as told to peers, in the ready line and in blixard_build_info.
inline constexpr const char* version = BLIXARD_VERSION;

}  // namespace blixard
