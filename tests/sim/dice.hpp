// The only source of chance in a simulation: everything follows from one seed.
#pragma once

#include <cstdint>

namespace blixard::sim {

/// Parts per million: chances are integers, so that no build rounds them another way.
using ppm = std::uint32_t;

class dice {
 public:
  explicit dice(std::uint64_t seed) noexcept : state_(seed) {}

  /// splitmix64
  std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, n). Precondition: n > 0.
  std::uint64_t below(std::uint64_t n) noexcept { return next() % n; }
  /// Uniform in [low, high].
  std::uint64_t between(std::uint64_t low, std::uint64_t high) noexcept {
    return low + below(high - low + 1);
  }
  bool chance(ppm p) noexcept { return below(1'000'000) < p; }
  bool one_in(std::uint64_t n) noexcept { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

}  // namespace blixard::sim
