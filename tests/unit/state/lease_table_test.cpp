// Claims about the leader's table of node leases.
#include "runtime/state/lease_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace blixard::state {
namespace {

constexpr std::uint64_t duration = 600;
constexpr std::uint64_t margin = 200;
constexpr node_id n1{1};

struct lease_table_of_one : testing::Test {
  void knows(std::uint64_t incarnation, bool down = false) {
    table.set_nodes({{n1, incarnation, down}});
  }
  /// Whether the node is told to be expired at that moment.
  bool expires(std::uint64_t now) { return !table.take_expired(now).empty(); }

  lease_table table{duration, margin};
};

TEST_F(lease_table_of_one, a_new_leader_assumes_that_every_lease_was_granted_just_before) {
  knows(5);
  table.lead(1000);
  EXPECT_FALSE(expires(1000 + duration + margin - 1));
  EXPECT_TRUE(expires(1000 + duration + margin));
  EXPECT_FALSE(expires(1000 + duration + margin)) << "it is told once";
}

TEST_F(lease_table_of_one, grants_go_to_the_registered_life_and_put_the_end_off) {
  knows(5);
  table.lead(1000);
  EXPECT_FALSE(table.grant(n1, 4, 1500));
  EXPECT_FALSE(table.grant(node_id{2}, 5, 1500));
  EXPECT_TRUE(table.grant(n1, 5, 1500));
  EXPECT_FALSE(expires(1500 + duration + margin - 1));
  EXPECT_TRUE(expires(1500 + duration + margin));
}

TEST_F(lease_table_of_one, who_was_told_to_have_expired_gets_nothing_more_in_that_life) {
  knows(5);
  table.lead(1000);
  ASSERT_TRUE(expires(2000));
  EXPECT_FALSE(table.grant(n1, 5, 2000));
  knows(6);
  EXPECT_TRUE(table.grant(n1, 6, 2100));
}

TEST_F(lease_table_of_one, a_new_life_gets_the_whole_time_for_its_first_renewal) {
  knows(5);
  table.lead(1000);
  ASSERT_TRUE(expires(2000));
  knows(5, true);
  EXPECT_FALSE(expires(3000)) << "it is down already";
  knows(6);
  EXPECT_FALSE(expires(3100));
  EXPECT_FALSE(expires(3100 + duration + margin - 1));
  EXPECT_TRUE(expires(3100 + duration + margin)) << "it never asked";
}

}  // namespace
}  // namespace blixard::state
