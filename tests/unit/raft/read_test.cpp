// Linearizable reads: thesis section 6.4.
#include <gtest/gtest.h>

#include "tests/unit/raft/cluster.hpp"

namespace blixard::raft::test {
namespace {

cluster_options plain(bool lease = false) {
  return {{1, 2, 3}, {}, [=](config& c) {
            c.prevote = true;
            c.check_quorum = true;
            c.reads = lease ? read_mode::lease : read_mode::safe;
          }};
}

std::vector<std::uint64_t> contexts(const cluster& c, std::uint64_t id) {
  std::vector<std::uint64_t> out;
  for (const read_state& r : c.nodes.at(id).reads) out.push_back(r.context);
  return out;
}

TEST(reads, are_answered_with_the_commit_index_after_one_quorum_round) {
  cluster c(plain());
  c.elect(1);
  const log_index index = c.propose(1, "x");
  c.settle();
  ASSERT_TRUE(c.at(1).read_index(7));
  c.take(1);
  EXPECT_TRUE(c.nodes.at(1).reads.empty());
  c.settle();
  ASSERT_EQ(c.nodes.at(1).reads.size(), 1u);
  EXPECT_EQ(c.nodes.at(1).reads[0], (read_state{7, index}));
}

TEST(reads, that_wait_together_share_one_round) {
  cluster c(plain());
  c.elect(1);
  c.settle();
  for (std::uint64_t ctx = 1; ctx <= 50; ++ctx) ASSERT_TRUE(c.at(1).read_index(ctx));
  c.take(1);
  EXPECT_EQ(c.network.size(), 2u);
  c.settle();
  EXPECT_EQ(c.nodes.at(1).reads.size(), 50u);
}

TEST(reads, of_a_leader_cut_off_are_never_answered) {
  cluster c(plain());
  c.elect(1);
  c.isolate(1);
  ASSERT_TRUE(c.at(1).read_index(1));
  c.settle();
  c.tick_all(40);
  EXPECT_TRUE(c.nodes.at(1).reads.empty());
  EXPECT_NE(c.leader(), 1u);
}

TEST(reads, do_not_accept_acknowledgements_of_earlier_rounds) {
  cluster c(plain());
  c.elect(1);
  ASSERT_TRUE(c.at(1).read_index(1));
  c.drain(1);
  while (c.deliver_one()) {
  }
  c.drain(2);
  c.drain(3);  // acknowledgements of the first round are on their way
  ASSERT_TRUE(c.at(1).read_index(1));
  c.drain(1);
  while (!c.network.empty() && c.network.front().type == message_type::heartbeat_resp)
    c.deliver_one();
  c.take(1);
  EXPECT_EQ(contexts(c, 1), std::vector<std::uint64_t>{}) << "it could be taken for the second one";
  c.settle();
  EXPECT_EQ(contexts(c, 1), std::vector<std::uint64_t>{1});
}

TEST(reads, before_the_first_commit_of_the_term_wait_for_it) {
  cluster c(plain());
  (void)c.at(1).campaign();
  c.drop = [](const message& m) { return m.type == message_type::append; };
  c.settle();
  ASSERT_TRUE(c.at(1).is_leader());
  ASSERT_TRUE(c.at(1).read_index(1));
  c.settle();
  EXPECT_TRUE(c.nodes.at(1).reads.empty());
  c.drop = {};
  c.tick_all(2);
  ASSERT_EQ(c.nodes.at(1).reads.size(), 1u);
  EXPECT_EQ(c.nodes.at(1).reads[0].index, log_index{2});
}

TEST(reads, of_a_single_voter_wait_for_an_entry_of_its_term_and_then_need_nobody) {
  cluster c({{1}, {2}, {}});
  c.isolate(2);
  (void)c.at(1).campaign();
  c.take(1);
  c.sync(1);
  ASSERT_TRUE(c.at(1).is_leader());
  ASSERT_TRUE(c.at(1).read_index(1));
  c.take(1);
  EXPECT_TRUE(c.nodes.at(1).reads.empty());
  c.settle();
  EXPECT_EQ(contexts(c, 1), std::vector<std::uint64_t>{1});
  ASSERT_TRUE(c.at(1).read_index(2));
  c.take(1);
  EXPECT_EQ(contexts(c, 1), (std::vector<std::uint64_t>{1, 2}));
}

TEST(reads, of_a_follower_go_to_the_leader_and_back) {
  cluster c(plain());
  EXPECT_EQ(c.at(2).read_index(1).error(), refusal::no_leader);
  c.elect(1);
  ASSERT_TRUE(c.at(2).read_index(42));
  c.settle();
  ASSERT_EQ(c.nodes.at(2).reads.size(), 1u);
  EXPECT_EQ(c.nodes.at(2).reads[0].context, 42u);
}

TEST(reads, asked_again_by_a_follower_are_not_answered_by_the_first_answer) {
  cluster c(plain());
  c.elect(1);
  c.settle();
  ASSERT_TRUE(c.at(2).read_index(5));
  std::deque<message> held;
  c.drop = [&](const message& m) {
    if (m.type != message_type::read_index_resp) return false;
    held.push_back(m);
    return true;
  };
  c.settle();
  ASSERT_EQ(held.size(), 1u);
  c.drop = {};
  ASSERT_TRUE(c.at(2).read_index(5));
  (void)c.at(2).step(std::move(held.front()));
  c.take(2);
  EXPECT_TRUE(c.nodes.at(2).reads.empty());
  c.settle();
  EXPECT_EQ(c.nodes.at(2).reads.size(), 1u);
}

TEST(lease_reads, are_answered_at_once_while_the_lease_lasts) {
  cluster c(plain(true));
  c.elect(1);
  c.tick_all(2);
  ASSERT_TRUE(c.at(1).read_index(1));
  c.take(1);
  EXPECT_EQ(c.nodes.at(1).reads.size(), 1u);
  c.isolate(1);
  int valid = 0;
  for (; valid < 30; ++valid) {
    c.tick(1);
    c.take(1);
    const auto before = c.nodes.at(1).reads.size();
    if (!c.at(1).read_index(100)) break;
    c.take(1);
    if (c.nodes.at(1).reads.size() == before) break;
  }
  // election 10 ticks, drift 10 %: (elapsed + 1) * 1.1 <= 9.
  EXPECT_EQ(valid, 7);
}

// An acknowledgement does not say which sending of an entry it is for.
TEST(lease_reads, are_not_prolonged_by_a_late_acknowledgement_of_what_was_sent_again) {
  cluster c(plain(true));
  c.elect(1);
  std::vector<message> late;
  c.drop = [&](const message& m) {
    if (m.type == message_type::append_resp && m.to == node_id{1}) late.push_back(m);
    return m.type != message_type::append;
  };
  c.propose(1, "x");
  c.settle();
  ASSERT_EQ(late.size(), 2u);
  c.tick(1, 6);
  for (const std::uint64_t id : {2, 3}) {
    ASSERT_TRUE(c.at(1).report(node_id{id}, report_kind::unreachable));
    c.cut(1, id);
  }
  c.propose(1, "y");
  c.take(1);  // sends both, to nobody
  c.tick(1, 3);
  for (message& m : late) ASSERT_TRUE(c.at(1).step(std::move(m)));
  c.nodes.at(1).reads.clear();
  ASSERT_TRUE(c.at(1).read_index(1));
  c.take(1);
  EXPECT_TRUE(c.nodes.at(1).reads.empty()) << "they heard from 1 nine ticks ago";
}

TEST(lease_reads, have_run_out_after_time_in_which_nobody_could_tick) {
  cluster c(plain(true));
  c.elect(1);
  c.tick_all(2);
  const auto asked = [&](std::uint64_t context) {
    c.nodes.at(1).reads.clear();
    EXPECT_TRUE(c.at(1).read_index(context));
    c.take(1);
    return c.nodes.at(1).reads;
  };
  ASSERT_EQ(asked(1).size(), 1u);
  EXPECT_TRUE(asked(2).at(0).by_lease);
  c.at(1).skip(10);  // the process was stopped
  EXPECT_TRUE(asked(3).empty());
  EXPECT_TRUE(c.at(1).is_leader()) << "no timer runs out by it";
  c.settle();
  ASSERT_EQ(c.nodes.at(1).reads.size(), 1u);
  EXPECT_FALSE(c.nodes.at(1).reads[0].by_lease);
}

TEST(lease_reads, a_promise_is_kept_through_ticks_that_are_skipped) {
  cluster c(plain(true));
  c.elect(1);
  c.tick_all(2);
  c.isolate(1);
  c.at(2).skip(100);  // its clock has jumped: by 1's it may have heard from 1 just now
  (void)c.at(3).campaign();
  c.settle();
  EXPECT_FALSE(c.at(3).is_leader());
}

// Whether a leader may trust an answer is said in the answer, so it matters not who else is
// configured how.
cluster_options leases_on_1_only(std::uint32_t promised_by_the_others) {
  cluster_options o = plain();
  o.tune = [=, tune = o.tune](config& k) {
    tune(k);
    if (k.id == node_id{1}) k.reads = read_mode::lease;
    k.promise_ticks = k.id == node_id{1} ? 0 : promised_by_the_others;
  };
  return o;
}

TEST(lease_reads, need_followers_that_promise) {
  cluster c(leases_on_1_only(0));
  c.elect(1);
  c.tick_all(2);
  ASSERT_TRUE(c.at(1).read_index(1));
  c.take(1);
  EXPECT_TRUE(c.nodes.at(1).reads.empty());
  c.settle();
  ASSERT_EQ(c.nodes.at(1).reads.size(), 1u) << "a quorum is asked";
  EXPECT_FALSE(c.nodes.at(1).reads[0].by_lease);
}

TEST(lease_reads, last_as_long_as_the_followers_promise_whatever_reads_they_make) {
  cluster c(leases_on_1_only(6));
  c.elect(1);
  c.tick_all(2);
  c.isolate(1);
  int valid = 0;
  for (;; ++valid) {
    c.tick(1);
    c.nodes.at(1).reads.clear();
    ASSERT_TRUE(c.at(1).read_index(100));
    c.take(1);
    if (c.nodes.at(1).reads.empty()) break;
  }
  // Promised: 6 ticks, of which the first may come at once; (elapsed + 1) * 1.1 <= 5.
  EXPECT_EQ(valid, 3);
}

TEST(lease_reads, bind_a_restarted_follower_for_what_any_former_life_may_have_promised) {
  cluster_options o = plain();
  o.tune = [tune = o.tune](config& k) {
    tune(k);
    k.promise_ticks = 5;
    k.restart_hold_ticks = 8;
  };
  cluster c(o);
  c.elect(1);
  c.isolate(1);
  c.crash(2);
  c.restart(2);
  c.tick(3, 12);  // campaigns
  c.tick(2, 7);
  (void)c.at(3).campaign();
  c.settle();
  EXPECT_FALSE(c.at(3).is_leader());
  c.tick(2);
  (void)c.at(3).campaign();
  c.settle();
  EXPECT_TRUE(c.at(3).is_leader());
}

TEST(lease_reads, end_for_the_term_once_leadership_was_offered) {
  cluster c(plain(true));
  c.elect(1);
  c.tick_all(2);
  c.drop = [](const message& m) { return m.type == message_type::timeout_now; };
  ASSERT_TRUE(c.at(1).transfer(node_id{2}));
  c.take(1);
  c.nodes.at(1).reads.clear();
  ASSERT_TRUE(c.at(1).read_index(1));
  c.take(1);
  EXPECT_TRUE(c.nodes.at(1).reads.empty());
  c.settle();
  EXPECT_EQ(c.nodes.at(1).reads.size(), 1u);
}

TEST(lease_reads, bind_followers_that_restart_or_campaign_early) {
  cluster_options o = plain(true);
  const auto tune = o.tune;
  o.tune = [tune](config& k) {
    tune(k);
    k.prevote = false;
  };
  cluster c(o);
  c.elect(1);
  c.tick_all(2);
  c.isolate(1);
  c.crash(2);
  c.restart(2);
  (void)c.at(3).campaign();  // forgets 1
  c.settle();
  EXPECT_FALSE(c.at(3).is_leader()) << "2 may have promised";
  (void)c.at(2).campaign();
  c.settle();
  EXPECT_FALSE(c.at(2).is_leader()) << "3 has promised";
  c.tick(2, 10);
  c.tick(3, 10);
  (void)c.at(3).campaign();
  c.settle();
  EXPECT_TRUE(c.at(3).is_leader());
}

}  // namespace
}  // namespace blixard::raft::test
