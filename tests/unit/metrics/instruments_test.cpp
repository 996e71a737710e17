// Buckets, and counting from many threads: nothing lost, nothing twice, also when there are more
// threads than slots and when slots are handed from ended threads to new ones.
#include "metrics/instruments.hpp"

#include <gtest/gtest.h>

#include <barrier>
#include <thread>
#include <vector>

#include "messages/frame.hpp"
#include "tests/unit/metrics/sample.hpp"

namespace blixard::metrics {
namespace {

using testing_support::sample;

TEST(bucket_layout, bounds_are_inclusive_and_increase) {
  for (const auto& layout : {duration_buckets, size_buckets, bucket_layout{4, 9, 2}}) {
    for (std::size_t i = 0; i + 1 < layout.count(); ++i) {
      const auto bound = layout.bound(i);
      EXPECT_EQ(layout.index(bound), i);
      EXPECT_EQ(layout.index(bound + 1), i + 1);
      if (i > 0) {
        EXPECT_GT(bound, layout.bound(i - 1));
      }
    }
  }
}

TEST(bucket_layout, zero_is_in_the_first_and_the_greatest_in_the_last) {
  EXPECT_EQ(duration_buckets.index(0), 0U);
  EXPECT_EQ(duration_buckets.index(UINT64_MAX), duration_buckets.count() - 1);
  EXPECT_EQ(size_buckets.index(0), 0U);
  EXPECT_EQ(size_buckets.index(1), 0U);
  EXPECT_EQ(size_buckets.index(2), 1U);
  EXPECT_EQ(size_buckets.index(3), 2U);
}

TEST(bucket_layout, durations_reach_from_microseconds_to_a_minute) {
  EXPECT_LE(duration_buckets.bound(0), 10'000U);
  EXPECT_GE(duration_buckets.bound(duration_buckets.count() - 2), 60'000'000'000U);
}

TEST(counter, loses_nothing_with_more_threads_than_slots) {
  registry r("test");
  constexpr std::size_t threads = slots + 8;
  constexpr std::uint64_t each = 20'000;
  std::barrier all_are_there(threads);  // so that all hold a slot at one time
  std::vector<std::thread> running;
  for (std::size_t t = 0; t < threads; ++t) {
    running.emplace_back([&] {
      const auto c = r.counter<metric::router_forwarded>();
      c.add();
      all_are_there.arrive_and_wait();
      for (std::uint64_t i = 1; i < each; ++i) c.add();
      all_are_there.arrive_and_wait();
    });
  }
  for (auto& t : running) t.join();
  EXPECT_EQ(sample(r, "blixard_router_forwarded_total"), static_cast<double>(threads * each));
}

TEST(counter, goes_on_from_what_an_ended_thread_counted_in_the_same_slot) {
  registry r("test");
  for (int generation = 0; generation < 200; ++generation) {
    std::thread([&r] { r.counter<metric::wal_records>().add(3); }).join();
  }
  EXPECT_EQ(sample(r, "blixard_wal_records_total"), 600);
}

TEST(counter, never_goes_back_while_it_is_scraped) {
  registry r("test");
  std::atomic<bool> done{false};
  std::thread writer([&] {
    const auto c = r.counter<metric::wal_bytes>();
    for (int i = 0; i < 200'000; ++i) c.add(7);
    done = true;
  });
  double last = 0;
  while (!done) {
    const double now = sample(r, "blixard_wal_written_bytes_total");
    EXPECT_GE(now, last);
    last = now;
  }
  writer.join();
  EXPECT_EQ(sample(r, "blixard_wal_written_bytes_total"), 1'400'000);
}

TEST(counter, is_separate_per_label_value_and_per_registry) {
  registry a("test");
  registry b("test");
  a.counter<metric::router_sent>(priority::critical).add(1);
  a.counter<metric::router_sent>(priority::low).add(2);
  b.counter<metric::router_sent>(priority::low).add(4);
  EXPECT_EQ(sample(a, "blixard_router_sent_total", "critical"), 1);
  EXPECT_EQ(sample(a, "blixard_router_sent_total", "high"), 0);
  EXPECT_EQ(sample(a, "blixard_router_sent_total", "low"), 2);
  EXPECT_EQ(sample(b, "blixard_router_sent_total", "low"), 4);
}

TEST(gauge, holds_what_was_set_last) {
  registry r("test");
  const auto g = r.gauge<metric::vm_lease_remaining>();
  g.set(5);
  g.set(-0.5);
  EXPECT_EQ(sample(r, "blixard_vm_lease_remaining_seconds"), -0.5);
}

TEST(histogram, counts_by_bucket_from_several_threads_and_exposes_seconds) {
  registry r("test");
  std::vector<std::thread> running;
  for (int t = 0; t < 4; ++t) {
    running.emplace_back([&r] {
      const auto h = r.histogram<metric::wal_fsync_duration>();
      for (int i = 0; i < 1'000; ++i) {
        h.observe(8'192);            // the first bound: in the first bucket
        h.observe(100'000);          // 98,304 < 0.1 ms <= 131,072
        h.observe(200'000'000'000);  // beyond the last bound
      }
    });
  }
  for (auto& t : running) t.join();
  const auto h = testing_support::histogram_of(r, "blixard_wal_fsync_duration_seconds");
  EXPECT_EQ(h.sample_count, 12'000U);
  EXPECT_NEAR(h.sample_sum, 4'000 * (8'192e-9 + 100'000e-9 + 200.0), 1e-6);
  for (const auto& bucket : h.bucket) {
    const std::uint64_t expected = bucket.upper_bound < 100e-6 ? 4'000
                                   : bucket.upper_bound < 100  ? 8'000
                                                               : 12'000;
    EXPECT_EQ(bucket.cumulative_count, expected) << bucket.upper_bound;
  }
}

TEST(histogram, of_sizes_exposes_plain_numbers) {
  registry r("test");
  r.histogram<metric::wal_sync_entries>().observe(5);
  const auto h = testing_support::histogram_of(r, "blixard_wal_sync_entries");
  EXPECT_EQ(h.sample_sum, 5);
  for (const auto& bucket : h.bucket)
    EXPECT_EQ(bucket.cumulative_count, bucket.upper_bound >= 8 ? 1U : 0U) << bucket.upper_bound;
}

}  // namespace
}  // namespace blixard::metrics
