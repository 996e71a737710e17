// What came of a command, for people (text) and for programs (JSON lines, CLIENT "Machine-readable
// answers"). Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "messages/errc.hpp"
#include "runtime/repl/commands.hpp"
#include "runtime/repl/port.hpp"

namespace blixard::pb {
class Answer;
}

namespace blixard::repl {

/// The end of one command: an answer of a node, or an error of this side. `failure.code` is ok
/// exactly when the command was applied (or the read answered).
struct command_result {
  error failure{errc::ok, {}, {}, 0};
  log_index index;  // 0: the command did not go through the log and read no state
  blixard::term term;
  node_id node;                              // that answered; 0: none did
  std::shared_ptr<const pb::Answer> answer;  // of a node; null: none, or `text` instead
  std::string text;                          // result of a command of this side (help)

  [[nodiscard]] bool ok() const noexcept { return failure.code == errc::ok; }
};

/// Reads a reply. Bytes that are no pb::Answer give errc::internal (the outcome is unknown).
[[nodiscard]] command_result result_of(const reply& r);
/// A result of this side alone.
[[nodiscard]] command_result result_of(error e);
[[nodiscard]] command_result result_of_text(std::string text);

/// One line without the line end. `id` is JSON text that is echoed ("7", "\"a\""); empty: none.
/// `inv` may be null where the command could not be parsed.
[[nodiscard]] std::string render_json(const command_result& r, const invocation* inv,
                                      std::string_view id = {});

/// The line that a node prints before it exits with a code of 3 or more:
/// {"event":"fatal","code":12,"error":"..."}, without the line end.
[[nodiscard]] std::string fatal_event(int exit_code, std::string_view message);

/// What a person sees on stdout for a result that is ok; ends with a line end unless empty.
[[nodiscard]] std::string render_text(const command_result& r, const invocation& inv);

/// What a person sees on stderr: what failed, why on each node where the answer says so, what to do
/// next, and whether it may have happened all the same. `inv` may be null (nothing that changes
/// anything was asked for, or it is not known). Fit for a terminal.
[[nodiscard]] std::string render_failure(const command_result& r, const invocation* inv);

/// The phase in an answer to `vm show` ("running"), "deleted" for not_found, empty otherwise.
[[nodiscard]] std::string phase_of(const command_result& r);
/// Why that VM is not running, as its node or the planner says; may be empty.
[[nodiscard]] std::string reason_of(const command_result& r);
/// The lines of an answer that has some (`vm logs`, completion).
[[nodiscard]] std::vector<std::string> lines_of(const command_result& r);

/// The same answer with other lines.
[[nodiscard]] command_result result_of_lines(const command_result& r,
                                             const std::vector<std::string>& lines);

/// "blixard n1 leader t3> " from an answer to a local `cluster status`, or "blixard> ".
[[nodiscard]] std::string prompt_of(const command_result& r);

}  // namespace blixard::repl
