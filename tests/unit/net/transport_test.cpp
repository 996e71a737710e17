// Whole transports on loopback, driven by one loop on the test's thread.
#include <gtest/gtest.h>

#include "tests/unit/net/net_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

struct two_nodes {
  std::uint32_t ping_interval_ms = 20;
  loop l{};
  node a{l, config(1)};
  node b{l, config(2)};
  [[nodiscard]] transport_config config(std::uint64_t id) const {
    auto c = quick_config(node_id{id});
    c.ping_interval_ms = ping_interval_ms;
    return c;
  }
  void meet() {
    a.net.set_peer(node_id{2}, b.where);
    b.net.set_peer(node_id{1}, a.where);
    ASSERT_TRUE(
        run_until(l, [&] { return a.net.connected(node_id{2}) && b.net.connected(node_id{1}); }));
  }
};

TEST(transport, peers_find_each_other_and_exchange_frames) {
  two_nodes t;
  t.meet();
  ASSERT_TRUE(t.a.net.send_to(node_id{2}, channel::main,
                              make_frame(frame_kind::raft, priority::critical, "vote")));
  ASSERT_TRUE(t.b.net.send_to(node_id{1}, channel::main,
                              make_frame(frame_kind::raft, priority::critical, "granted")));
  ASSERT_TRUE(run_until(t.l, [&] { return t.a.seen.got.size() == 1 && t.b.seen.got.size() == 1; }));
  EXPECT_EQ(t.b.seen.got[0].f->body().text(), "vote");
  EXPECT_EQ(t.b.seen.got[0].from.node, node_id{1});
  EXPECT_EQ(t.b.seen.got[0].from.role, peer_role::peer);
  EXPECT_FALSE(t.b.seen.got[0].from.outgoing);
  EXPECT_EQ(t.a.seen.got[0].f->body().text(), "granted");
}

TEST(transport, an_answer_goes_back_to_the_client_that_asked) {
  loop l;
  node a{l, 1};
  a.seen.on_each = [&](const connection_info& from, const frame_ptr& f) {
    ASSERT_TRUE(a.net.send(
        from.id, make_frame(frame_kind::answer, priority::normal, f->body(), f->header().request)));
  };
  stranger client{a.where};
  client.say(client_hello());
  client.say(wire(*make_frame(frame_kind::query, priority::normal, "ping?", request_id{41})));
  ASSERT_TRUE(run_until(l, [&] { return client.frames().size() == 2; }));
  const auto heard = client.frames();
  EXPECT_EQ(heard[0]->header().kind, frame_kind::hello);
  const auto theirs = decode_hello(heard[0]->body().bytes());
  ASSERT_TRUE(theirs);
  EXPECT_EQ(theirs->node, node_id{1});
  EXPECT_EQ(theirs->cluster, cluster_id{77});
  EXPECT_EQ(theirs->refusal, errc::ok);
  EXPECT_EQ(heard[1]->header().request, request_id{41});
  EXPECT_EQ(heard[1]->body().text(), "ping?");
}

TEST(transport, all_frames_of_one_read_come_in_one_call) {
  two_nodes t{.ping_interval_ms = 60'000};
  t.meet();
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(t.a.net.send_to(node_id{2}, channel::main,
                                make_frame(frame_kind::raft, priority::high, pattern(100))));
  const auto writes = t.a.net.counters().writes.get();
  ASSERT_TRUE(run_until(t.l, [&] { return t.b.seen.got.size() == 50; }));
  EXPECT_EQ(t.b.seen.calls, 1);
  EXPECT_EQ(t.a.net.counters().writes.get(), writes + 1);
}

TEST(transport, bulk_has_its_own_connection_dialled_by_the_first_frame) {
  two_nodes t;
  t.meet();
  const auto dialled = t.a.net.counters().dialled.get();
  ASSERT_TRUE(t.a.net.send_to(node_id{2}, channel::bulk,
                              make_frame(frame_kind::raft, priority::low, pattern(300'000))));
  ASSERT_TRUE(run_until(t.l, [&] { return t.b.seen.got.size() == 1; }));
  EXPECT_EQ(t.b.seen.got[0].from.chan, channel::bulk);
  EXPECT_EQ(t.b.seen.got[0].f->body().text(), pattern(300'000));
  EXPECT_EQ(t.a.net.counters().dialled.get(), dialled + 1);
}

TEST(transport, an_idle_bulk_connection_is_closed_and_comes_back_when_needed) {
  loop l;
  auto c = quick_config(node_id{1});
  c.bulk_idle_ms = 30;
  node a{l, c};
  node b{l, 2};
  a.net.set_peer(node_id{2}, b.where);
  ASSERT_TRUE(run_until(l, [&] { return a.net.connected(node_id{2}); }));
  const auto f = make_frame(frame_kind::raft, priority::low, "chunk");
  ASSERT_TRUE(a.net.send_to(node_id{2}, channel::bulk, f));
  ASSERT_TRUE(run_until(l, [&] { return a.closed(close_reason::idle) == 1; }));
  EXPECT_TRUE(a.net.connected(node_id{2}));
  ASSERT_TRUE(a.net.send_to(node_id{2}, channel::bulk, f));
  ASSERT_TRUE(run_until(l, [&] { return b.seen.got.size() == 2; }));
}

TEST(transport, a_lost_connection_is_dialled_again) {
  two_nodes t;
  t.meet();
  t.b.net.close(t.b.seen.connected.back().id);
  for (const auto& c : t.b.seen.connected) t.b.net.close(c.id);
  ASSERT_TRUE(run_until(t.l, [&] { return !t.a.net.connected(node_id{2}); }));
  ASSERT_TRUE(run_until(
      t.l, [&] { return t.a.net.connected(node_id{2}) && t.b.net.connected(node_id{1}); }));
  EXPECT_TRUE(t.a.seen.unreachable.empty()) << "it was lost, which is another matter";
}

TEST(transport, a_peer_that_starts_later_is_found) {
  loop l;
  node a{l, 1};
  auto later = std::make_unique<node>(l, 2);
  const auto where = later->where;
  later.reset();
  a.net.set_peer(node_id{2}, where);
  ASSERT_TRUE(run_until(l, [&] { return a.closed(close_reason::connect_failed) >= 3; }));
  ASSERT_EQ(a.seen.unreachable.size(), 1u) << "told once, not at every attempt";
  EXPECT_EQ(a.seen.unreachable[0], (std::pair{node_id{2}, where}));
  EXPECT_FALSE(
      a.net.send_to(node_id{2}, channel::main, make_frame(frame_kind::raft, priority::high, "x")) &&
      a.net.connected(node_id{2}));
  auto c = quick_config(node_id{2});
  c.bind = where;
  node b{l, c};
  ASSERT_TRUE(run_until(l, [&] { return a.net.connected(node_id{2}); }));
}

TEST(transport, a_moved_peer_is_dialled_at_its_new_address) {
  two_nodes t;
  t.meet();
  node moved{t.l, 2};
  t.a.net.set_peer(node_id{2}, moved.where);
  ASSERT_TRUE(run_until(t.l, [&] { return t.a.net.connected(node_id{2}); }));
  EXPECT_EQ(t.a.net.status(node_id{2})->where, moved.where);
  ASSERT_TRUE(t.a.net.send_to(node_id{2}, channel::main,
                              make_frame(frame_kind::raft, priority::high, "here")));
  ASSERT_TRUE(run_until(t.l, [&] { return moved.seen.got.size() == 1; }));
}

TEST(transport, a_dial_override_beats_the_known_address_and_survives_removal) {
  loop l;
  node a{l, 1};
  node proxy{l, 2};
  node real{l, 2};
  a.net.set_dial_override(node_id{2}, proxy.where);
  a.net.set_peer(node_id{2}, real.where);
  ASSERT_TRUE(run_until(l, [&] { return a.net.connected(node_id{2}); }));
  EXPECT_EQ(proxy.seen.connected.size(), 1u);
  a.net.remove_peer(node_id{2});
  EXPECT_FALSE(a.net.connected(node_id{2}));
  EXPECT_FALSE(a.net.status(node_id{2}));
  a.net.set_peer(node_id{2}, real.where);
  ASSERT_TRUE(run_until(l, [&] { return a.net.connected(node_id{2}); }));
  EXPECT_EQ(proxy.seen.connected.size(), 2u);
  EXPECT_TRUE(real.seen.connected.empty());
}

TEST(transport, a_removed_peer_takes_no_frames_and_is_not_dialled_again) {
  two_nodes t;
  t.meet();
  t.a.net.remove_peer(node_id{2});
  const auto dialled = t.a.net.counters().dialled.get();
  EXPECT_FALSE(t.a.net.send_to(node_id{2}, channel::main,
                               make_frame(frame_kind::raft, priority::high, "x")));
  EXPECT_EQ(t.a.net.counters().of(priority::high).dropped_frames.get(), 1u);
  run_for(t.l, 60 * ms);
  EXPECT_EQ(t.a.net.counters().dialled.get(), dialled);
  ASSERT_FALSE(t.a.seen.disconnected.empty());
  EXPECT_EQ(t.a.seen.disconnected[0].second, close_reason::replaced);
}

TEST(transport, pings_measure_the_round_trip_and_stay_out_of_the_handlers_sight) {
  two_nodes t;
  t.meet();
  const auto before = t.a.net.counters().of(priority::critical).received_frames.get();
  ASSERT_TRUE(run_until(t.l, [&] {
    return t.a.net.counters().of(priority::critical).received_frames.get() >= before + 4;
  }));
  const auto s = t.a.net.status(node_id{2});
  ASSERT_TRUE(s);
  EXPECT_TRUE(s->connected);
  EXPECT_GT(s->rtt_us, 0u);
  EXPECT_EQ(t.a.seen.calls + t.b.seen.calls, 0);
}

TEST(transport, a_cluster_id_learnt_later_is_told_from_then_on) {
  loop l;
  auto c = quick_config(node_id{1});
  c.cluster = cluster_id{};
  node joining{l, c};
  node b{l, 2};
  joining.net.set_peer(node_id{2}, b.where);
  ASSERT_TRUE(run_until(l, [&] { return joining.net.connected(node_id{2}); }));
  joining.net.set_cluster(cluster_id{77});
  stranger other{joining.where};
  other.say(client_hello(cluster_id{78}));
  ASSERT_TRUE(run_until(l, [&] { return other.frames().size() == 1; }));
  EXPECT_EQ(decode_hello(other.frames()[0]->body().bytes())->refusal, errc::permission_denied);
  EXPECT_TRUE(joining.net.connected(node_id{2}));
}

TEST(transport, shutdown_sends_what_is_queued_and_tells_when_it_is_done) {
  two_nodes t;
  t.meet();
  const auto body = pattern(3'000'000);
  ASSERT_TRUE(t.a.net.send_to(node_id{2}, channel::main,
                              make_frame(frame_kind::raft, priority::high, body)));
  bool done = false;
  t.a.net.shutdown(10'000, [&] { done = true; });
  ASSERT_TRUE(run_until(t.l, [&] { return done; }));
  ASSERT_EQ(t.b.seen.got.size(), 1u);
  EXPECT_EQ(t.b.seen.got[0].f->body().text(), body);
  EXPECT_EQ(t.a.net.counters().connections.get(), 0u);
}

TEST(transport, shutdown_waits_for_a_silent_client_no_longer_than_it_lingers) {
  loop l;
  node a{l, 1};
  stranger client{a.where};
  client.say(client_hello());
  ASSERT_TRUE(run_until(l, [&] { return !a.seen.connected.empty(); }));
  bool done = false;
  a.net.shutdown(20, [&] { done = true; });
  EXPECT_TRUE(run_until(l, [&] { return done; }));
}

TEST(transport, one_attempt_at_a_time_per_channel) {
  loop l;
  node a{l, 1};
  node b{l, 2};
  a.net.set_peer(node_id{2}, b.where);
  for (int i = 0; i < 100; ++i)
    (void)a.net.send_to(node_id{2}, i % 2 == 0 ? channel::bulk : channel::main,
                        make_frame(frame_kind::raft, priority::low, "x"));
  EXPECT_EQ(a.net.counters().dialled.get(), 2u);
  ASSERT_TRUE(run_until(l, [&] { return b.seen.got.size() == 100; }));
  EXPECT_EQ(a.net.counters().dialled.get(), 2u);
}

}  // namespace
}  // namespace blixard::net
