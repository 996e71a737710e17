#include "runtime/base/flags.hpp"

namespace blixard {

std::string flag_problem(const std::string& said) {
  const auto colon = said.find(": ");
  if (!said.starts_with('-') || colon == std::string::npos) return said;
  const auto flag = said.substr(0, colon);
  const auto rest = said.substr(colon + 2);
  if (rest.starts_with("At Most 1 required")) return flag + " is given twice";
  if (rest.ends_with("missing")) return flag + " needs a value";
  return said;
}

}  // namespace blixard
