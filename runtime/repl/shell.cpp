#include "runtime/repl/shell.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <sys/stat.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "runtime/base/names.hpp"
#include "runtime/base/units.hpp"
#include "runtime/repl/build.hpp"
#include "runtime/repl/complete.hpp"
#include "runtime/repl/driver.hpp"
#include "runtime/repl/format.hpp"
#include "runtime/repl/task.hpp"
#include "runtime/repl/terminal.hpp"
#include "runtime/repl/text_table.hpp"

namespace blixard::repl {
namespace {

constexpr std::uint32_t prompt_ms = 300;    // a prompt never waits longer for the node
constexpr std::uint32_t complete_ms = 500;  // nor does Tab
constexpr int source_depth_max = 8;

/// What a line did to the session.
struct line_end {
  int code = 0;        // exit code that a script would stop with
  bool leave = false;  // quit
};

/// Lines of a descriptor that is not a terminal.
class script_reader {
 public:
  script_reader(int fd, int stop_fd) : fd_(fd), stop_fd_(stop_fd) {}

  /// The next line without its end. What the input ends with behind the last line end is none, see
  /// rest().
  std::optional<std::string> next() {
    while (true) {
      if (const auto end = text_.find('\n'); end != std::string::npos) {
        auto line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
      }
      if (!read_more()) return std::nullopt;
    }
  }
  /// After the last line: what may be the first half of another one. Empty where it was told to
  /// stop.
  [[nodiscard]] std::string_view rest() const noexcept {
    return stopped_ ? std::string_view{} : text_;
  }

 private:
  bool read_more() {
    std::array<char, 4096> bytes;
    while (true) {
      std::array<pollfd, 2> fds{pollfd{fd_, POLLIN, 0}, pollfd{stop_fd_, POLLIN, 0}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) continue;
      stopped_ = fds[1].revents != 0;
      if (stopped_) return false;
      const auto n = ::read(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      text_.append(bytes.data(), static_cast<std::size_t>(n));
      return true;
    }
  }

  int fd_;
  int stop_fd_;
  bool stopped_ = false;
  std::string text_;
};

/// Files and folders whose path begins with `prefix`, folders with a slash at the end, sorted.
std::vector<std::string> files_like(const std::string& prefix) {
  namespace fs = std::filesystem;
  const auto slash = prefix.rfind('/');
  const auto folder = slash == std::string::npos ? std::string{} : prefix.substr(0, slash + 1);
  std::vector<std::string> out;
  std::error_code ignored;
  for (fs::directory_iterator at(folder.empty() ? "." : folder, ignored), end; at != end;
       at.increment(ignored)) {
    const auto name = at->path().filename().string();
    auto path = folder + name;
    const bool hidden = name.starts_with('.') && prefix == folder;
    if (hidden || !path.starts_with(prefix)) continue;
    if (at->is_directory(ignored)) path += '/';
    out.push_back(std::move(path));
  }
  std::ranges::sort(out);
  return out;
}

class shell {
 public:
  shell(port& p, const shell_options& options)
      : port_(p),
        options_(options),
        out_is_terminal_(::isatty(fileno(options.out)) == 1),
        colour_(::isatty(fileno(options.err)) == 1 && std::getenv("NO_COLOR") == nullptr) {}

  int run_script() {
    json_only_ = options_.script_answers_json;
    script_reader reader(fileno(options_.in), options_.stop_fd);
    while (const auto line = reader.next()) {
      const auto end = run_line(*line);
      if (end.code != 0 || end.leave) return end.code;
    }
    // Whoever wrote it may have died in the middle of a word: "kv delete a" of "kv delete ab".
    if (reader.rest().find_first_not_of(" \t\r") == std::string_view::npos) return 0;
    return complain(make_error(errc::invalid_argument,
                               "the input ended in the middle of this line; it was not run",
                               "end every line with a line end"))
        .code;
  }

  int run_interactive() {
    terminal_options t{options_.in, options_.out, options_.err, options_.history_file,
                       options_.stop_fd};
    if (t.history_file.empty()) t.history_file = default_history_file();
    terminal term(std::move(t), [this](const std::string& text) { return complete(text); });
    terminal_ = &term;
    while (true) {
      const auto line = term.read_line(prompt());
      if (!line) {
        std::fputs("\n", options_.out);
        break;
      }
      term.remember(*line);
      if (run_line(*line).leave) break;
    }
    terminal_ = nullptr;
    return 0;
  }

 private:
  std::string prompt() {
    const auto status = ask_once(port_, build::local_status(prompt_ms));
    return status.ok() ? prompt_of(status) : "blixard (no node)> ";
  }

  /// The names that live elsewhere and begin with what was typed.
  std::vector<std::string> live_names(const completion& wanted) {
    if (wanted.live == completes::nothing) return {};
    if (wanted.live == completes::file) return files_like(wanted.word);
    auto names =
        lines_of(ask_once(port_, build::live_names(wanted.live, wanted.word, complete_ms)));
    std::erase_if(names, [&](const auto& name) { return !name.starts_with(wanted.word); });
    std::ranges::sort(names, natural_less);
    return names;
  }

  terminal::suggestion complete(const std::string& text) {
    auto found = complete_line(text);
    for (auto& name : live_names(found))
      if (printable(name) == name) found.candidates.push_back(std::move(name));
    terminal::suggestion out;
    const auto common = common_prefix(found.candidates);
    if (common.size() > found.word.size())
      out.insert = escape_word(common.substr(found.word.size()));
    if (found.candidates.size() == 1 && !common.ends_with('/'))
      out.insert += " ";  // the word is whole; a folder's name or the key of a group may go on
    else if (out.insert.empty())
      out.list = std::move(found.candidates);
    return out;
  }

  line_end complain(const error& e) { return complain(result_of(e), nullptr); }

  line_end complain(const command_result& r, const invocation* inv) {
    if (json_only_) return show(r, inv == nullptr ? invocation{} : *inv, true);
    std::fflush(options_.out);
    auto text = render_failure(r, inv);
    if (colour_) text = "\x1b[31merror:\x1b[0m" + text.substr(std::strlen("error:"));
    std::fputs(text.c_str(), options_.err);
    std::fflush(options_.err);
    return {ctl_exit_code(r.failure.code), false};
  }

  line_end run_line(const std::string& line) {
    const auto words = split_words(line);
    if (!words) return complain(words.error());
    if (words->empty()) return {};
    auto inv = parse_command(*words);
    if (!inv) return complain(inv.error());
    switch (inv->spec->act) {
      case action::quit:
        return {0, true};
      case action::timing:
        timing_ = inv->arg(0) == "on";
        return {};
      case action::source:
        return run_file(inv->args[0]);
      case action::request:
      case action::wait_vm:
      case action::follow:
      case action::help:
      case action::watch:
        return run_command(std::move(*inv));
    }
    return {};
  }

  line_end run_file(const std::string& path) {
    if (depth_ == source_depth_max)
      return complain(make_error(errc::invalid_argument, path + " is sourced too deeply",
                                 "does a file source itself?"));
    std::ifstream in(path);
    in.peek();  // a folder can be opened, but not read
    if (!in)
      return complain(make_error(errc::not_found, path + ": " + std::strerror(errno)));  // NOLINT
    ++depth_;
    line_end end;
    std::string line;
    for (int number = 1; end.code == 0 && !end.leave && std::getline(in, line); ++number) {
      end = run_line(line);
      if (end.code != 0) std::fprintf(options_.err, "note: in %s, line %d\n", path.c_str(), number);
    }
    --depth_;
    return end;
  }

  line_end run_command(invocation inv) {
    const auto begin = std::chrono::steady_clock::now();
    const bool json = json_only_ || inv.value("-o") == "json";
    const bool watch = inv.spec->act == action::watch;
    task t(inv, {}, options_.timeout_ms);
    const bool endless = t.endless();
    const auto shown = t.shown();  // the task moves into the driver
    driver_hooks hooks;
    hooks.stop_fd = options_.stop_fd;
    hooks.partial = [&](const command_result& r) {
      fit_screen_ = watch && out_is_terminal_ && !json_only_;
      if (fit_screen_) std::fputs("\x1b[H\x1b[2J", options_.out);
      show(r, shown, json);
      fit_screen_ = false;
    };
    if (terminal_ != nullptr) {
      hooks.interrupt_fd = terminal_->input_fd();
      hooks.interrupted = [this] { return terminal_->interrupted(); };
    }
    const auto end = run_task(port_, std::move(t), hooks);
    line_end out;
    if (!endless || end.failure.code != errc::cancelled) out = show(end, shown, json);
    if (timing_) {
      const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - begin;
      const auto ns = static_cast<std::uint64_t>(took.count());
      std::fprintf(options_.err, "time: %s\n", format_duration_ns(ns).c_str());
    }
    return out;
  }

  void print(const std::string& text) {
    auto shown = out_is_terminal_ ? for_terminal(text) : text;
    winsize screen{};  // what is watched begins at the top: what scrolls away cannot be seen
    if (fit_screen_ && ::ioctl(fileno(options_.out), TIOCGWINSZ, &screen) == 0 &&
        screen.ws_row > 2 && screen.ws_col > 0)
      shown = first_rows(shown, screen.ws_row, screen.ws_col);
    std::fwrite(shown.data(), 1, shown.size(), options_.out);
  }

  line_end show(const command_result& r, const invocation& inv, bool json) {
    if (json)
      std::fprintf(options_.out, "%s\n", render_json(r, &inv).c_str());
    else if (r.ok())
      print(render_text(r, inv));
    else
      return complain(r, &inv);
    std::fflush(options_.out);
    return {ctl_exit_code(r.failure.code), false};
  }

  port& port_;
  const shell_options& options_;
  bool out_is_terminal_;
  bool colour_;
  bool json_only_ = false;
  bool fit_screen_ = false;
  bool timing_ = false;
  int depth_ = 0;
  terminal* terminal_ = nullptr;  // with a terminal
};

}  // namespace

std::string default_history_file() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string{} : value;
  };
  if (auto file = variable("BLIXARD_HISTORY"); !file.empty()) return file;
  if (const auto state = variable("XDG_STATE_HOME"); !state.empty()) {
    ::mkdir((state + "/blixard").c_str(), 0700);
    return state + "/blixard/history";
  }
  if (const auto home = variable("HOME"); !home.empty()) return home + "/.blixard_history";
  return {};
}

int run_shell(port& p, const shell_options& options) {
  shell s(p, options);
  const bool person = ::isatty(fileno(options.in)) == 1 && ::isatty(fileno(options.out)) == 1;
  return person ? s.run_interactive() : s.run_script();
}

}  // namespace blixard::repl
