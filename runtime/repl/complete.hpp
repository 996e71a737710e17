// Completion of a command line: what the word under the cursor may become. Pure; live names are
// asked by whoever has a node to ask.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/repl/commands.hpp"

namespace blixard::repl {

struct completion {
  std::string word;                     // that is being completed: what was typed of it means this
  std::vector<std::string> candidates;  // that begin with it, sorted; known without asking a node
  completes live = completes::nothing;  // vm, node or key: more are on a node; file: on this disk
};

/// What may follow at the end of `line` (the text before the cursor).
[[nodiscard]] completion complete_line(std::string_view line);

/// The longest text that all begin with; empty for none.
[[nodiscard]] std::string common_prefix(const std::vector<std::string>& candidates);

}  // namespace blixard::repl
