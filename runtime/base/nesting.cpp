#include "runtime/base/nesting.hpp"

#include <cstddef>

namespace blixard {

bool nests_too_deeply(std::string_view json) noexcept {
  int depth = 0;
  bool in_text = false;
  for (std::size_t i = 0; i < json.size() && depth <= json_depth_max; ++i) {
    const char c = json[i];
    if (c == '"')
      in_text = !in_text;
    else if (c == '\\' && in_text)
      ++i;
    else if (!in_text)
      depth += (c == '[' || c == '{') ? 1 : (c == ']' || c == '}') ? -1 : 0;
  }
  return depth > json_depth_max;
}

}  // namespace blixard
