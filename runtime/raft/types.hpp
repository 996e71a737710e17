// What goes into and comes out of the Raft core, apart from messages: configuration of the core,
// state read from the disk, the output arena, errors and the status report.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "messages/entry.hpp"
#include "messages/ids.hpp"
#include "runtime/raft/message.hpp"

namespace blixard::raft {

enum class role : std::uint8_t { follower, precandidate, candidate, leader };
[[nodiscard]] std::string_view to_string(role r) noexcept;

/// How a linearizable read is confirmed (thesis section 6.4).
enum class read_mode : std::uint8_t {
  safe,   // one quorum round per batch of reads
  lease,  // at once while a quorum acknowledged within the lease; needs check_quorum, else as safe
};

/// Why the core did not do what it was asked. Nothing has changed, unless stated.
enum class refusal : std::uint8_t {
  dropped,         // not now (transfer running, too much uncommitted, removed): try again
  no_leader,       // nobody is known to lead
  not_leader,      // ask core::lead()
  not_promotable,  // not a voter, or a committed configuration entry is not applied yet
  conf_refused,    // (conf_refused convention "error" only; not used by this core)
  unknown_peer,    // an answer from, or a wish about, a node that is not a member
  invalid,         // the argument makes no sense
  unsupported,
};
[[nodiscard]] std::string_view to_string(refusal r) noexcept;

/// Parameters of one core. Ticks are the driver's unit of time; 0 in any max_* means unlimited.
struct config {
  node_id id;
  /// A follower that hears nothing campaigns after a number of ticks drawn uniformly from
  /// [min, max] at each reset (section 5.2). min is also the lease that check_quorum gives a
  /// leader.
  std::uint32_t election_min_ticks = 15;
  std::uint32_t election_max_ticks = 30;
  std::uint32_t heartbeat_ticks = 5;  // < election_min_ticks
  /// Election priority: 0 campaigns first, each further rank one span of [min, max] later. A leader
  /// hands over to a voter of a better rank that has been there and up to date for a while.
  std::uint32_t election_rank = 0;  // <= limits::election_rank_max
  std::uint64_t incarnation = 0;    // another one at each start: old answers to reads are known
  std::uint64_t seed = 1;           // of the timeouts; use another one on each node and start
  bool prevote = true;              // thesis section 9.6
  bool check_quorum = true;         // thesis section 6.2: a leader without acks steps down
  read_mode reads = read_mode::safe;
  /// Lease reads: how much faster or slower clocks may run against each other, in percent.
  std::uint32_t clock_drift_percent = 10;
  /// What makes a leader's lease true is its followers' promise to vote for nobody else for a while
  /// after they heard from it. For so long this node promises that, whatever its own `reads` is;
  /// at most election_min_ticks; needs check_quorum. 0: as long as election_min_ticks with lease
  /// reads, not at all without. A leader counts on what is promised, whatever it is.
  std::uint32_t promise_ticks = 0;
  /// This node may have followed a leader before this start, and forgot what it promised. It then
  /// grants no vote for restart_hold_ticks: as long as any former life of it may have promised (0:
  /// promise_ticks). False only where that surely is not so.
  bool restarted = true;
  std::uint32_t restart_hold_ticks = 0;
  /// By how many ticks a promise may end too early: the first tick may come at once (1); where
  /// ticks may be late, the next one right behind it; where clocks may jump, one more.
  std::uint32_t promise_slack_ticks = 1;
  /// How long a tick is by this node's clock: promises travel in microseconds.
  std::uint32_t tick_us = 10'000;
  /// The disk lost entries that this node had acknowledged (storage: recovery::repair_to): a number
  /// that names this repair, another one at each start. 0: it lost nothing. See core::recovering().
  std::uint64_t repair = 0;
  /// Unacknowledged appends per peer, and payload bytes in them. With a clock (core::note_time)
  /// these are the limits of windows that adapt.
  std::uint32_t max_inflight_msgs = 256;
  std::uint64_t max_inflight_bytes = 0;
  std::uint64_t max_msg_bytes = 1 << 20;    // payload bytes per append; one entry always fits
  std::uint64_t max_committed_bytes = 0;    // payload bytes per output; one entry always fits
  std::uint64_t max_uncommitted_bytes = 0;  // on the leader; then proposals are dropped
  /// A leader that is no longer a voter steps down once the removal is applied here and a quorum
  /// of the others has the commit. Otherwise it keeps leading until its term ends.
  bool step_down_on_removal = true;
  /// True: committed entries are handed out only when they are durable here too: for a driver whose
  /// state machine outlives the process. False: as soon as they are committed, whatever this disk
  /// does; a state machine that is built again from snapshot and log loses nothing by it.
  bool commit_persisted = false;
  bool forward = true;  // followers forward proposals and transfers; false: not_leader
};

/// What a restart finds on the disk, see RAFTLAB rule R3.
struct disk_state {
  hard_state hard;
  std::shared_ptr<const blixard::snapshot> snapshot;  // null: none
  std::vector<entry> entries;  // contiguous; may start at or below the snapshot's index
};

struct soft_state {
  raft::role role = raft::role::follower;
  node_id lead;  // 0: unknown
  friend bool operator==(const soft_state&, const soft_state&) = default;
};

/// A read that was asked with `context` may be answered from any state at or above `index`.
struct read_state {
  std::uint64_t context = 0;
  log_index index;
  bool by_lease = false;  // no quorum was asked
  friend bool operator==(const read_state&, const read_state&) = default;
};

/// Everything that came up since the last output. Owned by the driver and handed in again: the
/// vectors keep their capacity, so that the steady state allocates nothing.
///
/// The driver's duties: write snapshot, entries and hard state in this order and call
/// persisted(seq); release each message once persisted(message.after); apply `committed` in order
/// and call applied(). Several outputs may wait for persisted() at a time.
struct output {
  persist_seq seq;                 // 0: nothing to persist; otherwise strictly increasing
  bool must_sync = false;          // false: the write may be lost as a whole without harm
  std::optional<soft_state> soft;  // where changed
  std::optional<hard_state> hard;  // where changed: to persist
  std::shared_ptr<const blixard::snapshot> snapshot;  // where received: to persist and to install
  std::vector<entry> entries;                         // to persist; overwrite what is there
  std::vector<entry> committed;                       // to apply, contiguous, never repeated
  std::vector<message> messages;                      // see message::after
  std::vector<read_state> reads;
  std::optional<conf_state> conf;  // where changed: the active configuration
  bool repaired = false;           // the lost entries are back: the disk may forget the damage

  /// Empties everything, keeps capacity.
  void clear();
};

/// witness: a voter that keeps terms, not data. Only for an id that is not a member.
enum class conf_op : std::uint8_t { voter = 0, learner = 1, remove = 2, update = 3, witness = 4 };
enum class conf_transition : std::uint8_t { automatic = 0, implicit = 1, explicit_ = 2 };

/// A wish to change the configuration; the data of an entry_kind::conf entry is its encoding as
/// pb::ConfChange. No changes: leave the joint configuration.
struct conf_change {
  struct single {
    conf_op op = conf_op::voter;
    node_id node;
    friend bool operator==(const single&, const single&) = default;
  };
  std::vector<single> changes;
  /// automatic: one simple step where that is safe, else joint, left by the leader on its own.
  /// implicit: joint, left by the leader on its own. explicit_: joint, left by another change.
  conf_transition transition = conf_transition::automatic;
  slice context;  // opaque to Raft; what the state machine learns with the change
  friend bool operator==(const conf_change&, const conf_change&) = default;
};

enum class report_kind : std::uint8_t { unreachable, snapshot_ok, snapshot_failed };

enum class progress_state : std::uint8_t { probe, replicate, snapshot };
[[nodiscard]] std::string_view to_string(progress_state s) noexcept;

/// What the leader knows about one member.
struct peer_status {
  node_id id;
  progress_state state = progress_state::probe;
  log_index match;  // known durable there
  log_index next;   // the next entry to send
  bool paused = false;
  std::uint32_t inflight = 0;  // unacknowledged appends
  std::uint64_t inflight_bytes = 0;
  std::uint64_t window_messages = 0;  // what may be unacknowledged; 0: no limit
  std::uint64_t window_bytes = 0;
  std::uint64_t delay_us = 0;  // shortest of an acknowledgement lately; 0: not measured
  std::uint32_t rank = 0;      // election rank, as it says
  log_index pending_snapshot;  // 0: none
  bool recent_active = false;  // answered in this check_quorum interval
  bool learner = false;
  bool witness = false;     // a voter without data
  bool recovering = false;  // its disk lost part of its log: it does not count until it has it back
};

struct status {
  raft::role role = raft::role::follower;
  node_id lead;
  hard_state hard;
  log_index applied;
  conf_state conf;
  bool voter = false;
  bool recovering = false;
  log_index first;                 // the oldest entry still in memory (last + 1 if none)
  log_index last;                  //
  term last_term;                  //
  log_index stable;                // durable up to here
  std::vector<peer_status> peers;  // leaders only, sorted by id, this node included
};

}  // namespace blixard::raft
