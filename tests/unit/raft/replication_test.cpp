// Log replication: Raft sections 5.3 to 5.5 and 7; the persist gate (runtime/raft/README.md).
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/raft/cluster.hpp"

namespace blixard::raft::test {
namespace {

cluster_options plain(std::function<void(config&)> tune = {}) {
  return {{1, 2, 3}, {}, [tune](config& c) {
            c.prevote = false;
            c.check_quorum = false;
            if (tune) tune(c);
          }};
}

std::size_t count(const cluster& c, message_type type, std::uint64_t to) {
  return static_cast<std::size_t>(std::ranges::count_if(
      c.network, [&](const message& m) { return m.type == type && m.to == node_id{to}; }));
}

// A leader for term `t` that does not exist: its appends are made by hand.
message append_from(std::uint64_t from, std::uint64_t to, term t, log_index prev, term prev_term,
                    std::vector<entry> entries, log_index commit = {}) {
  message m;
  m.type = message_type::append;
  m.from = node_id{from};
  m.to = node_id{to};
  m.term = t;
  m.log_index = prev;
  m.log_term = prev_term;
  m.entries = std::move(entries);
  m.commit = commit;
  return m;
}

entry make(std::uint64_t t, std::uint64_t i, const std::string& data = "x") {
  return {term{t}, log_index{i}, entry_kind::normal, text(data)};
}

TEST(replication, an_entry_commits_once_a_majority_has_it_and_all_apply_it) {
  cluster c(plain());
  c.elect(1);
  c.isolate(3);
  const log_index index = c.propose(1, "x");
  c.settle();
  EXPECT_EQ(c.at(1).commit(), index);
  EXPECT_EQ(c.texts(1), std::vector<std::string>{"x"});
  EXPECT_EQ(c.texts(2), std::vector<std::string>{"x"});
  EXPECT_TRUE(c.texts(3).empty());
  c.heal();
  c.tick_all(2);
  EXPECT_EQ(c.texts(3), std::vector<std::string>{"x"});
}

TEST(replication, the_commit_index_reaches_followers_without_a_heartbeat) {
  cluster c(plain());
  c.elect(1);
  const log_index index = c.propose(1, "x");
  c.settle();
  for (const std::uint64_t id : {2, 3}) EXPECT_EQ(c.at(id).commit(), index);
}

// The leader says what is committed with the output that commits it, and a follower believes it
// when it comes: neither its own disk nor that of the slower one is waited for.
TEST(replication, the_commit_index_takes_half_a_round_trip_whatever_the_followers_disks_do) {
  cluster c(plain());
  c.elect(1);
  const log_index index = c.propose(1, "x");
  c.take(1);
  c.sync(1);
  while (c.deliver_one()) {
  }
  c.drain(2);
  c.take(3);  // its disk has not done anything yet
  while (c.deliver_one()) {
  }
  c.take(1);
  ASSERT_EQ(c.at(1).commit(), index);
  while (c.deliver_one()) {  // one message each
  }
  for (const std::uint64_t id : {2, 3}) {
    EXPECT_EQ(c.at(id).commit(), index);
    c.take(id);
    EXPECT_EQ(c.texts(id), std::vector<std::string>{"x"});
  }
  EXPECT_LT(c.at(3).status().stable, index);
}

// Proposes, and lets the others' disks do their work, but not the leader's.
log_index commit_on_the_others(cluster& c) {
  c.elect(1);
  const log_index index = c.propose(1, "x");
  c.take(1);  // written, not synced
  EXPECT_EQ(count(c, message_type::append, 2), 1u);
  for (int i = 0; i < 4; ++i) {
    while (c.deliver_one()) {
    }
    c.drain(2);
    c.drain(3);
  }
  c.take(1);
  return index;
}

TEST(replication, the_leader_sends_before_its_own_disk_and_commits_on_the_others) {
  cluster c(plain());
  const log_index index = commit_on_the_others(c);
  EXPECT_EQ(c.at(1).commit(), index);
  EXPECT_LT(c.at(1).status().stable, index);
  EXPECT_EQ(c.texts(1), std::vector<std::string>{"x"});
}

TEST(replication, a_state_machine_that_outlives_the_process_waits_for_this_disk) {
  cluster c(plain([](config& k) { k.commit_persisted = true; }));
  const log_index index = commit_on_the_others(c);
  EXPECT_EQ(c.at(1).commit(), index);
  EXPECT_TRUE(c.texts(1).empty());
  c.settle();
  EXPECT_EQ(c.texts(1), std::vector<std::string>{"x"});
}

TEST(replication, a_notice_of_a_commit_index_is_not_answered_and_a_question_is) {
  cluster c(plain());
  c.isolate(3);
  const auto answers_to = [&](message m) {
    const std::size_t before = count(c, message_type::append_resp, 1);
    EXPECT_TRUE(c.at(2).step(std::move(m)));
    c.drain(2);
    return count(c, message_type::append_resp, 1) - before;
  };
  const auto commit = [](std::uint64_t index, bool notice) {
    message m = append_from(1, 2, term{2}, log_index{3}, term{2}, {}, log_index{index});
    m.notice = notice;
    return m;
  };
  EXPECT_EQ(answers_to(append_from(1, 2, term{2}, log_index{1}, term{1}, {make(2, 2), make(2, 3)})),
            1u);
  EXPECT_EQ(answers_to(commit(2, true)), 0u);
  EXPECT_EQ(answers_to(commit(3, true)), 0u);
  EXPECT_EQ(c.at(2).commit(), log_index{3});
  EXPECT_EQ(answers_to(commit(3, false)), 1u);
}

TEST(replication, proposals_form_one_append_when_output_is_taken) {
  cluster c(plain());
  c.elect(1);
  for (int i = 0; i < 100; ++i) c.propose(1, "x");
  c.take(1);
  ASSERT_EQ(count(c, message_type::append, 2), 1u);
  EXPECT_EQ(c.network.front().entries.size(), 100u);
}

TEST(replication, appends_are_cut_by_bytes_and_one_entry_always_fits) {
  cluster c(plain([](config& k) { k.max_msg_bytes = 4; }));
  c.elect(1);
  for (const char* s : {"aa", "bb", "cc", "toolong", "d"}) c.propose(1, s);
  c.take(1);
  std::vector<std::size_t> sizes;
  for (const message& m : c.network)
    if (m.to == node_id{2}) sizes.push_back(m.entries.size());
  EXPECT_EQ(sizes, (std::vector<std::size_t>{2, 1, 1, 1}));
}

TEST(replication, an_acknowledgement_waits_for_the_followers_disk) {
  cluster c(plain());
  c.elect(1);
  c.propose(1, "x");
  c.drain(1);
  while (c.deliver_one()) {
  }
  c.take(2);
  EXPECT_EQ(count(c, message_type::append_resp, 1), 0u);
  c.sync(2);
  EXPECT_EQ(count(c, message_type::append_resp, 1), 1u);
}

TEST(replication, an_append_behind_a_gap_is_rejected_with_a_hint) {
  cluster c(plain());
  (void)c.at(2).step(append_from(1, 2, term{2}, log_index{9}, term{2}, {make(2, 10)}));
  c.drain(2);
  ASSERT_EQ(c.network.size(), 1u);
  const message& r = c.network.front();
  EXPECT_TRUE(r.reject);
  EXPECT_EQ(r.rejected, log_index{9});
  EXPECT_EQ(r.log_index, log_index{1});
  EXPECT_EQ(r.log_term, term{1});
}

TEST(replication, conflicting_entries_are_replaced_and_repeated_ones_change_nothing) {
  cluster c(plain());
  core& n = c.at(2);
  const auto old = [&] {
    return append_from(1, 2, term{2}, log_index{1}, term{1},
                       {make(2, 2, "a"), make(2, 3, "b"), make(2, 4, "c")});
  };
  (void)n.step(old());
  (void)n.step(append_from(1, 2, term{2}, log_index{1}, term{1}, {make(2, 2, "a")}));
  EXPECT_EQ(n.log().last(), log_index{4}) << "a shorter repetition must not cut the log";
  (void)n.step(append_from(3, 2, term{3}, log_index{2}, term{2}, {make(3, 3, "z")}));
  EXPECT_EQ(n.log().last(), log_index{3});
  EXPECT_EQ(n.log().at(log_index{3}).data.text(), "z");
}

TEST(replication, an_overwritten_entry_is_not_stable_when_its_old_write_is_acknowledged) {
  cluster c(plain());
  core& n = c.at(2);
  (void)n.step(append_from(1, 2, term{2}, log_index{1}, term{1}, {make(2, 2), make(2, 3)}));
  c.take(2);
  const persist_seq first = c.nodes.at(2).newest;
  (void)n.step(append_from(3, 2, term{3}, log_index{2}, term{2}, {make(3, 3), make(3, 4)}));
  c.take(2);
  const persist_seq second = c.nodes.at(2).newest;
  c.sync_through(2, first);
  EXPECT_EQ(n.status().stable, log_index{2});
  EXPECT_EQ(count(c, message_type::append_resp, 3), 0u);
  c.sync_through(2, second);
  EXPECT_EQ(n.status().stable, log_index{4});
  EXPECT_EQ(count(c, message_type::append_resp, 3), 1u);
}

TEST(replication, a_divergent_tail_costs_a_probe_per_term_not_per_entry) {
  cluster c(plain());
  // Node 2 has a long tail of terms 2..6, node 1 one of 7; they share entry 1 only.
  std::vector<entry> tail;
  std::uint64_t index = 2;
  for (std::uint64_t t = 2; t <= 6; ++t)
    for (int i = 0; i < 20'000; ++i) tail.push_back(make(t, index++));
  (void)c.at(2).step(append_from(3, 2, term{6}, log_index{1}, term{1}, tail));
  tail.clear();
  index = 2;
  for (int i = 0; i < 150'000; ++i) tail.push_back(make(7, index++));
  (void)c.at(1).step(append_from(3, 1, term{7}, log_index{1}, term{1}, tail));
  c.drain(1);
  c.drain(2);
  c.network.clear();
  c.crash(3);
  (void)c.at(1).campaign();
  int rejections = 0;
  c.drop = [&](const message& m) {
    rejections += m.type == message_type::append_resp && m.reject ? 1 : 0;
    return false;
  };
  c.settle();
  EXPECT_TRUE(c.at(1).is_leader());
  EXPECT_EQ(c.at(2).log().last(), c.at(1).log().last());
  EXPECT_LE(rejections, 6);
}

// The worst case: no term of the one log is in the other, so that each probe settles one term.
TEST(replication, a_tail_of_100000_entries_needs_no_more_probes_than_it_has_terms) {
  constexpr std::uint64_t terms = 10;
  constexpr int per_term = 10'000;
  cluster c(plain());
  const auto tail_of = [](std::uint64_t first_term) {
    std::vector<entry> tail;
    std::uint64_t index = 2;
    for (std::uint64_t t = 0; t < terms; ++t)
      for (int i = 0; i < per_term; ++i) tail.push_back(make(first_term + 2 * t, index++));
    return tail;
  };
  (void)c.at(2).step(append_from(3, 2, term{20}, log_index{1}, term{1}, tail_of(2)));
  (void)c.at(1).step(append_from(3, 1, term{21}, log_index{1}, term{1}, tail_of(3)));
  c.drain(1);
  c.drain(2);
  c.network.clear();
  c.crash(3);
  std::uint64_t probes = 0;
  c.drop = [&](const message& m) {
    probes += m.type == message_type::append_resp && m.reject ? 1 : 0;
    return false;
  };
  (void)c.at(1).campaign();
  c.settle();
  ASSERT_TRUE(c.at(1).is_leader());
  EXPECT_EQ(c.at(2).log().last(), c.at(1).log().last());
  EXPECT_GT(probes, 1u) << "the logs do not interleave";
  EXPECT_LE(probes, terms);
}

TEST(replication, lost_appends_are_repeated_after_a_heartbeat) {
  cluster c(plain());
  c.elect(1);
  c.drop = [](const message& m) { return m.type == message_type::append; };
  const log_index index = c.propose(1, "x");
  c.settle();
  EXPECT_LT(c.at(2).log().last(), index);
  c.drop = {};
  c.tick_all(2);
  EXPECT_EQ(c.at(2).commit(), index);
}

TEST(replication, a_full_window_stops_entries_but_not_the_commit_index) {
  cluster c(plain([](config& k) { k.max_inflight_msgs = 2; }));
  c.elect(1);
  std::deque<message> held;  // what node 3 would have got, and answered
  for (int i = 0; i < 5; ++i) {
    c.propose(1, "x");
    c.take(1);
  }
  EXPECT_EQ(count(c, message_type::append, 3), 2u);
  EXPECT_TRUE(c.at(1).status().peers.at(2).paused);
  c.cut(1, 3);
  c.settle();
  EXPECT_EQ(c.at(1).commit(), c.at(1).log().last());
  c.heal();
  c.tick_all(3);
  EXPECT_EQ(c.at(3).commit(), c.at(1).commit());
}

// Nothing from 3 comes back, so its window stays full; what it is told still moves.
TEST(replication, a_full_window_still_moves_by_empty_appends) {
  cluster c(plain([](config& k) { k.max_inflight_msgs = 2; }));
  c.elect(1);
  c.settle();
  c.drop = [](const message& m) {
    return m.from == node_id{3} && m.type == message_type::append_resp;
  };
  for (int i = 0; i < 2; ++i) {
    c.propose(1, "x");
    c.take(1);
  }
  ASSERT_TRUE(c.at(1).status().peers.at(2).paused);
  c.settle();
  EXPECT_EQ(c.at(1).commit(), c.at(1).log().last());
  EXPECT_EQ(c.at(3).commit(), c.at(1).commit()) << "no heartbeat was sent";
  EXPECT_EQ(c.at(1).status().peers.at(2).inflight, 2u);
  // Once answers get through, an empty append asks what arrived, and the window opens.
  c.drop = {};
  const log_index more = c.propose(1, "y");
  c.tick_all(3);
  EXPECT_EQ(c.at(3).commit(), more);
  EXPECT_EQ(c.at(1).status().peers.at(2).inflight, 0u);
}

TEST(replication, the_window_is_bounded_by_bytes_too) {
  cluster c(plain([](config& k) { k.max_inflight_bytes = 10; }));
  c.elect(1);
  for (int i = 0; i < 5; ++i) {
    c.propose(1, "123456");
    c.take(1);
  }
  EXPECT_EQ(count(c, message_type::append, 2), 2u);  // 12 bytes: the limit is passed by one message
  c.settle();
  EXPECT_EQ(c.at(2).commit(), c.at(1).log().last());
}

TEST(replication, too_much_uncommitted_data_is_refused_until_it_commits) {
  cluster c(plain([](config& k) { k.max_uncommitted_bytes = 10; }));
  c.elect(1);
  c.propose(1, "this one is too long but the first always fits");
  EXPECT_EQ(c.at(1).propose(text("x")).error(), refusal::dropped);
  EXPECT_TRUE(c.at(1).propose({})) << "empty entries cost nothing";
  c.settle();
  EXPECT_TRUE(c.at(1).propose(text("x")));
}

TEST(replication, committed_entries_come_in_portions_and_never_twice) {
  cluster c(plain([](config& k) { k.max_committed_bytes = 5; }));
  c.elect(1);
  for (int i = 0; i < 10; ++i) c.propose(1, "abc");
  c.settle();
  EXPECT_EQ(c.texts(1).size(), 10u);  // the cluster checks that they are contiguous
}

TEST(replication, entries_of_an_earlier_term_commit_only_with_one_of_the_own_term) {
  // Raft figure 8: a majority holds an entry of an old term, which is still not committed by count.
  cluster c(plain());
  c.elect(1);
  c.drop = [](const message& m) { return m.type == message_type::append && m.to == node_id{3}; };
  c.isolate(2);
  const log_index old = c.propose(1, "old");
  c.settle();
  c.heal();
  c.crash(1);
  c.restart(1);
  c.drop = {};
  (void)c.at(1).campaign();
  c.drain(1);
  while (c.deliver_one()) {
  }
  c.drain(2);
  c.drain(3);
  c.drop = [&](const message& m) {
    return m.type == message_type::append && !m.entries.empty() && m.entries.back().index > old;
  };
  while (c.deliver_one()) {
  }
  ASSERT_TRUE(c.at(1).is_leader());
  c.settle();
  EXPECT_LT(c.at(1).commit(), old);
  c.drop = {};
  c.tick_all(3);
  EXPECT_GT(c.at(1).commit(), old);
}

TEST(replication, a_follower_forwards_proposals_and_a_forwarded_one_is_not_forwarded_again) {
  cluster c(plain());
  EXPECT_EQ(c.at(2).propose(text("x")).error(), refusal::no_leader);
  c.elect(1);
  EXPECT_EQ(c.at(2).propose(text("a")), log_index{});
  EXPECT_EQ(c.at(2).propose(text("b")), log_index{});
  c.take(2);
  ASSERT_EQ(c.network.size(), 1u);
  message m = c.network.front();
  c.settle();
  EXPECT_EQ(c.texts(3), (std::vector<std::string>{"a", "b"}));
  m.to = node_id{3};
  (void)c.at(3).step(std::move(m));
  EXPECT_FALSE(c.take(3));
}

TEST(replication, without_forwarding_a_follower_names_no_index_but_the_leader) {
  cluster c(plain([](config& k) { k.forward = false; }));
  c.elect(1);
  EXPECT_EQ(c.at(2).propose(text("x")).error(), refusal::not_leader);
  EXPECT_EQ(c.at(2).lead(), node_id{1});
}

// 2^64 - 1 has no next: what counts on from it would end in an assertion.
TEST(replication, places_and_terms_that_no_log_can_have_are_refused) {
  cluster c(plain());
  c.elect(1);
  const std::uint64_t most = ~std::uint64_t{0};
  const auto refused = [&](message_type type, const std::function<void(message&)>& spoil) {
    message m{type, node_id{2}, node_id{1}};
    m.term = c.at(1).current_term();
    spoil(m);
    const auto r = c.at(1).step(std::move(m));
    return !r && r.error() == refusal::invalid;
  };
  for (int i = 0; i < message_type_count; ++i) {
    const auto type = static_cast<message_type>(i);
    EXPECT_TRUE(refused(type, [&](message& m) { m.term = term{most}; })) << i;
    EXPECT_TRUE(refused(type, [&](message& m) { m.log_term = term{most}; })) << i;
    EXPECT_TRUE(refused(type, [&](message& m) { m.log_index = log_index{most}; })) << i;
    EXPECT_TRUE(refused(type, [&](message& m) { m.commit = log_index{most}; })) << i;
    EXPECT_TRUE(refused(type, [&](message& m) { m.match = log_index{most}; })) << i;
    EXPECT_TRUE(refused(type, [&](message& m) { m.rejected = log_index{most}; })) << i;
  }
  const auto far = [&](log_index index, term t) {
    return std::make_shared<const snapshot>(snapshot{index, t, {.voters = ids({1})}, {}});
  };
  EXPECT_TRUE(refused(message_type::snapshot,
                      [&](message& m) { m.snapshot = far(log_index{most}, term{1}); }));
  EXPECT_TRUE(refused(message_type::snapshot,
                      [&](message& m) { m.snapshot = far(log_index{9}, term{most}); }));
  c.tick_all(2);
  EXPECT_TRUE(c.at(1).is_leader());
}

TEST(replication, malformed_appends_are_refused_and_change_nothing) {
  cluster c(plain());
  core& n = c.at(2);
  const auto step = [&](message m) { return n.step(std::move(m)).error(); };
  EXPECT_EQ(step(append_from(1, 2, term{2}, log_index{1}, term{1}, {make(2, 3)})),
            refusal::invalid);
  EXPECT_EQ(step(append_from(1, 2, term{2}, log_index{1}, term{1}, {make(3, 2)})),
            refusal::invalid);
  EXPECT_EQ(step(append_from(1, 2, term{0}, log_index{1}, term{1}, {})), refusal::invalid);
  EXPECT_EQ(step(append_from(1, 3, term{2}, log_index{1}, term{1}, {})), refusal::invalid);
  EXPECT_EQ(step(append_from(2, 2, term{2}, log_index{1}, term{1}, {})), refusal::invalid);
  EXPECT_EQ(n.current_term(), term{0});
}

TEST(snapshots, a_follower_behind_the_compacted_log_gets_one_and_catches_up) {
  cluster c(plain());
  c.elect(1);
  c.crash(3);
  for (int i = 0; i < 10; ++i) c.propose(1, "x");
  c.settle();
  c.snapshot_and_compact(1);
  c.propose(1, "after");
  c.settle();
  c.restart(3);
  c.tick_all(3);
  EXPECT_EQ(c.at(3).log().last(), c.at(1).log().last());
  EXPECT_EQ(c.texts(3), std::vector<std::string>{"after"});
  EXPECT_GE(c.nodes.at(3).stored.snap->index, log_index{12});
}

TEST(snapshots, one_whose_entry_is_in_the_log_keeps_the_tail) {
  cluster c(plain());
  core& n = c.at(2);
  (void)n.step(
      append_from(1, 2, term{2}, log_index{1}, term{1}, {make(2, 2), make(2, 3), make(2, 4)}));
  auto s = std::make_shared<snapshot>();
  s->index = log_index{3};
  s->term = term{2};
  s->conf = n.configuration();
  message m;
  m.type = message_type::snapshot;
  m.from = node_id{1};
  m.to = node_id{2};
  m.term = term{2};
  m.snapshot = s;
  (void)n.step(std::move(m));
  EXPECT_EQ(n.commit(), log_index{3});
  EXPECT_EQ(n.log().last(), log_index{4});
}

TEST(snapshots, an_acknowledgement_of_one_waits_for_the_disk_and_supersedes_the_log) {
  cluster c(plain());
  core& n = c.at(2);
  (void)n.step(append_from(1, 2, term{2}, log_index{1}, term{1}, {make(2, 2), make(2, 3)}));
  c.drain(2);
  c.network.clear();
  auto s = std::make_shared<snapshot>();
  s->index = log_index{9};
  s->term = term{2};
  s->conf = n.configuration();
  message m;
  m.type = message_type::snapshot;
  m.from = node_id{1};
  m.to = node_id{2};
  m.term = term{2};
  m.snapshot = s;
  (void)n.step(std::move(m));
  c.take(2);
  EXPECT_TRUE(c.nodes.at(2).out.must_sync);
  EXPECT_TRUE(c.network.empty());
  EXPECT_EQ(n.log().first(), log_index{10});
  c.sync(2);
  ASSERT_EQ(c.network.size(), 1u);
  EXPECT_EQ(c.network.front().match, log_index{9});
  EXPECT_TRUE(c.nodes.at(2).stored.entries.empty());
}

TEST(snapshots, a_failed_one_is_sent_again_only_after_the_peer_shows_life) {
  cluster c(plain());
  c.elect(1);
  c.crash(3);
  for (int i = 0; i < 3; ++i) c.propose(1, "x");
  c.settle();
  c.snapshot_and_compact(1);
  c.restart(3);
  int sent = 0;
  c.drop = [&](const message& m) {
    sent += m.type == message_type::snapshot ? 1 : 0;
    return m.type == message_type::snapshot && sent == 1;
  };
  c.tick_all(1);
  EXPECT_EQ(sent, 1);
  c.tick_all(3);
  EXPECT_EQ(sent, 2);
  EXPECT_EQ(c.at(3).commit(), c.at(1).commit());
}

TEST(restart, takes_up_term_vote_and_log_and_replays_from_applied) {
  cluster c(plain());
  c.elect(1);
  c.propose(1, "x");
  c.settle();
  const auto before = c.at(2).status();
  c.crash(2);
  c.restart(2);
  const auto after = c.at(2).status();
  EXPECT_EQ(after.hard, before.hard);
  EXPECT_EQ(after.last, before.last);
  EXPECT_EQ(after.applied, log_index{1});
  c.settle();
  EXPECT_EQ(c.texts(2), std::vector<std::string>{"x"});
}

TEST(restart, the_stored_commit_is_clamped_and_the_term_is_not_below_the_last_entry) {
  config k;
  k.id = node_id{1};
  auto boot = std::make_shared<snapshot>();
  boot->index = log_index{3};
  boot->term = term{1};
  boot->conf.voters = ids({1, 2, 3});
  const disk_state beyond{{term{2}, node_id{2}, log_index{99}}, boot, {make(2, 4), make(5, 5)}};
  core a(k, beyond, log_index{3});
  EXPECT_EQ(a.commit(), log_index{5});
  EXPECT_EQ(a.current_term(), term{5});
  EXPECT_EQ(a.status().hard.vote, node_id{0});
  output out;
  a.take_output(out);
  EXPECT_EQ(out.hard, (hard_state{term{5}, {}, log_index{5}}))
      << "a term that the disk does not know";
  const disk_state below{{term{2}, node_id{2}, log_index{1}}, boot, {}};
  core b(k, below, log_index{3});
  EXPECT_EQ(b.commit(), log_index{3});
  core raised(k, {{term{5}, {}, log_index{3}}, boot, {make(2, 4), make(5, 5)}}, log_index{4});
  EXPECT_EQ(raised.commit(), log_index{4}) << "what was applied was committed";
}

TEST(restart, impossible_disks_are_refused_by_name) {
  config k;
  k.id = node_id{1};
  EXPECT_TRUE(check_start(k, {}, {}));
  EXPECT_FALSE(check_start(k, {{}, nullptr, {make(1, 2)}}, {})) << "gap after nothing";
  EXPECT_FALSE(check_start(k, {{}, nullptr, {make(1, 1), make(1, 3)}}, {}));
  EXPECT_FALSE(check_start(k, {{}, nullptr, {make(2, 1), make(1, 2)}}, {}));
  EXPECT_FALSE(check_start(k, {{}, nullptr, {make(1, 1)}}, log_index{2}));
  k.heartbeat_ticks = k.election_min_ticks;
  EXPECT_FALSE(check_start(k, {}, {}));
}

}  // namespace
}  // namespace blixard::raft::test
