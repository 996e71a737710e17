// Claims about scripts through the shell and about the mailbox between shell and node. (What a
// person types into a terminal is tested in tests/integration/cli.)
#include "runtime/repl/shell.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "messages/cluster.pb.h"
#include "runtime/repl/driver.hpp"
#include "runtime/repl/mailbox_port.hpp"

namespace blixard::repl {
namespace {

slice encoded(const pb::Answer& a) { return slice::copy_of(a.SerializeAsString()); }

/// A node that answers at once: kv gets of "missing" fail, everything else is ok.
class shell_test : public testing::Test {
 protected:
  shell_test()
      : port_([this](const request& r, const mailbox_port::answer_fn& done) {
          ++asked_;
          pb::Answer a;
          a.set_index(5);
          pb::Query q;
          if (r.kind == frame_kind::query &&
              q.ParseFromArray(r.body.data(), static_cast<int>(r.body.size())) && q.has_kv_get()) {
            if (q.kv_get().key() == "missing") {
              a.set_error(static_cast<std::uint32_t>(errc::not_found));
              a.set_message("no key missing");
            }
            a.mutable_kv()->set_value("value of " + q.kv_get().key());
          }
          done(encoded(a));
        }) {
    auto pattern = std::filesystem::temp_directory_path() / "blixard-shell-XXXXXX";
    std::string name = pattern.string();
    dir_ = ::mkdtemp(name.data());
  }
  ~shell_test() override { std::filesystem::remove_all(dir_); }

  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name) << text;
    return (dir_ / name).string();
  }

  int run(const std::string& script) {
    const auto in = file("in", script);
    shell_options o;
    o.in = std::fopen(in.c_str(), "r");
    o.out = std::fopen((dir_ / "out").c_str(), "w");
    o.err = std::fopen((dir_ / "err").c_str(), "w");
    o.script_answers_json = json_;
    const int code = run_shell(port_, o);
    std::fclose(o.in);
    std::fclose(o.out);
    std::fclose(o.err);
    return code;
  }

  std::string read(const std::string& name) {
    std::ifstream in(dir_ / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::filesystem::path dir_;
  bool json_ = false;
  std::atomic<int> asked_{0};
  mailbox_port port_;
};

TEST_F(shell_test, a_script_runs_to_its_end_without_prompt_or_colour) {
  EXPECT_EQ(run("# a comment\n\nkv get a\nkv get b\n"), 0);
  EXPECT_EQ(read("out"), "value of a\nvalue of b\n");
  EXPECT_EQ(read("err"), "");
}

TEST_F(shell_test, a_script_stops_at_the_first_error_with_its_exit_code) {
  EXPECT_EQ(run("kv get a\nkv get missing\nkv get b\n"), 3);
  EXPECT_EQ(read("out"), "value of a\n");
  EXPECT_EQ(read("err"), "error: no key missing (not_found)\n");
  EXPECT_EQ(run("kv gte a\nkv get b\n"), 2);
  EXPECT_EQ(asked_, 2) << "a line behind the error was run";
}

TEST_F(shell_test, quit_ends_a_script) {
  EXPECT_EQ(run("kv get a\nquit\nkv get b\n"), 0);
  EXPECT_EQ(read("out"), "value of a\n");
}

TEST_F(shell_test, a_last_line_without_an_end_may_have_been_cut_and_is_not_run) {
  EXPECT_EQ(run("kv get a\nkv get ab"), 2);
  EXPECT_EQ(read("out"), "value of a\n");
  EXPECT_NE(read("err").find("the input ended in the middle of this line"), std::string::npos);
  EXPECT_EQ(asked_, 1);
  EXPECT_EQ(run("kv get a\n  "), 0) << "blanks are no line";
}

TEST_F(shell_test, a_sourced_file_is_whole_without_a_last_line_end) {
  EXPECT_EQ(run("source " + file("inner.blx", "kv get a\nkv get b") + "\n"), 0);
  EXPECT_EQ(read("out"), "value of a\nvalue of b\n");
}

TEST_F(shell_test, where_only_json_is_wanted_a_script_prints_nothing_else) {
  json_ = true;
  for (const auto& [script, code] :
       {std::pair{"kv get a -o table\nhelp kv\nkv get missing\n", 3},
        std::pair{"kv get a\nkv gte a\n", 2}, std::pair{"kv get a\nkv get 'a\n", 2},
        std::pair{"kv get a\nsource /nonexistent\n", 3}, std::pair{"kv get a\nkv get b", 2}}) {
    EXPECT_EQ(run(script), code) << script;
    EXPECT_EQ(read("err"), "");
    std::istringstream lines(read("out"));
    std::string line;
    std::string last;
    while (std::getline(lines, line)) {
      EXPECT_TRUE(line.starts_with("{\"op\":\"") && line.ends_with('}')) << line;
      last = line;
    }
    EXPECT_NE(last.find(R"("op":"fail")"), std::string::npos) << read("out");
  }
}

TEST_F(shell_test, a_sourced_file_stops_where_it_fails_and_says_where) {
  const auto inner = file("inner.blx", "kv get a\n\nkv get missing\nkv get b\n");
  EXPECT_EQ(run("source " + inner + "\nkv get c\n"), 3);
  EXPECT_EQ(read("out"), "value of a\n");
  EXPECT_NE(read("err").find("inner.blx, line 3"), std::string::npos) << read("err");
}

TEST_F(shell_test, a_file_that_sources_itself_ends) {
  const auto path = (dir_ / "loop.blx").string();
  file("loop.blx", "source " + path + "\n");
  EXPECT_EQ(run("source " + path + "\n"), 2);
  EXPECT_NE(read("err").find("too deeply"), std::string::npos);
}

TEST_F(shell_test, a_file_that_is_not_there_is_an_error) {
  EXPECT_EQ(run("source /nonexistent/file\n"), 3);
  EXPECT_NE(read("err").find("No such file"), std::string::npos);
}

TEST_F(shell_test, a_folder_is_not_a_file_of_commands) {
  EXPECT_EQ(run("source " + dir_.string() + "\n"), 3);
  EXPECT_NE(read("err").find("Is a directory"), std::string::npos) << read("err");
}

TEST_F(shell_test, a_value_is_printed_whole_whatever_its_bytes) {
  file("odd.blx", std::string("kv get 'a\0b\x1b'\n", 14));
  EXPECT_EQ(run("source " + (dir_ / "odd.blx").string() + "\n"), 0);
  EXPECT_EQ(read("out"), std::string("value of a\0b\x1b\n", 14))
      << "no terminal: nothing is changed";
}

TEST_F(shell_test, json_output_and_timing_in_a_script) {
  EXPECT_EQ(run("timing on\nkv get a -o json\n"), 0);
  EXPECT_NE(read("out").find(R"({"op":"ok","index":5)"), std::string::npos) << read("out");
  EXPECT_NE(read("err").find("time: "), std::string::npos);
}

TEST_F(shell_test, a_stop_descriptor_ends_a_script_that_waits_for_input) {
  int stop[2];
  int in[2];
  ASSERT_EQ(::pipe(stop), 0);
  ASSERT_EQ(::pipe(in), 0);
  ASSERT_EQ(::write(stop[1], "x", 1), 1);
  shell_options o;
  o.in = ::fdopen(in[0], "r");
  o.stop_fd = stop[0];
  EXPECT_EQ(run_shell(port_, o), 0);  // would wait for ever
  std::fclose(o.in);
  for (const int fd : {stop[0], stop[1], in[1]}) ::close(fd);
}

TEST(mailbox_port, answers_from_another_thread_arrive_on_this_one) {
  std::vector<std::thread> threads;
  mailbox_port port([&](const request&, const mailbox_port::answer_fn& done) {
    threads.emplace_back([done] {
      pb::Answer a;
      a.set_index(9);
      done(encoded(a));
    });
  });
  for (int i = 0; i < 50; ++i) {
    request r;
    r.timeout_ms = 10'000;
    const auto result = ask_once(port, r);
    EXPECT_EQ(result.index, log_index{9});
  }
  for (auto& t : threads) t.join();
}

TEST(mailbox_port, a_silent_node_is_a_timeout) {
  mailbox_port port([](const request&, const mailbox_port::answer_fn&) {});
  request r;
  r.timeout_ms = 20;
  EXPECT_EQ(ask_once(port, r).failure.code, errc::timeout);
}

TEST(mailbox_port, an_answer_after_the_port_is_gone_does_nothing) {
  mailbox_port::answer_fn late;
  {
    mailbox_port port([&](const request&, const mailbox_port::answer_fn& done) { late = done; });
    port.submit({}, [](const reply&) { FAIL() << "called after the port was gone"; });
  }
  late(encoded({}));
}

TEST(mailbox_port, a_cancelled_call_is_not_called) {
  mailbox_port::answer_fn answer;
  mailbox_port port([&](const request&, const mailbox_port::answer_fn& done) { answer = done; });
  const auto id = port.submit({}, [](const reply&) { FAIL() << "called after cancel"; });
  port.cancel(id);
  answer(encoded({}));
  port.process();
  EXPECT_EQ(port.wait_ms(), -1);
}

TEST(history, the_file_follows_the_environment) {
  ::setenv("BLIXARD_HISTORY", "/tmp/h", 1);
  EXPECT_EQ(default_history_file(), "/tmp/h");
  ::unsetenv("BLIXARD_HISTORY");
}

}  // namespace
}  // namespace blixard::repl
