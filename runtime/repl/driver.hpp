// Runs one task to its end on a port, from a plain thread that may block (ctl and the shell).
#pragma once

#include <cstdint>
#include <functional>

#include "runtime/repl/port.hpp"
#include "runtime/repl/task.hpp"

namespace blixard::repl {

/// The clocks of this machine.
[[nodiscard]] task_clock system_clock();

/// What may end a command early, besides its own end. All are called on the driver's thread.
struct driver_hooks {
  /// Shows a partial result (follow, watch).
  std::function<void(const command_result&)> partial;
  /// A descriptor to watch besides the port's, -1 for none...
  int interrupt_fd = -1;
  /// ...and what to do when it is readable: true cancels the command.
  std::function<bool()> interrupted;
  /// Readable: the command is cancelled; -1 for none. It is not read.
  int stop_fd = -1;
};

/// Blocks until the task is finished or interrupted; then the result is errc::cancelled (and the
/// outcome of a request that was sent is unknown: the message says so).
[[nodiscard]] command_result run_task(port& p, task t, const driver_hooks& hooks);

/// Asks once and waits, for completion and the prompt; errors as in `reply`.
[[nodiscard]] command_result ask_once(port& p, const request& r);

}  // namespace blixard::repl
