// Latencies in log-linear buckets (the idea of HdrHistogram): constant memory, constant time per
// value, a bounded relative error.
//
// Below 256 every value has its own bucket. Above, each power of two is cut into 128 equal buckets,
// so that a bucket's width is at most 1/128 of its values; a quantile is the middle of its bucket
// and is therefore wrong by at most 1/256 = 0.4 %. The largest value is kept exactly.
#pragma once

#include <array>
#include <cstdint>

namespace blixard::apps {

class histogram {
 public:
  /// Any unit; values up to 2^40 - 1 (18 minutes in nanoseconds), larger ones count as that.
  void add(std::uint64_t value) noexcept;
  void merge(const histogram& o) noexcept;

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
  [[nodiscard]] double mean() const noexcept;
  /// The value that a share `q` of all values does not exceed; 0 while empty. q from 0 to 1.
  [[nodiscard]] std::uint64_t quantile(double q) const noexcept;

  static constexpr std::uint64_t value_max = (std::uint64_t{1} << 40) - 1;

 private:
  static constexpr unsigned sub_bits = 7;  // 128 buckets per power of two
  static constexpr std::size_t bucket_count = (40 - sub_bits + 1) << sub_bits;

  [[nodiscard]] static std::size_t bucket_of(std::uint64_t value) noexcept;
  [[nodiscard]] static std::uint64_t middle_of(std::size_t bucket) noexcept;

  std::array<std::uint64_t, bucket_count> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace blixard::apps
