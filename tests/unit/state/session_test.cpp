// Claims about sessions: a repeated command is answered with its first result.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/state/sessions.hpp"
#include "tests/unit/state/helpers.hpp"

namespace blixard::state {
namespace {

using testing::code_of;
using testing::fixture;
using verdict = session_table::verdict;

pb::Command of(pb::Command c, std::string client, std::uint64_t seq) {
  c.set_client(std::move(client));
  c.set_seq(seq);
  return c;
}

pb::Command cas_command(std::string from, std::string to) {
  pb::Command c;
  c.mutable_kv_cas()->set_key("k");
  c.mutable_kv_cas()->set_expected(std::move(from));
  c.mutable_kv_cas()->set_value(std::move(to));
  return c;
}

TEST(session, a_repeated_command_is_not_executed_again) {
  fixture f;
  f.put("k", "a");
  const auto command = of(cas_command("a", "b"), "c1", 1);
  const auto first = f.apply(command);
  EXPECT_FALSE(first.duplicate);
  f.put("k", "a");  // now the cas would succeed again
  const auto second = f.apply(command);
  EXPECT_TRUE(second.duplicate);
  EXPECT_FALSE(second.changed.kv);
  EXPECT_EQ(second.answer->SerializeAsString(), first.answer->SerializeAsString());
  EXPECT_EQ(second.answer->index(), 2) << "the index of the first";
  EXPECT_EQ(f.get("k").kv().value(), "a");
}

TEST(session, failures_are_remembered_too) {
  fixture f;
  const auto command = of(cas_command("a", "b"), "c1", 1);
  EXPECT_EQ(code_of(f.run(command)), errc::not_found);
  f.put("k", "a");
  EXPECT_EQ(code_of(f.run(command)), errc::not_found);
  EXPECT_EQ(f.get("k").kv().value(), "a");
}

TEST(session, the_fast_path_and_the_parsed_one_share_sessions) {
  fixture f;
  const auto fast = of(fixture::put_command("k", "v1"), "c", 1);
  f.run(fast);
  // Field 2000, unknown: goes through Protobuf.
  const auto slow = fast.SerializeAsString() + std::string{"\x82\x7d\x01x", 4};
  EXPECT_TRUE(f.apply_bytes(slow).duplicate);
}

TEST(session, clients_do_not_see_each_others_sequences) {
  fixture f;
  f.run(of(fixture::put_command("a", "1"), "c1", 1));
  EXPECT_FALSE(f.apply(of(fixture::put_command("b", "1"), "c2", 1)).duplicate);
  EXPECT_FALSE(f.apply(fixture::put_command("c", "1")).duplicate) << "no client, no session";
  EXPECT_EQ(f.sm.size().sessions, 2);
}

TEST(session, commands_of_a_window_may_come_in_any_order_and_all_be_repeated) {
  fixture f;
  for (const std::uint64_t seq : {3, 1, 2})
    EXPECT_FALSE(f.apply(of(fixture::put_command("k", "v"), "c", seq)).duplicate) << seq;
  for (const std::uint64_t seq : {1, 2, 3})
    EXPECT_TRUE(f.apply(of(fixture::put_command("k", "v"), "c", seq)).duplicate) << seq;
}

TEST(session, what_is_older_than_the_window_is_not_run_and_its_outcome_unknown) {
  fixture f;
  for (std::uint64_t seq = 1; seq <= limits::session_window + 1; ++seq)
    f.run(of(fixture::put_command("k", std::to_string(seq)), "c", seq));
  const auto old = f.apply(of(fixture::put_command("k", "1"), "c", 1));
  EXPECT_EQ(code_of(*old.answer), errc::internal) << "no code that says it never happened";
  EXPECT_FALSE(old.duplicate);
  EXPECT_NE(f.get("k").kv().value(), "1");
  EXPECT_TRUE(f.apply(of(fixture::put_command("k", "2"), "c", 2)).duplicate);
}

TEST(session, a_sequence_starts_at_one_and_a_client_has_a_short_name) {
  fixture f;
  EXPECT_EQ(code_of(f.run(of(fixture::put_command("k", "v"), "c", 0))), errc::invalid_argument);
  EXPECT_EQ(code_of(f.run(of(fixture::put_command("k", "v"), std::string(256, 'c'), 1))),
            errc::invalid_argument);
  EXPECT_EQ(f.sm.size().sessions, 0);
  EXPECT_EQ(f.sm.size().keys, 0);
}

// ---------------------------------------------------------------- the table and its bounds

TEST(session_table, forgets_the_client_that_was_silent_longest) {
  session_table t{{.clients = 2, .results = 100, .window = 10}};
  t.remember("a", 1, 1, "ra");
  t.remember("b", 1, 2, "rb");
  t.touch("a", 3);
  t.remember("c", 1, 4, "rc");
  EXPECT_EQ(t.look_up("a", 1).what, verdict::repeated);
  EXPECT_EQ(t.look_up("b", 1).what, verdict::fresh) << "forgotten whole, so it is new";
  EXPECT_EQ(*t.look_up("c", 1).answer, "rc");
  EXPECT_EQ(t.clients().size(), 2);
  EXPECT_EQ(t.results().size(), 2);
}

TEST(session_table, forgets_the_oldest_answer_of_all_but_not_that_it_was_there) {
  session_table t{{.clients = 10, .results = 2, .window = 10}};
  t.remember("a", 5, 1, "x");
  t.remember("b", 1, 2, "y");
  t.remember("b", 2, 3, "z");
  EXPECT_EQ(t.look_up("a", 5).what, verdict::forgotten);
  EXPECT_EQ(t.look_up("a", 5).floor, 5);
  EXPECT_EQ(t.look_up("a", 6).what, verdict::fresh);
  EXPECT_EQ(t.look_up("b", 1).what, verdict::repeated);
}

TEST(session_table, its_sum_is_that_of_what_it_holds) {
  session_table t{{.clients = 3, .results = 8, .window = 4}};
  std::uint64_t index = 0;
  for (std::uint64_t i = 0; i < 200; ++i) {
    const std::string client(1, static_cast<char>('a' + i * 7 % 5));
    if (t.look_up(client, i / 5 + 1).what == verdict::fresh)
      t.remember(client, i / 5 + 1, ++index, "answer " + std::to_string(i));
    else
      t.touch(client, ++index);
    hash128 sum;
    std::size_t counted = 0;
    t.clients().for_each([&](const session& s) {
      sum += session_table::hash(s);
      counted += s.results;
    });
    t.results().for_each([&](const session_result& r) { sum += session_table::hash(r); });
    ASSERT_EQ(sum, t.sum()) << i;
    ASSERT_EQ(counted, t.results().size()) << i;
    ASSERT_LE(t.clients().size(), 3);
    ASSERT_LE(t.results().size(), 8);
  }
}

}  // namespace
}  // namespace blixard::state
