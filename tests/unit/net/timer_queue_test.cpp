#include "runtime/net/timer_queue.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace blixard::net {
namespace {

struct log_of_timers {
  timer_queue q;
  std::string fired;
  timer_id add(std::uint64_t due, char name, std::uint64_t period = 0) {
    return q.add(due, period, [this, name] { fired += name; });
  }
};

TEST(timer_queue, fires_in_order_of_time_then_of_setting) {
  log_of_timers t;
  t.add(30, 'c');
  t.add(10, 'a');
  t.add(20, 'x');
  t.add(20, 'y');
  EXPECT_EQ(t.q.next_due(), 10u);
  EXPECT_EQ(t.q.run_due(9, 100), 0u);
  EXPECT_EQ(t.q.run_due(20, 100), 3u);
  EXPECT_EQ(t.fired, "axy");
  EXPECT_EQ(t.q.run_due(1000, 100), 1u);
  EXPECT_EQ(t.fired, "axyc");
  EXPECT_EQ(t.q.next_due(), std::nullopt);
}

TEST(timer_queue, a_cancelled_timer_does_not_fire_and_is_cancelled_once) {
  log_of_timers t;
  const auto a = t.add(10, 'a');
  t.add(10, 'b');
  EXPECT_TRUE(t.q.cancel(a));
  EXPECT_FALSE(t.q.cancel(a));
  EXPECT_EQ(t.q.size(), 1u);
  t.q.run_due(10, 100);
  EXPECT_EQ(t.fired, "b");
}

TEST(timer_queue, an_old_id_never_names_a_newer_timer) {
  log_of_timers t;
  const auto a = t.add(10, 'a');
  t.q.run_due(10, 100);
  const auto b = t.add(20, 'b');
  EXPECT_EQ(a.slot, b.slot);
  EXPECT_FALSE(t.q.cancel(a));
  t.q.run_due(20, 100);
  EXPECT_EQ(t.fired, "ab");
  EXPECT_FALSE(t.q.cancel(timer_id{}));
}

TEST(timer_queue, a_periodic_timer_does_not_drift_and_skips_what_it_missed) {
  log_of_timers t;
  t.add(10, 'p', 10);
  t.q.run_due(13, 100);  // late by 3
  EXPECT_EQ(t.q.next_due(), 20u);
  t.q.run_due(55, 100);  // 20, 30, 40 and 50 at once
  EXPECT_EQ(t.fired, "pp");
  EXPECT_EQ(t.q.next_due(), 60u);
}

TEST(timer_queue, callbacks_may_add_and_cancel_also_themselves) {
  timer_queue q;
  int runs = 0;
  timer_id self;
  self = q.add(10, 10, [&] {
    if (++runs < 3) return;
    EXPECT_TRUE(q.cancel(self));
    for (int i = 0; i < 100; ++i) q.add(1000, 0, [] {});  // moves the slots
  });
  for (std::uint64_t now = 10; now <= 100; now += 10) q.run_due(now, 100);
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(q.size(), 100u);
}

TEST(timer_queue, one_call_runs_no_more_than_it_may) {
  log_of_timers t;
  for (char c : {'a', 'b', 'c'}) t.add(1, c);
  EXPECT_EQ(t.q.run_due(1, 2), 2u);
  EXPECT_EQ(t.fired, "ab");
}

// Random adds, cancels and passages of time against a sorted map.
TEST(timer_queue, behaves_like_a_sorted_map) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937 random{seed};
    timer_queue q;
    std::map<std::pair<std::uint64_t, int>, timer_id> model;
    std::vector<int> fired, expected;
    std::uint64_t now = 0;
    for (int i = 0; i < 400; ++i) {
      const auto what = random() % 10;
      if (what < 6) {
        const auto due = now + random() % 50;
        model[{due, i}] = q.add(due, 0, [&fired, i] { fired.push_back(i); });
      } else if (what < 8 && !model.empty()) {
        const auto victim = std::next(model.begin(), random() % model.size());
        EXPECT_TRUE(q.cancel(victim->second));
        model.erase(victim);
      } else {
        now += random() % 20;
        while (!model.empty() && model.begin()->first.first <= now) {
          expected.push_back(model.begin()->first.second);
          model.erase(model.begin());
        }
        q.run_due(now, 1000);
      }
      ASSERT_EQ(q.size(), model.size()) << "seed " << seed;
    }
    ASSERT_EQ(fired, expected) << "seed " << seed;
  }
}

}  // namespace
}  // namespace blixard::net
