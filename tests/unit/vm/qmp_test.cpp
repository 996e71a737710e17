// QMP: the parser against everything a socket may deliver, the client against a server that
// answers, refuses, talks nonsense, hangs or goes away. Time is a number.
#include "runtime/vm/qmp.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "tests/unit/vm/support.hpp"

namespace blixard::vm {
namespace {

using test::temp_dir;

TEST(qmp_parser, knows_the_kinds_of_messages) {
  struct row {
    const char* line;
    qmp_kind kind;
    std::uint64_t id;
    const char* name;
    const char* text;
  };
  const std::vector<row> rows{
      {R"({"QMP": {"version": {}, "capabilities": []}})", qmp_kind::greeting, 0, "", ""},
      {R"({"return": {}, "id": 4})", qmp_kind::result, 4, "", "{}"},
      {R"({"return": {"status": "running"}, "id": 5})", qmp_kind::result, 5, "",
       R"({"status":"running"})"},
      {R"({"error": {"class": "GenericError", "desc": "no"}, "id": 6})", qmp_kind::failure, 6,
       "GenericError", "no"},
      {R"({"event": "STOP", "timestamp": {"seconds": 1}})", qmp_kind::event, 0, "STOP", ""},
      {R"({"event": "SHUTDOWN", "data": {"guest": true}})", qmp_kind::event, 0, "SHUTDOWN",
       R"({"guest":true})"},
      {R"({"return": {}, "id": "text"})", qmp_kind::result, 0, "", "{}"},
      {R"({"error": "not an object"})", qmp_kind::garbage, 0, "", ""},
      {R"({"event": 7})", qmp_kind::garbage, 0, "", ""},
      {R"([1, 2])", qmp_kind::garbage, 0, "", ""},
      {R"({"return": )", qmp_kind::garbage, 0, "", ""},
      {"\xff\xfe", qmp_kind::garbage, 0, "", ""},
  };
  for (const auto& r : rows) {
    SCOPED_TRACE(r.line);
    const auto m = parse_qmp(r.line);
    EXPECT_EQ(m.kind, r.kind);
    EXPECT_EQ(m.id, r.id);
    EXPECT_EQ(m.name, r.name);
    EXPECT_EQ(m.text, r.text);
  }
}

TEST(qmp, brackets_within_brackets_are_garbage_and_not_the_end_of_the_node) {
  const std::size_t deep = qmp_parser::line_max_bytes / 2 - 100;
  const auto value = std::string(deep, '[') + std::string(deep, ']');
  EXPECT_EQ(parse_qmp(R"({"return": )" + value + "}").kind, qmp_kind::garbage);
  EXPECT_EQ(parse_qmp(R"({"event": "X", "data": )" + value + "}").kind, qmp_kind::garbage);
  EXPECT_EQ(parse_qmp(R"({"return": [[["[[["]]]})").text, R"([[["[[["]]])");
}

TEST(qmp_parser, any_split_of_the_stream_gives_the_same_messages) {
  const std::string stream =
      "{\"QMP\": {}}\r\n\r\nnonsense\n{\"return\": {}, \"id\": 1}\r\n{\"event\": \"STOP\"}\n";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    qmp_parser parser;
    auto messages = parser.feed(std::string_view{stream}.substr(0, cut));
    for (auto& m : parser.feed(std::string_view{stream}.substr(cut))) messages.push_back(m);
    ASSERT_EQ(messages.size(), 4U) << cut;
    EXPECT_EQ(messages[1].kind, qmp_kind::garbage);
    EXPECT_EQ(messages[2].id, 1U);
    EXPECT_EQ(messages[3].name, "STOP");
  }
}

TEST(qmp_parser, an_endless_line_is_dropped_and_the_next_one_read) {
  qmp_parser parser;
  const std::string block(qmp_parser::line_max_bytes / 4, 'x');
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(parser.feed(block).empty());
  const auto messages = parser.feed("\n{\"return\": {}, \"id\": 1}\n");
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0].kind, qmp_kind::garbage);
  EXPECT_EQ(messages[1].id, 1U);
}

/// A QEMU that says what the test tells it to.
class qmp_connection : public ::testing::Test {
 protected:
  void SetUp() override {
    auto listener = listen_unix(dir_.path(), "qmp.sock");
    ASSERT_TRUE(listener) << listener.error().message;
    qmp_client::options options;
    options.deadline_ms = 1000;
    options.on_event = [this](const qmp_message& m) { events_.push_back(m.name); };
    auto client = qmp_client::connect(dir_.path(), "qmp.sock", options, 0);
    ASSERT_TRUE(client) << client.error().message;
    client_.emplace(std::move(*client));
    server_ = unique_fd{::accept(listener->get(), nullptr, nullptr)};
    ASSERT_TRUE(server_);
  }
  /// The server sends, the client reads all of it.
  bool say(const std::string& text) {
    EXPECT_EQ(::send(server_.get(), text.data(), text.size(), 0),
              static_cast<ssize_t>(text.size()));
    return client_->on_readable();
  }
  /// What the client has sent since the last call.
  std::string heard() {
    std::array<char, 4096> block{};
    const ssize_t n = ::recv(server_.get(), block.data(), block.size(), MSG_DONTWAIT);
    return n > 0 ? std::string{block.data(), static_cast<std::size_t>(n)} : std::string{};
  }
  void shake_hands() {
    ASSERT_TRUE(say("{\"QMP\": {}}\r\n"));
    ASSERT_EQ(parse_id(heard()), 0xC0FFEEU);
    ASSERT_TRUE(say("{\"return\": {}, \"id\": 12648430}\r\n"));
    ASSERT_TRUE(client_->ready());
  }
  static std::uint64_t parse_id(const std::string& line) {
    const auto at = line.find("\"id\":");
    return at == std::string::npos ? 0 : std::stoull(line.substr(at + 5));
  }
  void execute(const char* command, std::uint64_t now_ms) {
    client_->execute(
        command, [this](qmp_client::answer a) { answers_.push_back(std::move(a)); }, now_ms);
  }

  temp_dir dir_;
  std::optional<qmp_client> client_;
  unique_fd server_;
  std::vector<std::string> events_;
  std::vector<qmp_client::answer> answers_;
};

TEST_F(qmp_connection, commands_wait_for_the_handshake_and_are_answered_by_id) {
  execute("query-status", 0);
  EXPECT_EQ(heard(), "");
  shake_hands();
  const auto first = heard();
  EXPECT_NE(first.find("query-status"), std::string::npos);
  execute("stop", 0);
  const auto second = heard();
  // Answered out of order, with an event in between.
  say("{\"return\": {}, \"id\": " + std::to_string(parse_id(second)) + "}\n{\"event\":\"STOP\"}\n");
  say("{\"error\": {\"class\": \"X\", \"desc\": \"bad\"}, \"id\": " +
      std::to_string(parse_id(first)) + "}\n");
  ASSERT_EQ(answers_.size(), 2U);
  EXPECT_EQ(answers_[0].value(), "{}");
  EXPECT_EQ(answers_[1].error().code, errc::invalid_argument);
  EXPECT_EQ(answers_[1].error().message, "bad");
  EXPECT_EQ(events_, std::vector<std::string>{"STOP"});
}

TEST_F(qmp_connection, a_server_that_never_greets_is_given_up_at_the_deadline) {
  execute("query-status", 0);
  EXPECT_EQ(client_->deadline(), 1000U);
  EXPECT_TRUE(client_->tick(999));
  EXPECT_FALSE(client_->tick(1000));
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_EQ(answers_[0].error().code, errc::timeout);
}

TEST_F(qmp_connection, a_command_that_hangs_fails_alone_and_its_late_answer_is_ignored) {
  shake_hands();
  execute("stop", 100);
  const auto id = parse_id(heard());
  execute("query-status", 900);
  EXPECT_EQ(client_->deadline(), 1100U);
  EXPECT_TRUE(client_->tick(1100));
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_EQ(answers_[0].error().code, errc::timeout);
  say("{\"return\": {}, \"id\": " + std::to_string(id) + "}\n");
  EXPECT_EQ(answers_.size(), 1U);
  say("{\"return\": {}, \"id\": " + std::to_string(parse_id(heard())) + "}\n");
  ASSERT_EQ(answers_.size(), 2U);
  EXPECT_TRUE(answers_[1]);
  EXPECT_EQ(client_->deadline(), std::nullopt);
}

TEST_F(qmp_connection, garbage_between_answers_costs_nothing) {
  shake_hands();
  execute("cont", 0);
  const auto id = parse_id(heard());
  EXPECT_TRUE(say("garbage\n{{{\n[]\n\"x\"\n{\"return\": {}, \"id\": 999}\n"));
  EXPECT_TRUE(answers_.empty());
  say("{\"return\": {}, \"id\": " + std::to_string(id) + "}\n");
  EXPECT_EQ(answers_.size(), 1U);
}

TEST_F(qmp_connection, a_closed_socket_fails_everything_outstanding_exactly_once) {
  shake_hands();
  execute("stop", 0);
  execute("cont", 0);
  server_.reset();
  EXPECT_FALSE(client_->on_readable());
  ASSERT_EQ(answers_.size(), 2U);
  for (const auto& a : answers_) EXPECT_EQ(a.error().code, errc::connection_lost);
  client_->close();
  EXPECT_TRUE(client_->tick(10'000));
  EXPECT_EQ(answers_.size(), 2U);
}

TEST(qmp_socket, works_in_a_directory_whose_path_is_longer_than_a_socket_address) {
  const temp_dir dir;
  std::string deep = dir.path();
  for (const char c : {'a', 'b'}) deep.append("/").append(100, c);
  std::filesystem::create_directories(deep);
  const auto listener = listen_unix(deep, "s");
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_TRUE(connect_unix(deep, "s"));
}

}  // namespace
}  // namespace blixard::vm
