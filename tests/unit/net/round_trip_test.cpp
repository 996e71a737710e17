#include "runtime/net/round_trip.hpp"

#include <gtest/gtest.h>

namespace blixard::net {
namespace {

constexpr std::uint64_t us = 1'000, ms = 1'000'000;

TEST(round_trip, nothing_is_known_before_the_first_sample) { EXPECT_EQ(round_trip{}.ns(), 0u); }

TEST(round_trip, a_slow_handshake_is_forgotten_with_the_next_sample) {
  round_trip r;
  r.note(90 * ms);
  EXPECT_EQ(r.ns(), 90 * ms) << "better than nothing";
  r.note(300 * us);
  EXPECT_EQ(r.ns(), 300 * us);
  r.note(40 * ms);
  EXPECT_EQ(r.ns(), 300 * us) << "still busy starting";
}

TEST(round_trip, later_samples_move_it_by_an_eighth_each_way) {
  round_trip r;
  for (std::uint32_t i = 0; i < round_trip::first_samples; ++i) r.note(800 * us);
  r.note(1600 * us);
  EXPECT_EQ(r.ns(), 900 * us);
  r.note(100 * us);
  EXPECT_EQ(r.ns(), 800 * us);
}

TEST(round_trip, a_path_that_became_longer_is_seen) {
  round_trip r;
  for (std::uint32_t i = 0; i < round_trip::first_samples; ++i) r.note(300 * us);
  for (int i = 0; i < 30; ++i) r.note(60 * ms);
  EXPECT_GT(r.ns(), 55 * ms);
}

TEST(round_trip, a_sample_of_zero_counts_as_measured) {
  round_trip r;
  r.note(0);
  EXPECT_EQ(r.ns(), 1u);
}

}  // namespace
}  // namespace blixard::net
