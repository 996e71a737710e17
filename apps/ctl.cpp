// `blixard ctl`: one command, or one per line of input (--jsonl). Results on stdout, everything
// else on stderr; the exit code says what came of it (CLIENT "`ctl` exit codes").
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "apps/commands.hpp"
#include "runtime/base/flags.hpp"
#include "runtime/base/units.hpp"
#include "runtime/net/client.hpp"
#include "runtime/repl/driver.hpp"
#include "runtime/repl/format.hpp"
#include "runtime/repl/jsonl.hpp"
#include "runtime/repl/task.hpp"
#include "runtime/repl/text_table.hpp"

namespace blixard::apps {
namespace {

constexpr const char* usage =
    "usage: blixard ctl [--connect HOST:PORT[,...]] [-o table|json] [--timeout S] COMMAND "
    "[ARG...]\n"
    "       blixard ctl [--connect HOST:PORT[,...]] [--timeout S] --jsonl\n"
    "\n"
    "  --connect HOST:PORT[,...]  nodes to ask; the next where one is gone [BLIXARD_CONNECT,\n"
    "                             127.0.0.1:7001]\n"
    "  -o table|json              for people or for programs [table]\n"
    "  --timeout S                how long to wait for an answer, in seconds [10]\n"
    "  --jsonl                    one command per input line, one JSON answer per output line\n";

constexpr const char* exit_codes =
    "\n"
    "Exit codes: 0 ok, 1 failed and surely not applied, 2 usage, 3 not found, 4 not authorised,\n"
    "5 no leader or nothing reached, 6 conflict, 7 outcome unknown, 8 cannot be placed.\n"
    "\n";

struct ctl_flags {
  std::optional<std::string> connect;
  tls_flags tls;
  std::string output = "table";
  std::string timeout;
  bool jsonl = false;
  bool help = false;
};

/// Takes a flag of ctl's own out of a command's words, where people often put it.
void hoist(const std::string& flag, strings& words, std::optional<std::string>& to) {
  for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    const bool separate = words[i] == flag && i + 1 < words.size();
    if (!separate && !words[i].starts_with(flag + "=")) continue;
    to = separate ? words[i + 1] : words[i].substr(flag.size() + 1);
    const auto at = words.begin() + static_cast<std::ptrdiff_t>(i);
    words.erase(at, at + (separate ? 2 : 1));
    return;
  }
}

bool write_out(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
         std::fflush(stdout) == 0;
}

/// The text of a result: as it is for a pipe, harmless for a terminal.
std::string text_of(const repl::command_result& r, const repl::invocation& inv) {
  auto text = repl::render_text(r, inv);
  return ::isatty(STDOUT_FILENO) == 1 ? repl::for_terminal(text) : text;
}

/// Shows a result and turns it into the exit code.
int show(const repl::command_result& r, const repl::invocation* inv, bool json) {
  // Output that cannot be written is noticed at the end of the program.
  if (json)
    (void)write_out(repl::render_json(r, inv) + "\n");
  else if (r.ok())
    (void)write_out(text_of(r, *inv));
  else
    std::fputs(repl::render_failure(r, inv).c_str(), stderr);
  return repl::ctl_exit_code(r.failure.code);
}

int refuse_here(errc code, const std::string& message) {
  return show(repl::result_of(make_error(code, message, "this command is for the shell")), nullptr,
              false);
}

int run_one(net::client& client, repl::invocation inv, bool json) {
  using repl::action;
  const auto act = inv.spec->act;
  if (act == action::timing || act == action::source || act == action::quit)
    return refuse_here(errc::invalid_argument, inv.spec->name() + " has no meaning here");
  repl::task task(inv, {}, 10'000);
  int code = 0;
  repl::driver_hooks hooks;
  hooks.partial = [&](const repl::command_result& r) { code = show(r, &task.shown(), json); };
  const auto end = repl::run_task(client, task, hooks);
  return show(end, &inv, json);
}

int run_lines(net::client& client, std::uint32_t timeout_ms) {
  std::string out;
  repl::jsonl_options options;
  options.timeout_ms = timeout_ms;
  repl::jsonl_session session(client, options, [&out](const std::string& line) {
    out += line;
    out += '\n';
  });
  std::array<char, 64 * 1024> bytes;
  bool reading = true;
  while (true) {
    if (!out.empty() && !write_out(std::exchange(out, {}))) return 1;
    if (session.finished()) return 0;
    const auto now = repl::system_clock();
    int wait = session.wait_ms(now.mono_ms);
    if (const int own = client.wait_ms(); own >= 0) wait = wait < 0 ? own : std::min(wait, own);
    std::array<pollfd, 2> fds{pollfd{client.wait_fd(), POLLIN, 0},
                              pollfd{reading && session.wants_input() ? 0 : -1, POLLIN, 0}};
    ::poll(fds.data(), fds.size(), wait);
    session.turn(repl::system_clock());
    if (fds[1].revents != 0) {
      const auto n = ::read(0, bytes.data(), bytes.size());
      if (n > 0) {
        session.feed({bytes.data(), static_cast<std::size_t>(n)}, repl::system_clock());
      } else if (n == 0 || errno != EINTR) {
        reading = false;
        session.end_of_input(repl::system_clock());
      }
    }
    client.process();
    session.turn(repl::system_clock());
  }
}

int parse_flags(const strings& args, ctl_flags& flags, strings& words) {
  CLI::App app;
  app.set_help_flag();
  app.prefix_command();
  app.add_option("--connect", flags.connect);
  add_tls_flags(app, flags.tls);
  app.add_option("-o,--output", flags.output);
  app.add_option("--timeout", flags.timeout);
  app.add_flag("--jsonl", flags.jsonl);
  app.add_flag("--help,-h", flags.help);
  try {
    app.parse(strings(args.rbegin(), args.rend()));
  } catch (const CLI::Error& e) {
    return complain(2, flag_problem(e.what()), "see blixard ctl --help");
  }
  words = app.remaining();
  if (!words.empty() && words[0].starts_with("-") && words[0] != "--")
    return unknown_flag(words[0],
                        {"--connect", "--tls-ca", "--tls-cert", "--tls-key", "--timeout", "--jsonl",
                         "--output", "--help", "-o"},
                        "blixard ctl --help");
  if (!words.empty() && words[0] == "--") words.erase(words.begin());
  hoist("--connect", words, flags.connect);
  hoist("--tls-ca", words, flags.tls.ca);
  hoist("--tls-cert", words, flags.tls.cert);
  hoist("--tls-key", words, flags.tls.key);
  if (flags.output != "table" && flags.output != "json")
    return complain(2, "-o: \"" + flags.output + "\" is neither table nor json");
  return 0;
}

/// Parses the command's words and hands ctl's own flags on to it.
tl::expected<repl::invocation, error> parse_words(const strings& words, const ctl_flags& flags) {
  auto inv = repl::parse_command(words);
  if (inv && !flags.timeout.empty() && !inv->has("--timeout"))
    inv->flags["--timeout"] = {flags.timeout};
  return inv;
}

/// The form of the answer to words that are no command: a program that asked for JSON gets JSON.
std::string output_of(const strings& words, const ctl_flags& flags) {
  const auto at = std::ranges::find(words, "-o");
  return at != words.end() && std::next(at) != words.end() ? *std::next(at) : flags.output;
}

}  // namespace

int run_ctl(const strings& args) {
  ctl_flags flags;
  strings words;
  if (const int code = parse_flags(args, flags, words); code != 0) return code;
  if (flags.help) {
    std::fputs(usage, stdout);
    std::fputs(tls_usage, stdout);
    std::fputs(exit_codes, stdout);
    std::fputs(repl::help_text({})->c_str(), stdout);
    return 0;
  }
  const auto addresses = connect_addresses(flags.connect);
  if (!addresses)
    return complain(2, "--connect: " + addresses.error().message, addresses.error().hint);
  std::uint64_t timeout_ms = 10'000;
  if (!flags.timeout.empty()) {
    const auto ms = parse_duration_ms(flags.timeout);
    if (!ms || *ms == 0)
      return complain(2, "--timeout: \"" + flags.timeout + "\" is not a duration",
                      "such as 2 or 0.5");
    timeout_ms = *ms;
  }
  net::client_options options;
  options.addresses = *addresses;
  const auto tls = client_tls(flags.tls);
  if (tls) options.tls = *tls;
  if (flags.jsonl) {
    if (!words.empty()) return complain(2, "--jsonl takes its commands from standard input");
    if (!tls) return show(repl::result_of(tls.error()), nullptr, false);
    net::client client(std::move(options));
    return run_lines(client,
                     static_cast<std::uint32_t>(std::min<std::uint64_t>(timeout_ms, UINT32_MAX)));
  }
  if (words.empty()) return complain(2, "there is no command", "see blixard ctl --help");
  auto inv = parse_words(words, flags);
  const bool json =
      (inv ? inv->value("-o").value_or(flags.output) : output_of(words, flags)) == "json";
  if (!inv) return show(repl::result_of(inv.error()), nullptr, json);
  if (!tls) return show(repl::result_of(tls.error()), nullptr, json);
  net::client client(std::move(options));
  return run_one(client, std::move(*inv), json);
}

}  // namespace blixard::apps
