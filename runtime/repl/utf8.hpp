// Which bytes are text: keys, values and console lines are whatever somebody stored or a guest
// printed.
#pragma once

#include <cstddef>
#include <string_view>

namespace blixard::repl {

/// Length of the UTF-8 character at the beginning of `text` (RFC 3629: shortest form, no
/// surrogates, at most U+10FFFF); 0 where there is none.
[[nodiscard]] std::size_t utf8_length(std::string_view text) noexcept;

/// True where all of `text` is UTF-8.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

}  // namespace blixard::repl
