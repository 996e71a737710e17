// How long a round trip to a peer takes, estimated from samples, one a second.
//
// Smoothed as TCP does it (RFC 6298), but the first sample is no good start: it is a handshake,
// while both processes have just begun and their loops are busy with other things. A round trip is
// measured too long by such waiting and never too short, so the first few samples count by their
// minimum; from there on each one moves the estimate by an eighth.
#pragma once

#include <algorithm>
#include <cstdint>

namespace blixard::net {

class round_trip {
 public:
  static constexpr std::uint32_t first_samples = 8;

  void note(std::uint64_t sample_ns) noexcept {
    const auto sample = std::max<std::uint64_t>(sample_ns, 1);
    if (noted_ == 0)
      estimate_ns_ = sample;
    else if (noted_ < first_samples)
      estimate_ns_ = std::min(estimate_ns_, sample);
    else
      estimate_ns_ = (estimate_ns_ * 7 + sample) / 8;
    noted_ = std::min(noted_ + 1, first_samples);
  }

  /// 0: nothing was measured.
  [[nodiscard]] std::uint64_t ns() const noexcept { return estimate_ns_; }

 private:
  std::uint64_t estimate_ns_ = 0;
  std::uint32_t noted_ = 0;  // samples, up to first_samples
};

}  // namespace blixard::net
