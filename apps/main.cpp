// The one binary: picks the program that the first word names, and gives all of them the same
// ground to stand on: open standard descriptors, one voice for errors, no lost output.
#include <fcntl.h>
#include <google/protobuf/stubs/logging.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "apps/commands.hpp"
#include "apps/node.hpp"
#include "apps/version.hpp"
#include "runtime/base/config.hpp"
#include "runtime/base/suggest.hpp"
#include "runtime/repl/format.hpp"
#include "runtime/storage/wal_command.hpp"
#include "runtime/vm/guard.hpp"

namespace blixard::apps {
namespace {

constexpr const char* usage =
    "usage: blixard COMMAND ...\n"
    "\n"
    "  node       run one node\n"
    "  repl       a shell on a running node\n"
    "  ctl        one command on a running node, or many from a script\n"
    "  hotpaths   what a running node's hot paths cost: ctl hotpaths\n"
    "  bench kv   measure a cluster\n"
    "  wal        dump or verify a node's log, offline\n"
    "  version    what this is\n"
    "\n"
    "blixard COMMAND --help says more.\n";

int start_node(const strings& args) {
  const auto parsed = parse_node_config(args, system_sources());
  if (!parsed) {
    const int code = static_cast<int>(parsed.error().code);
    if (code >= 3) std::printf("%s\n", repl::fatal_event(code, parsed.error().message).c_str());
    return complain(code, parsed.error().message, parsed.error().hint);
  }
  if (parsed->help) {
    std::fputs(node_usage().c_str(), stdout);
    return 0;
  }
  for (const auto& warning : parsed->warnings)
    std::fprintf(stderr, "blixard: %s\n", warning.c_str());
  return run_node(parsed->config);
}

int run_wal(strings args) {
  constexpr const char* help = "usage: blixard wal dump|verify [--json] DATA_DIR\n";
  const bool json = std::erase(args, "--json") != 0;
  for (const auto& a : args)
    if (a == "--help" || a == "-h") {
      std::fputs(help, stdout);
      return 0;
    }
  for (const auto& a : args)
    if (a.starts_with("-")) return unknown_flag(a, {"--json", "--help"}, "blixard wal --help");
  if (args.size() != 2 || (args[0] != "dump" && args[0] != "verify")) {
    std::fputs(help, stderr);
    return 2;
  }
  return storage::wal_command(args[0] == "verify", json, args[1], stdout, stderr);
}

/// The one command that has a program's name: people look at it from the shell while a load runs.
int run_hotpaths(const strings& args) {
  const bool help =
      std::ranges::any_of(args, [](const auto& a) { return a == "--help" || a == "-h"; });
  return run_ctl(help ? strings{"help", "hotpaths"} : args);
}

int unknown_program(const std::string& name) {
  const strings names{"node", "repl",    "ctl",  "hotpaths", "bench",
                      "wal",  "version", "help", "--help",   "--version"};
  auto hint = did_you_mean(name, names);
  return complain(2, "unknown command " + name,
                  hint.empty() ? "see blixard help" : std::move(hint));
}

int run(const strings& args) {
  if (args.empty()) {
    std::fputs(usage, stderr);
    return 2;
  }
  const strings rest(args.begin() + 1, args.end());
  const auto& name = args[0];
  if (name == "node") return start_node(rest);
  if (name == "repl") return run_repl(rest);
  if (name == "ctl") return run_ctl(rest);
  if (name == "hotpaths") return run_hotpaths(args);
  if (name == "bench") return run_bench(rest);
  if (name == "wal") return run_wal(rest);
  if (name == "version" || name == "--version") {
    std::printf("blixard %s\n", version);
    return 0;
  }
  if (name == "help" || name == "--help" || name == "-h") {
    std::fputs(usage, stdout);
    return 0;
  }
  return unknown_program(name);
}

/// A descriptor 0, 1 or 2 that is closed would be given to the next file or socket, and what is
/// printed would end up in there. Read-only: printing still fails, and is noticed.
void open_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) (void)!::open("/dev/null", O_RDONLY);
}

/// What the program printed is lost where stdout could not take it: that is no success.
int check_output(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  const std::string why = std::strerror(errno);  // NOLINT: the last thread
  complain(1, "standard output cannot be written: " + why);
  return code == 0 ? 1 : code;
}

}  // namespace
}  // namespace blixard::apps

int main(int argc, char** argv) {
  blixard::apps::open_standard_descriptors();
  // The guard of a VM is a small single-threaded process: it goes its own way before anything else.
  if (argc > 1 && std::string(argv[1]) == "guard")
    return blixard::vm::guard_main(argc - 2, argv + 2);
  // A message that cannot be read is an error value here, with a place; the library's own lines on
  // stderr would only add noise that a client can cause.
  google::protobuf::SetLogHandler(nullptr);
  return blixard::apps::check_output(blixard::apps::run({argv + 1, argv + argc}));
}
