#include "apps/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace blixard::apps {

// Bucket numbers: `shift` low bits of the value are dropped so that sub_bits + 1 bits remain; those
// bits (from 128 to 255 when shifted) continue where the smaller power of two ended.
std::size_t histogram::bucket_of(std::uint64_t value) noexcept {
  const auto bits = static_cast<unsigned>(std::bit_width(value));
  const unsigned shift = bits > sub_bits + 1 ? bits - (sub_bits + 1) : 0;
  return (std::size_t{shift} << sub_bits) + static_cast<std::size_t>(value >> shift);
}

std::uint64_t histogram::middle_of(std::size_t bucket) noexcept {
  constexpr std::size_t exact = std::size_t{2} << sub_bits;
  if (bucket < exact) return bucket;
  const std::size_t shift = (bucket >> sub_bits) - 1;
  const std::uint64_t low = static_cast<std::uint64_t>(bucket - (shift << sub_bits)) << shift;
  return low + (std::uint64_t{1} << shift) / 2;
}

void histogram::add(std::uint64_t value) noexcept {
  value = std::min(value, value_max);
  ++buckets_[bucket_of(value)];
  ++count_;
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void histogram::merge(const histogram& o) noexcept {
  for (std::size_t i = 0; i < bucket_count; ++i) buckets_[i] += o.buckets_[i];
  count_ += o.count_;
  max_ = std::max(max_, o.max_);
  sum_ += o.sum_;
}

double histogram::mean() const noexcept {
  return count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
}

std::uint64_t histogram::quantile(double q) const noexcept {
  if (count_ == 0) return 0;
  const auto rank = std::clamp<std::uint64_t>(
      static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_))), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < bucket_count; ++i) {
    seen += buckets_[i];
    if (seen >= rank) return std::min(middle_of(i), max_);
  }
  return max_;
}

}  // namespace blixard::apps
