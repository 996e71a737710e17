// What a person is told about flags that do not parse, the same for every program: the library's
// own words ("At Most 1 required but received 2") speak of its tables, not of the command line.
#pragma once

#include <string>

namespace blixard {

/// The complaint of CLI11 (`what()` of its error) about one flag, in our words.
[[nodiscard]] std::string flag_problem(const std::string& said);

}  // namespace blixard
