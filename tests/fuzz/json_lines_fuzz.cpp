// JSON lines and plain ones, cut anywhere: every answer is one JSON object, and when the input has
// ended and the node has answered, nothing is left open.
#include "runtime/repl/jsonl.hpp"

#include <deque>
#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {
namespace {

// Refuses everything, when asked to.
class refusing_port final : public repl::port {
 public:
  repl::call_id submit(const repl::request&, repl::reply_fn done) override {
    calls_.push_back({++last_, std::move(done)});
    return last_;
  }
  void cancel(repl::call_id id) override {
    std::erase_if(calls_, [id](const call& c) { return c.id == id; });
  }
  [[nodiscard]] int wait_fd() const override { return -1; }
  [[nodiscard]] int wait_ms() const override { return 0; }
  void process() override {
    while (!calls_.empty()) {
      const call c = std::move(calls_.front());
      calls_.pop_front();
      c.done(tl::unexpected(make_error(errc::not_found, "there is nothing")));
    }
  }

 private:
  struct call {
    repl::call_id id = 0;
    repl::reply_fn done;
  };
  std::deque<call> calls_;
  repl::call_id last_ = 0;
};

}  // namespace

void one(input in) {
  refusing_port port;
  repl::task_clock now{1000, 5000};
  repl::jsonl_options options;
  options.line_max_bytes = 512;
  repl::jsonl_session session{port, options, [](const std::string& line) {
                                CHECK(line.find('\n') == std::string::npos);
                                CHECK(nlohmann::json::parse(line).is_object());
                              }};
  const auto turn = [&](std::uint64_t ms) {
    port.process();
    now.mono_ms += ms;
    session.turn(now);
  };
  const std::size_t most = 1 + in.byte();
  while (!in.empty()) {
    while (!session.wants_input()) turn(100'000);
    session.feed(in.text(most), now);
  }
  session.end_of_input(now);
  for (int i = 0; i < 1000 && !session.finished(); ++i) turn(100'000);
  CHECK(session.finished());
}

std::vector<std::string> examples() {
  return {
      "\x40{\"id\":7,\"cmd\":\"kv get k\",\"timeout_ms\":1000,\"client\":\"c1\",\"seq\":12}\n",
      "\x07{\"id\":[1],\"cmd\":[\"kv\",\"put\",\"a\",\"b\"]}\nkv get a\nvm list -o json\nhelp\n",
      "\x20vm create a --memory 64M\nwait vm a running --timeout 2\n{\"id\":1}\n\n# no\nkv list",
      "\x20watch kv list\nvm logs a --follow\n{\"id\":null,\"cmd\":\"cluster status\"}"};
}

}  // namespace blixard::fuzz
