// Counts how many syncs an entry waits for: the one that carries it, and what was left of the one
// that was running when it came.
//
//      sync n          sync n+1              an entry that comes on an idle disk waits for 1,
//   |---------x-----|---------------|        one that comes at a random moment of a sync (x) for
//             '--- 0.4 + 1 ---------'        1.5 on average
//
// More than that, on average, says that something waits for the disk that need not. Pure: the
// moments come in as numbers.
#pragma once

#include <algorithm>
#include <cstdint>

namespace blixard::storage {

class sync_waits {
 public:
  /// In millionths of a sync.
  static constexpr std::uint64_t one = 1'000'000;

  /// What an entry that came at `arrived_ns` waits for in all, if the next sync carries it.
  [[nodiscard]] std::uint64_t of(std::uint64_t arrived_ns) const noexcept {
    if (arrived_ns >= ended_ns_ || ended_ns_ == started_ns_) return one;
    const auto left = ended_ns_ - std::max(arrived_ns, started_ns_);
    return one + left * one / (ended_ns_ - started_ns_);
  }
  /// A sync has ended; `started_ns` includes the writing before it.
  void synced(std::uint64_t started_ns, std::uint64_t ended_ns) noexcept {
    started_ns_ = started_ns;
    ended_ns_ = std::max(started_ns, ended_ns);
  }

 private:
  std::uint64_t started_ns_ = 0;  // of the newest sync
  std::uint64_t ended_ns_ = 0;
};

}  // namespace blixard::storage
