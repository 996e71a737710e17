// How long to wait before the next attempt: doubling, with jitter, so that nodes that lost the same
// peer do not all knock at once when it returns. Pure and seeded.
#pragma once

#include <algorithm>
#include <cstdint>

namespace blixard::net {

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough for jitter.
class jitter {
 public:
  explicit jitter(std::uint64_t seed) noexcept : state_(seed) {}
  /// In [0, bound]; precondition: bound < 2^64 - 1.
  [[nodiscard]] std::uint64_t up_to(std::uint64_t bound) noexcept {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (z ^ (z >> 31)) % (bound + 1);
  }

 private:
  std::uint64_t state_;
};

struct backoff_range {
  std::uint64_t min_ms = 0;
  std::uint64_t max_ms = 0;
};

/// The wait after `failures` attempts in a row (from 1) failed: between half of and the whole of
/// min · 2^(failures - 1), at most max.
[[nodiscard]] inline std::uint64_t backoff_ms(backoff_range range, std::uint32_t failures,
                                              jitter& random) noexcept {
  const std::uint32_t doublings = std::min<std::uint32_t>(failures == 0 ? 0 : failures - 1, 32);
  const std::uint64_t whole = std::min(range.max_ms, range.min_ms << doublings);
  return whole / 2 + random.up_to(whole - whole / 2);
}

}  // namespace blixard::net
