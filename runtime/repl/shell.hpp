// The REPL: reads lines, runs commands through a port, prints what came of them.
//
// With a terminal it edits lines (libedit), keeps a history (mode 0600), completes commands, flags
// and live names, and shows node, role and term in the prompt; Ctrl-C cancels the running command,
// Ctrl-D leaves. Without one it is a script: it stops at the first error with that error's exit
// code, and does not run a last line without a line end, which may have been cut. It runs on a
// plain thread of its own, never on an actor scheduler's.
//
// The terminal is read without signals (ISIG off): Ctrl-C is a byte, so that a shell inside a node
// never stops the node by it.
#pragma once

#include <cstdio>
#include <string>

#include "runtime/repl/port.hpp"

namespace blixard::repl {

struct shell_options {
  std::FILE* in = stdin;
  std::FILE* out = stdout;
  std::FILE* err = stderr;
  std::string history_file;          // empty: default_history_file(); only with a terminal
  std::uint32_t timeout_ms = 10000;  // of one command
  bool script_answers_json = false;  // all that a script prints on `out` is JSON lines
  int stop_fd = -1;  // readable: leave as soon as possible (a node that stops); -1: none
};

/// $BLIXARD_HISTORY, else $XDG_STATE_HOME/blixard/history, else ~/.blixard_history; empty where
/// there is none of them.
[[nodiscard]] std::string default_history_file();

/// Runs until the end of input, `quit`, or the first error of a script. Blocks the calling thread.
/// @returns the exit code of CLIENT "`ctl` exit codes": 0 with a terminal.
[[nodiscard]] int run_shell(port& p, const shell_options& options);

}  // namespace blixard::repl
