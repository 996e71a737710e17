// Claims about JSON lines: one answer per line, in order where order is promised, whatever comes.
#include "runtime/repl/jsonl.hpp"

#include <nlohmann/json.hpp>

#include "tests/unit/repl/scripted_port.hpp"

namespace blixard::repl {
namespace {

using nlohmann::json;

class jsonl_test : public testing::Test {
 protected:
  void feed(const std::string& text) { session_.feed(text, now_); }
  void turn(std::uint64_t ms = 0) {
    now_.mono_ms += ms;
    session_.turn(now_);
  }
  void end() { session_.end_of_input(now_); }
  void answer(std::size_t call, std::uint64_t index = 1) {
    pb::Answer a;
    a.set_index(index);
    port_.answer(call, a);
    turn();
  }
  json out(std::size_t i) { return i < lines_.size() ? json::parse(lines_[i]) : json(); }

  test::scripted_port port_;
  std::vector<std::string> lines_;
  task_clock now_{1000, 5000};
  jsonl_session session_{port_, {}, [this](const std::string& l) { lines_.push_back(l); }};
};

TEST_F(jsonl_test, plain_lines_run_one_after_the_other) {
  feed("kv put a 1\nkv get a\nkv delete a\n");
  ASSERT_EQ(port_.calls.size(), 1u);
  EXPECT_EQ(port_.calls[0].command().kv_put().key(), "a");
  answer(0, 11);
  ASSERT_EQ(port_.calls.size(), 1u);
  EXPECT_EQ(port_.calls[0].what.kind, frame_kind::query);
  answer(0, 12);
  answer(0, 13);
  ASSERT_EQ(lines_.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(out(i)["index"], 11 + i);
    EXPECT_FALSE(out(i).contains("id"));
  }
}

TEST_F(jsonl_test, json_lines_run_at_once_and_are_answered_as_they_end) {
  feed(R"({"id":1,"cmd":"kv get a"})"
       "\n"
       R"({"id":"two","cmd":["kv","put","a b","c"],"timeout_ms":700,"client":"me","seq":9})"
       "\n");
  ASSERT_EQ(port_.calls.size(), 2u);
  EXPECT_EQ(port_.calls[1].what.timeout_ms, 700u);
  EXPECT_EQ(port_.calls[1].command().kv_put().key(), "a b");
  EXPECT_EQ(port_.calls[1].command().client(), "me");
  EXPECT_EQ(port_.calls[1].command().seq(), 9u);
  EXPECT_EQ(port_.calls[1].command().time_ms(), 5000);
  answer(1);
  answer(0);
  EXPECT_EQ(out(0)["id"], "two");
  EXPECT_EQ(out(1)["id"], 1);
}

TEST_F(jsonl_test, a_json_line_does_not_wait_for_plain_ones) {
  feed("kv get a\nkv get b\n{\"id\":1,\"cmd\":\"kv get c\"}\n");
  EXPECT_EQ(port_.calls.size(), 2u);
  answer(1);
  EXPECT_EQ(out(0)["id"], 1);
}

TEST_F(jsonl_test, what_cannot_be_run_is_answered_in_its_place) {
  feed("kv get a\nbogus\n\nkv get 'x\nkv get b\n");
  EXPECT_TRUE(lines_.empty()) << "an answer overtook an earlier line";
  answer(0, 1);
  ASSERT_EQ(lines_.size(), 4u);
  EXPECT_EQ(out(0)["op"], "ok");
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(out(i)["op"], "fail");
    EXPECT_EQ(out(i)["error"]["code"], "invalid_argument");
  }
  answer(0, 2);
  EXPECT_EQ(out(4)["index"], 2);
}

TEST_F(jsonl_test, every_bad_json_line_gets_one_answer_with_its_id) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({"id":1})", "cmd is missing"},
      {R"({"id":1,"cmd":7})", "cmd is neither"},
      {R"({"id":1,"cmd":["kv",7]})", "not text"},
      {R"({"id":1,"cmd":"kv get a","timeout":5})", "unknown member \"timeout\""},
      {R"({"id":1,"cmd":"kv get a","timeout_ms":-5})", "timeout_ms"},
      {R"({"id":1,"cmd":"kv get a","timeout_ms":"5"})", "timeout_ms"},
      {R"({"id":1,"cmd":"kv put a b","client":"c"})", "belong together"},
      {R"({"id":1,"cmd":"kv put a b","client":3,"seq":1})", "client is not a text"},
      {R"({"id":1,"cmd":"kv put a b","client":"","seq":1})", "an empty one"},
      {R"({"id":1,"cmd":"kv put a b","client":"c","seq":-1})", "seq"},
      {R"({"id":1,"cmd":"kv put a b","client":"c","seq":0})", "from 1"},
      {R"({"id":1,"cmd":""})", "no command"},
      {R"({"id":1,"cmd":[]})", "no command"},
      {R"({"id":1,"cmd":"kv get 'a"})", "not closed"},
      {R"({"id":1,"cmd":"kv gte a"})", "unknown command"},
      {R"({"id":1,"cmd":"kv get a --timeout 1","timeout_ms":5})", "not both"},
      {R"({"id":1,"cmd":"watch vm list"})",
       "watch gives more than one answer and is for the shell only"},
      {R"({"id":1,"cmd":"vm logs web --follow"})", "shell only"},
      {R"({"id":1,"cmd":"quit"})", "quit is for the shell only"},
      {R"({"id":1,"cmd":"timing on"})", "timing is for the shell only"},
      {R"({"id":1,"cmd":"source file"})", "source is for the shell only"},
      {R"({"id":1,"cmd":"kv get ''"})", "the key is empty"},
  };
  for (const auto& [line, message] : cases) {
    lines_.clear();
    feed(line + "\n");
    ASSERT_EQ(lines_.size(), 1u) << line;
    EXPECT_EQ(out(0)["id"], 1) << line;
    EXPECT_EQ(out(0)["op"], "fail");
    EXPECT_NE(out(0)["error"]["message"].get<std::string>().find(message), std::string::npos)
        << lines_[0];
  }
  EXPECT_TRUE(port_.calls.empty());
}

TEST_F(jsonl_test, a_broken_json_line_and_one_without_id_are_answered_with_null) {
  feed("{\"id\":1,\"cmd\":\n{\"cmd\":\"bogus\"}\n");
  ASSERT_EQ(lines_.size(), 2u);
  EXPECT_TRUE(out(0)["id"].is_null());
  EXPECT_TRUE(out(1)["id"].is_null());
}

TEST_F(jsonl_test, brackets_within_brackets_do_not_end_the_process) {
  const std::string deep(1'000'000, '[');
  const std::string closed = deep + std::string(deep.size(), ']');
  feed("{\"id\":" + closed + ",\"cmd\":\"kv get a\"}\n");
  feed("{\"id\":1,\"cmd\":" + closed + "}\n");
  feed("{\"id\":" + deep + "\n");
  ASSERT_EQ(lines_.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(out(i)["error"]["code"], "invalid_argument");
  feed(R"({"id":[[1],{"a":"]]]["}],"cmd":"kv get a"})"
       "\n");
  EXPECT_EQ(port_.calls.size(), 1u) << "a few are fine, and those in a text do not count";
}

TEST_F(jsonl_test, lines_may_be_cut_anywhere) {
  const std::string text = "kv put a 1\n{\"id\":1,\"cmd\":\"kv get a\"}\n";
  for (const char c : text) feed(std::string(1, c));
  EXPECT_EQ(port_.calls.size(), 2u);
}

TEST_F(jsonl_test, no_more_than_256_lines_are_open) {
  for (const int whole : {255, 256, 257, 300}) {
    test::scripted_port port;
    std::vector<std::string> lines;
    jsonl_session s(port, {}, [&](const std::string& l) { lines.push_back(l); });
    std::string text;
    for (int i = 0; i < whole; ++i)
      text += "{\"id\":" + std::to_string(i) + ",\"cmd\":\"kv get a\"}\n";
    s.feed(text + R"({"id":"last","cmd":"kv get a"})", now_);  // without a line end
    EXPECT_EQ(port.calls.size(), std::min<std::size_t>(static_cast<std::size_t>(whole), 256));
    EXPECT_EQ(s.wants_input(), whole < 256);
    s.end_of_input(now_);
    EXPECT_LE(port.calls.size(), 256u);
    EXPECT_FALSE(s.finished());
    while (!port.calls.empty()) {
      port.answer(0, {});
      s.turn(now_);
      EXPECT_LE(port.calls.size(), 256u);
    }
    EXPECT_EQ(lines.size(), static_cast<std::size_t>(whole) + 1);
    EXPECT_TRUE(s.finished());
  }
}

TEST_F(jsonl_test, plain_lines_that_wait_count_as_open) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "kv get a\n";
  feed(text);
  EXPECT_FALSE(session_.wants_input());
  end();
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(port_.calls.size(), 1u) << i;
    answer(0);
  }
  EXPECT_EQ(lines_.size(), 300u);
  EXPECT_TRUE(session_.finished());
}

TEST_F(jsonl_test, errors_of_this_side_keep_their_meaning) {
  feed(
      "{\"id\":1,\"cmd\":\"kv put a b\"}\n{\"id\":2,\"cmd\":\"kv put a b\"}\n{\"id\":3,\"cmd\":"
      "\"kv put a b\"}\n");
  port_.fail(0, errc::connection_lost);
  port_.fail(0, errc::timeout);
  port_.fail(0, errc::unavailable);
  EXPECT_EQ(out(0)["op"], "info");
  EXPECT_EQ(out(0)["error"]["code"], "connection_lost");
  EXPECT_EQ(out(1)["op"], "info");
  EXPECT_EQ(out(2)["op"], "fail");
}

TEST_F(jsonl_test, at_the_end_of_input_what_is_open_is_finished) {
  feed("kv get a\n");
  end();
  EXPECT_FALSE(session_.finished());
  answer(0);
  EXPECT_TRUE(session_.finished());
}

TEST_F(jsonl_test, a_plain_line_that_may_have_been_cut_is_refused_in_its_place) {
  feed("kv get a\nkv delete k1");
  end();
  answer(0);
  ASSERT_EQ(lines_.size(), 2u);
  EXPECT_EQ(out(0)["op"], "ok");
  EXPECT_NE(out(1)["error"]["message"].get<std::string>().find("middle"), std::string::npos);
  EXPECT_TRUE(port_.calls.empty()) << "half a line was run";
  EXPECT_TRUE(session_.finished());
}

TEST_F(jsonl_test, a_whole_json_line_needs_no_line_end_and_half_a_one_is_refused) {
  feed(R"({"id":1,"cmd":"kv get a"})");
  end();
  EXPECT_EQ(port_.calls.size(), 1u);

  std::vector<std::string> lines;
  jsonl_session other(port_, {}, [&](const std::string& l) { lines.push_back(l); });
  other.feed(R"({"id":1,"cmd":"kv ge)", now_);
  other.end_of_input(now_);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(json::parse(lines[0])["op"], "fail");
}

TEST_F(jsonl_test, a_line_that_is_too_long_is_refused_once_and_skipped) {
  std::vector<std::string> lines;
  jsonl_options small;
  small.line_max_bytes = 100;
  jsonl_session s(port_, small, [&](const std::string& l) { lines.push_back(l); });
  for (int i = 0; i < 10; ++i) s.feed(std::string(60, 'x'), now_);
  s.feed("\nkv get a\n", now_);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(json::parse(lines[0])["error"]["code"], "too_large");
  EXPECT_EQ(port_.calls.size(), 1u);
}

TEST_F(jsonl_test, wait_vm_looks_until_the_phase_is_there) {
  feed("{\"id\":1,\"cmd\":\"wait vm web\",\"timeout_ms\":10000}\n");
  pb::Answer starting;
  starting.mutable_vm()->set_phase(pb::PHASE_STARTING);
  port_.answer(0, starting);
  EXPECT_TRUE(port_.calls.empty());
  EXPECT_EQ(session_.wait_ms(now_.mono_ms), 100);
  turn(99);
  EXPECT_TRUE(port_.calls.empty());
  turn(1);
  ASSERT_EQ(port_.calls.size(), 1u);
  pb::Answer running;
  running.mutable_vm()->set_phase(pb::PHASE_RUNNING);
  port_.answer(0, running);
  EXPECT_EQ(out(0)["op"], "ok");
  EXPECT_EQ(out(0)["result"]["phase"], "running");
}

TEST_F(jsonl_test, wait_vm_ends_within_its_time) {
  feed("{\"id\":1,\"cmd\":\"wait vm web\",\"timeout_ms\":500}\n");
  pb::Answer failed;
  failed.mutable_vm()->set_phase(pb::PHASE_FAILED);
  failed.mutable_vm()->set_reason("no kernel");
  const auto begin = now_.mono_ms;
  while (lines_.empty()) {
    ASSERT_LE(now_.mono_ms, begin + 600);
    if (!port_.calls.empty()) port_.answer(0, failed);
    turn(10);
  }
  EXPECT_EQ(out(0)["error"]["code"], "timeout");
  const auto message = out(0)["error"]["message"].get<std::string>();
  EXPECT_NE(message.find("it is failed: no kernel"), std::string::npos) << message;
}

}  // namespace
}  // namespace blixard::repl
