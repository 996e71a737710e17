// Membership: thesis chapter 4.
#include <gtest/gtest.h>

#include "runtime/raft/codec.hpp"
#include "tests/unit/raft/cluster.hpp"

namespace blixard::raft::test {
namespace {

void propose_conf(cluster& c, std::uint64_t id, const conf_change& change) {
  ASSERT_TRUE(c.at(id).propose_conf(change));
}

TEST(membership, a_single_node_grows_to_three_by_learners_that_become_voters) {
  cluster c({{1}, {}, {}});
  c.elect(1);
  for (int i = 0; i < 5; ++i) c.propose(1, "x");
  c.settle();
  c.snapshot_and_compact(1);
  for (const std::uint64_t id : {2, 3}) {
    c.add_blank(id);
    propose_conf(c, 1, change(conf_op::learner, id));
    c.settle();
    c.tick_all(3);
    EXPECT_EQ(c.at(id).commit(), c.at(1).commit());
    propose_conf(c, 1, change(conf_op::voter, id));
    c.settle();
    c.snapshot_and_compact(1);
  }
  c.tick_all(2);
  for (const std::uint64_t id : {1, 2, 3})
    EXPECT_EQ(c.at(id).configuration().voters, ids({1, 2, 3})) << id;
  c.crash(1);
  c.tick_all(60);
  EXPECT_TRUE(c.leader().has_value());
}

TEST(membership, a_second_change_while_one_is_pending_becomes_an_empty_entry) {
  cluster c;
  c.elect(1);
  propose_conf(c, 1, change(conf_op::learner, 4));
  const auto second = c.at(1).propose_conf(change(conf_op::learner, 5));
  ASSERT_TRUE(second);
  EXPECT_EQ(c.at(1).log().at(*second).kind, entry_kind::normal);
  EXPECT_TRUE(c.at(1).log().at(*second).data.empty());
  c.settle();
  EXPECT_EQ(c.at(1).configuration().learners, ids({4}));
}

TEST(membership, no_change_before_the_first_commit_of_the_term) {
  cluster c;
  (void)c.at(1).campaign();
  c.drop = [](const message& m) { return m.type == message_type::append; };
  c.settle();
  ASSERT_TRUE(c.at(1).is_leader());
  const auto index = c.at(1).propose_conf(change(conf_op::learner, 4));
  ASSERT_TRUE(index);
  EXPECT_EQ(c.at(1).log().at(*index).kind, entry_kind::normal);
}

TEST(membership, a_node_with_an_unapplied_committed_change_does_not_campaign) {
  config k;
  k.id = node_id{1};
  auto boot = std::make_shared<snapshot>();
  boot->index = log_index{1};
  boot->term = term{1};
  boot->conf.voters = ids({1, 2, 3});
  const entry conf{term{1}, log_index{2}, entry_kind::conf,
                   encode_conf_change(change(conf_op::voter, 4))};
  core n(k, {{term{1}, {}, log_index{2}}, boot, {conf}}, log_index{1});
  EXPECT_EQ(n.campaign().error(), refusal::not_promotable);
  output out;
  n.take_output(out);
  ASSERT_EQ(out.committed.size(), 1u);
  ASSERT_NE(n.applied(log_index{2}), nullptr);
  EXPECT_TRUE(n.campaign());
  core later(k, {{term{1}, {}, log_index{2}}, boot, {conf}}, log_index{2});
  EXPECT_EQ(later.configuration().voters, ids({1, 2, 3, 4})) << "from snapshot plus log";
}

TEST(membership, joint_consensus_needs_both_majorities_and_is_left_once) {
  cluster c;
  c.elect(1);
  for (const std::uint64_t id : {4, 5}) c.add_blank(id);
  conf_change swap{{{conf_op::voter, node_id{4}},
                    {conf_op::voter, node_id{5}},
                    {conf_op::remove, node_id{2}},
                    {conf_op::remove, node_id{3}}},
                   conf_transition::automatic,
                   {}};
  c.cut(1, 4);
  c.cut(1, 5);
  propose_conf(c, 1, swap);
  c.settle();
  EXPECT_TRUE(c.at(1).configuration().joint());
  const auto stuck = c.propose(1, "needs 4 or 5");
  c.settle();
  c.tick_all(2);
  EXPECT_LT(c.at(1).commit(), stuck) << "the incoming half is not there";
  c.heal();
  c.snapshot_and_compact(1);
  c.tick_all(5);
  EXPECT_FALSE(c.at(1).configuration().joint());
  EXPECT_EQ(c.at(1).configuration().voters, ids({1, 4, 5}));
  int leaves = 0;
  for (const entry& e : c.nodes.at(1).applied)
    leaves += e.kind == entry_kind::conf && decode_conf_change(e.data)->changes.empty() ? 1 : 0;
  EXPECT_EQ(leaves, 1);
}

TEST(membership, an_explicit_joint_configuration_stays_until_it_is_left) {
  cluster c;
  c.elect(1);
  propose_conf(c, 1, {{{conf_op::learner, node_id{3}}}, conf_transition::explicit_, {}});
  c.settle();
  EXPECT_EQ(c.at(1).configuration().learners_next, ids({3}));
  propose_conf(c, 1, {});
  c.settle();
  EXPECT_EQ(c.at(1).configuration().voters, ids({1, 2}));
  EXPECT_EQ(c.at(1).configuration().learners, ids({3}));
}

TEST(membership, a_new_leader_leaves_an_inherited_joint_configuration) {
  cluster c({{1, 2, 3, 4, 5}, {}, {}});
  c.elect(1);
  c.drop = [](const message& m) {
    return m.type == message_type::append && !m.entries.empty() &&
           m.entries.back().kind == entry_kind::conf && m.entries.back().data.empty();
  };
  propose_conf(c, 1, {{{conf_op::learner, node_id{5}}}, conf_transition::implicit, {}});
  c.settle();
  ASSERT_TRUE(c.at(2).configuration().joint());
  c.crash(1);
  c.drop = {};
  for (const std::uint64_t id : {2, 3, 4}) c.at(id).forget_leader();
  c.elect(2);
  EXPECT_FALSE(c.at(2).configuration().joint());
}

TEST(membership, a_leader_that_removes_itself_goes_when_the_others_know) {
  cluster c;
  c.elect(1);
  c.settle();
  // Nobody hears that the change is committed: the leader stays, and takes no proposals.
  propose_conf(c, 1, change(conf_op::remove, 1));
  c.drain(1);
  while (c.deliver_one()) {
  }
  c.drain(2);
  c.drain(3);
  while (c.deliver_one()) {
  }
  c.drop = [](const message& m) { return m.from == node_id{1}; };
  c.drain(1);
  EXPECT_FALSE(c.at(1).configuration().is_voter(node_id{1}));
  EXPECT_TRUE(c.at(1).is_leader());
  EXPECT_EQ(c.at(1).propose(text("x")).error(), refusal::dropped);
  c.settle();
  EXPECT_TRUE(c.at(1).is_leader());
  c.drop = {};
  c.tick(1);
  c.settle();
  EXPECT_EQ(c.at(1).role(), role::follower);
  c.crash(1);
  c.tick_all(60);
  ASSERT_TRUE(c.leader().has_value());
  EXPECT_EQ(c.at(*c.leader()).configuration().voters, ids({2, 3}));
}

TEST(membership, the_last_one_of_two_survives_the_removal_of_the_leader_and_a_crash) {
  cluster c({{1, 2}, {}, {}});
  c.elect(1);
  propose_conf(c, 1, change(conf_op::remove, 1));
  c.settle();
  EXPECT_EQ(c.at(1).role(), role::follower);
  c.crash(1);
  c.crash(2);
  c.restart(2);
  c.tick_all(60);
  EXPECT_EQ(c.leader(), 2u);
}

TEST(membership, a_voter_that_missed_the_commit_of_a_removal_learns_it_from_a_refused_vote) {
  // 2 has the change that makes it the only voter, but does not know that it is committed. 1 and 3
  // know and have longer logs: they neither campaign nor vote for it.
  cluster_options o;
  o.tune = [](config& k) { k.step_down_on_removal = false; };
  cluster c(o);
  c.elect(1);
  conf_change only2{{{conf_op::remove, node_id{1}}, {conf_op::remove, node_id{3}}},
                    conf_transition::automatic,
                    {}};
  propose_conf(c, 1, only2);
  c.drop = [](const message& m) {
    const bool leave = m.type == message_type::append && m.to == node_id{2} && m.entries.empty();
    return leave || m.type == message_type::heartbeat;
  };
  c.settle();
  ASSERT_EQ(c.at(1).configuration().voters, ids({2}));
  ASSERT_TRUE(c.at(2).configuration().joint());
  c.crash(1);
  c.restart(1);
  c.drop = {};
  c.tick_all(80);
  EXPECT_EQ(c.leader(), 2u);
  EXPECT_EQ(c.at(2).configuration().voters, ids({2}));
}

/// What a core of `id` lets out once all of its output is durable.
std::vector<message> messages_of(core& c) {
  std::vector<message> all;
  output out;
  while (c.has_output()) {
    c.take_output(out);
    if (out.seq) c.persisted(out.seq);
    for (auto& m : out.messages) all.push_back(std::move(m));
  }
  return all;
}

/// A core that has a snapshot of `voters` at index 1 and the entries behind it up to `last`.
core core_with(std::uint64_t id, std::vector<node_id> voters, std::vector<entry> entries,
               std::uint64_t last, std::uint64_t commit) {
  config k;
  k.id = node_id{id};
  disk_state disk;
  disk.hard = {entries.back().term, {}, log_index{commit}};
  disk.snapshot = std::make_shared<const snapshot>(
      snapshot{log_index{1}, term{1}, {.voters = std::move(voters)}, text("state")});
  disk.entries = std::move(entries);
  disk.entries.resize(last - 1);
  return core{k, disk, log_index{commit}};
}

TEST(membership,
     a_voter_that_missed_the_end_of_a_joint_configuration_learns_it_from_a_granted_vote) {
  // 4 has the entry that leaves {1,2,4,5} for {1,2,4,6}, and one more, but does not know that the
  // change is over; 1 and 5 are down. 2 and 6 know, and do not get the vote of 4, whose log is
  // longer. 4 gets theirs, which is no majority of the old half.
  conf_change enter{{{conf_op::remove, node_id{5}}, {conf_op::voter, node_id{6}}},
                    conf_transition::automatic,
                    {}};
  const auto start = [&](std::uint64_t id, std::uint64_t last, std::uint64_t commit) {
    return core_with(id, ids({1, 2, 4, 5}),
                     {{term{2}, log_index{2}, entry_kind::conf, encode_conf_change(enter)},
                      {term{2}, log_index{3}, entry_kind::conf, encode_conf_change({})},
                      {term{2}, log_index{4}, entry_kind::normal, text("longer")}},
                     last, commit);
  };
  core late = start(4, 4, 2);
  core knows = start(2, 3, 3);
  ASSERT_TRUE(late.configuration().joint());
  ASSERT_TRUE(late.campaign());
  for (auto& asked : messages_of(late))
    if (asked.to == node_id{2}) (void)knows.step(std::move(asked));
  for (auto& answer : messages_of(knows)) {
    EXPECT_FALSE(answer.reject);
    (void)late.step(std::move(answer));
  }
  EXPECT_EQ(late.commit(), log_index{3});
}

TEST(membership, a_new_voter_that_missed_the_commit_of_its_change_learns_it_from_who_it_refuses) {
  // 5 has the change that makes it a voter, and one entry of a later term, whose leader lost its
  // disk. 3 knows that the change is committed and needs 5's vote, which it does not get. Nobody
  // but 5 can be elected, and 5 does not campaign: it believes to be no voter.
  conf_change add{{{conf_op::voter, node_id{5}}}, conf_transition::automatic, {}};
  const auto start = [&](std::uint64_t id, std::uint64_t last, std::uint64_t commit) {
    return core_with(id, ids({1, 2, 3}),
                     {{term{2}, log_index{2}, entry_kind::conf, encode_conf_change(add)},
                      {term{3}, log_index{3}, entry_kind::normal, text("longer")}},
                     last, commit);
  };
  core knows = start(3, 2, 2);
  core late = start(5, 3, 1);
  ASSERT_FALSE(late.campaign());
  ASSERT_TRUE(knows.campaign());
  for (auto& asked : messages_of(knows))
    if (asked.to == node_id{5}) (void)late.step(std::move(asked));
  for (auto& answer : messages_of(late)) {
    EXPECT_TRUE(answer.reject);
    (void)knows.step(std::move(answer));
  }
  for (auto& told : messages_of(knows))
    if (told.to == node_id{5}) (void)late.step(std::move(told));
  EXPECT_EQ(late.commit(), log_index{2});
  (void)messages_of(late);
  late.applied(log_index{2});
  EXPECT_TRUE(late.campaign());
}

TEST(membership, a_learner_does_not_count_and_a_promoted_one_does) {
  cluster c({{1, 2}, {3}, {}});
  c.elect(1);
  c.isolate(2);
  const auto index = c.propose(1, "x");
  c.settle();
  EXPECT_LT(c.at(1).commit(), index);
  c.heal();
  c.tick_all(2);
  propose_conf(c, 1, change(conf_op::voter, 3));
  c.settle();
  c.isolate(2);
  const auto next = c.propose(1, "y");
  c.settle();
  EXPECT_EQ(c.at(1).commit(), next);
}

TEST(membership, removing_the_last_voter_is_refused) {
  cluster c({{1}, {}, {}});
  c.elect(1);
  const auto index = c.at(1).propose_conf(change(conf_op::remove, 1));
  ASSERT_TRUE(index);
  EXPECT_EQ(c.at(1).log().at(*index).kind, entry_kind::normal);
}

TEST(membership, a_change_of_the_transfer_target_ends_the_transfer) {
  cluster c;
  c.elect(1);
  c.isolate(3);
  c.propose(1, "x");
  propose_conf(c, 1, change(conf_op::remove, 3));
  ASSERT_TRUE(c.at(1).transfer(node_id{3}));
  EXPECT_FALSE(c.at(1).propose(text("y")));
  c.settle();
  EXPECT_TRUE(c.at(1).propose(text("y")));
}

}  // namespace
}  // namespace blixard::raft::test
