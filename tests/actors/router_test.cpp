// Claims about the router: where a frame goes, and what becomes of it when it cannot go there.
#include "actors/router.hpp"

#include <gtest/gtest.h>

#include "tests/actors/stubs.hpp"

namespace blixard::actors::test {
namespace {

class asker final : public caf::event_based_actor {
 public:
  asker(caf::actor_config& c, std::vector<local_answer>* out)
      : caf::event_based_actor(c), out_(out) {}
  caf::behavior make_behavior() override {
    return {[this](const local_answer& a) { out_->push_back(a); }};
  }

 private:
  std::vector<local_answer>* out_;
};

struct routed : surroundings {
  routing::inbound_budget budget{64 * limits::MiB};
  std::vector<local_answer> got;
  caf::actor me;

  routed() {
    to.raft = system.spawn<raft_stub>(seen);
    to.state = system.spawn<state_stub>(seen);
    to.router = system.spawn<router>(static_cast<host*>(nullptr), to, facts,
                                     static_cast<net::loop*>(nullptr),
                                     static_cast<net::transport*>(nullptr), nullptr, &budget);
    me = system.spawn<asker>(&got);
  }
  ~routed() { caf::anon_send_exit(me, caf::exit_reason::user_shutdown); }
  void ask(const frame_ptr& f) {
    caf::anon_send(to.router, local_request{f, caf::actor_cast<caf::strong_actor_ptr>(me)});
    run();
  }
  void client_asks(std::size_t n, std::uint32_t deadline_ms = 1000) {
    inbound in{connection_id{9}, node_id{}, {}};
    for (std::size_t i = 0; i < n; ++i) {
      auto h = kv_put("a")->header();
      h.deadline_ms = deadline_ms;
      h.request = request_id{i + 1};
      in.frames.push_back(kv_put("a")->with_header(h));
    }
    caf::anon_send(to.router, std::move(in));
    run();
  }
  /// A client, or another node, sends so many commands with a value of that size.
  void ask_with(std::size_t n, std::size_t bytes, connection_id by, node_id peer = {}) {
    inbound in{by, peer, {}};
    for (std::size_t i = 0; i < n; ++i) {
      frame_header h = kv_put("a")->header();
      h.deadline_ms = 1000;
      h.request = request_id{i + 1};
      in.frames.push_back(frame::make(h, slice::copy_of(std::string(bytes, 'v'))));
    }
    caf::anon_send(to.router, std::move(in));
    run();
  }
  std::uint64_t charged(routing::inbound_use use) const { return budget.bytes(use).get(); }
  std::size_t proposed() const {
    std::size_t n = 0;
    for (const auto& p : seen.proposals_batches) n += p.list.size();
    return n;
  }
  void tick(std::uint64_t n) {
    for (; n > 0; --n) {
      caf::anon_send(to.router, tick_atom::value);
      run();
    }
  }
  void lead() {
    caf::anon_send(to.router, leader_changed{facts.self, term{2}});
    run();
  }
};

TEST(router, commands_wait_for_a_leader_and_then_go_in_one_batch) {
  routed r;
  r.ask(kv_put("a", request_id{1}));
  r.ask(kv_put("b", request_id{2}));
  EXPECT_TRUE(r.seen.proposals_batches.empty());
  EXPECT_TRUE(r.got.empty());
  r.lead();
  ASSERT_EQ(r.seen.proposals_batches.size(), 1u);
  EXPECT_EQ(r.seen.proposals_batches.front().list.size(), 2u);
}

TEST(router, an_answer_finds_its_asker_under_the_askers_own_id) {
  routed r;
  r.lead();
  r.ask(kv_put("a", request_id{77}));
  const auto from = r.seen.proposals_batches.front().list.front().from;
  caf::anon_send(
      r.to.router,
      answers{{{from, error_answer(from.request, make_error(errc::conflict, "x"), node_id{1})}}});
  r.run();
  ASSERT_EQ(r.got.size(), 1u);
  EXPECT_EQ(r.got.front().request, request_id{77});
  EXPECT_EQ(answer_in(r.got.front().frame).error(), static_cast<std::uint32_t>(errc::conflict));
}

TEST(router, a_stopping_node_refuses_what_is_new) {
  routed r;
  r.lead();
  caf::anon_send(r.to.router, stop_atom::value);
  r.ask(kv_put("a", request_id{5}));
  ASSERT_EQ(r.got.size(), 1u);
  EXPECT_EQ(answer_in(r.got.front().frame).error(), static_cast<std::uint32_t>(errc::unavailable));
  EXPECT_TRUE(r.seen.proposals_batches.empty());
}

TEST(router, more_held_requests_than_the_bound_are_overloaded) {
  routed r;
  for (std::uint64_t i = 0; i < router::held_max + 3; ++i) r.ask(kv_put("a", request_id{i + 1}));
  EXPECT_EQ(r.got.size(), 3u);
  EXPECT_EQ(answer_in(r.got.front().frame).error(), static_cast<std::uint32_t>(errc::overloaded));
}

TEST(router, requests_of_clients_have_a_bound_in_bytes_over_all_connections) {
  using routing::inbound_use;
  routed r;
  for (std::uint64_t c = 1; c <= 4; ++c) r.ask_with(20, limits::MiB, connection_id{c});
  EXPECT_EQ(r.charged(inbound_use::requests), 63 * (limits::MiB + frame_header_bytes));
  EXPECT_EQ(r.budget.refused(inbound_use::requests).get(), 17u);
  // What is held meanwhile is passed on, and charged until it is answered or late.
  r.lead();
  EXPECT_EQ(r.proposed(), 63u);
  EXPECT_GT(r.charged(inbound_use::requests), 0u);
  r.tick(11);
  EXPECT_EQ(r.charged(inbound_use::requests), 0u);
  r.ask_with(1, limits::MiB, connection_id{5});
  EXPECT_EQ(r.proposed(), 64u) << "who was refused at the bound lost no credit of anybody";
}

TEST(router, an_answer_and_the_end_of_a_connection_give_the_bytes_back) {
  using routing::inbound_use;
  routed r;
  r.lead();
  r.ask_with(3, 1000, connection_id{1});
  r.ask_with(2, 1000, connection_id{2});
  answers one;
  const auto& first = r.seen.proposals_batches.front().list.front();
  for (int i = 0; i < 2; ++i)  // the second time it finds nobody
    one.list.push_back({first.from, error_answer(first.from.request,
                                                 make_error(errc::conflict, "x"), node_id{1})});
  caf::anon_send(r.to.router, std::move(one));
  r.run();
  EXPECT_EQ(r.charged(inbound_use::requests), 4 * (1000 + frame_header_bytes));
  caf::anon_send(r.to.router, connection_closed{connection_id{1}, node_id{}});
  r.run();
  EXPECT_EQ(r.charged(inbound_use::requests), 2 * (1000 + frame_header_bytes));
}

TEST(router, what_peers_pass_on_is_bounded_in_bytes_while_it_waits_for_a_leader) {
  using routing::inbound_use;
  routed r;
  r.ask_with(80, limits::MiB, connection_id{1}, node_id{2});
  EXPECT_EQ(r.charged(inbound_use::held), 63 * (limits::MiB + frame_header_bytes));
  r.lead();
  EXPECT_EQ(r.proposed(), 63u);
  EXPECT_EQ(r.charged(inbound_use::held), 0u);
  r.ask_with(80, limits::MiB, connection_id{1}, node_id{2});
  EXPECT_EQ(r.proposed(), 143u) << "where somebody leads nothing is held";
}

TEST(router, what_is_held_until_it_is_late_gives_its_bytes_back) {
  routed r;
  r.ask_with(5, 1000, connection_id{1}, node_id{2});
  r.ask_with(5, 1000, connection_id{2});
  r.tick(11);
  EXPECT_EQ(r.charged(routing::inbound_use::held), 0u);
  EXPECT_EQ(r.charged(routing::inbound_use::requests), 0u);
}

TEST(router, a_small_request_that_is_held_does_not_keep_the_chunk_that_it_came_in) {
  routed r;
  auto chunk = buffer::make(limits::MiB);
  frame_header h = kv_put("a")->header();
  h.deadline_ms = 1000;
  inbound in{connection_id{1}, node_id{}, {}};
  in.frames.push_back(frame::make(h, slice{chunk, chunk->data(), 100}));
  caf::anon_send(r.to.router, std::move(in));
  r.run();
  EXPECT_TRUE(chunk->unique());
  r.lead();
  EXPECT_EQ(r.proposed(), 1u);
}

TEST(router, a_local_request_is_answered_at_its_deadline_and_only_then) {
  routed r;
  r.lead();
  r.ask(kv_put("a", request_id{5}));  // a deadline of a second; whoever works on it is silent
  r.tick(9);
  EXPECT_TRUE(r.got.empty());
  r.tick(2);
  ASSERT_EQ(r.got.size(), 1u);
  EXPECT_EQ(r.got.front().request, request_id{5});
  EXPECT_EQ(answer_in(r.got.front().frame).error(), static_cast<std::uint32_t>(errc::timeout));
  const auto from = r.seen.proposals_batches.front().list.front().from;
  caf::anon_send(
      r.to.router,
      answers{{{from, error_answer(from.request, make_error(errc::conflict, "x"), node_id{1})}}});
  r.run();
  EXPECT_EQ(r.got.size(), 1u) << "the answer came too late";
}

TEST(router, a_clients_credit_comes_back_at_its_deadline_whatever_became_of_the_request) {
  routed r;
  r.lead();
  for (std::size_t round = 1; round <= 3; ++round) {
    r.client_asks(limits::client_outstanding_max);
    EXPECT_EQ(r.proposed(), round * limits::client_outstanding_max);
    r.client_asks(1);
    EXPECT_EQ(r.proposed(), round * limits::client_outstanding_max) << "all its credits are out";
    r.tick(11);
  }
  // The answers of the first round, far too late: they give back no credit of somebody else.
  r.client_asks(limits::client_outstanding_max);
  answers late;
  for (const auto& p : r.seen.proposals_batches.front().list)
    late.list.push_back(
        {p.from, error_answer(p.from.request, make_error(errc::conflict, "x"), node_id{1})});
  caf::anon_send(r.to.router, std::move(late));
  r.run();
  r.client_asks(1);
  EXPECT_EQ(r.proposed(), 4 * limits::client_outstanding_max);
}

TEST(router, a_request_without_a_deadline_does_not_keep_its_credit_for_ever) {
  routed r;
  r.lead();
  r.client_asks(limits::client_outstanding_max, 0);
  r.tick(router::patience_ns / router::tick_ns - 1);
  r.client_asks(1);
  EXPECT_EQ(r.proposed(), limits::client_outstanding_max);
  r.tick(2);
  r.client_asks(1);
  EXPECT_EQ(r.proposed(), limits::client_outstanding_max + 1);
}

TEST(router, a_connection_that_closed_owes_nothing_and_is_owed_nothing) {
  routed r;
  r.lead();
  r.client_asks(limits::client_outstanding_max);
  caf::anon_send(r.to.router, connection_closed{connection_id{9}, node_id{}});
  r.client_asks(limits::client_outstanding_max);
  r.tick(11);  // what was open of the first life must not come back a second time
  r.client_asks(limits::client_outstanding_max + 5);
  EXPECT_EQ(r.proposed(), 3 * limits::client_outstanding_max);
}

TEST(router, a_vote_overtakes_everything_that_came_before_it_in_the_same_read) {
  routed r;
  r.lead();
  inbound in{connection_id{1}, node_id{2}, {}};
  for (int i = 0; i < 300; ++i)
    in.frames.push_back(frame::make({.kind = frame_kind::raft, .cls = priority::low}, slice{}));
  in.frames.push_back(kv_put("a"));
  in.frames.push_back(frame::make({.kind = frame_kind::raft, .cls = priority::critical}, slice{}));
  caf::anon_send(r.to.router, std::move(in));
  r.run();
  ASSERT_FALSE(r.seen.raft_order.empty());
  EXPECT_EQ(r.seen.raft_order.front(), "critical");
}

}  // namespace
}  // namespace blixard::actors::test
