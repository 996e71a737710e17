// Claims about commands that are more than one request.
#include "runtime/repl/task.hpp"

#include <gmock/gmock.h>

#include "messages/cluster.pb.h"

namespace blixard::repl {
namespace {

using kind = task::step::kind;

task make(const std::string& line, std::uint32_t timeout_ms = 10'000) {
  return {*parse_command(*split_words(line)), {}, timeout_ms};
}

task_clock at(std::uint64_t ms) { return {ms, 0}; }

task::step answer(task& t, const pb::Answer& a, task_clock now) {
  const auto bytes = a.SerializeAsString();
  return t.on_reply(std::as_bytes(std::span(bytes)), now);
}

pb::Answer vm_in(pb::Phase phase) {
  pb::Answer a;
  a.mutable_vm()->set_phase(phase);
  return a;
}

pb::Answer lines(const std::vector<std::string>& text) {
  pb::Answer a;
  a.mutable_lines();
  for (const auto& l : text) a.mutable_lines()->add_lines(l);
  return a;
}

TEST(task, an_ordinary_command_is_one_request_with_the_time_that_is_left) {
  auto t = make("kv get k", 700);
  const auto s = t.start(at(100));
  ASSERT_EQ(s.what, kind::send);
  EXPECT_EQ(s.send->timeout_ms, 700u);
  const auto end = answer(t, {}, at(150));
  EXPECT_EQ(end.what, kind::finish);
  EXPECT_TRUE(end.result->ok());
}

TEST(task, its_own_timeout_flag_wins) {
  EXPECT_EQ(make("kv get k --timeout 0.5", 700).start(at(0)).send->timeout_ms, 500u);
  const auto bad = make("kv get k --timeout soon").start(at(0));
  EXPECT_EQ(bad.what, kind::finish);
  EXPECT_EQ(bad.result->failure.code, errc::invalid_argument);
}

TEST(task, bad_values_end_it_before_anything_is_sent) {
  const auto s = make("vm create Web").start(at(0));
  EXPECT_EQ(s.what, kind::finish);
  EXPECT_EQ(s.result->failure.code, errc::invalid_argument);
}

TEST(task, what_nobody_would_remember_is_refused_with_an_operation_id) {
  for (const std::string line : {"cluster join 4 127.0.0.1:7004", "cluster remove 3",
                                 "cluster transfer 2", "cluster snapshot"}) {
    task t{*parse_command(*split_words(line)), {"c", 1}, 1000};
    const auto s = t.start(at(0));
    ASSERT_EQ(s.what, kind::finish) << line;
    EXPECT_EQ(s.result->failure.code, errc::unsupported);
    EXPECT_THAT(s.result->failure.message, testing::HasSubstr(" takes no client and seq"));
    EXPECT_EQ(make(line).start(at(0)).what, kind::send) << line;
  }
  for (const std::string line : {"kv put a b", "node cordon 2", "vm create web", "kv get a"}) {
    task t{*parse_command(*split_words(line)), {"c", 1}, 1000};
    EXPECT_EQ(t.start(at(0)).what, kind::send) << line;
  }
}

TEST(task, help_asks_nobody) {
  const auto s = make("help vm show").start(at(0));
  ASSERT_EQ(s.what, kind::finish);
  EXPECT_NE(s.result->text.find("vm show NAME"), std::string::npos);
  EXPECT_FALSE(make("help nothing").start(at(0)).result->ok());
}

TEST(wait_vm, goes_on_over_failures_that_only_mean_not_now) {
  for (const auto code : {errc::no_leader, errc::unavailable, errc::connection_lost, errc::timeout,
                          errc::leadership_lost, errc::overloaded, errc::not_leader}) {
    auto t = make("wait vm web");
    (void)t.start(at(0));
    const auto s = t.on_reply(tl::unexpected(make_error(code, "")), at(10));
    EXPECT_EQ(s.what, kind::wait) << to_string(code);
  }
  auto t = make("wait vm web");
  (void)t.start(at(0));
  const auto s = t.on_reply(tl::unexpected(make_error(errc::permission_denied, "")), at(10));
  EXPECT_EQ(s.what, kind::finish);
}

TEST(wait_vm, a_vm_that_does_not_exist_ends_it_unless_that_is_what_is_waited_for) {
  pb::Answer gone;
  gone.set_error(static_cast<std::uint32_t>(errc::not_found));
  auto t = make("wait vm web");
  (void)t.start(at(0));
  EXPECT_EQ(answer(t, gone, at(1)).result->failure.code, errc::not_found);
  auto u = make("wait vm web --for=deleted");
  (void)u.start(at(0));
  const auto s = answer(u, gone, at(1));
  ASSERT_EQ(s.what, kind::finish);
  EXPECT_TRUE(s.result->ok());
}

TEST(wait_vm, waits_a_minute_by_default_and_no_longer_than_told) {
  auto t = make("wait vm web");
  (void)t.start(at(0));
  EXPECT_EQ(answer(t, vm_in(pb::PHASE_PENDING), at(59'000)).what, kind::wait);
  const auto s = answer(t, vm_in(pb::PHASE_PENDING), at(60'000));
  ASSERT_EQ(s.what, kind::finish);
  EXPECT_EQ(s.result->failure.code, errc::timeout);
  auto u = make("wait vm web --timeout 2");
  (void)u.start(at(0));
  EXPECT_EQ(answer(u, vm_in(pb::PHASE_PENDING), at(2'000)).what, kind::finish);
}

TEST(watch, runs_the_inner_command_again_and_again) {
  auto t = make("watch -n 1 vm list");
  EXPECT_TRUE(t.endless());
  EXPECT_EQ(t.shown().spec->name(), "vm list");
  ASSERT_EQ(t.start(at(0)).what, kind::send);
  const auto s = answer(t, {}, at(10));
  EXPECT_EQ(s.what, kind::wait);
  EXPECT_EQ(s.wait_ms, 1000u);
  EXPECT_TRUE(s.result);
  EXPECT_EQ(t.on_timer(at(1010)).what, kind::send);
}

TEST(watch, refuses_what_cannot_be_watched) {
  for (const std::string line : {"watch quit", "watch watch vm list", "watch help", "watch bogus",
                                 "watch wait vm web", "watch -n x vm list", "watch -n 0 vm list"})
    EXPECT_EQ(make(line).start(at(0)).result->failure.code, errc::invalid_argument) << line;
}

TEST(follow, shows_each_line_once) {
  auto t = make("vm logs web --follow");
  ASSERT_EQ(t.start(at(0)).what, kind::send);
  auto s = answer(t, lines({"a", "b"}), at(1));
  EXPECT_EQ(lines_of(*s.result), (std::vector<std::string>{"a", "b"}));
  (void)t.on_timer(at(301));
  s = answer(t, lines({"a", "b"}), at(302));
  EXPECT_FALSE(s.result);
  (void)t.on_timer(at(602));
  s = answer(t, lines({"b", "c", "d"}), at(603));
  EXPECT_EQ(lines_of(*s.result), (std::vector<std::string>{"c", "d"}));
}

TEST(follow, without_the_flag_logs_are_one_answer) {
  auto t = make("vm logs web");
  EXPECT_FALSE(t.endless());
  (void)t.start(at(0));
  EXPECT_EQ(answer(t, lines({"a"}), at(1)).what, kind::finish);
}

TEST(new_lines, are_what_follows_the_longest_overlap) {
  using v = std::vector<std::string>;
  EXPECT_EQ(new_lines({}, {"a"}), v{"a"});
  EXPECT_EQ(new_lines({"a"}, {"a"}), v{});
  EXPECT_EQ(new_lines({"a", "b", "a"}, {"a", "b", "a", "c"}), v{"c"});
  EXPECT_EQ(new_lines({"x", "a", "b"}, {"a", "b", "c"}), v{"c"});
  EXPECT_EQ(new_lines({"a", "b"}, {"c", "d"}), (v{"c", "d"}));
  EXPECT_EQ(new_lines({"a"}, {}), v{});
}

}  // namespace
}  // namespace blixard::repl
