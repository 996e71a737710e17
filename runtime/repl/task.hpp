// One command in progress, as a pure machine: it says what to do next and is told what came of it.
//
//            ┌────────── send(request) ──────────┐
//   start() ─┤                                   ├─► on_reply() ─► ... ─► finish(result)
//            └─ wait(ms) ─► on_timer() ─► ...    ┘
//
// Most commands are one request. `wait vm` asks until a phase is reached, `vm logs --follow` and
// `watch` ask for ever and give partial results. The same machine is driven by ctl, by JSON lines
// (many at a time) and by the shell. Times are milliseconds of any monotonic clock of the caller.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "runtime/repl/commands.hpp"
#include "runtime/repl/format.hpp"
#include "runtime/repl/port.hpp"

namespace blixard::repl {

/// Times at which a task is told something.
struct task_clock {
  std::uint64_t mono_ms = 0;  // monotonic
  std::int64_t wall_ms = 0;   // unix, goes into commands as the proposer's time
};

/// Operation id of a command (DOMAIN "VM"): a repeated one is answered with the first result.
struct operation_id {
  std::string client;  // empty: none
  std::uint64_t seq = 0;
};

class task {
 public:
  struct step {
    enum class kind : std::uint8_t { send, wait, finish };
    kind what = kind::finish;
    std::optional<request> send;           // with send
    std::uint32_t wait_ms = 0;             // with wait
    std::optional<command_result> result;  // with finish; with others: a partial one, to show
  };

  /// `timeout_ms` of the whole, unless the command has a --timeout of its own.
  /// @pre inv.spec->act is request, wait_vm, follow, watch or help.
  task(invocation inv, operation_id op, std::uint32_t timeout_ms);

  [[nodiscard]] step start(task_clock now);
  [[nodiscard]] step on_reply(const reply& r, task_clock now);
  [[nodiscard]] step on_timer(task_clock now);

  /// What is run; of `watch`, the command that is watched.
  [[nodiscard]] const invocation& shown() const noexcept { return inner_; }
  /// True for a task that has no end of its own (`vm logs --follow`, `watch`).
  [[nodiscard]] bool endless() const noexcept { return endless_; }

 private:
  [[nodiscard]] step ask(task_clock now);
  [[nodiscard]] step again_after(std::uint32_t ms);
  [[nodiscard]] static step finish(command_result r);
  [[nodiscard]] step on_wait_reply(command_result r, task_clock now);
  [[nodiscard]] step on_follow_reply(command_result r);
  [[nodiscard]] std::uint32_t left_ms(task_clock now) const;

  invocation outer_;
  invocation inner_;
  action act_;
  operation_id op_;
  std::uint32_t timeout_ms_;
  std::uint64_t deadline_ms_ = 0;
  std::uint32_t pause_ms_ = 0;  // of watch
  bool endless_ = false;
  std::optional<error> broken_;    // flags that do not make sense; told at start
  std::vector<std::string> seen_;  // the console lines of the last follow answer
  std::string seen_phase_;         // of the last look of `wait vm` that was answered
  std::string seen_reason_;
  bool first_answer_ = true;
};

/// The lines of `now` that are new after `before`, where both are the tail of the same growing
/// text: what follows the longest end of `before` that `now` begins with.
[[nodiscard]] std::vector<std::string> new_lines(const std::vector<std::string>& before,
                                                 const std::vector<std::string>& now);

}  // namespace blixard::repl
