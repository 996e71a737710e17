// How many syncs an entry waits for: runtime/storage/sync_waits.hpp.
#include "runtime/storage/sync_waits.hpp"

#include <gtest/gtest.h>

namespace blixard::storage {
namespace {

constexpr auto one = sync_waits::one;

TEST(sync_waits, of_an_entry_on_an_idle_disk_are_one) {
  sync_waits w;
  EXPECT_EQ(w.of(5), one);
  w.synced(100, 200);
  EXPECT_EQ(w.of(200), one);
  EXPECT_EQ(w.of(1000), one);
}

TEST(sync_waits, of_an_entry_that_comes_in_a_sync_count_what_is_left_of_it) {
  sync_waits w;
  w.synced(100, 200);
  EXPECT_EQ(w.of(150), one + one / 2);
  EXPECT_EQ(w.of(175), one + one / 4);
}

TEST(sync_waits, of_an_entry_that_one_sync_left_behind_are_two) {
  sync_waits w;
  w.synced(100, 200);
  EXPECT_EQ(w.of(100), 2 * one);
  EXPECT_EQ(w.of(50), 2 * one);
}

TEST(sync_waits, of_entries_that_come_at_any_moment_of_back_to_back_syncs_are_one_and_a_half) {
  sync_waits w;
  std::uint64_t sum = 0;
  for (std::uint64_t sync = 0; sync < 100; ++sync) {
    w.synced(sync * 100, sync * 100 + 100);
    for (std::uint64_t at = 0; at < 100; ++at) sum += w.of(sync * 100 + at);
  }
  EXPECT_NEAR(static_cast<double>(sum) / 10'000 / one, 1.5, 0.01);
}

}  // namespace
}  // namespace blixard::storage
