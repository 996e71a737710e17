// `blixard bench kv`: how many operations a second a cluster does, and how long each takes.
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/commands.hpp"
#include "apps/load.hpp"
#include "messages/limits.hpp"
#include "runtime/base/flags.hpp"
#include "runtime/base/units.hpp"
#include "runtime/repl/commands.hpp"
#include "runtime/repl/text_table.hpp"

namespace blixard::apps {
namespace {

constexpr const char* usage =
    "usage: blixard bench kv [--connect HOST:PORT[,...]] [--clients N] [--value-bytes B] [--keys "
    "N]\n"
    "                        [--reads 0..1] [--stale] [--seconds S] [--rate R] [-o table|json]\n"
    "\n"
    "  --connect HOST:PORT[,...]  nodes; the connections are spread over them\n"
    "  --clients N                closed loops with one request outstanding each [64]\n"
    "  --connections N            that the clients share [the clients, at most 8]\n"
    "  --value-bytes B            size of a value [256]\n"
    "  --keys N                   different keys, bench/0 and up [10000]\n"
    "  --reads SHARE              of gets, from 0 to 1 [0]\n"
    "  --stale                    gets are answered by the node that is asked\n"
    "  --seconds S                how long [10]\n"
    "  --rate R                   open loop: R operations a second, latency from the intended "
    "start\n"
    "  --timeout S                of one operation [5]\n"
    "  --seed N                   of keys and of the choice between get and put [1]\n"
    "  -o table|json              for people or for programs [table]\n";

struct bench_flags {
  std::optional<std::string> connect;
  tls_flags tls;
  std::string clients = "64";
  std::string connections;
  std::string value_bytes = "256";
  std::string keys = "10000";
  std::string reads = "0";
  std::string seconds = "10";
  std::string rate;
  std::string timeout = "5";
  std::string seed = "1";
  std::string output = "table";
  bool stale = false;
  bool help = false;
};

/// Reads one flag into `to`, or remembers the first complaint.
class flag_reader {
 public:
  template <class To, class From>
  void read(const char* flag, To& to, tl::expected<From, error> from, From min) {
    if (failed_) return;
    if (!from || *from < min) {
      failed_ = true;
      message = std::string(flag) + ": " + (from ? "too small" : from.error().message);
      return;
    }
    to = static_cast<To>(*from);
  }
  [[nodiscard]] bool failed() const { return failed_; }
  std::string message;

 private:
  bool failed_ = false;
};

tl::expected<load_options, std::string> options_of(const bench_flags& f) {
  load_options o;
  flag_reader in;
  const std::uint64_t one = 1;
  in.read("--clients", o.clients, parse_unsigned(f.clients, 100'000), one);
  o.connections = std::min<std::size_t>(o.clients, 8);
  if (!f.connections.empty())
    in.read("--connections", o.connections, parse_unsigned(f.connections, 1000), one);
  in.read("--value-bytes", o.value_bytes, parse_size(f.value_bytes), std::uint64_t{0});
  in.read("--keys", o.keys, parse_unsigned(f.keys, 10'000'000), one);
  in.read("--reads", o.reads, parse_fraction(f.reads, {0, 1}), 0.0);
  in.read("--seconds", o.duration_ms, parse_duration_ms(f.seconds), one);
  if (!f.rate.empty()) in.read("--rate", o.rate, parse_fraction(f.rate, {0.001, 1e9}), 0.0);
  in.read("--timeout", o.timeout_ms, parse_duration_ms(f.timeout), one);
  in.read("--seed", o.seed, parse_unsigned(f.seed), std::uint64_t{0});
  if (in.failed()) return tl::unexpected(in.message);
  o.stale = f.stale;
  if (o.value_bytes > limits::value_max_bytes)
    return tl::unexpected(std::string("--value-bytes: values have at most 1 MiB"));
  constexpr std::uint64_t memory_max = 2 * limits::GiB;  // of requests encoded in advance
  if (o.keys * (o.value_bytes + 256) > memory_max)
    return tl::unexpected(std::string("--keys times --value-bytes is more than 2 GiB"));
  const auto addresses = connect_addresses(f.connect);
  if (!addresses) return tl::unexpected("--connect: " + addresses.error().message);
  o.addresses = *addresses;
  return o;
}

histogram all_of(const load_result& r) {
  histogram out = r.puts;
  out.merge(r.gets);
  return out;
}

double us(std::uint64_t ns) { return std::round(static_cast<double>(ns) / 100.0) / 10.0; }

nlohmann::ordered_json latencies_json(const histogram& h) {
  return {{"operations", h.count()},        {"mean_us", us(static_cast<std::uint64_t>(h.mean()))},
          {"p50_us", us(h.quantile(0.5))},  {"p90_us", us(h.quantile(0.9))},
          {"p99_us", us(h.quantile(0.99))}, {"p999_us", us(h.quantile(0.999))},
          {"max_us", us(h.max())}};
}

void print_json(const load_options& o, const load_result& r) {
  nlohmann::ordered_json out;
  out["ops_per_second"] = std::round(static_cast<double>(r.operations()) / r.seconds * 10) / 10;
  out.update(latencies_json(all_of(r)));
  out["errors"] = r.errors;
  out["errors_by_code"] = nlohmann::ordered_json::object();
  for (const auto& [code, n] : r.errors_by_code)
    out["errors_by_code"][std::string(to_string(code))] = n;
  out["unfinished"] = r.unfinished;
  out["late_starts"] = r.late_starts;
  out["longest_gap_ms"] = std::round(static_cast<double>(r.longest_gap_ns) / 1e5) / 10;
  out["seconds"] = r.seconds;
  out["puts"] = latencies_json(r.puts);
  out["gets"] = latencies_json(r.gets);
  out["clients"] = o.clients;
  out["connections"] = o.connections;
  out["value_bytes"] = o.value_bytes;
  out["keys"] = o.keys;
  out["reads"] = o.reads;
  out["stale"] = o.stale;
  out["rate"] = o.rate;
  std::printf("%s\n", out.dump().c_str());
}

void print_table(const load_options& o, const load_result& r) {
  std::printf("%zu clients on %zu connections, %zu byte values, %zu keys, %.0f %% reads%s%s\n",
              o.clients, o.connections, o.value_bytes, o.keys, o.reads * 100,
              o.stale ? " (stale)" : "", o.rate > 0 ? ", open loop" : "");
  std::printf("%.0f operations a second (%llu in %.1f s), %llu errors\n",
              static_cast<double>(r.operations()) / r.seconds,
              static_cast<unsigned long long>(r.operations()), r.seconds,
              static_cast<unsigned long long>(r.errors));
  repl::text_table table({"", ">OPS", ">P50", ">P90", ">P99", ">P99.9", ">MAX"});
  const auto add = [&table](const char* name, const histogram& h) {
    if (h.count() == 0) return;
    table.add({name, std::to_string(h.count()), format_duration_ns(h.quantile(0.5)),
               format_duration_ns(h.quantile(0.9)), format_duration_ns(h.quantile(0.99)),
               format_duration_ns(h.quantile(0.999)), format_duration_ns(h.max())});
  };
  add("put", r.puts);
  add("get", r.gets);
  if (!table.empty()) std::fputs(table.str().c_str(), stdout);
  for (const auto& [code, n] : r.errors_by_code)
    std::printf("  %llu x %s\n", static_cast<unsigned long long>(n),
                std::string(to_string(code)).c_str());
  if (r.unfinished != 0)
    std::printf("%llu had no answer when time was up\n",
                static_cast<unsigned long long>(r.unfinished));
  if (r.late_starts != 0)
    std::printf("%llu could not start: too many were outstanding\n",
                static_cast<unsigned long long>(r.late_starts));
}

/// A bar on a terminal, nothing elsewhere.
load_progress progress_bar(std::uint64_t duration_ms) {
  if (::isatty(STDERR_FILENO) != 1) return {};
  return [duration_ms, last = std::uint64_t{0}, last_ms = std::uint64_t{0}](
             std::uint64_t elapsed_ms, std::uint64_t operations) mutable {
    constexpr int width = 30;
    const auto done = static_cast<int>(std::min<std::uint64_t>(elapsed_ms, duration_ms) * width /
                                       std::max<std::uint64_t>(duration_ms, 1));
    const double rate = elapsed_ms > last_ms ? static_cast<double>(operations - last) * 1000.0 /
                                                   static_cast<double>(elapsed_ms - last_ms)
                                             : 0;
    std::fprintf(stderr, "\r[%s%s] %.1f s  %.0f/s   ", std::string(done, '#').c_str(),
                 std::string(width - done, '.').c_str(), static_cast<double>(elapsed_ms) / 1000,
                 rate);
    last = operations;
    last_ms = elapsed_ms;
  };
}

int parse_bench_flags(const strings& args, bench_flags& f) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  strings known{"--stale", "--help", "-o"};
  known.insert(known.end(), tls_flag_names.begin(), tls_flag_names.end());
  add_tls_flags(app, f.tls);
  const auto option = [&](const char* name, auto& to) {
    app.add_option(name, to);
    known.emplace_back(name);
  };
  option("--connect", f.connect);
  option("--clients", f.clients);
  option("--connections", f.connections);
  option("--value-bytes", f.value_bytes);
  option("--keys", f.keys);
  option("--reads", f.reads);
  option("--seconds", f.seconds);
  option("--rate", f.rate);
  option("--timeout", f.timeout);
  option("--seed", f.seed);
  app.add_option("-o,--output", f.output);
  app.add_flag("--stale", f.stale);
  app.add_flag("--help,-h", f.help);
  try {
    app.parse(strings(args.rbegin(), args.rend()));
  } catch (const CLI::Error& e) {
    return complain(2, flag_problem(e.what()), "see blixard bench kv --help");
  }
  if (const auto extras = app.remaining(); !f.help && !extras.empty())
    return unknown_flag(extras[0], known, "blixard bench kv --help");
  if (f.output != "table" && f.output != "json")
    return complain(2, "-o: \"" + f.output + "\" is neither table nor json");
  return 0;
}

}  // namespace

int run_bench(const strings& args) {
  if (args.empty() || (args[0] != "kv" && args[0] != "--help" && args[0] != "-h"))
    return complain(2, args.empty() ? "bench what?" : "unknown benchmark " + args[0],
                    "blixard bench kv");
  bench_flags flags;
  const strings rest(args.begin() + (args[0] == "kv" ? 1 : 0), args.end());
  if (const int code = parse_bench_flags(rest, flags); code != 0) return code;
  if (flags.help) {
    std::fputs(usage, stdout);
    std::fputs(tls_usage, stdout);
    return 0;
  }
  auto options = options_of(flags);
  if (!options) return complain(2, options.error(), "see blixard bench kv --help");
  const auto tls = client_tls(flags.tls);
  if (!tls)
    return complain(repl::ctl_exit_code(tls.error().code), tls.error().message, tls.error().hint);
  options->tls = *tls;
  const auto progress = progress_bar(options->duration_ms);
  const auto result = run_load(*options, progress);
  if (progress) std::fputs("\r\x1b[K", stderr);
  if (flags.output == "json")
    print_json(*options, result);
  else
    print_table(*options, result);
  if (result.operations() > 0) return 0;
  const auto code =
      result.errors_by_code.empty() ? errc::timeout : result.errors_by_code.begin()->first;
  return complain(repl::ctl_exit_code(code), "no operation succeeded");
}

}  // namespace blixard::apps
