#include "runtime/routing/lanes.hpp"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <memory>
#include <random>
#include <vector>

namespace blixard::routing {
namespace {

using int_lanes = lanes<int>;

lanes_config wide(std::uint32_t floor = 16) {
  lanes_config c;
  for (auto& l : c.lane) l = {.max_items = 1 << 20, .max_bytes = 1 << 30, .retry_after_ms = 10};
  c.floor = floor;
  return c;
}

template <class L>
int next(L& l) {
  auto i = l.pop();
  return i ? i->value : -1;
}

TEST(lanes, serve_the_most_urgent_class_first_and_keep_order_within_it) {
  int_lanes l{wide()};
  (void)l.push(priority::low, 40, 1);
  (void)l.push(priority::normal, 30, 1);
  (void)l.push(priority::critical, 10, 1);
  (void)l.push(priority::high, 20, 1);
  (void)l.push(priority::critical, 11, 1);
  for (const int expected : {10, 11, 20, 30, 40, -1}) EXPECT_EQ(next(l), expected);
}

TEST(lanes, a_critical_item_overtakes_100000_low_ones_at_once) {
  int_lanes l{wide()};
  for (int i = 0; i < 100'000; ++i) (void)l.push(priority::low, i, 100);
  EXPECT_EQ(next(l), 0);
  (void)l.push(priority::critical, -7, 1);
  EXPECT_EQ(next(l), -7);
}

TEST(lanes, every_waiting_class_gets_at_least_one_turn_in_sixteen) {
  for (const auto waiting : {priority::low, priority::normal, priority::high}) {
    int_lanes l{wide(16)};
    (void)l.push(waiting, 1, 1);
    int turns = 0;
    do {
      (void)l.push(priority::critical, 0, 1);
      (void)l.push(priority::critical, 0, 1);
      ++turns;
      ASSERT_LE(turns, 16);
    } while (next(l) != 1);
    EXPECT_EQ(turns, 16);
  }
}

TEST(lanes, under_a_flood_of_everything_shares_are_strict_with_a_floor) {
  int_lanes l{wide(16)};
  std::array<int, priority_count> served{};
  for (int i = 0; i < 16'000; ++i) {
    for (int c = 0; c < 4; ++c) (void)l.push(static_cast<priority>(c), c, 1);
    ++served[static_cast<std::size_t>(next(l))];
  }
  EXPECT_GE(served[0], 16'000 * 15 / 18);
  for (const int c : {1, 2, 3}) EXPECT_GE(served[static_cast<std::size_t>(c)], 16'000 / 18);
}

// What a connection does whose socket takes a part of what it is offered.
TEST(lanes, the_floor_holds_where_popped_items_go_back) {
  for (const std::size_t taken : {1u, 3u, 8u, 15u}) {
    int_lanes l{wide(16)};
    std::array<int, priority_count> served{};
    for (int i = 0; i < 4'000; ++i) {
      while (l.size(priority::critical) < 40) (void)l.push(priority::critical, 0, 1);
      while (l.size(priority::low) < 40) (void)l.push(priority::low, 3, 1);
      std::vector<int_lanes::item> popped;
      while (popped.size() < 16) popped.push_back(*l.pop());
      for (std::size_t k = 0; k < taken; ++k) ++served[static_cast<std::size_t>(popped[k].cls)];
      while (popped.size() > taken) {
        l.restore(popped.back());
        popped.pop_back();
      }
    }
    const auto all = static_cast<int>(taken) * 4'000;
    EXPECT_NEAR(served[3], all / 16, 1) << taken << " of 16 taken";
  }
}

TEST(lanes, without_a_floor_the_order_is_strict) {
  int_lanes l{wide(0)};
  (void)l.push(priority::low, 1, 1);
  for (int i = 0; i < 1000; ++i) {
    (void)l.push(priority::high, 2, 1);
    ASSERT_EQ(next(l), 2);
  }
}

TEST(lanes, refuse_at_the_bound_of_items_and_of_bytes_and_say_when_to_come_back) {
  lanes_config c = wide();
  c.lane[2] = {.max_items = 3, .max_bytes = 100, .retry_after_ms = 25};
  int_lanes l{c};
  EXPECT_EQ(l.push(priority::normal, 1, 60).result, push_result::accepted);
  EXPECT_EQ(l.push(priority::normal, 2, 41).result, push_result::refused);
  EXPECT_EQ(l.push(priority::normal, 3, 40).result, push_result::accepted);
  EXPECT_EQ(l.push(priority::normal, 4, 0).result, push_result::accepted);
  const auto full = l.push(priority::normal, 5, 0);
  EXPECT_EQ(full.result, push_result::refused);
  EXPECT_EQ(full.retry_after_ms, 25u);
  EXPECT_EQ(l.counters(priority::normal).dropped.get(), 2u);
  EXPECT_EQ(l.push(priority::high, 6, 60).result, push_result::accepted) << "bounds are per class";
}

TEST(lanes, an_empty_lane_takes_one_item_of_any_size) {
  lanes_config c = wide();
  c.lane[3].max_bytes = 10;
  int_lanes l{c};
  EXPECT_EQ(l.push(priority::low, 1, 1000).result, push_result::accepted);
  EXPECT_EQ(l.push(priority::low, 2, 1).result, push_result::refused);
  EXPECT_EQ(next(l), 1);
  EXPECT_EQ(l.push(priority::low, 2, 1).result, push_result::accepted);
}

TEST(lanes, a_newer_item_of_the_same_key_takes_the_place_of_the_older) {
  int_lanes l{wide()};
  EXPECT_EQ(l.push(priority::critical, 1, 10, 77).result, push_result::accepted);
  EXPECT_EQ(l.push(priority::critical, 2, 10, 78).result, push_result::accepted);
  EXPECT_EQ(l.push(priority::critical, 3, 4, 77).result, push_result::superseded);
  EXPECT_EQ(l.size(), 2u);
  EXPECT_EQ(l.bytes(), 14u);
  EXPECT_EQ(l.counters(priority::critical).superseded.get(), 1u);
  EXPECT_EQ(next(l), 3);
  EXPECT_EQ(next(l), 2);
  EXPECT_EQ(l.push(priority::critical, 4, 1, 77).result, push_result::accepted) << "77 has left";
}

TEST(lanes, superseding_works_in_a_full_lane_and_only_for_critical_items_with_a_key) {
  lanes_config c = wide();
  c.lane[0].max_items = 1;
  int_lanes l{c};
  (void)l.push(priority::critical, 1, 1, 5);
  EXPECT_EQ(l.push(priority::critical, 2, 1, 6).result, push_result::refused);
  EXPECT_EQ(l.push(priority::critical, 3, 1, 5).result, push_result::superseded);
  (void)l.push(priority::high, 4, 1, 5);
  EXPECT_EQ(l.push(priority::high, 5, 1, 5).result, push_result::accepted);
  (void)l.push(priority::low, 6, 1, 0);
  EXPECT_EQ(l.push(priority::low, 7, 1, 0).result, push_result::accepted);
  for (const int expected : {3, 4, 5, 6, 7}) EXPECT_EQ(next(l), expected);
}

TEST(lanes, restored_items_are_the_first_again_and_can_still_be_superseded) {
  int_lanes l{wide()};
  for (int i = 1; i <= 4; ++i)
    (void)l.push(priority::critical, i, 10, static_cast<std::uint64_t>(i));
  (void)l.push(priority::low, 9, 5);
  auto a = l.pop();
  auto b = l.pop();
  l.restore(*b);
  l.restore(*a);
  EXPECT_EQ(l.size(), 5u);
  EXPECT_EQ(l.bytes(), 45u);
  EXPECT_EQ(l.counters(priority::critical).sent.get(), 0u);
  EXPECT_EQ(l.push(priority::critical, 20, 10, 2).result, push_result::superseded);
  for (const int expected : {1, 20, 3, 4, 9}) EXPECT_EQ(next(l), expected);
}

TEST(lanes, dropped_and_popped_values_are_let_go) {
  auto value = std::make_shared<int>(1);
  lanes<std::shared_ptr<int>> l{wide()};
  (void)l.push(priority::critical, value, 1, 3);
  (void)l.push(priority::critical, value, 1, 3);
  EXPECT_EQ(value.use_count(), 2);
  (void)l.push(priority::low, value, 1);
  (void)l.pop();
  EXPECT_EQ(value.use_count(), 2);
  l.clear();
  EXPECT_EQ(value.use_count(), 1);
  EXPECT_EQ(l.bytes(), 0u);
  EXPECT_TRUE(l.empty());
  EXPECT_EQ(l.counters(priority::low).dropped.get(), 1u);
}

// Random pushes, pops and restores against plain deques: order, bounds, bytes, counters.
TEST(lanes, behave_like_four_bounded_queues) {
  struct waiting {
    int value;
    std::size_t bytes;
    std::uint64_t key;
  };
  for (unsigned seed = 1; seed <= 100; ++seed) {
    std::mt19937 random{seed};
    lanes_config c = wide(0);
    for (auto& l : c.lane) l = {.max_items = 20, .max_bytes = 300};
    int_lanes l{c};
    std::array<std::deque<waiting>, priority_count> model;
    const auto bytes_of = [&](std::size_t lane) {
      std::size_t n = 0;
      for (const auto& w : model[lane]) n += w.bytes;
      return n;
    };
    for (int i = 0; i < 2'000; ++i) {
      const auto lane = random() % priority_count;
      if (random() % 5 < 3) {
        const waiting w{i, random() % 60, random() % 3 == 0 ? 1 + random() % 4 : 0};
        auto& q = model[lane];
        const auto same = std::ranges::find_if(
            q, [&](const auto& o) { return lane == 0 && w.key != 0 && o.key == w.key; });
        auto expected = push_result::accepted;
        if (same != q.end()) {
          expected = push_result::superseded;
          *same = w;
        } else if (q.size() >= 20 || (!q.empty() && bytes_of(lane) + w.bytes > 300)) {
          expected = push_result::refused;
        } else {
          q.push_back(w);
        }
        ASSERT_EQ(l.push(static_cast<priority>(lane), w.value, w.bytes, w.key).result, expected)
            << "seed " << seed << " step " << i;
      } else {
        const auto first = std::ranges::find_if(model, [](const auto& q) { return !q.empty(); });
        auto got = l.pop();
        ASSERT_EQ(got.has_value(), first != model.end());
        if (!got) continue;
        ASSERT_EQ(got->value, first->front().value) << "seed " << seed << " step " << i;
        if (random() % 4 == 0)
          l.restore(*got);
        else
          first->pop_front();
      }
      std::size_t bytes = 0, items = 0;
      for (std::size_t k = 0; k < priority_count; ++k) {
        const auto& counters = l.counters(static_cast<priority>(k));
        ASSERT_EQ(counters.queued_bytes.get(), bytes_of(k)) << "seed " << seed;
        ASSERT_EQ(counters.queued_items.get(), model[k].size());
        bytes += bytes_of(k);
        items += model[k].size();
      }
      ASSERT_EQ(l.bytes(), bytes);
      ASSERT_EQ(l.size(), items);
    }
  }
}

}  // namespace
}  // namespace blixard::routing
