// Fault points: places where a test build can be told to crash, fail, wait or write short.
//
// A point is one line where it matters, and nothing at all in a build without BLIXARD_FAULT_POINTS:
//
//   if (const auto fault = BLIXARD_FAULT("wal.sync"); fault.error != 0) return sync_failed(...);
//
// What happens is said by BLIXARD_FAULTS (CLIENT "Fault points"), a comma-separated list of
//   POINT=ACTION[@nth | %probability]
//   ACTION = crash | error:E | sleep:MS | short:N
// "@nth" fires once, at the nth passage (from 1); "%p" fires with p percent at every passage, from
// a seeded generator; neither fires always. `crash` is _exit(137): nothing is flushed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace blixard::fault {

/// What the place that was hit has to do itself; crash and sleep have already happened.
struct effect {
  int error = 0;                              // errno to fail with; 0: go on
  std::size_t short_bytes = ~std::size_t{0};  // write at most so many bytes, then fail or stop
};

/// Whether this build has fault points (the ready line says so).
#ifdef BLIXARD_FAULT_POINTS
inline constexpr bool compiled_in = true;
#else
inline constexpr bool compiled_in = false;
#endif

/// Reads a BLIXARD_FAULTS value and replaces what was armed before. Empty: nothing is armed. The
/// error names the item that is wrong. Call before threads start. `seed` feeds "%p".
[[nodiscard]] tl::expected<void, std::string> arm(std::string_view spec, std::uint64_t seed);
/// Arms from the environment variable BLIXARD_FAULTS; does nothing where it is not set.
[[nodiscard]] tl::expected<void, std::string> arm_from_environment(std::uint64_t seed);
/// Counts one passage through `point` and does what is armed there. Any thread.
effect hit(std::string_view point);

}  // namespace blixard::fault

#ifdef BLIXARD_FAULT_POINTS
#define BLIXARD_FAULT(point) ::blixard::fault::hit(point)
#else
#define BLIXARD_FAULT(point) (::blixard::fault::effect{})
#endif
