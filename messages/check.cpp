#include "messages/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace blixard {
namespace {
void print_and_abort(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
}
check_handler_fn handler = &print_and_abort;
}  // namespace

void set_check_handler(check_handler_fn next) noexcept { handler = next; }

namespace detail {
void check_failed(const char* file, int line, const std::string& what) {
  handler("check failed: " + what + " at " + file + ":" + std::to_string(line));
  std::abort();
}
}  // namespace detail
}  // namespace blixard
