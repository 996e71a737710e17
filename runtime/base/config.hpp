// What a node is told before anything is started, and where it was told it.
//
// One table of settings (config.cpp) says for each its flag, its environment variable, its key in
// the TOML file and how its text is read; flags win over BLIXARD_* variables, those over the file,
// the file over the defaults below. The whole is checked before a single thread or socket exists.
//
//   --data-dir D          flag
//   BLIXARD_DATA_DIR=D    variable; lists are separated by commas
//   data_dir = "D"        key in the file (data-dir is the same key); lists are arrays,
//                         labels and dial may be tables
//
// Parsing is pure: the environment and the file's text come in through `config_sources`.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "messages/ids.hpp"
#include "messages/limits.hpp"
#include "runtime/base/endpoint.hpp"

namespace blixard {

/// Exit codes of `blixard node` (CLIENT "Node exit codes"). Stable.
enum class exit_code : int {
  stopped = 0,
  usage = 2,
  configuration = 3,
  bind = 4,
  data_dir_locked = 5,
  foreign_data = 6,
  format_too_new = 7,
  corruption = 10,
  no_space = 11,
  write_failed = 12,
  removed = 13,
  tls = 14,
  invariant = 15,
};

/// Certificate files of mutual TLS; all three or none.
struct tls_files {
  std::string ca;
  std::string cert;
  std::string key;

  [[nodiscard]] bool configured() const noexcept {
    return !ca.empty() || !cert.empty() || !key.empty();
  }
  /// "tls-ca", "tls-cert" or "tls-key"; empty: all are given.
  [[nodiscard]] std::string missing() const {
    return ca.empty() ? "tls-ca" : cert.empty() ? "tls-cert" : key.empty() ? "tls-key" : "";
  }
};

/// Everything `blixard node` can be told. Sizes are bytes, times milliseconds.
struct node_config {
  node_id id;            // required, 1 or more
  std::string data_dir;  // required
  std::string name;      // default "node-<id>"; a DNS label
  endpoint bind{"127.0.0.1", 7001};
  std::optional<endpoint> advertise;  // default: bind, with the port it got
  endpoint metrics{"127.0.0.1", 9464};

  bool bootstrap = false;      // make a new cluster of this node (once; ignored with data present)
  std::vector<endpoint> join;  // members to ask for admission; empty with data present or bootstrap
  std::map<node_id, endpoint> dial;  // where this process dials a peer, instead of its address

  std::uint32_t vcpus = 0;         // capacity to offer; 0: what the host has
  std::uint64_t memory_bytes = 0;  // 0: what the host has
  std::uint64_t disk_bytes = 0;    // 0: what the data directory's file system has
  std::map<std::string, std::string> labels;
  std::vector<std::string> backends;  // "qemu", "process"; empty: all that work here
  std::string guest_kernel;           // of VMs that name none; empty: the built-in search path
  std::string guest_initrd;

  bool repl = false;  // a REPL on this process's terminal
  tls_files tls;
  std::string log_level = "info";  // trace | debug | info | warn | error | off

  std::uint32_t tick_ms = limits::tick_ms;
  std::uint32_t heartbeat_ms = limits::heartbeat_ms;
  std::uint32_t election_min_ms = limits::election_min_ms;
  std::uint32_t election_max_ms = limits::election_max_ms;
  std::uint32_t election_rank = 0;  // 0 leads before 1, ... as long as it is there
  bool witness = false;             // join as a voter that keeps no data and runs no VMs
  bool adaptive_window = true;      // what is on its way to a follower adapts, within the limits
  bool lease_reads = false;         // while it leads, answer reads by its lease
  std::uint32_t clock_drift_percent = 10;  // with lease_reads: of any two nodes' clocks
  std::uint64_t snapshot_entries = limits::snapshot_entries;  // applied since the last snapshot
  std::uint64_t snapshot_rate = 64 * limits::MiB;  // bytes per second to all peers; 0: no limit
  std::uint64_t segment_bytes = limits::segment_bytes;
  std::uint64_t max_frame_bytes = limits::frame_max_bytes;
  std::uint64_t memory_cap_bytes = 512 * limits::MiB;  // of queued requests and unapplied entries
  std::uint64_t seed = 0;  // of every random choice of the node; 0: from the kernel
};

/// Why a configuration was refused. `code` is the exit code; `message` names the key and where it
/// stood (flag, variable, or file with line).
struct config_error {
  exit_code code = exit_code::configuration;
  std::string message;
  std::string hint;  // may be empty
};

/// Where settings come from besides the arguments.
struct config_sources {
  /// The environment's BLIXARD_* variables by name.
  std::map<std::string, std::string, std::less<>> variables;
  /// The text of a file. Errors: any, the message is shown.
  std::function<tl::expected<std::string, error>(const std::string& path)> read_file;
};

/// This process's environment and file system.
[[nodiscard]] config_sources system_sources();

/// What the arguments of `blixard node` ask for.
struct node_request {
  node_config config;
  bool help = false;  // --help: print `node_usage()` and exit 0; config is not valid
  /// One line each: variables that no part of Blixard reads, metrics that are open to others.
  std::vector<std::string> warnings;
};

/// Reads the arguments behind `blixard node`, then variables and file, and checks the whole.
/// Errors: exit_code::usage for the arguments' form, configuration for everything else that is
/// wrong. Whether the files of TLS are what they should be is seen when they are loaded
/// (exit_code::tls).
[[nodiscard]] tl::expected<node_request, config_error> parse_node_config(
    std::span<const std::string> args, const config_sources& sources);

/// The help text of `blixard node`, made from the table of settings.
[[nodiscard]] std::string node_usage();

}  // namespace blixard
