// Claims about the client's side of a connection: what moves to another node, what fails and how,
// what is surely unsent.
#include "runtime/net/client.hpp"

#include <functional>
#include <optional>
#include <thread>

#include "runtime/repl/driver.hpp"
#include "tests/unit/repl/fake_node.hpp"

namespace blixard::net {
namespace {

using repl::test::fake_node;

struct outcome_of_call {
  int calls = 0;
  std::optional<error> failed;
  pb::Answer answer;
};

class client_test : public testing::Test {
 protected:
  client& make(std::vector<endpoint> addresses, std::size_t lanes = 1,
               std::uint32_t connect_ms = 1000) {
    client_ = std::make_unique<client>(
        client_options{std::move(addresses), lanes, connect_ms, limits::frame_max_bytes});
    return *client_;
  }

  repl::call_id submit(outcome_of_call& to, std::uint32_t timeout_ms = 10'000,
                       const std::string& body = "x", std::size_t lane = 0) {
    return client_->submit(
        {frame_kind::command, slice::copy_of(body), {}, timeout_ms}, lane,
        [&to](const repl::reply& r) {
          ++to.calls;
          if (!r)
            to.failed = r.error();
          else
            EXPECT_TRUE(to.answer.ParseFromArray(r->data(), static_cast<int>(r->size())));
        });
  }

  /// Turns client and nodes until `done` holds; fails the test after ten seconds.
  void until(const std::function<bool()>& done, std::vector<fake_node*> nodes) {
    const auto deadline = repl::system_clock().mono_ms + 10'000;
    while (!done()) {
      ASSERT_LT(repl::system_clock().mono_ms, deadline) << "nothing happened";
      for (auto* n : nodes) n->turn();
      client_->poll(1);
    }
  }

  /// Lane 0 is connected to it; what it was asked for that is forgotten.
  void connect_to(fake_node& node) {
    outcome_of_call call;
    submit(call);
    until([&] { return !node.requests.empty(); }, {&node});
    node.answer(node.requests[0], {});
    until([&] { return call.calls == 1; }, {&node});
    node.requests.clear();
  }

  std::unique_ptr<client> client_;
};

endpoint nobody() {
  fake_node gone;
  return gone.where();  // closed again: connecting is refused
}

TEST_F(client_test, answers_are_matched_by_request_whatever_their_order) {
  fake_node node(7);
  make({node.where()});
  std::vector<outcome_of_call> calls(20);
  for (auto& c : calls) submit(c);
  until([&] { return node.requests.size() == calls.size(); }, {&node});
  EXPECT_EQ(client_->connected_node(), node_id{7});
  EXPECT_EQ(client_->outstanding(), 20u);
  for (std::size_t i = calls.size(); i-- > 0;) {
    pb::Answer a;
    a.set_index(100 + i);
    node.answer(node.requests[i], a);
  }
  until([&] { return client_->outstanding() == 0; }, {&node});
  for (std::size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i].calls, 1);
    EXPECT_EQ(calls[i].answer.index(), 100 + i);
  }
}

TEST_F(client_test, the_body_and_the_deadline_arrive_as_they_were) {
  fake_node node;
  make({node.where()});
  outcome_of_call call;
  submit(call, 1500, "the body");
  until([&] { return !node.requests.empty(); }, {&node});
  const auto& asked = node.requests[0];
  EXPECT_EQ(asked.body, "the body");
  EXPECT_EQ(asked.header.kind, frame_kind::command);
  EXPECT_LE(asked.header.deadline_ms, 1500u);
  EXPECT_GT(asked.header.deadline_ms, 0u);
}

TEST_F(client_test, the_next_address_is_tried_when_a_node_is_gone) {
  fake_node node(2);
  make({nobody(), nobody(), node.where()});
  outcome_of_call call;
  submit(call);
  until([&] { return !node.requests.empty(); }, {&node});
  node.answer(node.requests[0], {});
  until([&] { return call.calls == 1; }, {&node});
  EXPECT_FALSE(call.failed);
}

TEST_F(client_test, when_nobody_is_there_the_request_is_surely_unsent) {
  make({nobody(), nobody()});
  outcome_of_call call;
  submit(call);
  until([&] { return call.calls == 1; }, {});
  EXPECT_EQ(call.failed->code, errc::unavailable);
  EXPECT_EQ(outcome_of(call.failed->code), outcome::fail);
  EXPECT_NE(call.failed->message.find("refused"), std::string::npos) << call.failed->message;
}

TEST_F(client_test, a_node_that_does_not_greet_is_left_for_the_next) {
  fake_node silent;
  silent.mute = true;
  fake_node refusing;
  refusing.refuse_with = "it is stopping";
  fake_node good(3);
  make({silent.where(), refusing.where(), good.where()}, 1, 50);
  outcome_of_call call;
  submit(call);
  until([&] { return !good.requests.empty(); }, {&silent, &refusing, &good});
  EXPECT_EQ(client_->connected_node(), node_id{3});
}

TEST_F(client_test, a_refusal_is_told_when_no_other_node_is_left) {
  fake_node refusing;
  refusing.refuse_with = "it is stopping";
  make({refusing.where()});
  outcome_of_call call;
  submit(call);
  until([&] { return call.calls == 1; }, {&refusing});
  EXPECT_EQ(call.failed->code, errc::unavailable);
  EXPECT_NE(call.failed->message.find("it is stopping"), std::string::npos);
}

TEST_F(client_test, once_sent_a_lost_connection_leaves_the_outcome_unknown) {
  fake_node node;
  fake_node other;
  make({node.where(), other.where()});
  outcome_of_call call;
  submit(call);
  until([&] { return !node.requests.empty(); }, {&node, &other});
  node.drop_connections();
  until([&] { return call.calls == 1; }, {&node, &other});
  EXPECT_EQ(call.failed->code, errc::connection_lost);
  EXPECT_EQ(outcome_of(call.failed->code), outcome::info);
  EXPECT_TRUE(other.requests.empty()) << "it was retried behind the caller's back";
}

TEST_F(client_test, the_next_request_goes_to_the_next_node) {
  fake_node node(1);
  fake_node other(2);
  make({node.where(), other.where()});
  outcome_of_call first;
  submit(first);
  until([&] { return !node.requests.empty(); }, {&node, &other});
  node.drop_connections();
  node.stop_listening();
  until([&] { return first.calls == 1; }, {&node, &other});
  outcome_of_call second;
  submit(second);
  until([&] { return !other.requests.empty(); }, {&other});
  other.answer(other.requests[0], {});
  until([&] { return second.calls == 1; }, {&other});
  EXPECT_FALSE(second.failed);
}

TEST_F(client_test, what_was_not_sent_yet_moves_with_the_connection) {
  fake_node node(1);
  fake_node other(2);
  make({node.where(), other.where()});
  outcome_of_call first;
  submit(first);
  until([&] { return !node.requests.empty(); }, {&node, &other});
  node.answer(node.requests[0], {});
  until([&] { return first.calls == 1; }, {&node});
  node.drop_connections();
  outcome_of_call second;
  submit(second);  // before the client has seen that the connection is gone
  until([&] { return !other.requests.empty(); }, {&node, &other});
  other.answer(other.requests[0], {});
  until([&] { return second.calls == 1; }, {&other});
  EXPECT_FALSE(second.failed);
}

TEST_F(client_test, no_answer_in_time_is_a_timeout_with_unknown_outcome) {
  fake_node node;
  make({node.where()});
  outcome_of_call call;
  submit(call, 60);
  until([&] { return call.calls == 1; }, {&node});
  EXPECT_EQ(call.failed->code, errc::timeout);
  EXPECT_EQ(node.requests.size(), 1u);
  node.answer(node.requests[0], {});  // too late: nobody is called a second time
  outcome_of_call next;
  submit(next);
  until([&] { return node.requests.size() == 2; }, {&node});
  node.answer(node.requests[1], {});
  until([&] { return next.calls == 1; }, {&node});
  EXPECT_EQ(call.calls, 1);
}

TEST_F(client_test, with_one_address_a_node_that_hangs_keeps_its_connection) {
  fake_node node;
  make({node.where()});
  connect_to(node);
  outcome_of_call call;
  submit(call, 60);
  until([&] { return call.calls == 1; }, {&node});
  outcome_of_call next;
  submit(next);
  until([&] { return node.requests.size() == 2; }, {&node});
  EXPECT_EQ(node.connections_seen, 1u);
}

TEST_F(client_test, after_a_timeout_without_a_sound_what_is_new_goes_to_the_next_node) {
  fake_node hung(1);
  fake_node other(2);
  make({hung.where(), other.where()});
  connect_to(hung);
  outcome_of_call call;
  submit(call, 60);
  until([&] { return call.calls == 1; }, {&hung, &other});
  EXPECT_EQ(call.failed->code, errc::timeout);
  outcome_of_call next;
  submit(next);
  until([&] { return other.requests.size() == 1; }, {&hung, &other});
  other.answer(other.requests[0], {});
  until([&] { return next.calls == 1 && hung.connections_ended == 1; }, {&hung, &other});
  EXPECT_FALSE(next.failed);
  EXPECT_EQ(client_->connected_node(), node_id{2});
  EXPECT_EQ(hung.requests.size(), 1u) << "nothing new went there";
  EXPECT_EQ(other.requests.size(), 1u) << "what timed out was retried behind the caller's back";
}

TEST_F(client_test, the_connection_that_was_left_stays_for_what_is_outstanding_on_it) {
  fake_node hung(1);
  fake_node other(2);
  make({hung.where(), other.where()});
  connect_to(hung);
  outcome_of_call late;
  outcome_of_call patient;
  outcome_of_call cancelled;
  submit(late, 60);
  submit(patient);
  const auto id = submit(cancelled);
  until([&] { return late.calls == 1; }, {&hung, &other});
  outcome_of_call next;
  submit(next);
  until([&] { return other.requests.size() == 1; }, {&hung, &other});
  client_->cancel(id);
  for (const auto& r : hung.requests) hung.answer(r, {});  // it wakes up
  until([&] { return patient.calls == 1 && hung.connections_ended == 1; }, {&hung, &other});
  EXPECT_FALSE(patient.failed);
  EXPECT_EQ(late.calls, 1);
  EXPECT_EQ(cancelled.calls, 0);
  outcome_of_call last;
  submit(last);
  until([&] { return other.requests.size() == 2; }, {&hung, &other});
  EXPECT_EQ(other.connections_seen, 1u) << "who answers again is not gone back to";
}

TEST_F(client_test, a_connection_that_was_left_may_break_and_be_used_again) {
  fake_node first(1);
  fake_node second(2);
  make({first.where(), second.where()});
  connect_to(first);
  for (int round = 0; round < 4; ++round) {
    auto& hung = round % 2 == 0 ? first : second;
    auto& other = round % 2 == 0 ? second : first;
    outcome_of_call late;
    outcome_of_call patient;
    const auto asked = other.requests.size();
    submit(late, 60);
    submit(patient);
    until([&] { return late.calls == 1; }, {&hung, &other});
    outcome_of_call next;
    submit(next, 10'000);
    until([&] { return other.requests.size() == asked + 1; }, {&hung, &other});
    hung.drop_connections();
    until([&] { return patient.calls == 1; }, {&hung, &other});
    EXPECT_EQ(patient.failed->code, errc::connection_lost);
    EXPECT_EQ(next.calls, 0);
    other.answer(other.requests.back(), {});
    until([&] { return next.calls == 1; }, {&hung, &other});
    EXPECT_FALSE(next.failed);
  }
}

TEST_F(client_test, a_node_that_answers_others_is_not_left_for_one_late_answer) {
  fake_node node(1);
  fake_node other(2);
  make({node.where(), other.where()});
  connect_to(node);
  outcome_of_call slow;
  outcome_of_call quick;
  submit(slow, 1000);
  submit(quick);
  until([&] { return node.requests.size() == 2; }, {&node, &other});
  node.answer(node.requests[1], {});
  until([&] { return slow.calls == 1; }, {&node, &other});
  EXPECT_EQ(quick.calls, 1);
  outcome_of_call next;
  submit(next);
  until([&] { return node.requests.size() == 3; }, {&node, &other});
  EXPECT_EQ(other.connections_seen, 0u);
}

TEST_F(client_test, when_no_other_node_can_be_reached_the_one_that_hung_is_asked_again) {
  fake_node node(1);
  make({node.where(), nobody(), nobody()});
  connect_to(node);
  outcome_of_call call;
  submit(call, 60);
  until([&] { return call.calls == 1; }, {&node});
  outcome_of_call next;
  submit(next);
  until([&] { return node.requests.size() == 2; }, {&node});
  node.answer(node.requests[1], {});
  until([&] { return next.calls == 1; }, {&node});
  EXPECT_FALSE(next.failed);
}

TEST_F(client_test, no_connection_in_time_is_surely_unsent) {
  fake_node silent;
  silent.mute = true;
  make({silent.where()}, 1, 60'000);
  outcome_of_call call;
  submit(call, 50);
  until([&] { return call.calls == 1; }, {&silent});
  EXPECT_EQ(call.failed->code, errc::unavailable);
}

TEST_F(client_test, a_node_that_hangs_leaves_time_for_the_next) {
  fake_node silent;
  silent.mute = true;
  fake_node good(3);
  make({silent.where(), good.where()}, 1, 60'000);
  outcome_of_call call;
  submit(call, 2'000);
  until([&] { return !good.requests.empty(); }, {&silent, &good});
  EXPECT_EQ(call.calls, 0);
}

TEST_F(client_test, a_cancelled_request_is_never_called_back) {
  fake_node node;
  make({node.where()});
  outcome_of_call dropped;
  outcome_of_call kept;
  const auto id = submit(dropped);
  submit(kept);
  until([&] { return node.requests.size() == 2; }, {&node});
  client_->cancel(id);
  for (const auto& r : node.requests) node.answer(r, {});
  until([&] { return kept.calls == 1; }, {&node});
  EXPECT_EQ(dropped.calls, 0);
  EXPECT_EQ(client_->outstanding(), 0u);
}

TEST_F(client_test, garbage_and_oversized_frames_end_the_connection) {
  auto oversized = encode({.kind = frame_kind::answer,
                           .cls = priority::normal,
                           .flags = 0,
                           .length = 0xFFFFFFFF,
                           .deadline_ms = 0,
                           .request = request_id{1},
                           .target = {}});
  const std::vector<std::string> bad{
      std::string(64, 'x'),
      std::string(reinterpret_cast<const char*>(oversized.data()), oversized.size())};
  for (const auto& bytes : bad) {
    fake_node node;
    make({node.where()});
    outcome_of_call call;
    submit(call);
    until([&] { return !node.requests.empty(); }, {&node});
    node.send_raw(bytes);
    until([&] { return call.calls == 1; }, {&node});
    EXPECT_EQ(call.failed->code, errc::connection_lost);
  }
}

TEST_F(client_test, large_answers_and_large_requests_pass_whole) {
  fake_node node;
  make({node.where()});
  const std::string large(3 << 20, 'v');
  outcome_of_call call;
  submit(call, 10'000, large);
  until([&] { return !node.requests.empty(); }, {&node});
  EXPECT_EQ(node.requests[0].body, large);
  pb::Answer a;
  a.mutable_kv()->set_value(large);
  // The answer is larger than the socket's buffers: the client has to read while it is written.
  std::thread writer([&] { node.answer(node.requests[0], a); });
  until([&] { return call.calls == 1; }, {});
  writer.join();
  EXPECT_EQ(call.answer.kv().value(), large);
}

TEST_F(client_test, lanes_spread_over_the_addresses) {
  fake_node a(1);
  fake_node b(2);
  make({a.where(), b.where()}, 4);
  std::vector<outcome_of_call> calls(4);
  for (std::size_t i = 0; i < 4; ++i) submit(calls[i], 10'000, "x", i);
  until([&] { return a.requests.size() == 2 && b.requests.size() == 2; }, {&a, &b});
  EXPECT_EQ(a.connections_seen, 2u);
  EXPECT_EQ(b.connections_seen, 2u);
}

TEST_F(client_test, a_callback_may_submit_and_cancel) {
  fake_node node;
  make({node.where()});
  outcome_of_call second;
  outcome_of_call third;
  const auto victim = submit(third);
  int first_calls = 0;
  client_->submit({frame_kind::command, slice::copy_of("1"), {}, 10'000}, [&](const repl::reply&) {
    ++first_calls;
    client_->cancel(victim);
    for (int i = 0; i < 1000; ++i) submit(second);
  });
  until([&] { return node.requests.size() == 2; }, {&node});
  node.answer(node.requests[1], {});
  until([&] { return node.requests.size() == 1002; }, {&node});
  for (const auto& r : node.requests) node.answer(r, {});
  until([&] { return client_->outstanding() == 0; }, {&node});
  EXPECT_EQ(first_calls, 1);
  EXPECT_EQ(second.calls, 1000);
  EXPECT_EQ(third.calls, 0);
}

}  // namespace
}  // namespace blixard::net
