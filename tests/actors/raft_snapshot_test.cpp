// Claims about the raft actor: snapshots on their way, and how much of the log stays.
#include "tests/actors/raft_node.hpp"

namespace blixard::actors::test {
namespace {

/// As it is received: one piece.
frame_ptr one_piece(const std::vector<slice>& pieces) {
  std::vector<std::byte> bytes;
  for (const auto& p : pieces) bytes.insert(bytes.end(), p.bytes().begin(), p.bytes().end());
  return frame::make({.kind = frame_kind::raft}, slice::copy_of(std::span<const std::byte>{bytes}));
}

/// A snapshot message of leader 2 in term 2 for this node.
raft::message snapshot_message(std::uint64_t index, const slice& data) {
  auto m = message_from(2, raft::message_type::snapshot);
  m.to = node_id{1};
  m.snapshot = std::make_shared<const snapshot>(
      snapshot{log_index{index}, term{2}, {.voters = {node_id{1}, node_id{2}, node_id{3}}}, data});
  m.nonce = raft::name_of(*m.snapshot).content;
  return m;
}

struct snapshot_follower : raft_node {
  slice data = slice::copy_of(std::string(3000, 'x'));
  raft::message message = snapshot_message(50, data);

  snapshot_follower() : raft_node({node_id{1}, node_id{2}, node_id{3}}) {}

  void chunk(std::uint64_t offset, std::uint64_t size) {
    std::vector<slice> pieces;
    raft::encode_chunk(message, {offset, data.size(), data.sub(offset, size)}, pieces);
    caf::anon_send(to.raft, raft_frames{message.from, {one_piece(pieces)}});
    run();
  }
  /// The newest answer to a chunk: how much is here, and whether the chunk left a gap.
  std::pair<std::uint64_t, bool> answer() const {
    std::pair<std::uint64_t, bool> newest{UINT64_MAX, false};
    for (const auto& f : seen.peer_frames)
      if (const auto m = raft::decode(f.frame->body());
          m && m->msg.type == raft::message_type::snapshot && m->msg.reject)
        newest = {m->chunk.offset, m->msg.notice};
    return newest;
  }
  bool installed() const {
    return std::ranges::any_of(seen.persists, [this](const persist_request& p) {
      return p.snap && p.snap->index == log_index{50} && p.snap->data == data;
    });
  }
};

TEST(raft_actor, each_chunk_of_a_snapshot_is_answered_with_what_is_here_and_kept_for_a_restart) {
  snapshot_follower n;
  n.chunk(0, 1000);
  EXPECT_EQ(n.answer(), (std::pair{std::uint64_t{1000}, false}));
  n.chunk(2000, 1000);
  EXPECT_EQ(n.answer(), (std::pair{std::uint64_t{1000}, true}));
  n.chunk(0, 1000);
  EXPECT_EQ(n.answer(), (std::pair{std::uint64_t{1000}, false}));
  n.chunk(1000, 1000);
  ASSERT_EQ(n.seen.kept.size(), 2u);
  EXPECT_EQ(n.seen.kept.back().offset, 1000u);
  EXPECT_EQ(n.seen.kept.back().part.total, 3000u);
  EXPECT_FALSE(n.installed());
  n.chunk(2000, 1000);
  EXPECT_TRUE(n.installed());
  n.chunk(2000, 1000);
  EXPECT_EQ(n.answer(), (std::pair{std::uint64_t{3000}, false})) << "it is committed here";
}

TEST(raft_actor, a_chunk_of_an_older_leader_changes_nothing) {
  snapshot_follower n;
  n.receive(message_from(3, raft::message_type::heartbeat, term{9}));
  n.chunk(0, 3000);
  EXPECT_FALSE(n.installed());
}

// Members came and went while this node was away: the leader of now is none that it knows, and the
// snapshot is what would tell it.
TEST(raft_actor, a_leader_that_the_old_configuration_does_not_know_brings_its_snapshot) {
  snapshot_follower n;
  n.message.from = node_id{9};
  n.chunk(0, 3000);
  EXPECT_FALSE(n.installed()) << "a stranger gets no memory";
  n.receive(message_from(9, raft::message_type::heartbeat));
  n.chunk(0, 3000);
  EXPECT_TRUE(n.installed());
}

/// A leader whose log begins behind entry 2.
struct snapshot_leader : raft_node {
  explicit snapshot_leader(std::uint64_t tick_ns = 0)
      : raft_node({node_id{1}, node_id{2}, node_id{3}}, 0, tick_ns) {}

  void lead_with_snapshot() {
    lead_three();
    propose(kv_put("a"), request_id{5});
    run();
    sync();
    others_acknowledge(3);
    apply(3);
    caf::anon_send(to.raft,
                   snapshot_stored{{.index = log_index{3},
                                    .term = term{2},
                                    .conf = {.voters = {node_id{1}, node_id{2}, node_id{3}}},
                                    .data = slice::copy_of(std::string(600'000, 's'))}});
    run();
  }
  /// Node 3 has lost its log, and says so.
  void node_3_is_empty() {
    auto m = message_from(3, raft::message_type::heartbeat_resp);
    m.repair = 99;
    receive(std::move(m));
    tick(5);
    auto refused = message_from(3, raft::message_type::append_resp);
    refused.repair = 99;
    refused.reject = true;
    for (const auto& f : seen.peer_frames)
      if (const auto d = raft::decode(f.frame->body());
          d && f.to == node_id{3} && d->msg.type == raft::message_type::append)
        refused.rejected = d->msg.log_index;
    receive(std::move(refused));
  }
  std::vector<raft::decoded_message> chunks() const {
    std::vector<raft::decoded_message> all;
    for (const auto& f : seen.peer_frames) {
      if (!f.bulk) continue;
      EXPECT_EQ(f.to, node_id{3});
      const auto pieces = f.frame->pieces();
      all.push_back(*raft::decode(one_piece({pieces.begin(), pieces.end()})->body()));
    }
    return all;
  }
  void answer(std::uint64_t received, bool gap, std::uint64_t content) {
    auto m = message_from(3, raft::message_type::snapshot);
    m.to = facts.self;
    m.reject = true;
    m.notice = gap;
    m.nonce = content;
    m.snapshot = std::make_shared<const snapshot>(snapshot{log_index{3}, term{2}, {}, {}});
    std::vector<slice> pieces;
    raft::encode_chunk(m, {received, 600'000, {}}, pieces);
    caf::anon_send(to.raft, raft_frames{node_id{3}, {one_piece(pieces)}});
    run();
  }
};

TEST(raft_actor, a_snapshot_goes_on_where_the_receiver_is_and_ends_with_its_last_answer) {
  snapshot_leader n;
  n.lead_with_snapshot();
  n.node_3_is_empty();
  ASSERT_EQ(n.chunks().size(), 1u) << "the first alone, until it is answered";
  const auto first = n.chunks().front();
  EXPECT_EQ(first.chunk.offset, 0u);
  EXPECT_EQ(first.chunk.total, 600'000u);
  EXPECT_EQ(first.msg.nonce,
            raft::name_of({log_index{3}, term{2}, {}, slice::copy_of(std::string(600'000, 's'))})
                .content);
  n.answer(1000, false, first.msg.nonce + 1);
  EXPECT_EQ(n.chunks().size(), 1u) << "an answer about other bytes";
  n.answer(500'000, false, first.msg.nonce);  // it has kept that much from before
  ASSERT_EQ(n.chunks().size(), 2u);
  EXPECT_EQ(n.chunks().back().chunk.offset, 500'000u);
  EXPECT_EQ(n.chunks().back().chunk.data.size(), 100'000u);
  n.answer(300'000, true, first.msg.nonce);  // and has lost part of it
  ASSERT_EQ(n.chunks().size(), 3u);
  EXPECT_EQ(n.chunks().back().chunk.offset, 300'000u);
  n.answer(600'000, false, first.msg.nonce);
  n.tick(30);
  EXPECT_EQ(n.chunks().size(), 3u);
}

/// Of three, with the help of node 3 alone: node 2 is away.
struct leader_without_2 : snapshot_leader {
  leader_without_2() : snapshot_leader(1'000'000'000) {}
  void lead() {
    become_leader_of_three(3);
    node_3_has(2);
    ASSERT_TRUE(flags.is_leader());
  }
  void node_3_has(std::uint64_t match) {
    auto m = message_from(3, raft::message_type::append_resp);
    m.match = log_index{match};
    receive(std::move(m));
    sync();
    apply(match);
  }
  /// Of a mebibyte, each.
  void put_halves(std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) {
      propose(kv_put("a", std::string(limits::MiB / 2, 'v'), {}), request_id{10 + i});
      run();
      sync();
      node_3_has(3 + i);
    }
  }
  void pass(int ticks) {
    for (int i = 0; i < ticks; ++i) {
      tick(1);
      receive(message_from(3, raft::message_type::heartbeat_resp));
    }
  }
  void node_2_is_back() {
    for (int i = 0; i < 3; ++i) {
      receive(message_from(2, raft::message_type::heartbeat_resp));
      pass(1);
    }
  }
};

TEST(raft_actor, memory_keeps_some_of_the_log_for_a_member_that_is_away) {
  leader_without_2 n;
  n.lead();
  n.pass(15);
  n.put_halves(1);
  n.pass(2);
  n.node_2_is_back();
  EXPECT_EQ(n.seen.snapshots_wanted, 0);
}

TEST(raft_actor, who_is_behind_the_log_in_memory_gets_a_snapshot_that_is_taken_then) {
  leader_without_2 n;
  n.lead();
  n.pass(15);
  n.put_halves(20);
  n.pass(2);
  EXPECT_EQ(n.seen.snapshots_wanted, 0) << "nobody needs one, and it is not time for one";
  EXPECT_TRUE(n.seen.compacted.empty()) << "the log on the disk ends with a snapshot only";
  n.node_2_is_back();
  EXPECT_EQ(n.seen.snapshots_wanted, 1);
  n.pass(5);
  EXPECT_EQ(n.seen.snapshots_wanted, 1) << "one is on its way";
  caf::anon_send(n.to.raft,
                 snapshot_stored{{.index = log_index{22},
                                  .term = term{2},
                                  .conf = {.voters = {node_id{1}, node_id{2}, node_id{3}}},
                                  .data = slice::copy_of("state")}});
  n.run();
  n.node_2_is_back();
  std::size_t snapshots = 0;
  for (const auto& f : n.seen.peer_frames) snapshots += f.bulk && f.to == node_id{2};
  EXPECT_EQ(snapshots, 1u);
  EXPECT_EQ(n.seen.snapshots_wanted, 1);
}

TEST(raft_actor, the_log_stays_for_a_member_that_answers_however_late_it_is) {
  leader_without_2 n;
  n.lead();
  n.node_2_is_back();
  n.put_halves(20);
  n.pass(2);
  EXPECT_EQ(n.seen.snapshots_wanted, 0);
}

}  // namespace
}  // namespace blixard::actors::test
