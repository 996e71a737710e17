// Whole transports with mutual TLS: who gets through, who does not and what both are told; that
// what is urgent still overtakes.
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "tests/unit/net/net_fixture.hpp"
#include "tests/unit/net/tls_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

transport_config with_tls(int id, std::shared_ptr<tls_credentials> tls) {
  auto c = quick_config(node_id{static_cast<std::uint64_t>(id)});
  c.tls = std::move(tls);
  return c;
}

std::uint64_t tls_failures(const node& n, tls_failure why) {
  return n.net.counters().tls_failures[static_cast<std::size_t>(why)].get();
}

struct cluster {
  authority ca;
  loop io;
  node one{io, with_tls(1, credentials_of(ca, ca.node(1)))};
  node two{io, with_tls(2, credentials_of(ca, ca.node(2)))};

  void meet() {
    one.net.set_peer(node_id{2}, two.where);
    two.net.set_peer(node_id{1}, one.where);
    ASSERT_TRUE(run_until(
        io, [this] { return one.net.connected(node_id{2}) && two.net.connected(node_id{1}); }));
  }
};

TEST(tls_transport, two_nodes_meet_and_frames_pass_both_ways) {
  cluster c;
  c.meet();
  const auto body = pattern(100);
  ASSERT_TRUE(c.one.net.send_to(node_id{2}, channel::main,
                                make_frame(frame_kind::raft, priority::critical, body)));
  ASSERT_TRUE(c.two.net.send_to(node_id{1}, channel::main,
                                make_frame(frame_kind::raft, priority::high, body)));
  ASSERT_TRUE(
      run_until(c.io, [&] { return c.one.seen.got.size() == 1 && c.two.seen.got.size() == 1; }));
  EXPECT_EQ(c.two.seen.got[0].f->body().text(), body);
  EXPECT_EQ(c.two.seen.got[0].from.node, node_id{1});
  EXPECT_GT(c.one.net.status(node_id{2})->rtt_us, 0u) << "pings pass, too";
}

TEST(tls_transport, large_frames_on_both_channels_arrive_whole) {
  cluster c;
  c.meet();
  std::vector<std::string> bodies;
  for (const std::size_t size : {70'000U, 16'384U, 1'048'577U, 4'000'000U, 513U})
    bodies.push_back(pattern(size, static_cast<unsigned>(size)));
  for (const auto chan : {channel::main, channel::bulk})
    for (const auto& b : bodies)
      ASSERT_TRUE(
          c.one.net.send_to(node_id{2}, chan, make_frame(frame_kind::raft, priority::high, b)));
  ASSERT_TRUE(run_until(c.io, [&] { return c.two.seen.got.size() == 2 * bodies.size(); }));
  std::map<channel, std::size_t> at;
  for (const auto& got : c.two.seen.got)
    EXPECT_TRUE(got.f->body().text() == bodies[at[got.from.chan]++]);
}

TEST(tls_transport, a_critical_frame_overtakes_what_neither_tls_nor_the_kernel_has_taken) {
  cluster c;
  c.meet();
  const auto body = pattern(100'000);
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(c.one.net.send_to(node_id{2}, channel::main,
                                  make_frame(frame_kind::raft, priority::high, body)));
  bool asked = false;
  c.two.seen.on_each = [&](const connection_info&, const frame_ptr&) {
    if (std::exchange(asked, true)) return;
    ASSERT_TRUE(c.one.net.send_to(node_id{2}, channel::main,
                                  make_frame(frame_kind::raft, priority::critical, "urgent")));
  };
  ASSERT_TRUE(run_until(c.io, [&] { return c.two.seen.got.size() == 201; }));
  const auto urgent = std::ranges::find_if(c.two.seen.got, [](const recorder::received& r) {
    return r.f->header().cls == priority::critical;
  });
  EXPECT_LT(urgent - c.two.seen.got.begin(), 150);
  EXPECT_EQ(c.one.net.status(node_id{2})->queued_bytes, 0u);
}

TEST(tls_transport, an_orderly_end_is_told_apart_from_a_vanished_peer) {
  cluster c;
  c.meet();
  bool ended = false;
  c.one.net.shutdown(1000, [&] { ended = true; });
  ASSERT_TRUE(run_until(c.io, [&] { return ended && !c.two.seen.disconnected.empty(); }));
  EXPECT_EQ(c.two.closed(close_reason::truncated), 0u);
  EXPECT_GE(c.two.closed(close_reason::peer_closed), 1u);
}

// ---------------------------------------------------------------- who does not get through

/// A dialler and a listener that must not meet; both reports are in.
struct quarrel {
  quarrel(std::shared_ptr<tls_credentials> dialler_has,
          std::shared_ptr<tls_credentials> listener_has)
      : dialler(io, with_tls(1, std::move(dialler_has))),
        listener(io, with_tls(2, std::move(listener_has))) {
    dialler.net.set_peer(node_id{2}, listener.where);
    EXPECT_TRUE(run_until(io, [this] { return !dialler.seen.refusals.empty(); }));
    run_for(io, 50 * ms);
    EXPECT_TRUE(dialler.seen.connected.empty());
    EXPECT_TRUE(listener.seen.connected.empty());
  }
  [[nodiscard]] std::string dialler_hears() const { return dialler.seen.refusals[0].message; }
  [[nodiscard]] std::string listener_tells() const {
    return listener.seen.strangers.empty() ? "" : listener.seen.strangers[0].message;
  }
  loop io;
  node dialler, listener;
};

void expect_in(const std::string& text, const char* part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" without \"" << part << "\"";
}

TEST(tls_transport, the_node_that_answers_must_be_the_one_that_was_dialled) {
  const authority ca;
  const quarrel q(credentials_of(ca, ca.node(1)), credentials_of(ca, ca.node(3)));
  expect_in(q.dialler_hears(), "certificate of node 3 where node 2 was meant");
  EXPECT_GT(tls_failures(q.dialler, tls_failure::wrong_identity), 0u);
}

TEST(tls_transport, a_client_certificate_never_speaks_for_a_node) {
  const authority ca;
  const quarrel q(credentials_of(ca, ca.client("ops")), credentials_of(ca, ca.node(2)));
  expect_in(q.dialler_hears(), "certificate of client ops does not speak for node 1");
  expect_in(q.listener_tells(), "certificate of client ops does not speak for node 1");
  EXPECT_GT(tls_failures(q.listener, tls_failure::wrong_identity), 0u);
}

TEST(tls_transport, a_node_speaks_for_itself_only) {
  const authority ca;
  const quarrel q(credentials_of(ca, ca.node(3)), credentials_of(ca, ca.node(2)));
  expect_in(q.dialler_hears(), "certificate of node 3 does not speak for node 1");
}

TEST(tls_transport, nodes_of_two_authorities_do_not_meet) {
  const authority ca, other;
  const quarrel q(credentials_of(other, other.node(1)), credentials_of(ca, ca.node(2)));
  expect_in(q.dialler_hears(), "another authority");
  expect_in(q.listener_tells(), "another authority");
  EXPECT_GT(tls_failures(q.dialler, tls_failure::untrusted), 0u);
}

TEST(tls_transport, without_tls_on_one_side_both_are_told) {
  const authority ca;
  const quarrel out(nullptr, credentials_of(ca, ca.node(2)));
  expect_in(out.dialler_hears(), "node 2 speaks TLS only");
  expect_in(out.listener_tells(), "it speaks without TLS");
  const quarrel in(credentials_of(ca, ca.node(1)), nullptr);
  expect_in(in.dialler_hears(), "it speaks without TLS");
  expect_in(in.listener_tells(), "it speaks TLS, and this node without it");
  EXPECT_GT(tls_failures(in.listener, tls_failure::plaintext), 0u);
}

TEST(tls_transport, the_same_reason_is_told_once_however_often_it_is_tried) {
  const authority ca, other;
  const quarrel q(credentials_of(ca, ca.node(1)), credentials_of(other, other.node(2)));
  auto& io = const_cast<loop&>(q.io);
  ASSERT_TRUE(run_until(io, [&q] { return tls_failures(q.dialler, tls_failure::untrusted) > 8; }));
  EXPECT_EQ(q.dialler.seen.refusals.size(), 1u);
  EXPECT_LE(q.listener.seen.strangers.size(), 5u) << "a few lines in ten seconds";
}

TEST(tls_transport, a_stranger_that_says_nothing_is_closed_after_the_deadline) {
  const authority ca;
  loop io;
  auto config = with_tls(1, credentials_of(ca, ca.node(1)));
  config.handshake_timeout_ms = 30;
  node n{io, std::move(config)};
  stranger s(n.where);
  ASSERT_TRUE(run_until(io, [&] { return s.ended(); }));
  EXPECT_EQ(n.closed(close_reason::handshake_timeout), 1u);
}

TEST(tls_transport, new_certificates_serve_the_next_connection) {
  const authority ca, next;
  const files f;
  const auto one = ca.node(1), two = ca.node(2);
  const auto where = f.put(ca, one);
  loop io;
  node n1{io, with_tls(1, *tls_credentials::load(where, node_id{1}))};
  const auto two_files = std::make_unique<files>();
  node n2{io, with_tls(2, *tls_credentials::load(two_files->put(ca, two), node_id{2}))};
  n1.net.set_peer(node_id{2}, n2.where);
  ASSERT_TRUE(run_until(io, [&] { return n1.net.connected(node_id{2}); }));
  // Both get the new authority and certificates of it; then the connection is lost.
  f.put(next, next.node(1));
  two_files->put(next, next.node(2));
  run_for(io, 1'100 * ms);  // a look a second
  EXPECT_TRUE(n1.net.connected(node_id{2})) << "what is open stays";
  n1.net.close(n1.seen.connected[0].id);
  ASSERT_TRUE(run_until(io, [&] { return n1.seen.connected.size() == 2; }));
  // One that knows the new authority only gets through.
  node n3{io, with_tls(3, credentials_of(next, next.node(3)))};
  n3.net.set_peer(node_id{2}, n2.where);
  EXPECT_TRUE(run_until(io, [&] { return n3.net.connected(node_id{2}); }));
}

}  // namespace
}  // namespace blixard::net
