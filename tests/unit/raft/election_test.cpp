// Elections: Raft section 5.2, thesis 3.4, 4.2.3, 6.2, 9.6.
#include <gtest/gtest.h>

#include "tests/unit/raft/cluster.hpp"

namespace blixard::raft::test {
namespace {

cluster_options plain(bool prevote, bool check_quorum = false) {
  return {{1, 2, 3}, {}, [=](config& c) {
            c.prevote = prevote;
            c.check_quorum = check_quorum;
          }};
}

TEST(election, a_candidate_with_a_majority_leads_and_everybody_follows_it) {
  for (const bool prevote : {false, true}) {
    cluster c(plain(prevote));
    c.elect(1);
    for (const std::uint64_t id : {1, 2, 3}) {
      EXPECT_EQ(c.at(id).lead(), node_id{1});
      EXPECT_EQ(c.at(id).current_term(), term{1});
      EXPECT_EQ(c.at(id).commit(), log_index{2});  // the empty entry of the term
    }
  }
}

TEST(election, a_node_without_a_majority_stays_candidate) {
  cluster c(plain(false));
  c.isolate(1);
  (void)c.at(1).campaign();
  c.settle();
  EXPECT_EQ(c.at(1).role(), role::candidate);
}

TEST(election, vote_requests_wait_for_term_vote_and_tail) {
  cluster c(plain(false));
  (void)c.at(1).campaign();
  c.take(1);
  ASSERT_EQ(c.nodes.at(1).gated.size(), 2u);
  EXPECT_TRUE(c.network.empty());
  c.sync(1);
  EXPECT_EQ(c.network.size(), 2u);
  EXPECT_EQ(c.nodes.at(1).stored.hard.vote, node_id{1});
}

TEST(election, a_vote_leaves_only_after_it_is_durable_and_is_not_given_twice_across_a_crash) {
  cluster c(plain(false));
  (void)c.at(1).campaign();
  c.drain(1);
  while (c.deliver_one()) {
  }
  c.take(2);
  EXPECT_TRUE(c.network.empty());
  EXPECT_EQ(c.nodes.at(2).gated.size(), 1u);
  c.sync(2);
  ASSERT_EQ(c.network.size(), 1u);
  EXPECT_FALSE(c.network.front().reject);
  c.network.clear();
  c.crash(2);
  c.restart(2);
  (void)c.at(3).campaign();  // 3 has voted for 1 in term 1 and goes to term 2
  EXPECT_EQ(c.at(2).current_term(), term{1});
  message m;
  m.type = message_type::vote;
  m.from = node_id{3};
  m.to = node_id{2};
  m.term = term{1};
  m.log_term = term{1};
  m.log_index = log_index{1};
  (void)c.at(2).step(std::move(m));
  c.drain(2);
  ASSERT_EQ(c.network.size(), 1u);
  EXPECT_TRUE(c.network.front().reject);
}

TEST(election, a_candidate_counts_its_own_vote_only_when_it_is_durable) {
  cluster c({{1}, {}, [](config& k) { k.prevote = false; }});
  (void)c.at(1).campaign();
  c.take(1);
  EXPECT_EQ(c.at(1).role(), role::candidate);
  c.sync(1);
  EXPECT_EQ(c.at(1).role(), role::leader);
}

TEST(election, a_log_that_is_behind_does_not_win) {
  cluster c(plain(false));
  c.elect(1);
  c.isolate(3);
  c.propose(1, "x");
  c.settle();
  c.heal();
  (void)c.at(3).campaign();
  c.settle();
  EXPECT_NE(c.at(3).role(), role::leader);
  EXPECT_EQ(c.at(1).current_term(), term{2});  // but its term was heard
}

TEST(election, prevote_does_not_raise_the_term_of_a_cluster_that_works) {
  cluster c(plain(true));
  c.elect(1);
  c.isolate(3);
  c.propose(1, "x");
  for (int i = 0; i < 100; ++i) {
    c.tick(3);
    c.settle();
  }
  EXPECT_EQ(c.at(3).current_term(), term{1});
  c.heal();
  c.tick_all(3);
  EXPECT_EQ(c.at(1).role(), role::leader);
  EXPECT_EQ(c.at(3).lead(), node_id{1});
}

TEST(election, followers_of_a_live_leader_ignore_vote_requests_with_check_quorum) {
  cluster c(plain(false, true));
  c.elect(1);
  (void)c.at(3).campaign();
  c.drain(3);
  while (c.deliver_one()) {
  }
  EXPECT_EQ(c.at(1).current_term(), term{1});
  EXPECT_EQ(c.at(2).current_term(), term{1});
}

TEST(election, a_leader_that_reaches_no_quorum_steps_down_with_check_quorum) {
  cluster c(plain(true, true));
  c.elect(1);
  c.isolate(1);
  for (int i = 0; i < 20; ++i) {
    c.tick(1);
    c.settle();
  }
  EXPECT_EQ(c.at(1).role(), role::follower);
}

TEST(election, timeouts_are_drawn_from_the_whole_interval_and_repeat_with_the_seed) {
  std::vector<int> seen(20, 0);
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    std::vector<int> runs;
    for (int run = 0; run < 2; ++run) {
      cluster c({{1}, {}, [=](config& k) {
                   k.seed = seed;
                   k.prevote = false;
                 }});
      int ticks = 0;
      while (c.at(1).role() == role::follower) {
        c.tick(1);
        ++ticks;
      }
      runs.push_back(ticks);
    }
    EXPECT_EQ(runs[0], runs[1]);
    ASSERT_GE(runs[0], 10);
    ASSERT_LE(runs[0], 19);
    ++seen[static_cast<std::size_t>(runs[0])];
  }
  for (std::size_t t = 10; t <= 19; ++t) EXPECT_GT(seen[t], 0) << t;
}

TEST(election, a_learner_does_not_campaign) {
  cluster c({{1, 2}, {3}, {}});
  EXPECT_EQ(c.at(3).campaign().error(), refusal::not_promotable);
  c.tick(3, 100);
  EXPECT_EQ(c.at(3).role(), role::follower);
}

TEST(election, forget_leader_frees_the_vote) {
  cluster c(plain(true, true));
  c.elect(1);
  for (const std::uint64_t id : {2, 3}) c.at(id).forget_leader();
  c.elect(3);
  EXPECT_EQ(c.at(3).current_term(), term{2});
}

TEST(election, answers_of_strangers_are_refused) {
  cluster c(plain(true));
  message m;
  m.type = message_type::vote_resp;
  m.from = node_id{9};
  m.to = node_id{1};
  m.term = term{1};
  EXPECT_EQ(c.at(1).step(std::move(m)).error(), refusal::unknown_peer);
}

TEST(transfer, the_target_leads_although_the_others_hear_a_leader) {
  cluster c(plain(true, true));
  c.elect(1);
  c.propose(1, "x");
  ASSERT_TRUE(c.at(1).transfer(node_id{3}));
  EXPECT_EQ(c.at(1).propose(text("y")).error(), refusal::dropped);
  c.settle();
  EXPECT_EQ(c.leader(), 3u);
  EXPECT_EQ(c.at(1).lead(), node_id{3});
}

TEST(transfer, waits_until_the_target_has_everything) {
  cluster c(plain(true, true));
  c.elect(1);
  c.cut(1, 3);
  c.propose(1, "x");
  c.settle();
  ASSERT_TRUE(c.at(1).transfer(node_id{3}));
  c.settle();
  EXPECT_EQ(c.leader(), 1u);
  c.heal();
  c.tick_all(2);
  EXPECT_EQ(c.leader(), 3u);
}

TEST(transfer, ends_after_an_election_timeout_and_proposals_resume) {
  cluster c(plain(true, true));
  c.elect(1);
  c.isolate(3);
  c.propose(1, "x");
  c.settle();
  ASSERT_TRUE(c.at(1).transfer(node_id{3}));
  c.tick_all(10);
  EXPECT_EQ(c.leader(), 1u);
  EXPECT_TRUE(c.at(1).propose(text("y")));
}

TEST(transfer, is_forgotten_when_the_leader_steps_down) {
  cluster c(plain(false));
  c.elect(1);
  c.isolate(2);
  ASSERT_TRUE(c.at(1).transfer(node_id{2}));
  ASSERT_EQ(c.at(1).propose(text("x")).error(), refusal::dropped);
  c.cuts.clear();
  c.network.clear();
  c.elect(3);
  ASSERT_FALSE(c.at(1).is_leader());
  c.elect(1);
  EXPECT_TRUE(c.at(1).propose(text("x")));
}

TEST(transfer, a_follower_passes_the_wish_on) {
  cluster c(plain(true, true));
  c.elect(1);
  ASSERT_TRUE(c.at(2).transfer(node_id{2}));
  c.settle();
  EXPECT_EQ(c.leader(), 2u);
}

TEST(transfer, to_nobody_or_a_learner_is_refused) {
  cluster c({{1, 2}, {3}, {}});
  EXPECT_EQ(c.at(2).transfer(node_id{2}).error(), refusal::no_leader);
  c.elect(1);
  EXPECT_EQ(c.at(1).transfer(node_id{9}).error(), refusal::unknown_peer);
  EXPECT_EQ(c.at(1).transfer(node_id{3}).error(), refusal::invalid);
}

// Node 1 times out first, always, and its log is behind: without pre-vote it deposes whoever leads.
TEST(rank, a_better_one_that_cannot_win_does_not_keep_the_others_waiting) {
  cluster c({{1, 2, 3}, {}, [](config& k) {
               k.prevote = k.check_quorum = false;
               k.election_rank = static_cast<std::uint32_t>(k.id.value() - 1);
             }});
  c.isolate(1);
  c.elect(2);
  const auto index = c.propose(2, "x");
  c.settle();
  c.tick(1, 100);
  c.settle();
  c.heal();
  c.tick_all(300);
  EXPECT_TRUE(c.leader());
  EXPECT_GE(c.at(1).commit(), index);
}

TEST(rank, the_best_rank_leads_again_after_it_was_away) {
  cluster c({.voters = {1, 2, 3}, .tune = [](config& k) {
               k.election_rank = static_cast<std::uint32_t>(k.id.value() - 1);
             }});
  c.tick_all(61);
  EXPECT_EQ(c.leader(), 1u);
  c.crash(1);
  c.tick_all(120);
  EXPECT_EQ(c.leader(), 2u) << "the next best";
  c.restart(1);
  c.tick_all(60);
  EXPECT_EQ(c.leader(), 2u) << "not at once";
  c.tick_all(400);
  EXPECT_EQ(c.leader(), 1u);
}

}  // namespace
}  // namespace blixard::raft::test
