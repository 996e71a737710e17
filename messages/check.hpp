// CHECK: invariants that stay on in release builds.
//
// A programmer's error stops the process with both operands printed (STYLE: invariants stay on); an
// operating error is an `errc` value instead. `check_handler()` lets raftlab and the simulator turn
// a fired check into an exception, so that one broken core does not take the others with it.
#pragma once

#include <sstream>
#include <string>

namespace blixard {

/// Called with the formatted message of a fired check; must not return. Set once, before threads
/// start.
using check_handler_fn = void (*)(const std::string& message);
void set_check_handler(check_handler_fn handler) noexcept;

namespace detail {
[[noreturn]] void check_failed(const char* file, int line, const std::string& what);

template <class A, class B>
[[noreturn]] void check_op_failed(const char* file, int line, const char* text, const A& a,
                                  const B& b) {
  std::ostringstream out;
  auto put = [&out](const auto& v) {
    if constexpr (requires { out << v; }) {
      out << v;
    } else if constexpr (requires { out << v.value(); }) {
      out << v.value();
    } else {
      out << "?";
    }
  };
  out << text << " (";
  put(a);
  out << " vs ";
  put(b);
  out << ")";
  check_failed(file, line, out.str());
}
}  // namespace detail
}  // namespace blixard

#define BLIXARD_CHECK_OP(a, op, b)                                                                 \
  do {                                                                                             \
    const auto& check_a = (a);                                                                     \
    const auto& check_b = (b);                                                                     \
    if (!(check_a op check_b)) [[unlikely]]                                                        \
      ::blixard::detail::check_op_failed(__FILE__, __LINE__, #a " " #op " " #b, check_a, check_b); \
  } while (false)

#define CHECK(condition)                                               \
  do {                                                                 \
    if (!(condition)) [[unlikely]]                                     \
      ::blixard::detail::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)
#define CHECK_EQ(a, b) BLIXARD_CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) BLIXARD_CHECK_OP(a, !=, b)
#define CHECK_LE(a, b) BLIXARD_CHECK_OP(a, <=, b)
#define CHECK_LT(a, b) BLIXARD_CHECK_OP(a, <, b)
#define CHECK_GE(a, b) BLIXARD_CHECK_OP(a, >=, b)
#define CHECK_GT(a, b) BLIXARD_CHECK_OP(a, >, b)
