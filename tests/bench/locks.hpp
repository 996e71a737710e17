// Counts mutexes: linking this replaces pthread_mutex_lock and the locks of pthread_rwlock, through
// which std::mutex, std::shared_mutex and the libraries' own locks all go. Not under the
// sanitizers, which replace them too: then nothing is counted.
//
//   const auto before = bench::locks();
//   ... what is measured, on this thread ...
//   state.counters["locks"] = bench::locks().taken - before.taken;
#pragma once

#include <cstdint>

namespace blixard::bench {

struct lock_count {
  std::uint64_t taken = 0;
  std::uint64_t waited = 0;  // of these, those that somebody else held at that moment
};

/// Of the calling thread since it started.
[[nodiscard]] lock_count locks() noexcept;

}  // namespace blixard::bench
