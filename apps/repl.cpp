// `blixard repl`: the shell on a running node, over the network.
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>

#include "apps/commands.hpp"
#include "apps/version.hpp"
#include "runtime/base/flags.hpp"
#include "runtime/net/client.hpp"
#include "runtime/repl/build.hpp"
#include "runtime/repl/driver.hpp"
#include "runtime/repl/format.hpp"
#include "runtime/repl/shell.hpp"

namespace blixard::apps {
namespace {

constexpr const char* usage =
    "usage: blixard repl [--connect HOST:PORT[,...]] [--tls-ca F --tls-cert F --tls-key F]\n"
    "\n"
    "A shell on a running node. Standard input that is not a terminal is a script: it stops at "
    "the\n"
    "first error, with that error's exit code (see blixard ctl --help).\n";

}  // namespace

int run_repl(const strings& args) {
  std::optional<std::string> connect;
  tls_flags tls_given;
  bool help = false;
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  app.add_option("--connect", connect);
  add_tls_flags(app, tls_given);
  app.add_flag("--help,-h", help);
  try {
    app.parse(strings(args.rbegin(), args.rend()));
  } catch (const CLI::Error& e) {
    return complain(2, flag_problem(e.what()), "see blixard repl --help");
  }
  if (help) {
    std::fputs(usage, stdout);
    std::fputs("\n", stdout);
    std::fputs(tls_usage, stdout);
    return 0;
  }
  if (const auto extras = app.remaining(); !extras.empty())
    return unknown_flag(extras[0], {"--connect", "--tls-ca", "--tls-cert", "--tls-key", "--help"},
                        "blixard repl --help");
  const auto addresses = connect_addresses(connect);
  if (!addresses)
    return complain(2, "--connect: " + addresses.error().message, addresses.error().hint);
  const auto tls = client_tls(tls_given);
  if (!tls)
    return complain(repl::ctl_exit_code(tls.error().code), tls.error().message, tls.error().hint);

  net::client_options options;
  options.addresses = *addresses;
  options.tls = *tls;
  net::client client(std::move(options));
  if (::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1) {
    const auto status = repl::ask_once(client, repl::build::local_status(3000));
    if (!status.ok()) {
      std::fputs(repl::render_failure(status, nullptr).c_str(), stderr);
      return repl::ctl_exit_code(status.failure.code);
    }
    std::printf("blixard %s, connected to node %s. help lists the commands, Ctrl-D leaves.\n",
                version, to_string(client.connected_node()).c_str());
  }
  return repl::run_shell(client, {});
}

}  // namespace blixard::apps
