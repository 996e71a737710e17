#include "runtime/base/settings.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "runtime/base/names.hpp"
#include "runtime/base/suggest.hpp"
#include "runtime/base/units.hpp"

namespace blixard {
namespace {

using applied = tl::expected<void, error>;

tl::unexpected<error> refuse(std::string message, std::string hint = {}) {
  return tl::unexpected(make_error(errc::invalid_argument, std::move(message), std::move(hint)));
}

/// Stores the value of a parse, or passes its error on.
template <class To, class From>
applied store(To& to, tl::expected<From, error>&& from) {
  if (!from) return tl::unexpected(std::move(from.error()));
  to = static_cast<To>(*from);
  return {};
}

applied store_bool(bool& to, const std::string& v) {
  constexpr std::array yes{"true", "yes", "on", "1"};
  constexpr std::array no{"false", "no", "off", "0"};
  const bool is_yes = std::ranges::find(yes, v) != yes.end();
  if (!is_yes && std::ranges::find(no, v) == no.end())
    return refuse("\"" + v + "\" is neither true nor false");
  to = is_yes;
  return {};
}

applied store_text(std::string& to, const std::string& v) {
  if (v.empty()) return refuse("the value is empty");
  to = v;
  return {};
}

applied store_milliseconds(std::uint32_t& to, const std::string& v) {
  return store(to, parse_unsigned(v, 600'000));
}

/// One of a few words; the error names the nearest.
applied store_choice(std::string& to, const std::string& v, std::vector<std::string> choices) {
  if (std::ranges::find(choices, v) != choices.end()) {
    to = v;
    return {};
  }
  std::string all;
  for (const auto& c : choices) all += (all.empty() ? "" : ", ") + c;
  return refuse("\"" + v + "\" is not one of " + all, did_you_mean(v, choices));
}

applied append_endpoints(std::vector<endpoint>& to, const std::string& v) {
  auto some = parse_endpoints(v);
  if (!some) return tl::unexpected(std::move(some.error()));
  for (auto& e : *some) {
    if (e.port == 0) return refuse("\"" + v + "\": port 0 cannot be dialled");
    to.push_back(std::move(e));
  }
  return {};
}

applied set_advertise(node_config& c, const std::string& v) {
  auto e = parse_endpoint(v);
  if (!e) return tl::unexpected(std::move(e.error()));
  if (e->port == 0) return refuse("others cannot dial port 0");
  c.advertise = std::move(*e);
  return {};
}

applied set_name(node_config& c, const std::string& v) {
  if (!is_dns_label(v)) return refuse("\"" + v + "\" is not a name", std::string(dns_label_hint));
  c.name = v;
  return {};
}

applied add_label(node_config& c, const std::string& v) {
  const auto equals = v.find('=');
  if (equals == std::string::npos || equals == 0)
    return refuse("\"" + v + "\" is not a label", "write KEY=VALUE, such as zone=a");
  const auto key = v.substr(0, equals);
  if (key.size() > limits::name_max_bytes || v.size() - equals - 1 > limits::name_max_bytes)
    return refuse("\"" + v + "\": key and value of a label have at most 63 bytes");
  if (!c.labels.emplace(key, v.substr(equals + 1)).second)
    return refuse("label " + key + " is given twice");
  return {};
}

applied add_backend(node_config& c, const std::string& v) {
  std::string one;
  if (auto ok = store_choice(one, v, {"qemu", "process"}); !ok) return ok;
  if (std::ranges::find(c.backends, one) == c.backends.end()) c.backends.push_back(one);
  return {};
}

applied add_dial(node_config& c, const std::string& v) {
  const auto equals = v.find('=');
  const auto id = parse_unsigned(std::string_view(v).substr(0, equals));
  if (equals == std::string::npos || !id || *id == 0)
    return refuse("\"" + v + "\" is not ID=HOST:PORT", "such as 2=127.0.0.1:7102");
  auto e = parse_endpoint(std::string_view(v).substr(equals + 1));
  if (!e) return tl::unexpected(std::move(e.error()));
  if (e->port == 0) return refuse("\"" + v + "\": port 0 cannot be dialled");
  if (!c.dial.emplace(node_id{*id}, std::move(*e)).second)
    return refuse("node " + std::to_string(*id) + " is given twice");
  return {};
}

applied set_id(node_config& c, const std::string& v) {
  auto n = parse_unsigned(v);
  if (!n) return tl::unexpected(std::move(n.error()));
  if (*n == 0) return refuse("node ids begin at 1");
  c.id = node_id{*n};
  return {};
}

using cfg = node_config;
using str = const std::string&;
constexpr auto single = setting_kind::single;
constexpr auto toggle = setting_kind::toggle;
constexpr auto list = setting_kind::list;
constexpr auto table = setting_kind::table;

constexpr std::array settings{
    setting{"id", "N", single, "this node's id, 1 or more (required)", set_id},
    setting{"data-dir", "DIR", single, "where this node keeps its log and snapshots (required)",
            [](cfg& c, str v) { return store_text(c.data_dir, v); }},
    setting{"bind", "HOST:PORT", single, "where it listens, for nodes and clients [127.0.0.1:7001]",
            [](cfg& c, str v) { return store(c.bind, parse_endpoint(v)); }},
    setting{"advertise", "HOST:PORT", single, "what others are told [the bind address]",
            set_advertise},
    setting{"bootstrap", "", toggle, "make a new cluster of this node",
            [](cfg& c, str v) { return store_bool(c.bootstrap, v); }},
    setting{"join", "HOST:PORT", list, "members to ask for admission",
            [](cfg& c, str v) { return append_endpoints(c.join, v); }},
    setting{"witness", "", toggle, "join as a voter without data and without VMs",
            [](cfg& c, str v) { return store_bool(c.witness, v); }},
    setting{"metrics", "HOST:PORT", single, "where HTTP for Prometheus listens [127.0.0.1:9464]",
            [](cfg& c, str v) { return store(c.metrics, parse_endpoint(v)); }},
    setting{"name", "NAME", single, "a name for people [node-<id>]", set_name},
    setting{"vcpus", "N", single, "capacity to offer to VMs [what the host has]",
            [](cfg& c, str v) { return store(c.vcpus, parse_unsigned(v, 1'000'000)); }},
    setting{"memory", "SIZE", single, "memory to offer to VMs [what the host has]",
            [](cfg& c, str v) { return store(c.memory_bytes, parse_size(v)); }},
    setting{"disk", "SIZE", single, "disk to offer to VMs [what the file system has]",
            [](cfg& c, str v) { return store(c.disk_bytes, parse_size(v)); }},
    setting{"label", "K=V", table, "a label that placement can ask for", add_label},
    setting{"backend", "qemu|process", list, "how VMs may run here [all that work]", add_backend},
    setting{"guest-kernel", "FILE", single, "kernel of VMs that name none",
            [](cfg& c, str v) { return store_text(c.guest_kernel, v); }},
    setting{"guest-initrd", "FILE", single, "initrd of VMs that name none",
            [](cfg& c, str v) { return store_text(c.guest_initrd, v); }},
    setting{"repl", "", toggle, "a shell on this terminal",
            [](cfg& c, str v) { return store_bool(c.repl, v); }},
    setting{"tls-ca", "FILE", single, "mutual TLS: authority of all nodes and clients",
            [](cfg& c, str v) { return store_text(c.tls.ca, v); }},
    setting{"tls-cert", "FILE", single, "this node's certificate, URI:blixard://node/ID",
            [](cfg& c, str v) { return store_text(c.tls.cert, v); }},
    setting{"tls-key", "FILE", single, "this node's private key",
            [](cfg& c, str v) { return store_text(c.tls.key, v); }},
    setting{
        "log-level", "LEVEL", single, "trace, debug, info, warn, error or off [info]",
        [](cfg& c, str v) {
          return store_choice(c.log_level, v, {"trace", "debug", "info", "warn", "error", "off"});
        }},
    setting{"dial", "ID=HOST:PORT", table, "dial this peer there, whatever its address", add_dial},
    setting{"tick-ms", "N", single, "unit of Raft's logical time [10]",
            [](cfg& c, str v) { return store_milliseconds(c.tick_ms, v); }},
    setting{"heartbeat-ms", "N", single, "between a leader's heartbeats [50]",
            [](cfg& c, str v) { return store_milliseconds(c.heartbeat_ms, v); }},
    setting{"election-min-ms", "N", single, "shortest election timeout [150]",
            [](cfg& c, str v) { return store_milliseconds(c.election_min_ms, v); }},
    setting{"election-max-ms", "N", single, "longest election timeout [300]",
            [](cfg& c, str v) { return store_milliseconds(c.election_max_ms, v); }},
    setting{"election-rank", "N", single, "who leads first: 0 before 1, ... 15 [0]",
            [](cfg& c, str v) {
              return store(c.election_rank, parse_unsigned(v, limits::election_rank_max));
            }},
    setting{"window", "HOW", single, "what is sent ahead to a follower: adaptive, fixed [adaptive]",
            [](cfg& c, str v) {
              std::string how;
              auto ok = store_choice(how, v, {"adaptive", "fixed"});
              c.adaptive_window = how != "fixed";
              return ok;
            }},
    setting{"reads", "HOW", single, "of a leader: quorum, or lease, which trusts clocks [quorum]",
            [](cfg& c, str v) {
              std::string how;
              auto ok = store_choice(how, v, {"quorum", "lease"});
              c.lease_reads = how == "lease";
              return ok;
            }},
    setting{"clock-drift-percent", "N", single, "at most, of clocks; for --reads lease [10]",
            [](cfg& c, str v) {
              return store(c.clock_drift_percent,
                           parse_unsigned(v, limits::clock_drift_max_percent));
            }},
    setting{"snapshot-entries", "N", single, "entries between snapshots [100000]",
            [](cfg& c, str v) { return store(c.snapshot_entries, parse_unsigned(v)); }},
    setting{"snapshot-rate", "SIZE", single, "per second sent of snapshots, 0: no limit [64M]",
            [](cfg& c, str v) { return store(c.snapshot_rate, parse_size(v)); }},
    setting{"segment-bytes", "SIZE", single, "size of a log segment [64M]",
            [](cfg& c, str v) { return store(c.segment_bytes, parse_size(v)); }},
    setting{"max-frame-bytes", "SIZE", single, "largest message accepted [8M]",
            [](cfg& c, str v) { return store(c.max_frame_bytes, parse_size(v)); }},
    setting{"memory-cap", "SIZE", single, "memory for clients: half requests, half answers [512M]",
            [](cfg& c, str v) { return store(c.memory_cap_bytes, parse_size(v)); }},
    setting{"seed", "N", single, "of this node's random choices [from the kernel]",
            [](cfg& c, str v) { return store(c.seed, parse_unsigned(v)); }},
};

tl::unexpected<config_error> stop(exit_code code, std::string message, std::string hint = {}) {
  return tl::unexpected(config_error{code, std::move(message), std::move(hint)});
}

tl::expected<void, config_error> check_membership(const node_config& c) {
  if (!c.id) return stop(exit_code::usage, "id is missing", "give --id N (1 or more)");
  if (c.data_dir.empty())
    return stop(exit_code::usage, "data-dir is missing", "give --data-dir DIR");
  if (c.bootstrap && !c.join.empty())
    return stop(exit_code::usage, "bootstrap and join exclude each other",
                "--bootstrap makes a new cluster, --join enters an existing one");
  if (c.bootstrap && c.witness)
    return stop(exit_code::usage, "bootstrap and witness exclude each other",
                "a cluster begins with a node that has data");
  if (c.dial.contains(c.id))
    return stop(exit_code::configuration, "dial names this node itself",
                "dial is for the other nodes");
  return {};
}

tl::expected<void, config_error> check_network(const node_config& c) {
  if (c.tls.configured() && !c.tls.missing().empty())
    return stop(exit_code::configuration, c.tls.missing() + " is missing",
                "mutual TLS needs tls-ca, tls-cert and tls-key together");
  if (!c.tls.configured() && !is_loopback(c.bind))
    return stop(exit_code::configuration,
                "bind: " + to_string(c.bind) + " is not a loopback address and there is no TLS",
                "an open port without mutual TLS is refused: give tls-ca, tls-cert and tls-key "
                "(scripts/certs makes some to try), or bind to 127.0.0.1 or [::1]");
  return {};
}

tl::expected<void, config_error> check_timing(const node_config& c) {
  const auto wrong = [](std::string what) {
    return stop(exit_code::configuration, std::move(what),
                "tick <= heartbeat, 2 x heartbeat <= shortest election timeout < longest one");
  };
  if (c.tick_ms == 0) return wrong("tick-ms is 0");
  if (c.heartbeat_ms < c.tick_ms) return wrong("heartbeat-ms is shorter than tick-ms");
  if (c.election_min_ms < 2 * c.heartbeat_ms)
    return wrong("election-min-ms is shorter than two heartbeats");
  if (c.election_max_ms <= c.election_min_ms)
    return wrong("election-max-ms is not longer than election-min-ms");
  return {};
}

tl::expected<void, config_error> check_sizes(const node_config& c) {
  struct bound {
    std::string_view name;
    std::uint64_t value, min, max;
  };
  const std::array bounds{
      bound{"snapshot-entries", c.snapshot_entries, 1, std::uint64_t{1} << 40},
      bound{"segment-bytes", c.segment_bytes, 64 * limits::KiB, 2 * limits::GiB},
      bound{"max-frame-bytes", c.max_frame_bytes, 64 * limits::KiB, 512 * limits::MiB},
      bound{"memory-cap", c.memory_cap_bytes, 16 * limits::MiB, std::uint64_t{1} << 50},
  };
  for (const auto& b : bounds)
    if (b.value < b.min || b.value > b.max)
      return stop(exit_code::configuration, std::string(b.name) + ": " + std::to_string(b.value) +
                                                " is not from " + format_size(b.min) + " to " +
                                                format_size(b.max));
  return {};
}

}  // namespace

std::span<const setting> setting_table() { return settings; }

const setting* find_setting(std::string_view key) {
  std::string name(key);
  std::ranges::replace(name, '_', '-');
  const auto* const at = std::ranges::find(settings, std::string_view(name), &setting::name);
  return at == settings.end() ? nullptr : at;
}

std::string variable_of(const setting& s) {
  std::string out = "BLIXARD_";
  for (const char c : s.name)
    out += c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

std::string key_of(const setting& s) {
  std::string out(s.name);
  std::ranges::replace(out, '-', '_');
  return out;
}

tl::expected<void, config_error> check_config(const node_config& c) {
  return check_membership(c)
      .and_then([&] { return check_network(c); })
      .and_then([&] { return check_timing(c); })
      .and_then([&] { return check_sizes(c); });
}

}  // namespace blixard
