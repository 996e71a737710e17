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

}  // namespace
}  // namespace blixard::net
