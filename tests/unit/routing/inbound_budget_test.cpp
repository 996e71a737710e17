#include "runtime/routing/inbound_budget.hpp"

#include <gtest/gtest.h>

namespace blixard::routing {
namespace {

TEST(inbound_budget, half_frames_leave_half_of_it_to_what_is_complete) {
  inbound_budget b{1000};
  EXPECT_TRUE(b.take(inbound_use::half_frames, 400));
  EXPECT_FALSE(b.take(inbound_use::half_frames, 101));
  EXPECT_TRUE(b.take(inbound_use::half_frames, 100));
  EXPECT_TRUE(b.take(inbound_use::requests, 500));
  EXPECT_FALSE(b.take(inbound_use::requests, 1));
  EXPECT_EQ(b.refused(inbound_use::half_frames).get(), 1u);
  EXPECT_EQ(b.refused(inbound_use::requests).get(), 1u);
}

TEST(inbound_budget, what_is_given_back_may_be_taken_by_any_use) {
  inbound_budget b{1000};
  EXPECT_TRUE(b.take(inbound_use::requests, 1000));
  b.give_back(inbound_use::requests, 600);
  EXPECT_TRUE(b.take(inbound_use::held, 600));
  EXPECT_FALSE(b.take(inbound_use::held, 1));
  EXPECT_EQ(b.bytes(inbound_use::requests).get(), 400u);
}

TEST(inbound_budget, one_thing_of_any_size_is_granted_to_each_use) {
  inbound_budget b{1000};
  EXPECT_TRUE(b.take(inbound_use::requests, 5000));
  EXPECT_TRUE(b.take(inbound_use::half_frames, 5000));
  EXPECT_FALSE(b.take(inbound_use::half_frames, 1));
  b.give_back(inbound_use::half_frames, 5000);
  EXPECT_TRUE(b.take(inbound_use::half_frames, 1));
}

}  // namespace
}  // namespace blixard::routing
