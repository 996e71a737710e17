#include "runtime/routing/admission.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace blixard::routing {
namespace {

constexpr std::uint64_t ms = 1'000'000;
constexpr connection_id a{1}, b{2};

admission_config small() {
  admission_config c;
  c.per_connection_max = 3;
  c.per_class_max = {100, 100, 5, 2};
  return c;
}

TEST(admission, a_connection_has_so_many_credits_over_all_classes) {
  admission x{small()};
  EXPECT_TRUE(x.admit(a, priority::normal, 0).admitted);
  EXPECT_TRUE(x.admit(a, priority::high, 0).admitted);
  EXPECT_TRUE(x.admit(a, priority::low, 0).admitted);
  EXPECT_FALSE(x.admit(a, priority::normal, 0).admitted);
  EXPECT_TRUE(x.admit(b, priority::normal, 0).admitted) << "another connection is not concerned";
  x.release(a, priority::high, 0);
  EXPECT_TRUE(x.admit(a, priority::normal, 0).admitted);
  EXPECT_EQ(x.outstanding(a), 3u);
}

TEST(admission, a_class_has_so_many_credits_over_all_connections) {
  admission x{small()};
  for (std::uint64_t i = 1; i <= 5; ++i)
    EXPECT_TRUE(x.admit(connection_id{i}, priority::normal, 0).admitted);
  EXPECT_FALSE(x.admit(connection_id{6}, priority::normal, 0).admitted);
  EXPECT_TRUE(x.admit(connection_id{6}, priority::high, 0).admitted);
  EXPECT_EQ(x.outstanding(priority::normal), 5u);
}

TEST(admission, a_dropped_connection_gives_everything_back_once) {
  admission x{small()};
  (void)x.admit(a, priority::normal, 0);
  (void)x.admit(a, priority::normal, 0);
  (void)x.admit(a, priority::low, 0);
  (void)x.admit(b, priority::normal, 0);
  x.drop(a, 0);
  EXPECT_EQ(x.outstanding(priority::normal), 1u);
  EXPECT_EQ(x.outstanding(priority::low), 0u);
  EXPECT_EQ(x.connections(), 1u);
  x.release(a, priority::normal, 0);  // an answer that came too late
  x.drop(a, 0);
  EXPECT_EQ(x.outstanding(priority::normal), 1u);
}

TEST(admission, releasing_what_was_not_taken_changes_nothing) {
  admission x{small()};
  (void)x.admit(a, priority::normal, 0);
  x.release(a, priority::high, 0);
  x.release(b, priority::normal, 0);
  EXPECT_EQ(x.outstanding(a), 1u);
  EXPECT_EQ(x.outstanding(priority::high), 0u);
}

TEST(admission, retry_after_follows_backlog_and_rate_within_its_bounds) {
  struct row {
    std::uint64_t gap_ms;
    std::uint32_t at_least, at_most;
  };
  for (const auto& r : {row{0, 5, 5}, row{20, 40, 60}, row{100'000, 2'000, 2'000}}) {
    admission x{small()};
    std::uint64_t now = 0;
    for (std::uint64_t i = 1; i <= 5; ++i) (void)x.admit(connection_id{i}, priority::normal, now);
    for (int i = 0; i < 50; ++i) {
      now += r.gap_ms * ms;
      x.release(connection_id{1}, priority::normal, now);
      ASSERT_TRUE(x.admit(connection_id{1}, priority::normal, now).admitted);
    }
    const auto refused = x.admit(connection_id{9}, priority::normal, now);
    ASSERT_FALSE(refused.admitted);
    EXPECT_GE(refused.retry_after_ms, r.at_least) << r.gap_ms;
    EXPECT_LE(refused.retry_after_ms, r.at_most) << r.gap_ms;
  }
}

TEST(admission, an_hour_without_requests_does_not_count_as_slowness) {
  admission x{small()};
  (void)x.admit(a, priority::normal, 0);
  x.release(a, priority::normal, 1 * ms);
  const std::uint64_t later = 3'600'000 * ms;
  for (std::uint64_t i = 1; i <= 5; ++i) (void)x.admit(connection_id{i}, priority::normal, later);
  x.release(connection_id{1}, priority::normal, later + 1 * ms);
  (void)x.admit(connection_id{1}, priority::normal, later + 1 * ms);
  EXPECT_LE(x.admit(connection_id{9}, priority::normal, later + 1 * ms).retry_after_ms, 10u);
}

// Credits are conserved: whatever happens, outstanding is what was admitted and not given back.
TEST(admission, credits_are_conserved) {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    std::mt19937 random{seed};
    const auto config = small();
    admission x{config};
    std::map<std::uint64_t, std::array<std::size_t, priority_count>> model;
    for (int i = 0; i < 1'000; ++i) {
      const std::uint64_t id = 1 + random() % 6;
      const auto lane = random() % priority_count;
      const auto cls = static_cast<priority>(lane);
      std::size_t of_class = 0, of_connection = 0;
      for (const auto& [k, held] : model) of_class += held[lane];
      for (const auto n : model[id]) of_connection += n;
      switch (random() % 8) {
        case 0:
          x.drop(connection_id{id}, 0);
          model[id] = {};
          break;
        case 1:
        case 2:
        case 3:
          x.release(connection_id{id}, cls, 0);
          if (model[id][lane] > 0) --model[id][lane];
          break;
        default: {
          const bool expected =
              of_class < config.per_class_max[lane] && of_connection < config.per_connection_max;
          ASSERT_EQ(x.admit(connection_id{id}, cls, 0).admitted, expected) << "seed " << seed;
          if (expected) ++model[id][lane];
        }
      }
      for (std::size_t k = 0; k < priority_count; ++k) {
        std::size_t sum = 0;
        for (const auto& [n, held] : model) sum += held[k];
        ASSERT_EQ(x.outstanding(static_cast<priority>(k)), sum) << "seed " << seed;
      }
    }
  }
}

}  // namespace
}  // namespace blixard::routing
