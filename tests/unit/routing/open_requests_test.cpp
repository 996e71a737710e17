#include "runtime/routing/open_requests.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace blixard::routing {
namespace {

using requests = open_requests<int>;

std::vector<int> expired(requests& r, std::uint64_t now) {
  std::vector<int> out;
  r.expire(now, [&](int v) { out.push_back(v); });
  return out;
}

TEST(open_requests, the_value_comes_out_once_by_the_answer) {
  requests r;
  const auto t = r.add(7, 100);
  EXPECT_EQ(r.close(t), 7);
  EXPECT_EQ(r.close(t), std::nullopt);
  EXPECT_TRUE(expired(r, 1000).empty());
  EXPECT_EQ(r.size(), 0u);
}

TEST(open_requests, the_value_comes_out_once_by_the_deadline) {
  requests r;
  const auto t = r.add(7, 100);
  EXPECT_TRUE(expired(r, 99).empty());
  EXPECT_EQ(expired(r, 100), std::vector<int>{7});
  EXPECT_TRUE(expired(r, 1000).empty());
  EXPECT_EQ(r.close(t), std::nullopt) << "the answer behind the deadline";
}

TEST(open_requests, an_old_ticket_does_not_close_what_took_the_place) {
  requests r;
  const auto old = r.add(1, 100);
  (void)r.close(old);
  const auto next = r.add(2, 100);
  EXPECT_EQ(r.close(old), std::nullopt);
  EXPECT_EQ(r.close(next), 2);
  EXPECT_EQ(r.close(request_ticket{}), std::nullopt);
}

TEST(open_requests, what_nobody_waits_for_any_more_is_dropped) {
  requests r;
  for (int i = 0; i < 6; ++i) (void)r.add(i, 100);
  r.drop_if([](int v) { return v % 2 == 0; });
  EXPECT_EQ(r.size(), 3u);
  EXPECT_EQ(expired(r, 100), (std::vector<int>{1, 3, 5}));
}

// Whatever happens, each value comes out exactly once, and never before its time.
TEST(open_requests, every_value_comes_out_exactly_once) {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    std::mt19937 random{seed};
    requests r;
    std::map<int, std::uint64_t> deadlines;  // of the open ones
    std::vector<std::pair<request_ticket, int>> tickets;
    std::uint64_t now = 0;
    for (int i = 0; i < 1'000; ++i) {
      switch (random() % 4) {
        case 0:
          now += random() % 50;
          for (const int v : expired(r, now)) {
            ASSERT_LE(deadlines.at(v), now) << "seed " << seed;
            deadlines.erase(v);
          }
          for (const auto& [v, deadline] : deadlines) ASSERT_GT(deadline, now) << "seed " << seed;
          break;
        case 1:
          if (!tickets.empty()) {
            const auto& [t, v] = tickets[random() % tickets.size()];
            ASSERT_EQ(r.close(t).has_value(), deadlines.erase(v) == 1) << "seed " << seed;
          }
          break;
        default:
          deadlines[i] = now + random() % 200 + 1;
          tickets.emplace_back(r.add(i, deadlines[i]), i);
      }
      ASSERT_EQ(r.size(), deadlines.size()) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace blixard::routing
