// The terminal of the shell: line editing with history and completion (libedit), and the keyboard
// while a command runs.
//
// Signals are never used: ISIG stays off from construction to destruction, so that Ctrl-C is a
// byte. While a line is edited it drops the line; while a command runs it cancels the command.
// Everything else that is typed while a command runs is kept for the next line.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace blixard::repl {

struct terminal_options {
  std::FILE* in = nullptr;
  std::FILE* out = nullptr;
  std::FILE* err = nullptr;
  std::string history_file;  // empty: none is kept
  int stop_fd = -1;          // readable: read_line() ends
};

class terminal {
 public:
  /// What to do for Tab: text to insert at the cursor, and candidates to list.
  struct suggestion {
    std::string insert;
    std::vector<std::string> list;
  };
  using complete_fn = std::function<suggestion(const std::string& before_cursor)>;

  terminal(terminal_options options, complete_fn complete);
  ~terminal();
  terminal(const terminal&) = delete;
  terminal& operator=(const terminal&) = delete;

  /// The next line without its end; an empty one after Ctrl-C; nothing at the end of input
  /// (Ctrl-D on an empty line, a closed terminal, or stop_fd).
  [[nodiscard]] std::optional<std::string> read_line(const std::string& prompt);
  /// Keeps a line for later sessions. Lines that begin with a blank are not kept.
  void remember(const std::string& line);

  /// While a command runs the keyboard is watched: poll input_fd() for reading, then call
  /// interrupted().
  [[nodiscard]] int input_fd() const;
  /// True when Ctrl-C was typed (or the terminal is gone).
  [[nodiscard]] bool interrupted();

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace blixard::repl
