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
#include <tl/expected.hpp>
#include <vector>

#include "messages/entry.hpp"
#include "runtime/raft/message.hpp"
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

  /// Times out now: pre-vote first where enabled. A leader ignores it. Errors: not_promotable.
  tl::expected<void, refusal> campaign();

  /// Appends a command to the log (leader) and returns its index, or forwards it (follower with
  /// config::forward) and returns index 0. Emits nothing by itself: batches form in take_output().
  /// Errors: dropped, no_leader, not_leader.
  tl::expected<log_index, refusal> propose(slice data);

  /// As propose(), for a configuration change. One change is in flight at a time, and none before
  /// the leader committed in its term; a change that is refused becomes an empty normal entry (look
  /// at conf_pending() or at the committed entry's kind).
  tl::expected<log_index, refusal> propose_conf(const conf_change& change);

  /// A message from a peer. The entries are moved out of `m`. Errors: unknown_peer for answers of
  /// nodes that are not members; invalid for one that is not for this node; as propose() for a
  /// forwarded proposal.
  tl::expected<void, refusal> step(message&& m);

  /// Asks for an index that is safe for a linearizable read; the answer is in output::reads. May be
  /// lost with a leader change: the driver repeats it with a new context. Errors: no_leader.
  tl::expected<void, refusal> read_index(std::uint64_t context);

  /// Hands leadership over (thesis section 3.10). Errors: no_leader, not_leader, unknown_peer.
  tl::expected<void, refusal> transfer(node_id target);

  /// A follower forgets its leader, so that it grants votes at once. Ignored by a leader.
  void forget_leader();

  /// What the transport saw. Errors: unknown_peer.
  tl::expected<void, refusal> report(node_id peer, report_kind what);

  /// The newest snapshot that the leader may send. Older than the current one: ignored.
  void set_snapshot(std::shared_ptr<const snapshot> snap);

  /// Forgets entries below `first`. Errors: invalid if first > applied + 1 or is not in the log.
  /// The driver has a snapshot that covers them and has called set_snapshot() with it.
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
  [[nodiscard]] log_index commit() const noexcept;
  [[nodiscard]] log_index applied() const noexcept;
  [[nodiscard]] const conf_state& configuration() const noexcept;

  /// Everything at once, for people and tests. Allocates.
  [[nodiscard]] raft::status status() const;

 private:
  config config_;
  raft::role role_ = raft::role::follower;
  node_id lead_;
  blixard::term term_;
};

}  // namespace blixard::raft
