// Who is let in when many want to: each kind of connection has a bound of its own.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/unit/net/net_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

std::string peer_hello(std::uint64_t id, channel chan = channel::main) {
  hello h;
  h.role = peer_role::peer;
  h.chan = chan;
  h.cluster = cluster_id{77};
  h.node = node_id{id};
  return wire(*encode_hello(h));
}

/// What its hello was answered with; not_found: with nothing yet.
errc answer_to(stranger& s) {
  const auto frames = s.frames();
  return frames.empty() ? errc::not_found : decode_hello(frames[0]->body().bytes())->refusal;
}

/// A node that takes two clients, and has node 2 for a member.
struct small_node : node {
  explicit small_node(loop& l) : node(l, config()) {
    net.set_peer(node_id{2}, address::loopback(1));  // nobody is there
  }
  static transport_config config() {
    auto c = quick_config(node_id{1});
    c.clients_max = 2;
    return c;
  }
  stranger& comes(const std::string& greeting) {
    guests.push_back(std::make_unique<stranger>(where));
    guests.back()->say(greeting);
    return *guests.back();
  }
  /// Comes and waits for what becomes of it.
  errc comes_and_hears(const std::string& greeting) {
    auto& s = comes(greeting);
    EXPECT_TRUE(run_until(io, [&] { return answer_to(s) != errc::not_found || s.ended(); }));
    return answer_to(s);
  }
  std::vector<std::unique_ptr<stranger>> guests;
};

TEST(transport_bounds, as_many_clients_as_there_may_be_keep_no_member_out) {
  loop l;
  small_node a{l};
  for (int i = 0; i < 2; ++i) EXPECT_EQ(a.comes_and_hears(client_hello()), errc::ok);
  EXPECT_EQ(a.comes_and_hears(client_hello()), errc::overloaded);
  EXPECT_EQ(a.comes_and_hears(peer_hello(2)), errc::ok);
  EXPECT_EQ(a.comes_and_hears(peer_hello(2, channel::bulk)), errc::ok);
  EXPECT_EQ(a.comes_and_hears(peer_hello(9)), errc::ok) << "one that joins is not known yet";
  EXPECT_EQ(a.net.counters().clients.get(), 2u);
}

TEST(transport_bounds, peers_take_no_clients_place) {
  loop l;
  small_node a{l};
  for (std::uint64_t id = 2; id < 12; ++id) EXPECT_EQ(a.comes_and_hears(peer_hello(id)), errc::ok);
  EXPECT_EQ(a.comes_and_hears(client_hello()), errc::ok);
}

TEST(transport_bounds, those_that_say_nothing_make_room_the_oldest_first) {
  loop l;
  small_node a{l};
  for (int i = 0; i < 16; ++i) a.comes("");
  ASSERT_TRUE(run_until(l, [&] { return a.net.counters().accepted.get() == 16; }));
  EXPECT_EQ(a.closed(close_reason::crowded_out), 0u);
  EXPECT_EQ(a.comes_and_hears(peer_hello(2)), errc::ok);
  EXPECT_EQ(a.closed(close_reason::crowded_out), 1u);
  ASSERT_TRUE(run_until(l, [&] { return a.guests[0]->ended(); }));
  EXPECT_FALSE(a.guests[1]->ended());
  a.guests[1]->say(client_hello());
  EXPECT_TRUE(run_until(l, [&] { return answer_to(*a.guests[1]) == errc::ok; }));
}

TEST(transport_bounds, refused_ones_that_do_not_leave_do_not_pile_up) {
  loop l;
  small_node a{l};
  for (int i = 0; i < 2; ++i) EXPECT_EQ(a.comes_and_hears(client_hello()), errc::ok);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(a.comes_and_hears(client_hello()), errc::overloaded);
  auto& s = a.comes(client_hello());
  ASSERT_TRUE(run_until(l, [&] { return s.ended(); }));
  EXPECT_TRUE(s.frames().empty()) << "closed without a word";
  EXPECT_EQ(a.comes_and_hears(peer_hello(2)), errc::ok);
  a.guests[2]->vanish();
  ASSERT_TRUE(run_until(l, [&] { return a.closed(close_reason::refused) == 2; }));
  EXPECT_EQ(a.comes_and_hears(client_hello()), errc::overloaded);
}

TEST(transport_bounds, a_member_has_two_connections_per_channel_and_a_third_closes_the_oldest) {
  loop l;
  small_node a{l};
  EXPECT_EQ(a.comes_and_hears(peer_hello(2, channel::bulk)), errc::ok);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(a.comes_and_hears(peer_hello(2)), errc::ok);
  EXPECT_EQ(a.closed(close_reason::replaced), 0u);
  EXPECT_EQ(a.comes_and_hears(peer_hello(2)), errc::ok);
  EXPECT_EQ(a.closed(close_reason::replaced), 1u);
  EXPECT_FALSE(a.guests[0]->ended()) << "another channel";
  EXPECT_TRUE(a.guests[1]->ended());
  EXPECT_FALSE(a.guests[2]->ended());
}

TEST(transport_bounds, peers_that_are_no_members_are_few_and_keep_no_member_out) {
  loop l;
  small_node a{l};
  for (std::uint64_t i = 0; i < 64; ++i)
    EXPECT_EQ(a.comes_and_hears(peer_hello(100 + i)), errc::ok);
  EXPECT_EQ(a.comes_and_hears(peer_hello(200)), errc::overloaded);
  EXPECT_EQ(a.comes_and_hears(peer_hello(2)), errc::ok);
  a.net.set_peer(node_id{100}, address::loopback(1));
  EXPECT_EQ(a.comes_and_hears(peer_hello(200)), errc::ok) << "one of them is a member now";
}

std::string half_a_request(std::size_t size) {
  return wire(*make_frame(frame_kind::command, priority::normal, pattern(size), request_id{1}))
      .substr(0, size / 2);
}

TEST(transport_bounds, half_a_frame_of_a_client_has_a_deadline_and_that_of_a_peer_has_none) {
  loop l;
  auto c = quick_config(node_id{1});
  c.frame_timeout_ms = 60;
  node a{l, c};
  stranger client{a.where}, peer{a.where}, idle{a.where};
  peer.say(peer_hello(2) + half_a_request(1000));
  idle.say(client_hello());
  client.say(client_hello() + half_a_request(1000));
  ASSERT_TRUE(run_until(l, [&] { return client.ended(); }));
  EXPECT_EQ(a.closed(close_reason::frame_timeout), 1u);
  run_for(l, 100 * ms);
  EXPECT_FALSE(peer.ended());
  EXPECT_FALSE(idle.ended());
}

TEST(transport_bounds, a_hello_in_two_parts_needs_none_of_the_memory_that_clients_share) {
  loop l;
  routing::inbound_budget budget{limits::MiB};
  auto c = quick_config(node_id{1});
  c.inbound = &budget;
  node a{l, c};
  ASSERT_TRUE(budget.take(routing::inbound_use::half_frames, limits::MiB / 2));
  stranger peer{a.where};
  const auto greeting = peer_hello(2);
  peer.say(greeting.substr(0, greeting.size() - 3));
  run_for(l, 20 * ms);
  peer.say(greeting.substr(greeting.size() - 3));
  ASSERT_TRUE(run_until(l, [&] { return answer_to(peer) != errc::not_found || peer.ended(); }));
  EXPECT_EQ(answer_to(peer), errc::ok);
}

TEST(transport_bounds,
     without_memory_for_half_a_frame_the_handler_is_told_so_and_peers_are_served) {
  loop l;
  routing::inbound_budget budget{limits::MiB};
  auto c = quick_config(node_id{1});
  c.inbound = &budget;
  {
    node a{l, c};
    ASSERT_TRUE(budget.take(routing::inbound_use::half_frames, limits::MiB / 2));
    stranger client{a.where}, peer{a.where};
    client.say(client_hello());
    peer.say(peer_hello(2));
    ASSERT_TRUE(run_until(l, [&] { return a.seen.connected.size() == 2; }));
    const auto bytes =
        wire(*make_frame(frame_kind::command, priority::normal, pattern(3000), request_id{7}));
    for (auto* s : {&client, &peer}) s->say(bytes.substr(0, 1000));
    run_for(l, 20 * ms);
    for (auto* s : {&client, &peer}) s->say(bytes.substr(1000));
    ASSERT_TRUE(run_until(l, [&] { return a.seen.got.size() == 2; }));
    for (const auto& r : a.seen.got) {
      const bool of_client = r.from.role == peer_role::client;
      EXPECT_EQ(r.f->header().flags, of_client ? frame_shed : 0);
      EXPECT_EQ(r.f->header().request, request_id{7});
      EXPECT_EQ(r.f->body().size(), of_client ? 0u : 3000u);
    }
    EXPECT_EQ(budget.refused(routing::inbound_use::half_frames).get(), 1u);
    budget.give_back(routing::inbound_use::half_frames, limits::MiB / 2);
    client.say(bytes.substr(0, 1000));
    ASSERT_TRUE(run_until(
        l, [&] { return budget.bytes(routing::inbound_use::half_frames).get() == 3000; }));
  }
  EXPECT_EQ(budget.bytes(routing::inbound_use::half_frames).get(), 0u);
}

TEST(transport_bounds, many_clients_that_do_not_read_stay_within_the_bound_for_all_queues) {
  loop l;
  auto c = quick_config(node_id{1});
  c.send_total_max_bytes = 8 * limits::MiB;
  node a{l, c};
  std::vector<std::unique_ptr<stranger>> mute;
  for (int i = 0; i < 20; ++i) {
    mute.push_back(std::make_unique<stranger>(a.where));
    mute.back()->say(client_hello());
  }
  ASSERT_TRUE(run_until(l, [&] { return a.seen.connected.size() == 20; }));
  // None of them ever has 1 MiB waiting; together they would have 19.
  const auto answer = make_frame(frame_kind::answer, priority::normal, pattern(50'000));
  std::uint64_t most = 0;
  for (int round = 0; round < 19; ++round)
    for (const auto& client : a.seen.connected) {
      (void)a.net.send(client.id, answer);
      most = std::max(most, a.net.counters().of(priority::normal).queued_bytes.get());
    }
  EXPECT_LE(most, 8 * limits::MiB + answer->wire_size());
  EXPECT_GT(most, 3 * limits::MiB);
  ASSERT_TRUE(run_until(l, [&] { return a.closed(close_reason::send_queue_full) > 0; }));
}

}  // namespace
}  // namespace blixard::net
