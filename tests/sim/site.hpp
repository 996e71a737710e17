// A machine that a node runs on: what outlives the process (disk, clock, running VMs with their
// guards), and what passes between a node's driver and the simulated world.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "messages/entry.hpp"
#include "messages/frame.hpp"
#include "runtime/raft/core.hpp"
#include "runtime/raft/transfer.hpp"
#include "runtime/storage/sim_disk.hpp"
#include "tests/sim/checker.hpp"
#include "tests/sim/dice.hpp"
#include "tests/sim/options.hpp"

namespace blixard::pb {
class Answer;
}

namespace blixard::sim {

inline constexpr std::uint64_t us = 1'000;
inline constexpr std::uint64_t ms = 1'000'000;
inline constexpr std::uint64_t tick_ns = 10 * ms;
// A tenth of the product's, in the same ratio: a run covers seconds, not minutes.
inline constexpr std::uint64_t lease_duration_ns = 600 * ms;
inline constexpr std::uint64_t lease_margin_ns = 200 * ms;
inline constexpr std::uint64_t lease_renew_ns = 100 * ms;

// As the product's: five of the longest election timeouts.
inline constexpr std::uint32_t farewell_ticks = 150;

/// A clock that runs a little too fast or too slow.
struct local_clock {
  std::uint64_t base = 0;
  std::uint64_t rate_ppm = 1'000'000;  // local nanoseconds per thousand true microseconds
  [[nodiscard]] std::uint64_t at(std::uint64_t now) const noexcept {
    return base + now / 1000 * rate_ppm / 1000;
  }
};

/// What a node was told that asked to join with an empty disk.
struct admission {
  bool was_member = false;  // its id was known when it asked first
  blixard::term term;       // of the entry that admits it
};

struct site {
  explicit site(node_id who, std::uint64_t seed) : id(who), disk(seed) {}

  /// The guards kill every VM at the end of the lease.
  void expire(std::uint64_t now) {
    if (clock.at(now) >= lease_end) running.clear();
    std::erase_if(orphans, [at = clock.at(now)](const auto& o) { return at >= o.second; });
  }
  [[nodiscard]] bool runs(std::uint64_t vm) const {
    return running.contains(vm) || orphans.contains(vm);
  }
  /// The data directory is gone. The guards have its lease page open and wait for the end of it; no
  /// later process finds them.
  void lose_page() {
    for (const auto vm : running) orphans[vm] = lease_end;
    running.clear();
    lease_end = lease_incarnation = 0;
    ++page;
  }
  /// With the power everything ends.
  void stop_vms() {
    running.clear();
    orphans.clear();
    lease_end = lease_incarnation = 0;
  }

  node_id id;
  storage::sim_disk disk;
  durable_log durable;
  local_clock clock;
  std::uint64_t lease_end = 0;  // the page that the guards watch, on the local clock
  std::uint64_t lease_incarnation = 0;
  std::set<std::uint64_t> running;                 // VMs, valid until lease_end
  std::map<std::uint64_t, std::uint64_t> orphans;  // VMs of a lost data directory, and until when
  std::uint64_t page = 1;                          // names the lease page of this data directory
  std::uint64_t starts = 0;                        // of the process
  /// What this disk holds may not be what was written to it. Until a loss of power has shown it.
  bool spoiled = false;
  bool eager = false;    // campaigns as soon as its promise to a leader is over, or nearly so
  bool lost = false;     // it came back empty, and has not yet again what it had
  bool witness = false;  // what it is started as
  std::optional<admission> ticket;  // for its next start
};

/// A frame between two nodes.
struct wire {
  node_id from;
  node_id to;
  frame_kind kind = frame_kind::raft;
  priority cls = priority::normal;
  std::uint64_t key = 0;  // of superseding, see routing::lanes
  bool bulk = false;      // takes the connection for what is large
  slice body;
};

/// Not one of the clients: a node that asks to be admitted.
inline constexpr std::uint32_t admission_client = UINT32_MAX;

struct client_request {
  std::uint32_t client = 0;
  std::uint64_t attempt = 0;  // names the request among all of this client
  bool read = false;
  slice body;  // a command; of a read: the key
};

enum class reply_kind : std::uint8_t {
  answered,     // `answer` is the state machine's
  not_applied,  // this attempt certainly had no effect; try another node, or again
  unknown,      // this attempt may have an effect, now or later
};

struct client_reply {
  std::uint32_t client = 0;
  std::uint64_t attempt = 0;
  reply_kind kind = reply_kind::unknown;
  node_id leader;  // a hint; 0: none
  std::shared_ptr<const pb::Answer> answer;
  bool is_known = false;  // the id of the node that asks whether it is
};

/// Parameters of all nodes of one run.
struct settings {
  raft::config core;  // id, seed and incarnation are the node's own
  std::uint64_t snapshot_entries = 100;
  std::uint64_t snapshot_rate = 0;  // bytes per second to all peers together; 0: no limit
  raft::transfer_limits transfer;
  raft::log_limits log;
  std::uint64_t silent_ns = 0;    // who has not answered for so long may never be back
  bool packed_snapshots = false;  // as a running node's are, at the price of packing them
  std::size_t segment_bytes = 0;
  mutant driver_bug = mutant::none;
  bool ranks = false;            // of elections, by id
  bool adaptive_window = false;  // the core is shown the time
};

enum class turn : std::uint8_t { disk, machine, filer };

/// What a driver needs of the world around it.
class host {
 public:
  [[nodiscard]] virtual std::uint64_t now() const noexcept = 0;
  [[nodiscard]] virtual const settings& common() const noexcept = 0;
  virtual dice& chance() noexcept = 0;
  virtual checker& checks() noexcept = 0;
  /// Calls driver::on_turn(what) after a while that the world chooses.
  virtual void wake(node_id id, turn what) = 0;
  /// The lane from one node to another has something to send.
  virtual void transmit(node_id from, node_id to, bool bulk) = 0;
  virtual void reply(client_reply r) = 0;
  /// A node became leader.
  virtual void leads(node_id id) = 0;
  /// A VM is about to run on a site: nobody else may run it at this instant.
  virtual void vm_starts(const site& where, std::uint64_t vm) = 0;
  virtual void trace(const char* what, node_id id, std::uint64_t a, std::uint64_t b) = 0;

 protected:
  ~host() = default;
};

}  // namespace blixard::sim
