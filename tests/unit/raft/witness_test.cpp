// Witnesses: voters that keep the terms of entries and not their data.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/raft/cluster.hpp"

namespace blixard::raft::test {
namespace {

// 1 and 2 have data, 3 is the witness.
cluster_options two_and_a_witness() {
  return {.voters = {1, 2, 3},
          .learners = {},
          .tune = [](config& k) { k.prevote = k.check_quorum = false; },
          .sync_first = false,
          .witnesses = {3}};
}

TEST(witness, gets_places_and_terms_and_no_data) {
  cluster c(two_and_a_witness());
  c.elect(1);
  const log_index index = c.propose(1, "payload");
  c.settle();
  EXPECT_EQ(c.at(3).commit(), index);
  EXPECT_EQ(c.at(3).log().at(index).term, c.at(1).log().at(index).term);
  EXPECT_TRUE(c.at(3).log().at(index).data.empty());
  EXPECT_EQ(c.texts(2), std::vector<std::string>{"payload"});
}

TEST(witness, gets_changes_of_the_configuration_whole) {
  cluster c(two_and_a_witness());
  c.elect(1);
  ASSERT_TRUE(c.at(1).propose_conf(change(conf_op::learner, 4)));
  c.settle();
  EXPECT_EQ(c.at(3).configuration().learners, ids({4}));
}

TEST(witness, is_enough_with_the_leader_for_a_commit) {
  cluster c(two_and_a_witness());
  c.elect(1);
  c.isolate(2);
  const log_index index = c.propose(1, "x");
  c.settle();
  EXPECT_EQ(c.at(1).commit(), index);
}

TEST(witness, votes_and_does_not_vote_for_a_log_that_is_behind_its_own) {
  cluster c(two_and_a_witness());
  c.elect(1);
  c.isolate(2);
  c.propose(1, "only on 1, its term on 3");
  c.settle();
  c.crash(1);
  c.heal();
  // 2 does not have what is committed: it must not win, and 3 is who prevents it.
  ASSERT_TRUE(c.at(2).campaign());
  c.settle();
  EXPECT_FALSE(c.at(2).is_leader());
  c.restart(1);
  c.elect(1);
  c.crash(1);
  c.tick_all(60);
  EXPECT_TRUE(c.at(2).is_leader()) << "with the vote of 3";
  EXPECT_EQ(c.texts(2), std::vector<std::string>{"only on 1, its term on 3"});
}

TEST(witness, never_campaigns) {
  cluster c(two_and_a_witness());
  c.crash(1);
  c.crash(2);
  EXPECT_EQ(c.at(3).campaign().error(), refusal::not_promotable);
  c.tick(3, 500);
  EXPECT_EQ(c.at(3).role(), role::follower);
}

TEST(witness, is_not_handed_the_leadership) {
  cluster c(two_and_a_witness());
  c.elect(1);
  EXPECT_EQ(c.at(1).transfer(node_id{3}).error(), refusal::invalid);
}

// 2 and 3 are witnesses: a majority without any data.
TEST(witness, acknowledgements_alone_commit_nothing_that_no_disk_has) {
  cluster c({.voters = {1, 2, 3},
             .learners = {},
             .tune = [](config& k) { k.prevote = k.check_quorum = false; },
             .sync_first = false,
             .witnesses = {2, 3}});
  c.elect(1);
  c.settle();
  const log_index before = c.at(1).commit();
  const log_index index = c.propose(1, "payload");
  c.take(1);
  while (c.deliver_one()) {
  }
  for (const std::uint64_t id : {2, 3}) c.drain(id);
  while (c.deliver_one()) {
  }
  EXPECT_EQ(c.at(1).commit(), before) << "the leader's memory is the only place of its data";
  c.settle();
  EXPECT_EQ(c.at(1).commit(), index);
}

// Otherwise 3 would know an entry that nobody has, and keep 1 from leading again.
TEST(witness, hears_of_an_entry_when_the_leaders_disk_has_it) {
  cluster c(two_and_a_witness());
  c.elect(1);
  c.isolate(2);
  c.settle();
  const log_index index = c.propose(1, "lost");
  c.take(1);
  while (c.deliver_one()) {
  }
  c.drain(3);
  EXPECT_LT(c.at(3).log().last(), index);
  c.crash(1);
  c.restart(1);
  c.elect(1);
  EXPECT_TRUE(c.at(1).is_leader()) << "with the vote of 3";
}

// Who is removed must not be the only one with the data of what is committed.
TEST(witness, a_change_that_leaves_nobody_with_the_data_is_refused) {
  cluster c(two_and_a_witness());
  c.elect(1);
  c.isolate(2);
  c.propose(1, "only on 1");
  c.settle();
  c.heal();
  c.cut(1, 2);
  const auto refused = c.at(1).propose_conf(change(conf_op::remove, 1));
  ASSERT_TRUE(refused);
  EXPECT_EQ(c.at(1).log().at(*refused).kind, entry_kind::normal);
  c.heal();
  c.tick_all(3);
  const auto taken = c.at(1).propose_conf(change(conf_op::remove, 1));
  ASSERT_TRUE(taken);
  EXPECT_EQ(c.at(1).log().at(*taken).kind, entry_kind::conf);
}

TEST(witness, a_removed_leader_waits_for_somebody_with_data) {
  cluster c(two_and_a_witness());
  c.elect(1);
  c.settle();
  c.drop = [](const message& m) { return m.to == node_id{2}; };
  const auto removal = c.at(1).propose_conf(change(conf_op::remove, 1));
  ASSERT_TRUE(removal);
  ASSERT_EQ(c.at(1).log().at(*removal).kind, entry_kind::conf);
  c.settle();
  EXPECT_LT(c.at(1).commit(), *removal) << "1 and the witness are a quorum, but 1 leaves";
  c.drop = {};
  c.tick_all(5);
  EXPECT_FALSE(c.at(1).is_leader());
  EXPECT_FALSE(c.at(2).configuration().contains(node_id{1}));
  c.tick_all(60);
  EXPECT_TRUE(c.at(2).is_leader());
}

TEST(witness, gets_a_snapshot_without_data) {
  cluster c({.voters = {1, 2}});
  c.elect(1);
  c.propose(1, "x");
  c.settle();
  c.snapshot_and_compact(1);
  std::size_t snapshots = 0;
  c.drop = [&](const message& m) {
    if (m.type != message_type::snapshot) return false;
    ++snapshots;
    EXPECT_EQ(m.to, node_id{3});
    EXPECT_GT(m.snapshot->index, log_index{1});
    EXPECT_TRUE(m.snapshot->data.empty());
    return false;
  };
  c.add_blank(3);
  ASSERT_TRUE(c.at(1).propose_conf(change(conf_op::witness, 3)));
  c.settle();
  c.tick_all(5);
  EXPECT_GT(snapshots, 0u);
  EXPECT_TRUE(c.at(3).is_witness());
  EXPECT_EQ(c.at(3).commit(), c.at(1).commit());
  const auto status = c.at(1).status();
  const auto seen = std::ranges::find(status.peers, node_id{3}, &peer_status::id);
  ASSERT_NE(seen, status.peers.end());
  EXPECT_TRUE(seen->witness);
}

}  // namespace
}  // namespace blixard::raft::test
