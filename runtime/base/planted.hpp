// Planted bugs: places where the code can be made wrong on purpose, to show that the simulation
// would notice (tests/sim/README.md, "Power").
//
// A place is one condition more where the rule is:
//
//   if (log_.term_at(index) != term_ && !planted(bug::old_term_committed)) return;
//
// In the product planted() is false at compile time, and nothing of it is left. The simulation of
// planted bugs compiles the same sources once more with BLIXARD_PLANTED_BUGS; there one bug at a
// time can be planted.
#pragma once

#include <cstdint>

namespace blixard {

enum class bug : std::uint8_t {
  none,
  // Elections
  vote_request_not_gated,  // a candidate asks before its term, vote and log are durable
  vote_not_gated,          // a granted vote leaves before it is durable
  two_votes_per_term,      // a voter forgets whom it voted for in this term
  election_restriction,    // votes are granted whatever the candidate's log lacks
  term_not_persisted,      // a higher term is believed and not written down
  damaged_node_votes,      // a node that lost acknowledged entries grants votes all the same
  campaign_guard,          // a node campaigns behind a committed change of the configuration
  vote_by_one_side,        // in a joint configuration one majority elects a leader
  // Replication
  old_term_committed,      // a leader commits by counting copies of an earlier term's entry
  commit_by_one_side,      // in a joint configuration one majority commits and confirms reads
  own_log_not_gated,       // a leader counts its own log before it is durable
  heartbeat_commit,        // a heartbeat carries the leader's commit, whatever the follower has
  stale_append_truncates,  // an append that ends early cuts the log behind it
  persist_aba,             // a write vouches for entries that were replaced since
  // Configuration
  change_while_pending,  // a change is accepted while another one is not applied
  // Reads
  read_without_quorum,   // a leader answers reads without asking anybody
  read_before_commit,    // a new leader confirms reads before it has committed anything
  read_by_old_answers,   // whatever question an answer is to, it confirms the newest one
  lease_without_drift,   // a lease is believed to the end, as if all clocks ran alike
  lease_after_transfer,  // a lease is believed although another one was told to campaign
  // Disk
  vote_not_synced,            // term and vote are written and not synced
  snapshot_without_dir_sync,  // a snapshot's name is not synced
  // State
  sessions_lost,          // remembered answers are missing in snapshots
  applied_twice,          // a snapshot holds one entry more than it says: a restart repeats it
  leases_forgotten,       // a new leader assumes that no node leases are out
  condemned_gets_lease,   // a node gets leases after it was proposed to be declared down
  other_disk_takes_over,  // a node registers with an empty disk while its former life has a lease
  // Snapshots on their way
  chunk_of_another,    // a chunk of another snapshot is put into the one that is being received
  chunk_behind_a_gap,  // a chunk is appended to what is there, wherever it belongs
  incoming_unchecked,  // what a restart finds of a snapshot is believed without its checksums
  leader_unknown,      // chunks of a leader that the configuration does not know are refused
  // Empty disks and repair
  repair_forgotten,      // that an empty disk was a member's is not on it
  repair_by_old_append,  // what was sent before the restart says where a repair is complete
  // Witnesses
  witness_has_data,  // what a witness acknowledges counts as data
  witness_leads,     // a witness campaigns
};
inline constexpr int bug_count = static_cast<int>(bug::witness_leads) + 1;

#ifdef BLIXARD_PLANTED_BUGS
inline constexpr bool bugs_can_be_planted = true;
/// Written by plant() before a run, by the one thread that there is.
inline bug the_planted_bug = bug::none;
inline void plant(bug b) noexcept { the_planted_bug = b; }
[[nodiscard]] inline bool planted(bug b) noexcept { return b == the_planted_bug; }
#else
inline constexpr bool bugs_can_be_planted = false;
inline void plant(bug) noexcept {}
[[nodiscard]] constexpr bool planted(bug) noexcept { return false; }
#endif

}  // namespace blixard
