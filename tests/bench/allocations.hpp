// Counts heap allocations: linking this replaces the global operator new.
//
//   const auto before = bench::allocations();
//   ... what is measured, on this thread ...
//   state.counters["allocs"] = bench::allocations() - before;
#pragma once

#include <cstdint>

namespace blixard::bench {

/// Calls of operator new on the calling thread since it started.
[[nodiscard]] std::uint64_t allocations() noexcept;

}  // namespace blixard::bench
