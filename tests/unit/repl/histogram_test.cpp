// Claims about the load generator's arithmetic: quantiles within half a percent.
#include "apps/histogram.hpp"

#include <algorithm>
#include <random>

namespace blixard::apps {
namespace {

TEST(histogram, small_values_are_exact) {
  histogram h;
  for (std::uint64_t i = 0; i < 256; ++i) h.add(i);
  EXPECT_EQ(h.quantile(0), 0u);
  EXPECT_EQ(h.quantile(0.5), 127u);
  EXPECT_EQ(h.quantile(1), 255u);
  EXPECT_EQ(h.count(), 256u);
  EXPECT_DOUBLE_EQ(h.mean(), 127.5);
}

TEST(histogram, every_value_comes_back_within_half_a_percent) {
  for (std::uint64_t v = 1; v < histogram::value_max; v += v / 97 + 1) {
    histogram h;
    h.add(v);
    h.add(histogram::value_max);  // so that the maximum does not correct the middle
    const auto got = static_cast<double>(h.quantile(0.5));
    EXPECT_NEAR(got, static_cast<double>(v), static_cast<double>(v) * 0.004) << v;
  }
}

TEST(histogram, quantiles_match_those_of_the_sorted_values) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(13, 1.5);
  histogram h;
  std::vector<std::uint64_t> all;
  for (int i = 0; i < 100'000; ++i) {
    all.push_back(static_cast<std::uint64_t>(latency(random)));
    h.add(all.back());
  }
  std::ranges::sort(all);
  for (const double q : {0.5, 0.9, 0.99, 0.999}) {
    const auto exact =
        static_cast<double>(all[static_cast<std::size_t>(q * static_cast<double>(all.size())) - 1]);
    EXPECT_NEAR(static_cast<double>(h.quantile(q)), exact, exact * 0.005) << q;
  }
  EXPECT_EQ(h.max(), all.back());
}

TEST(histogram, an_empty_one_and_the_largest_value) {
  histogram h;
  EXPECT_EQ(h.quantile(0.99), 0u);
  EXPECT_EQ(h.mean(), 0.0);
  h.add(UINT64_MAX);
  EXPECT_EQ(h.max(), histogram::value_max);
}

TEST(histogram, merging_adds_up) {
  histogram a;
  histogram b;
  a.add(10);
  b.add(1000);
  a.merge(b);
  EXPECT_EQ(a.count(), 2u);
  EXPECT_EQ(a.max(), 1000u);
  EXPECT_EQ(a.quantile(0.5), 10u);
}

}  // namespace
}  // namespace blixard::apps
