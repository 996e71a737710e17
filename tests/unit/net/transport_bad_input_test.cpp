// What strangers, broken peers and wrong addresses do to a transport: an answer or a counted close,
// and nothing else.
#include <gtest/gtest.h>

#include <map>

#include "tests/unit/net/net_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

std::string raw_header(std::uint32_t length, unsigned char version = 1) {
  auto h = encode(make_frame(frame_kind::query, priority::normal, "")->header());
  h[4] = std::byte{version};
  std::memcpy(h.data() + 8, &length, sizeof length);
  return {reinterpret_cast<const char*>(h.data()), h.size()};
}

struct bad_bytes {
  const char* name;
  std::string bytes;
  bool ends;  // the stranger ends its stream after that
  close_reason reason;
};

class stream_of : public ::testing::TestWithParam<bad_bytes> {};

TEST_P(stream_of, closes_the_connection_with_the_reason_counted) {
  loop l;
  node a{l, 1};
  stranger s{a.where};
  s.say(GetParam().bytes);
  if (GetParam().ends) s.end_writing();
  ASSERT_TRUE(run_until(l, [&] { return a.closed(GetParam().reason) == 1; }));
  EXPECT_TRUE(s.ended());
  EXPECT_TRUE(a.seen.got.empty());
  EXPECT_EQ(a.net.counters().connections.get(), 0u);
  EXPECT_EQ(a.seen.connected.size(), a.seen.disconnected.size());
}

INSTANTIATE_TEST_SUITE_P(
    transport, stream_of,
    ::testing::Values(
        bad_bytes{"garbage", std::string(64, 'G'), false, close_reason::bad_frame},
        bad_bytes{"http", "GET / HTTP/1.1\r\nHost: localhost:7001\r\n\r\n", false,
                  close_reason::bad_frame},
        bad_bytes{"another_version", raw_header(0, 9), false, close_reason::bad_frame},
        bad_bytes{"oversized_hello", raw_header(hello_max_bytes + 1), false,
                  close_reason::oversized},
        bad_bytes{"oversized_frame", client_hello() + raw_header(limits::frame_max_bytes + 1),
                  false, close_reason::oversized},
        bad_bytes{"largest_length", client_hello() + raw_header(0xffffffff), false,
                  close_reason::oversized},
        bad_bytes{"garbage_after_the_hello", client_hello() + std::string(64, '\0'), false,
                  close_reason::bad_frame},
        bad_bytes{"no_hello", wire(*make_frame(frame_kind::query, priority::normal, "x")), false,
                  close_reason::bad_handshake},
        bad_bytes{"hello_that_does_not_parse",
                  wire(*make_frame(frame_kind::hello, priority::critical, "\xff\xff\xff")), false,
                  close_reason::bad_handshake},
        bad_bytes{"second_hello", client_hello() + client_hello(), false, close_reason::bad_frame},
        bad_bytes{"end_inside_a_header", client_hello() + raw_header(5).substr(0, 9), true,
                  close_reason::truncated},
        bad_bytes{"end_inside_a_body", client_hello() + raw_header(5) + "abc", true,
                  close_reason::truncated},
        bad_bytes{"end_before_the_hello", "", true, close_reason::peer_closed},
        bad_bytes{"end_after_the_hello", client_hello(), true, close_reason::peer_closed}),
    [](const auto& p) { return p.param.name; });

// A hello that is refused is answered, so that the other side can say why.
struct refused_hello {
  const char* name;
  hello sent;
  errc expected;
};

class hello_of : public ::testing::TestWithParam<refused_hello> {};

TEST_P(hello_of, is_answered_with_the_error_and_closed) {
  loop l;
  node a{l, 1};
  stranger s{a.where};
  s.say(wire(*encode_hello(GetParam().sent)));
  s.say(wire(*make_frame(frame_kind::query, priority::normal, "not read")));
  ASSERT_TRUE(run_until(l, [&] { return s.ended(); }));
  const auto heard = s.frames();
  ASSERT_EQ(heard.size(), 1u);
  const auto answer = decode_hello(heard[0]->body().bytes());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->refusal, GetParam().expected);
  EXPECT_FALSE(answer->refusal_message.empty());
  s.vanish();
  ASSERT_TRUE(run_until(l, [&] { return a.closed(close_reason::refused) == 1; }));
  EXPECT_TRUE(a.seen.connected.empty());
  EXPECT_TRUE(a.seen.got.empty());
}

hello peer_hello(std::uint64_t node, std::uint64_t cluster, std::uint64_t expected) {
  hello h;
  h.role = peer_role::peer;
  h.node = node_id{node};
  h.cluster = cluster_id{cluster};
  h.expected_node = node_id{expected};
  return h;
}
hello client_of(std::uint64_t cluster, std::uint64_t expected) {
  hello h = peer_hello(0, cluster, expected);
  h.role = peer_role::client;
  return h;
}

INSTANTIATE_TEST_SUITE_P(
    transport, hello_of,
    ::testing::Values(
        refused_hello{"a_peer_of_another_cluster", peer_hello(2, 78, 1), errc::permission_denied},
        refused_hello{"a_client_of_another_cluster", client_of(78, 0), errc::permission_denied},
        refused_hello{"a_peer_that_means_another_node", peer_hello(2, 77, 3), errc::not_found},
        refused_hello{"a_client_that_means_another_node", client_of(0, 3), errc::not_found},
        refused_hello{"a_peer_without_an_id", peer_hello(0, 77, 1), errc::invalid_argument},
        refused_hello{"a_peer_with_our_id", peer_hello(1, 77, 1), errc::invalid_argument}),
    [](const auto& p) { return p.param.name; });

TEST(transport, a_peer_that_refuses_us_is_reported_once_and_tried_again_slowly) {
  loop l;
  node a{l, 1};
  auto c = quick_config(node_id{2});
  c.cluster = cluster_id{78};
  node b{l, c};
  a.net.set_peer(node_id{2}, b.where);
  ASSERT_TRUE(run_until(l, [&] { return a.closed(close_reason::refused) >= 3; }));
  ASSERT_EQ(a.seen.refusals.size(), 1u);
  EXPECT_EQ(a.seen.refusals[0].code, errc::permission_denied);
  EXPECT_FALSE(a.net.connected(node_id{2}));
  EXPECT_TRUE(a.seen.connected.empty());
  EXPECT_TRUE(b.seen.connected.empty());
}

TEST(transport, a_dialled_address_of_the_wrong_node_is_refused) {
  loop l;
  node a{l, 1};
  node b{l, 2};
  a.net.set_peer(node_id{3}, b.where);
  ASSERT_TRUE(run_until(l, [&] { return !a.seen.refusals.empty(); }));
  EXPECT_EQ(a.seen.refusals[0].code, errc::not_found);
  EXPECT_FALSE(a.net.connected(node_id{3}));
}

TEST(transport, a_port_in_use_is_an_error_that_names_the_address) {
  loop l;
  node a{l, 1};
  routing::buffer_pool pool;
  recorder seen;
  auto c = quick_config(node_id{2});
  c.bind = a.where;
  transport second{l, pool, seen, c};
  const auto result = second.listen();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, errc::unavailable);
  EXPECT_NE(result.error().message.find(a.where.to_string()), std::string::npos);
  EXPECT_FALSE(result.error().hint.empty());
}

TEST(transport, silence_instead_of_a_hello_ends_at_the_deadline) {
  loop l;
  auto c = quick_config(node_id{1});
  c.handshake_timeout_ms = 20;
  node a{l, c};
  stranger s{a.where};
  ASSERT_TRUE(run_until(l, [&] { return s.ended(); }));
  EXPECT_EQ(a.closed(close_reason::handshake_timeout), 1u);
}

TEST(transport, a_peer_that_answers_no_pings_is_dropped_and_dialled_again) {
  loop l;
  auto c = quick_config(node_id{1});
  c.ping_timeout_ms = 40;
  node a{l, c};
  // A listener that greets as node 2 and is silent ever after.
  auto listener = listen_on(address::loopback(0));
  ASSERT_TRUE(listener);
  a.net.set_peer(node_id{2}, local_endpoint(listener->get()));
  std::vector<accepted> mute;
  ASSERT_TRUE(run_until(l, [&] {
    if (auto next = accept_one(listener->get())) {
      const auto greeting = wire(*encode_hello(peer_hello(2, 77, 0)));
      EXPECT_GT(::send(next->fd.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL), 0);
      mute.push_back(std::move(*next));
    }
    return a.closed(close_reason::unresponsive) >= 1 && mute.size() >= 2;
  }));
  EXPECT_EQ(a.seen.disconnected.at(0).second, close_reason::unresponsive);
}

TEST(transport, clients_above_the_bound_are_told_so) {
  loop l;
  auto c = quick_config(node_id{1});
  c.clients_max = 2;
  node a{l, c};
  stranger first{a.where}, second{a.where};
  first.say(client_hello());
  second.say(client_hello());
  ASSERT_TRUE(run_until(l, [&] { return a.seen.connected.size() == 2; }));
  stranger third{a.where};
  third.say(client_hello());
  ASSERT_TRUE(run_until(l, [&] { return third.ended(); }));
  ASSERT_EQ(third.frames().size(), 1u);
  EXPECT_EQ(decode_hello(third.frames()[0]->body().bytes())->refusal, errc::overloaded);
  first.vanish();
  third.vanish();
  ASSERT_TRUE(run_until(l, [&] { return !a.seen.disconnected.empty(); }));
  stranger fourth{a.where};
  fourth.say(client_hello());
  EXPECT_TRUE(run_until(l, [&] { return a.seen.connected.size() == 3; }));
}

TEST(transport, a_client_that_ends_its_stream_still_gets_the_answers_it_asked_for) {
  loop l;
  node a{l, 1};
  stranger s{a.where};
  s.say(client_hello());
  s.say(wire(*make_frame(frame_kind::query, priority::normal, "one", request_id{1})));
  s.say(wire(*make_frame(frame_kind::query, priority::normal, "two", request_id{2})));
  s.end_writing();
  ASSERT_TRUE(run_until(l, [&] { return a.seen.got.size() == 2; }));
  run_for(l, 30 * ms);
  ASSERT_TRUE(a.seen.disconnected.empty());
  const auto id = a.seen.got[0].from.id;
  for (const auto& r : a.seen.got)
    EXPECT_TRUE(a.net.send(
        id, make_frame(frame_kind::answer, priority::normal, r.f->body(), r.f->header().request)));
  ASSERT_TRUE(run_until(l, [&] { return s.ended(); }));
  ASSERT_EQ(s.frames().size(), 3u);
  EXPECT_EQ(s.frames()[1]->body().text(), "one");
  EXPECT_EQ(s.frames()[2]->body().text(), "two");
  ASSERT_EQ(a.seen.disconnected.size(), 1u);
  EXPECT_EQ(a.seen.disconnected[0].second, close_reason::peer_closed);
  EXPECT_FALSE(a.net.send(id, make_frame(frame_kind::answer, priority::normal, "late")));
}

TEST(transport, a_client_that_disappears_with_requests_open_is_reported_once_an_answer_fails) {
  loop l;
  node a{l, 1};
  stranger s{a.where};
  s.say(client_hello());
  s.say(wire(*make_frame(frame_kind::query, priority::normal, "one", request_id{1})));
  ASSERT_TRUE(run_until(l, [&] { return a.seen.got.size() == 1; }));
  s.vanish();
  const auto id = a.seen.got[0].from.id;
  (void)a.net.send(id, make_frame(frame_kind::answer, priority::normal, pattern(100'000)));
  ASSERT_TRUE(run_until(l, [&] { return a.seen.disconnected.size() == 1; }));
  EXPECT_FALSE(a.net.info(id));
  EXPECT_FALSE(a.net.send(id, make_frame(frame_kind::answer, priority::normal, "late")));
}

TEST(transport, a_client_that_never_reads_is_closed_at_the_bound) {
  loop l;
  auto c = quick_config(node_id{1});
  c.send_queue_max_bytes = 4 * limits::MiB;
  node a{l, c};
  stranger s{a.where};
  s.say(client_hello());
  ASSERT_TRUE(run_until(l, [&] { return a.seen.connected.size() == 1; }));
  const auto id = a.seen.connected[0].id;
  const auto answer = make_frame(frame_kind::answer, priority::normal, pattern(100'000));
  std::uint64_t most = 0;
  ASSERT_TRUE(run_until(l, [&] {
    for (int i = 0; i < 8 && a.net.send(id, answer); ++i) {
    }
    most = std::max(most, a.net.counters().of(priority::normal).queued_bytes.get());
    return a.seen.disconnected.size() == 1;
  }));
  EXPECT_EQ(a.seen.disconnected[0].second, close_reason::send_queue_full);
  EXPECT_LE(most, 4 * limits::MiB);
  EXPECT_EQ(a.net.counters().of(priority::normal).queued_bytes.get(), 0u);
}

TEST(transport, frames_to_a_peer_that_never_reads_are_refused_at_the_bound_and_it_stays) {
  loop l;
  auto c = quick_config(node_id{1});
  c.send_queue_max_bytes = 4 * limits::MiB;
  c.ping_timeout_ms = 60'000;
  node a{l, c};
  auto listener = listen_on(address::loopback(0));
  ASSERT_TRUE(listener);
  a.net.set_peer(node_id{2}, local_endpoint(listener->get()));
  std::vector<accepted> mute;
  ASSERT_TRUE(run_until(l, [&] {
    if (auto next = accept_one(listener->get())) {
      const auto greeting = wire(*encode_hello(peer_hello(2, 77, 0)));
      EXPECT_GT(::send(next->fd.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL), 0);
      mute.push_back(std::move(*next));
    }
    return a.net.connected(node_id{2});
  }));
  const auto f = make_frame(frame_kind::raft, priority::high, pattern(100'000));
  std::map<bool, int> results;
  ASSERT_TRUE(run_until(l, [&] {
    for (int i = 0; i < 8; ++i) ++results[a.net.send_to(node_id{2}, channel::main, f)];
    return results[false] > 100;
  }));
  EXPECT_TRUE(a.net.connected(node_id{2}));
  EXPECT_LE(a.net.counters().of(priority::high).queued_bytes.get(), 4 * limits::MiB);
  EXPECT_EQ(a.net.counters().of(priority::high).dropped_frames.get(),
            static_cast<std::uint64_t>(results[false]));
  // The lower class found its end; the urgent one still has room.
  EXPECT_TRUE(a.net.send_to(node_id{2}, channel::main,
                            make_frame(frame_kind::raft, priority::critical, "vote")));
}

TEST(transport, closing_from_inside_a_handler_is_safe) {
  loop l;
  node a{l, 1};
  a.seen.on_each = [&](const connection_info& from, const frame_ptr&) { a.net.close(from.id); };
  stranger s{a.where};
  s.say(client_hello());
  for (int i = 0; i < 3; ++i)
    s.say(wire(*make_frame(frame_kind::query, priority::normal, "bye", request_id{1})));
  ASSERT_TRUE(run_until(l, [&] { return s.ended(); }));
  ASSERT_EQ(a.seen.disconnected.size(), 1u);
  EXPECT_EQ(a.seen.disconnected[0].second, close_reason::local);
}

TEST(transport, a_connection_id_is_never_used_twice) {
  loop l;
  node a{l, 1};
  std::vector<connection_id> ids;
  for (int i = 0; i < 5; ++i) {
    stranger s{a.where};
    s.say(client_hello());
    const auto before = a.seen.disconnected.size();
    ASSERT_TRUE(run_until(l, [&] { return a.seen.connected.size() == before + 1; }));
    ids.push_back(a.seen.connected.back().id);
    s.vanish();
    ASSERT_TRUE(run_until(l, [&] { return a.seen.disconnected.size() == before + 1; }));
  }
  std::ranges::sort(ids);
  EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
}

}  // namespace
}  // namespace blixard::net
