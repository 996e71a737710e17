// What a simulation is asked to do: seed, size, how often what goes wrong, and which bug is
// planted.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/planted.hpp"
#include "tests/sim/dice.hpp"

namespace blixard::sim {

/// Faults with a dial each. Messages: per message. The others: per round of the nemesis (every 20
/// virtual milliseconds), per node or per cluster as their name says. Damage (rot_*, lost_write,
/// misdirected) strikes a disk only while no other is damaged: more than a minority cannot be
/// repaired by anybody.
enum class fault : std::uint8_t {
  loss,          // a message is lost
  duplicate,     // a message arrives twice
  delay,         // a message takes up to a second instead of up to 5 ms
  partition,     // the nodes are split in two groups, for a while
  oneway,        // one direction of one link is cut, for a while
  ring,          // everybody hears only two neighbours, for a while (three nodes: a line)
  bridge,        // two halves that only one node hears both of, for a while
  flapping,      // a link that fails and comes back every few milliseconds, for a while
  crash,         // a node loses power; a part of its unsynced writes survives
  torn,          // of those writes any sectors survive, not a prefix (chance per crash)
  power_call,    // a node loses power in the middle of a call to its disk
  kill,          // a node's process ends; its disk loses nothing, its VMs run on
  power_cut,     // all nodes lose power at once
  pause,         // a process stands still for up to a second; its VMs run on
  slow_disk,     // a write takes up to 100 ms instead of up to 3 (per write)
  sync_error,    // a sync fails and forgets what it did not write; the process ends
  disk_full,     // a disk has no space, for a while
  rot_log,       // a bit of the log flips
  rot_snapshot,  // a bit of a snapshot flips
  lost_write,    // a sector is acknowledged and not written
  misdirected,   // a sector is written to another place of its file
  membership,    // members are added, removed, replaced
  transfer,      // leadership is handed over
  drift,         // clocks differ by up to 10 % each (chance per seed)
  clock_jump,    // a clock skips up to 40 ms
  lease_reads,   // reads by lease instead of rounds (chance per seed)
  ranks,         // nodes differ in election priority (chance per seed)
  reorder,       // a message waits up to 20 ms while others overtake it
  stall,         // a state machine stands still for up to two seconds; the rest of its node goes on
  short_reign,   // who becomes leader is cut off or stopped at once (chance per election)
  split_change,  // the nodes are split right after a change of members (chance per change)
  snapshots,     // snapshots are taken all the time, the log is short (chance per seed)
  chunk_loss,    // a chunk of a snapshot is lost
  lease_edge,    // who has the slowest clock leads, and is cut off while it is asked for reads
  lost_disk,     // a machine comes back with an empty disk
  witnesses,     // some voters have no data (chance per seed)
  chunk_stop,    // who sent a chunk, or got it, stops right then (chance per chunk)
  comeback,      // who was removed returns with an empty disk to those who have not heard of it
};
inline constexpr std::size_t fault_count = 38;
[[nodiscard]] std::string_view to_string(fault f) noexcept;

/// Bugs planted in the simulation's own driver, in what the product's actors do. Those in the code
/// that nodes and simulation share are in runtime/base/planted.hpp.
enum class mutant : std::uint8_t {
  none,
  gate_ignored,            // messages leave before what they depend on is durable
  ack_before_sync,         // the disk reports a write as durable before its sync
  ack_newest_sequence,     // a finished sync acknowledges writes that came after it, too
  hard_state_not_written,  // term and vote are written only together with entries
  restart_forgets_vote,    // a restart takes the term from the disk and forgets the vote
  restart_loses_tail,      // a restart ignores the last two entries of the log
  ack_before_commit,       // a write is answered when it is appended
  fail_when_unknown,       // pending writes are answered "not applied" when leadership ends
  retry_without_session,   // commands lose their operation id
  skip_after_install,      // the first entry after an installed snapshot is not executed
  reorder_applied,         // two committed entries change places now and then
  lease_without_margin,    // the leader waits for a lease only as long as it lasts
  lease_without_quorum,    // leases are granted without asking a quorum
  lease_from_arrival,      // a node's lease counts from when the grant arrived
  empty_disk_votes,        // a member that comes back with an empty disk votes at once
  removed_id_is_new,       // an id that was removed and comes back with an empty disk votes at once
};
inline constexpr std::size_t mutant_count = 17;
/// The names of all bugs that this program can plant.
[[nodiscard]] std::vector<std::string_view> plantable();

struct options {
  std::uint64_t seed = 1;
  std::uint64_t ops = 200;    // client operations
  std::uint64_t nodes = 0;    // at the start; 0: 3 or 5 by the seed
  std::uint64_t events = 60;  // the last ones that a failure tells; > 0
  mutant driver_bug = mutant::none;
  bug core_bug = bug::none;
  std::array<std::optional<ppm>, fault_count> fixed{};  // dials that the caller sets
};

/// Sets a dial from "name=probability" (a decimal in [0, 1]). False: no such thing.
[[nodiscard]] bool set_dial(options& o, std::string_view text);
/// Plants a bug by its name. False: this program has no such bug.
[[nodiscard]] bool plant_by_name(options& o, std::string_view name);
/// The name of what is planted; empty: nothing.
[[nodiscard]] std::string_view planted_in(const options& o) noexcept;
/// The dials of one run: a random selection by the seed, overruled by what the caller fixed.
[[nodiscard]] std::array<ppm, fault_count> draw_dials(const options& o);
/// The command that repeats the run.
[[nodiscard]] std::string replay_command(const options& o);

}  // namespace blixard::sim
