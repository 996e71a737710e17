// A node whose disk lost acknowledged entries: it helps nobody to lead and counts for nothing until
// it has back all that it may have acknowledged (runtime/raft/core_repair.cpp).
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/raft/cluster.hpp"

namespace blixard::raft::test {
namespace {

using texts = std::vector<std::string>;

cluster_options three(std::function<void(config&)> tune = {}) { return {{1, 2, 3}, {}, tune}; }

/// Node 3 acknowledged a, b and c of leader 1, and lost all from `first` on.
class damaged_follower : public testing::Test {
 protected:
  explicit damaged_follower(cluster_options o = three()) : c(std::move(o)) {
    c.elect(1);
    a = c.propose(1, "a");
    c.propose(1, "b");
    c.propose(1, "c");
    c.settle();
  }
  void lose(std::uint64_t id, log_index first) {
    c.crash(id);
    c.damage(id, first);
    c.restart(id);
  }
  /// `id` is elected once the others have not heard of a leader for long enough.
  void succeed(std::uint64_t id) {
    for (const auto& [other, n] : c.nodes)
      if (other != id && n.raft && !n.raft->is_leader()) c.tick(other, 10);
    c.network.clear();
    c.elect(id);
  }
  [[nodiscard]] peer_status peer(std::uint64_t leader, std::uint64_t id) const {
    const auto peers = c.at(leader).status().peers;
    return *std::ranges::find(peers, node_id{id}, &peer_status::id);
  }

  cluster c;
  log_index a;
};

TEST_F(damaged_follower, gets_everything_back_from_its_leader_and_is_a_full_member_again) {
  lose(3, a);
  EXPECT_TRUE(c.at(3).recovering());
  EXPECT_TRUE(c.at(3).status().recovering);
  c.tick_all(3);
  EXPECT_FALSE(c.at(3).recovering());
  EXPECT_FALSE(c.nodes.at(3).damaged) << "the driver was told";
  EXPECT_EQ(c.texts(3), (texts{"a", "b", "c"}));
  EXPECT_EQ(peer(1, 3).match, c.at(1).log().last());
  EXPECT_FALSE(peer(1, 3).recovering);
  // It votes again, and may lead.
  c.crash(1);
  succeed(3);
  EXPECT_EQ(c.texts(3), (texts{"a", "b", "c"}));
}

TEST_F(damaged_follower, neither_votes_nor_campaigns) {
  c.crash(1);
  lose(3, a.next());
  const auto refused = c.at(3).campaign();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), refusal::not_promotable);
  c.tick_all(200);
  EXPECT_FALSE(c.leader()) << "node 2 lacks nothing here, but node 3 cannot know";
  EXPECT_TRUE(c.at(3).recovering());
  // With a whole majority there is a leader at once, and it repairs the damaged one.
  c.restart(1);
  c.tick_all(60);
  ASSERT_TRUE(c.leader());
  EXPECT_FALSE(c.at(3).recovering());
}

// The entry is committed by 1 and 3; 2 never saw it. If 3 voted with what is left of its log, 2
// would lead and the entry be gone.
TEST_F(damaged_follower, does_not_help_a_leader_that_lacks_what_was_committed_with_its_help) {
  c.isolate(2);
  const log_index d = c.propose(1, "d");
  c.settle();
  ASSERT_EQ(c.at(1).commit(), d);
  c.crash(1);
  lose(3, d);
  c.heal();
  c.tick_all(200);
  EXPECT_FALSE(c.leader());
  c.restart(1);
  c.tick_all(60);
  for (const std::uint64_t id : {1, 2, 3}) EXPECT_EQ(c.texts(id), (texts{"a", "b", "c", "d"}));
  EXPECT_FALSE(c.at(3).recovering());
}

// The counterpart: the test above can fail. A disk that loses entries and does not say so makes a
// leader that lacks a committed entry, and the cluster's checker sees it.
TEST_F(damaged_follower, would_lose_a_committed_entry_if_it_did_not_know) {
  c.isolate(2);
  const log_index d = c.propose(1, "d");
  c.settle();
  c.crash(1);
  c.crash(3);
  c.damage(3, d);
  c.nodes.at(3).damaged = false;
  c.restart(3);
  c.heal();
  EXPECT_THROW(c.tick_all(200), std::logic_error);
}

TEST_F(damaged_follower, counts_for_no_commit_before_it_is_repaired) {
  lose(3, a);
  c.isolate(2);
  // What it acknowledges on its way back moves the leader on, and commits nothing.
  const log_index d = c.propose(1, "d");
  c.drop = [&](const message& m) {
    const bool tells_last = m.to == node_id{3} && m.repair != 0;
    return tells_last && m.type == message_type::heartbeat;
  };
  const auto target_is_hidden = [&](message& m) {
    if (m.to == node_id{3} && m.repair != 0 && m.type == message_type::append)
      m.match = log_index{1000};
  };
  for (int i = 0; i < 40; ++i) {
    if (i % 4 == 0) c.tick(1);
    for (const std::uint64_t id : {1, 2, 3}) c.drain(id);
    std::ranges::for_each(c.network, target_is_hidden);
    while (c.deliver_one()) {
    }
  }
  EXPECT_EQ(peer(1, 3).match, d);
  EXPECT_TRUE(peer(1, 3).recovering);
  EXPECT_LT(c.at(1).commit(), d);
  c.drop = {};
  c.tick_all(3);
  EXPECT_FALSE(c.at(3).recovering());
  EXPECT_EQ(c.at(1).commit(), d);
}

TEST_F(damaged_follower, is_not_repaired_by_what_was_sent_before_it_crashed) {
  // An append with "d" and a heartbeat are under way twice; meanwhile d and e are acknowledged.
  const log_index d = c.propose(1, "d");
  c.take(1);
  std::vector<message> old;
  std::ranges::copy_if(c.network, std::back_inserter(old),
                       [](const message& m) { return m.to == node_id{3}; });
  c.tick(1);
  c.take(1);
  old.push_back(c.network.back());
  ASSERT_EQ(old.back().type, message_type::heartbeat);
  c.propose(1, "e");
  c.settle();
  lose(3, d);
  for (const message& m : old) {
    message copy = m;
    copy.to = node_id{3};
    (void)c.at(3).step(std::move(copy));
    c.drain(3);
  }
  ASSERT_EQ(c.at(3).log().last(), d) << "it has d again, but not e";
  EXPECT_TRUE(c.at(3).recovering());
  // The same with the number of an earlier repair.
  for (message m : old) {
    m.repair = 1;
    m.match = d;
    (void)c.at(3).step(std::move(m));
    c.drain(3);
  }
  EXPECT_TRUE(c.at(3).recovering());
  c.network.clear();
  c.tick_all(3);
  EXPECT_FALSE(c.at(3).recovering());
}

TEST_F(damaged_follower, is_repaired_only_when_its_disk_has_it) {
  lose(3, a);
  for (int i = 0; i < 30; ++i) {
    if (i % 5 == 0) c.tick(1);
    c.drain(1);
    c.take(3);  // and no sync
    while (c.deliver_one()) {
    }
  }
  EXPECT_EQ(c.at(3).log().last(), c.at(1).log().last());
  EXPECT_TRUE(c.at(3).recovering());
  c.sync(3);
  EXPECT_FALSE(c.at(3).recovering());
}

// What is left of the log may be an older version of it: the record that replaced these entries is
// the damaged one. Its old commit index says nothing about them.
TEST_F(damaged_follower, does_not_take_entries_that_had_been_replaced_for_committed) {
  c.crash(1);
  succeed(3);
  c.restart(1);
  c.isolate(3);
  for (int i = 0; i < 6; ++i) c.propose(3, "never committed");
  c.drain(3);
  const std::vector<entry> older = c.nodes.at(3).stored.entries;
  c.network.clear();
  succeed(2);
  for (const char* s : {"d", "e", "f"}) c.propose(2, s);
  c.heal();
  c.tick_all(5);
  ASSERT_EQ(c.at(3).commit(), c.at(2).log().last());
  ASSERT_LT(c.at(3).commit(), older.back().index);
  c.crash(3);
  c.damage(3, a);
  c.nodes.at(3).stored.entries = older;
  c.restart(3);
  c.tick_all(5);
  EXPECT_EQ(c.texts(3), (texts{"a", "b", "c", "d", "e", "f"}));
  EXPECT_FALSE(c.at(3).recovering());
}

// It had more than anybody else: nothing of that was committed, and the others' log never gets as
// long as its was. It does not wait for that.
TEST_F(damaged_follower, is_repaired_by_a_log_that_is_shorter_than_the_one_it_lost) {
  c.isolate(1);
  for (int i = 0; i < 20; ++i) c.propose(1, "alone");
  c.drain(1);
  const log_index lost = c.at(1).log().last();
  c.crash(1);
  c.damage(1, a);
  c.heal();
  c.network.clear();
  succeed(2);
  c.restart(1);
  c.tick_all(5);
  EXPECT_FALSE(c.at(1).recovering());
  EXPECT_LT(c.at(1).log().last(), lost);
  EXPECT_EQ(c.texts(1), (texts{"a", "b", "c"}));
}

TEST_F(damaged_follower, that_led_before_is_repaired_by_its_successor) {
  lose(1, a);
  EXPECT_FALSE(c.at(1).is_leader());
  c.tick_all(60);
  ASSERT_TRUE(c.leader());
  EXPECT_NE(*c.leader(), 1u);
  EXPECT_FALSE(c.at(1).recovering());
  EXPECT_EQ(c.texts(1), (texts{"a", "b", "c"}));
}

TEST_F(damaged_follower, gets_a_snapshot_where_the_leader_has_compacted_what_it_lost) {
  c.snapshot_and_compact(1);
  lose(3, a);
  c.propose(1, "d");
  c.settle();
  c.tick_all(5);
  EXPECT_FALSE(c.at(3).recovering());
  EXPECT_EQ(c.at(3).log().base(), c.at(1).log().base());
  EXPECT_EQ(c.texts(3), (texts{"d"})) << "a to c are in the snapshot";
}

TEST_F(damaged_follower, that_crashes_again_while_it_is_repaired_is_still_damaged) {
  lose(3, a);
  const auto before = c.nodes.at(3).conf.repair;
  for (int i = 0; i < 3; ++i) {
    c.tick(1);
    c.drain(1);
    c.drain(3);
    c.deliver_one();
  }
  c.crash(3);
  c.restart(3);
  EXPECT_TRUE(c.at(3).recovering());
  EXPECT_NE(c.nodes.at(3).conf.repair, before);
  c.tick_all(5);
  EXPECT_FALSE(c.at(3).recovering());
}

TEST_F(damaged_follower, is_no_target_of_a_transfer) {
  lose(3, a);
  c.drop = [](const message& m) { return m.to == node_id{3} && m.type == message_type::append; };
  c.tick_all(2);
  ASSERT_TRUE(peer(1, 3).recovering);
  EXPECT_EQ(c.at(1).transfer(node_id{3}).error(), refusal::dropped);
  // One that was under way is over.
  c.drop = {};
  c.tick_all(3);
  c.isolate(3);
  c.propose(1, "d");
  ASSERT_TRUE(c.at(1).transfer(node_id{3}));
  EXPECT_EQ(c.at(1).propose(text("e")).error(), refusal::dropped);
  lose(3, a);
  c.heal();
  c.tick_all(2);
  EXPECT_TRUE(c.at(1).propose(text("e")));
}

/// Node 3 alone, with a log that nobody vouches for: entries 1 to 9 of term 1.
class damaged_log : public testing::Test {
 protected:
  damaged_log() {
    disk_state disk{.hard = {term{4}, {}, log_index{1}}};
    disk.snapshot = std::make_shared<const snapshot>(
        snapshot{log_index{1}, term{1}, {.voters = ids({1, 2, 3})}, {}});
    for (std::uint64_t i = 2; i <= 9; ++i) disk.entries.push_back(make(1, i));
    config conf{.id = node_id{3}, .repair = number};
    raft = std::make_unique<core>(conf, disk, log_index{1});
  }
  static entry make(std::uint64_t t, std::uint64_t i) {
    return {term{t}, log_index{i}, entry_kind::normal, text("x")};
  }
  /// A message of leader 1 in term `t` whose log ends at `leader_last`.
  static message from_leader(message_type type, std::uint64_t t, std::uint64_t leader_last) {
    message m;
    m.type = type;
    m.from = node_id{t % 2 + 1};
    m.to = node_id{3};
    m.term = term{t};
    m.repair = number;
    m.match = log_index{leader_last};
    return m;
  }
  static message append(std::uint64_t t, std::uint64_t prev, std::uint64_t prev_term,
                        std::vector<entry> entries, std::uint64_t leader_last) {
    message m = from_leader(message_type::append, t, leader_last);
    m.log_index = log_index{prev};
    m.log_term = term{prev_term};
    m.entries = std::move(entries);
    return m;
  }
  /// The disk does everything. Returns the newest acknowledgement.
  message settle() {
    message newest;
    output out;
    while (raft->has_output()) {
      raft->take_output(out);
      if (out.seq) raft->persisted(out.seq);
      for (const message& m : out.messages)
        if (m.type == message_type::append_resp) newest = m;
      repaired |= out.repaired;
    }
    return newest;
  }

  static constexpr std::uint64_t number = 77;
  std::unique_ptr<core> raft;
  bool repaired = false;
};

TEST_F(damaged_log, is_not_whole_because_it_is_long) {
  (void)raft->step(from_leader(message_type::heartbeat, 4, 7));
  settle();
  EXPECT_TRUE(raft->recovering()) << "nine entries, but are the first seven the leader's?";
  (void)raft->step(append(4, 5, 1, {make(4, 6), make(4, 7)}, 7));
  const message ack = settle();
  EXPECT_FALSE(raft->recovering());
  EXPECT_TRUE(repaired);
  EXPECT_EQ(ack.match, log_index{7});
  EXPECT_EQ(ack.repair, 0u);
}

TEST_F(damaged_log, that_agreed_with_one_leader_has_not_agreed_with_the_next) {
  message without_number = append(4, 8, 1, {make(1, 9)}, 0);
  without_number.repair = 0;
  (void)raft->step(std::move(without_number));
  EXPECT_EQ(settle().match, log_index{9});
  (void)raft->step(from_leader(message_type::heartbeat, 5, 7));
  settle();
  EXPECT_TRUE(raft->recovering());
  (void)raft->step(append(5, 5, 1, {make(5, 6), make(5, 7)}, 7));
  EXPECT_EQ(settle().match, log_index{7});
  EXPECT_FALSE(raft->recovering());
}

TEST_F(damaged_log, commits_nothing_that_the_leader_has_not_confirmed) {
  message m = from_leader(message_type::heartbeat, 4, 20);
  m.commit = log_index{8};  // what it had acknowledged once
  (void)raft->step(std::move(m));
  EXPECT_EQ(raft->commit(), log_index{1});
  (void)raft->step(append(4, 5, 1, {make(4, 6), make(4, 7)}, 20));
  message later = from_leader(message_type::heartbeat, 4, 20);
  later.commit = log_index{7};
  (void)raft->step(std::move(later));
  EXPECT_EQ(raft->commit(), log_index{7});
  EXPECT_TRUE(raft->recovering());
}

TEST_F(damaged_log, needs_no_more_than_what_the_leader_had_when_it_first_knew) {
  (void)raft->step(append(4, 5, 1, {make(4, 6)}, 8));
  settle();
  (void)raft->step(append(4, 6, 4, {make(4, 7)}, 500));
  settle();
  EXPECT_TRUE(raft->recovering());
  (void)raft->step(append(4, 7, 4, {make(4, 8)}, 900));
  settle();
  EXPECT_FALSE(raft->recovering());
}

TEST_F(damaged_follower, a_grant_is_not_given_even_to_whom_it_had_voted_for) {
  lose(3, a);
  message m;
  m.type = message_type::vote;
  m.from = node_id{1};
  m.to = node_id{3};
  m.term = c.at(3).current_term();
  m.log_index = log_index{1000};
  m.log_term = m.term;
  m.force = true;
  (void)c.at(3).step(std::move(m));
  c.drain(3);
  ASSERT_FALSE(c.network.empty());
  EXPECT_TRUE(c.network.back().reject);
}

// ---------------------------------------------------------------- more than one

TEST_F(damaged_follower, two_of_three_are_repaired_as_long_as_the_third_leads) {
  lose(2, a);
  lose(3, a);
  c.tick_all(5);
  EXPECT_TRUE(c.at(1).is_leader());
  EXPECT_FALSE(c.at(2).recovering() || c.at(3).recovering());
  EXPECT_EQ(c.texts(2), c.texts(1));
}

TEST_F(damaged_follower, two_of_three_without_a_leader_know_that_they_are_beyond_repair) {
  c.crash(1);
  lose(2, a);
  EXPECT_FALSE(c.at(2).beyond_repair()) << "node 3 may be whole";
  lose(3, a);
  c.tick_all(60);
  EXPECT_FALSE(c.leader());
  EXPECT_TRUE(c.at(2).beyond_repair());
  EXPECT_TRUE(c.at(3).beyond_repair());
  // The third does not change that: it needs a vote of one of them. It loses nothing.
  c.restart(1);
  c.tick_all(100);
  EXPECT_FALSE(c.leader());
  EXPECT_TRUE(c.at(2).beyond_repair() && c.at(3).beyond_repair());
}

// The configuration in force is the snapshot's, in which node 1 was alone; the log knows better.
TEST(repair, who_is_asked_is_in_what_is_left_of_the_log) {
  cluster c({{1}, {}, {}});
  c.add_blank(2);
  c.add_blank(3);
  c.elect(1);
  for (const std::uint64_t id : {2, 3}) {
    ASSERT_TRUE(c.at(1).propose_conf(change(conf_op::voter, id)));
    c.settle();
    c.tick_all(3);
  }
  const log_index a = c.propose(1, "a");
  c.settle();
  for (const std::uint64_t id : {1, 2, 3}) c.crash(id);
  for (const std::uint64_t id : {1, 2}) c.damage(id, a);
  for (const std::uint64_t id : {1, 2, 3}) c.restart(id);
  ASSERT_EQ(c.at(1).configuration().voters, ids({1}));
  c.tick_all(60);
  EXPECT_FALSE(c.leader());
  EXPECT_TRUE(c.at(1).beyond_repair() && c.at(2).beyond_repair());
}

TEST_F(damaged_follower, one_of_three_waits_for_the_others_however_long) {
  c.crash(1);
  c.crash(2);
  lose(3, a);
  c.tick_all(300);
  EXPECT_FALSE(c.at(3).beyond_repair());
  c.restart(2);
  c.tick_all(100);
  EXPECT_FALSE(c.at(3).beyond_repair()) << "node 1 is only away";
  c.restart(1);
  c.tick_all(60);
  EXPECT_FALSE(c.at(3).recovering());
}

TEST(repair, one_of_two_voters_is_beyond_repair_once_the_other_does_not_lead) {
  cluster c({{1, 2}, {}, {}});
  c.elect(1);
  const log_index a = c.propose(1, "a");
  c.settle();
  c.crash(2);
  c.damage(2, a);
  c.restart(2);
  c.tick_all(3);
  EXPECT_FALSE(c.at(2).recovering()) << "the other leads";
  c.crash(1);
  c.crash(2);
  c.damage(2, a);
  c.restart(1);
  c.restart(2);
  c.tick_all(100);
  EXPECT_FALSE(c.leader());
  EXPECT_TRUE(c.at(2).beyond_repair());
}

}  // namespace
}  // namespace blixard::raft::test
