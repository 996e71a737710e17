// `ctl --jsonl`: one command per input line, exactly one JSON answer per line (CLIENT
// "Machine-readable answers").
//
//   plain lines   run one after the other; answers in order
//   JSON lines    {"id":7,"cmd":"kv get k","timeout_ms":1000,"client":"c1","seq":12}: run at once,
//   up
//                 to 256 at a time, answered as they end; "cmd" may be an array of words
//
// `id` is any JSON value and is echoed. A line that cannot be run is answered like one that failed.
// Input is not read while 256 lines are open (running, or plain ones waiting for their turn). A
// last line without a line end is run only if it is a whole JSON object: a plain one may have been
// cut.
//
// No I/O and no clock of its own: bytes and times come in, lines go out through `emit`.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/repl/port.hpp"
#include "runtime/repl/task.hpp"

namespace blixard::repl {

struct jsonl_options {
  std::uint32_t timeout_ms = 10'000;  // of lines that say none
  std::size_t open_max = 256;         // running or waiting
  std::size_t line_max_bytes = 8 * 1024 * 1024;
};

class jsonl_session {
 public:
  using emit_fn = std::function<void(const std::string& line)>;  // without the line end

  /// `p` and `emit` must outlive the session; `emit` is called from all members.
  jsonl_session(port& p, jsonl_options options, emit_fn emit);
  ~jsonl_session();
  jsonl_session(const jsonl_session&) = delete;
  jsonl_session& operator=(const jsonl_session&) = delete;

  /// Bytes of input, cut anywhere. May be called only while wants_input().
  void feed(std::string_view bytes, task_clock now);
  void end_of_input(task_clock now);
  /// Runs timers that are due. Call it after port::process, too: it continues what that finished.
  void turn(task_clock now);

  [[nodiscard]] bool wants_input() const noexcept;
  /// True when input has ended and every line is answered.
  [[nodiscard]] bool finished() const noexcept;
  /// Milliseconds until turn() is due, -1: not by time.
  [[nodiscard]] int wait_ms(std::uint64_t now_ms) const;

 private:
  struct line_spec;
  struct running;
  struct waiting {
    std::string line;
    error refused{errc::ok, {}, {}, 0};  // answered with this instead of being run
  };

  void take_lines(task_clock now);
  void take_line(std::string_view line, bool whole, task_clock now);
  void start(line_spec spec, task_clock now);
  void step(std::list<running>::iterator at, task::step s);
  void refuse(const error& e, std::string_view id);
  void refuse_plain(error e, task_clock now);
  void take_overlong(task_clock now);
  void start_next_plain(task_clock now);

  port& port_;
  jsonl_options options_;
  emit_fn emit_;
  std::string input_;
  bool skipping_ = false;  // the rest of a line that was too long
  bool ended_ = false;
  bool plain_running_ = false;
  std::deque<waiting> plain_;  // waiting for their turn
  std::list<running> running_;
  task_clock now_;  // of the current turn
};

}  // namespace blixard::repl
