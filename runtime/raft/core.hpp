// The Raft consensus core: pure, deterministic, driven from outside.
//
// No thread, clock, entropy, disk or socket in here. The driver (raft actor, simulator, raftlab)
// feeds ticks, messages, proposals and acknowledgements of its disk; take_output() hands out what
// has to be persisted, sent and applied. Whoever feeds the same inputs in the same order gets the
// same outputs.
//
//      tick, step, propose, read_index ...          persisted(seq), applied(index)
//                     |                                      ^
//                     v                                      |
//                 +-------- core --------+   take_output   +-- driver --+
//                 | log  tracker  reads  | --------------> | disk, net, |
//                 +----------------------+                 | state m.   |
//                                                          +------------+
//
// Sources: Ongaro & Ousterhout 2014 ("section n"), Ongaro's thesis 2014 ("thesis section n").
// The persist gate (what may leave before what is durable) is in runtime/raft/README.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/entry.hpp"
#include "runtime/raft/gate.hpp"
#include "runtime/raft/log.hpp"
#include "runtime/raft/message.hpp"
#include "runtime/raft/ring.hpp"
#include "runtime/raft/tracker.hpp"
#include "runtime/raft/types.hpp"

namespace blixard::raft {

class core {
 public:
  /// Starts or restarts a node from what its disk holds. `applied` is what the state machine
  /// already has: entries up to it are not handed out again. `latest_snapshot` is what a leader may
  /// send to followers that are too far behind; null: the disk's own. A single node that bootstraps
  /// a cluster starts with a snapshot at index 1, term 1 and conf {voters: [self]}.
  core(const config& conf, const disk_state& disk, log_index applied,
       std::shared_ptr<const snapshot> latest_snapshot = nullptr);

  core(const core&) = delete;
  core& operator=(const core&) = delete;

  // --- inputs. All return at once; consequences are in the next take_output().

  /// One unit of logical time has passed.
  void tick();

  /// So many ticks went by in which nobody could call tick(): the process was stopped, or its
  /// thread late. What others promised this node ends that much earlier; nothing that this node
  /// waits for or promised does.
  void skip(std::uint64_t ticks) noexcept {
    now_ += ticks;
    promised_until_ += ticks;
  }

  /// What the driver's monotonic clock shows, in microseconds, not 0. Only to measure how long
  /// acknowledgements take (window.hpp): without it the limits of config are the windows.
  void note_time(std::uint64_t us) noexcept { clock_us_ = us; }

  /// Times out now: pre-vote first where enabled. A leader ignores it. Errors: not_promotable.
  tl::expected<void, refusal> campaign();

  /// Appends a command to the log (leader) and returns its index, or forwards it (follower with
  /// config::forward) and returns index 0. Emits nothing by itself: batches form in take_output().
  /// Errors: dropped, no_leader, not_leader.
  tl::expected<log_index, refusal> propose(slice data);

  /// As propose(), for a configuration change. One change is in flight at a time, and none before
  /// the leader committed in its term; a change that is refused becomes an empty normal entry (look
  /// at log().at(index).kind tells).
  tl::expected<log_index, refusal> propose_conf(const conf_change& change);

  /// A message from a peer. The entries are moved out of `m`. Errors: unknown_peer for answers of
  /// nodes that are not members; invalid for one that is not for this node; as propose() for a
  /// forwarded proposal.
  tl::expected<void, refusal> step(message&& m);

  /// Asks for an index that is safe for a linearizable read; the answer is in output::reads. May be
  /// lost with a leader change: the driver repeats it, and where the context is the same, what was
  /// asked with it before is not answered any more. Errors: no_leader.
  tl::expected<void, refusal> read_index(std::uint64_t context);

  /// Hands leadership over (thesis section 3.10). Errors: no_leader, not_leader, unknown_peer.
  tl::expected<void, refusal> transfer(node_id target);

  /// A follower forgets its leader, so that it grants votes at once. Ignored by a leader.
  void forget_leader();

  /// What the transport saw. Errors: unknown_peer.
  tl::expected<void, refusal> report(node_id peer, report_kind what);

  /// The newest snapshot that the leader may send. Older than the current one: ignored.
  void set_snapshot(std::shared_ptr<const snapshot> snap);

  /// Forgets entries below `first`. Errors: invalid if first > applied + 1 or no output has handed
  /// them out yet. A member that still needs one of them gets nothing before set_snapshot() has
  /// come with a snapshot that reaches the log.
  tl::expected<void, refusal> compact(log_index first);

  /// Everything in outputs up to `seq` is durable. Idempotent; may skip.
  void persisted(persist_seq seq);

  /// Committed entries up to `index` are applied, configuration entries included. Returns the new
  /// configuration where it changed, else null (valid until the next call).
  const conf_state* applied(log_index index);

  // --- output

  [[nodiscard]] bool has_output() const noexcept;
  /// Fills `out` (cleared first) and considers it accepted.
  void take_output(output& out);

  // --- cheap views

  [[nodiscard]] node_id id() const noexcept { return config_.id; }
  [[nodiscard]] raft::role role() const noexcept { return role_; }
  [[nodiscard]] bool is_leader() const noexcept { return role_ == raft::role::leader; }
  [[nodiscard]] node_id lead() const noexcept { return lead_; }
  [[nodiscard]] blixard::term current_term() const noexcept { return term_; }
  [[nodiscard]] log_index commit() const noexcept { return commit_; }
  [[nodiscard]] log_index applied() const noexcept { return applied_; }
  [[nodiscard]] const conf_state& configuration() const noexcept { return tracker_.conf(); }
  /// This node lost acknowledged entries and has not got them back from a leader (config::repair):
  /// it grants no vote, does not campaign and counts for no commit. Ends with output::repaired.
  [[nodiscard]] bool recovering() const noexcept { return repair_ != 0; }
  /// Recovering, without a leader, and too many voters have said that they are, too: those that are
  /// whole cannot elect a leader. May become false again; to be believed after a while.
  [[nodiscard]] bool beyond_repair() const;
  /// This node votes and keeps terms, but no data.
  [[nodiscard]] bool is_witness() const noexcept { return tracker_.conf().is_witness(config_.id); }
  /// What this node's answers promise a leader (config::promise_ticks).
  [[nodiscard]] std::uint64_t promise_us() const noexcept;
  /// The log in memory: for tests, tools and the driver's bookkeeping.
  [[nodiscard]] const entry_log& log() const noexcept { return log_; }
  /// Sets the running election timeout, until it is drawn anew at the next reset.
  void set_election_timeout(std::uint32_t ticks) noexcept { election_timeout_ = ticks; }

  /// Everything at once, for people and tests. Allocates.
  [[nodiscard]] raft::status status() const;

 private:
  // Who asked for a read that a quorum round has to confirm first.
  struct waiting_read {
    std::uint64_t round = 0;  // acknowledgements of this round or a later one confirm it
    node_id from;             // this node, or the follower that asked
    std::uint64_t context = 0;
    std::uint64_t nonce = 0;
    log_index index;
  };
  struct forwarded_read {
    std::uint64_t context = 0;
    std::uint64_t nonce = 0;
  };
  struct vote_record {
    node_id from;
    bool granted = false;
  };
  // In lease mode: when a round was sent, so that its acknowledgement dates a promise.
  struct sent_round {
    std::uint64_t round = 0;
    std::uint64_t at = 0;
  };

  // What an append is for: its entries, to learn whether earlier ones arrived, or to tell the
  // commit index alone, which needs no answer.
  enum class carries : std::uint8_t { entries, question, notice };

  // core.cpp: start, time, dispatch
  void load(const disk_state& disk, log_index applied);
  [[nodiscard]] bool is_heard_by_quorum() const;
  void tick_leader();
  [[nodiscard]] bool settle_term(const message& m);
  void answer_stale(const message& m);
  tl::expected<void, refusal> dispatch(message& m);
  tl::expected<void, refusal> dispatch_response(const message& m);
  message& send(message_type type, node_id to);

  // core_election.cpp
  [[nodiscard]] std::uint32_t draw_timeout();
  void learn_commit_from_log();
  [[nodiscard]] bool may_campaign() const;
  [[nodiscard]] bool uses_leases() const noexcept {
    return config_.reads == read_mode::lease && config_.check_quorum;
  }
  /// For how long this node promises not to vote, after it heard from a leader.
  [[nodiscard]] std::uint32_t promise_ticks() const noexcept;
  [[nodiscard]] bool in_lease() const noexcept;
  [[nodiscard]] blixard::term next_term() const;
  void start_prevote();
  void start_election(bool force);
  void request_votes(message_type type, bool force, persist_seq after);
  void record_vote(node_id from, bool granted);
  void on_vote_request(const message& m);
  void tell_of_change(const message& m);
  void on_vote_response(const message& m);
  void learn_commit(const message& m);
  void on_timeout_now();
  void enter_term(blixard::term t);
  void clear_leadership();
  void become_follower(blixard::term t, node_id lead);
  void become_leader();
  void follow(node_id lead);
  tl::expected<void, refusal> start_transfer(node_id target);
  void finish_transfer_if_caught_up(const progress& p);
  void yield_to_better_rank();

  // core_repair.cpp
  void learn_repair_target(const message& m);
  [[nodiscard]] log_index known_to_agree() const noexcept;
  void finish_repair();
  [[nodiscard]] conf_state newest_known_conf() const;
  void ask_for_damage();
  void note_damage(const message& m);
  void track_repair(progress& p, std::uint64_t repair);
  void repeat_repair(const progress& p, message& m) const;

  // core_replication.cpp
  tl::expected<log_index, refusal> may_append(std::size_t bytes) const;
  log_index append_own(entry_kind kind, slice data);
  void on_forwarded_proposals(message& m);
  tl::expected<void, refusal> on_append(message& m);
  log_index store_entries(message& m);
  void agree_with(node_id leader, log_index index);
  void retract_acknowledgements(log_index first);
  void acknowledge(node_id to, log_index match);
  void on_heartbeat(const message& m);
  void on_snapshot(const message& m);
  void install(const std::shared_ptr<const snapshot>& snap);
  void on_append_response(const message& m);
  void on_accepted(progress& p, const message& m);
  void on_heartbeat_response(const message& m);
  void commit_to(log_index index);
  void maybe_commit();
  void replicate();
  void replicate_to(progress& p);
  [[nodiscard]] inflights::moment moment() const noexcept { return {now_, clock_us_}; }
  [[nodiscard]] log_index sendable_to(const progress& p) const;
  [[nodiscard]] static std::uint64_t leave_out_data(std::vector<entry>& entries);
  std::uint64_t send_append(progress& p, carries what);
  void send_snapshot(progress& p);

  // core_read.cpp
  [[nodiscard]] bool lease_valid() const;
  void forget_read(std::uint64_t context);
  void admit_read(const waiting_read& read);
  void answer_read(const waiting_read& read, bool by_lease);
  void extend_lease(progress& p, std::uint64_t since, std::uint64_t promise_us) const noexcept;
  void extend_lease(progress& p, inflights::arrival sent, std::uint64_t promise_us) const noexcept;
  void answer_confirmed_reads();
  void send_heartbeats();
  void on_round_acknowledged(progress& p, const message& m);
  void on_read_request(const message& m);
  [[nodiscard]] std::vector<forwarded_read>::const_iterator question_of(const message& m) const;
  [[nodiscard]] bool is_unasked(const message& m) const;
  void on_read_response(const message& m);

  // core_conf.cpp
  [[nodiscard]] bool conf_change_allowed(const conf_change& change) const;
  [[nodiscard]] bool data_stays(const conf_state& next) const;
  [[nodiscard]] log_index data_limit() const;
  log_index append_conf(const conf_change& change, slice encoded);
  bool apply_conf_entry(log_index index);
  void use_conf(conf_state conf);
  void after_conf_applied(log_index change);
  void maybe_auto_leave();
  void step_down_if_removal_known();

  // core_output.cpp
  [[nodiscard]] log_index committable() const noexcept;
  void take_writes(output& out);
  void take_committed(output& out);
  void take_changes(output& out);
  [[nodiscard]] std::vector<entry> spare_entries();
  void recycle(output& out);
  [[nodiscard]] hard_state hard() const noexcept { return {term_, vote_, commit_}; }
  [[nodiscard]] bool committed_in_term() const noexcept {
    return is_leader() && commit_ >= term_start_;
  }

  config config_;
  entry_log log_;
  raft::tracker tracker_;
  persist_gate gate_;
  std::uint64_t random_;  // state of the generator behind the timeouts

  blixard::term term_;
  node_id vote_;
  log_index commit_;
  log_index applied_;  // as the driver said
  log_index handed_;   // handed out to be applied

  raft::role role_ = raft::role::follower;
  node_id lead_;
  std::uint64_t now_ = 1;       // ticks since the start; 0 means never
  std::uint64_t clock_us_ = 0;  // as the driver said; 0: it never did
  // No vote before this tick, since a leader may count on it.
  std::uint64_t promised_until_ = 0;
  std::uint32_t election_elapsed_ = 0;
  std::uint32_t heartbeat_elapsed_ = 0;
  std::uint32_t election_timeout_ = 0;

  std::uint64_t repair_ = 0;                // 0: the log is whole
  log_index agreed_;                        // the log is the present leader's, up to here
  std::optional<log_index> repair_target_;  // what agreed_ has to reach
  std::vector<node_id> damaged_;            // who said that it is being repaired, too

  std::vector<vote_record> votes_;
  persist_seq self_vote_after_;  // our own vote counts when this is durable; 0: counted or none

  // Leaders only.
  log_index term_start_;  // the empty entry of our term
  node_id transferee_;
  bool timeout_now_sent_ =
      false;           // someone may campaign with force: no lease in this term any more
  log_index removal_;  // the applied change that removed us; 0: none
  std::uint64_t uncommitted_bytes_ = 0;
  bool replicate_wanted_ = false;
  std::shared_ptr<const snapshot> latest_snapshot_;

  std::uint64_t round_ = 0;                // the newest read round; never reused
  bool round_wanted_ = false;              // something waits for the round after `round_`
  ring<waiting_read> reads_;               // ascending in round
  std::vector<waiting_read> early_reads_;  // before the first commit of the term
  ring<sent_round> sent_rounds_;
  std::vector<forwarded_read> forwarded_reads_;
  std::uint64_t next_nonce_;
  std::uint64_t newest_context_ = 0;

  // Gathered for the next output.
  std::vector<message> messages_;
  std::vector<read_state> answered_reads_;
  std::shared_ptr<const snapshot> installed_;
  bool conf_changed_ = false;
  bool repaired_ = false;
  hard_state taken_hard_;
  soft_state taken_soft_;
  std::vector<std::vector<entry>> spares_;  // emptied entry lists of sent messages
};

/// Nothing if a core can be started from these. For what comes from outside.
[[nodiscard]] tl::expected<void, std::string> check_start(
    const config& conf, const disk_state& disk, log_index applied,
    const std::shared_ptr<const snapshot>& latest = nullptr);

}  // namespace blixard::raft
