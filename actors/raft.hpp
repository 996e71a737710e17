// The raft actor: drives the pure core, and is the only writer of the published Raft flags.
//
//   frames, proposals, reads, ticks ─► core ─┬─► persist_request ─► wal ─► persisted ─┐
//                                   ▲        ├─► messages: at once, or when `after` is durable
//                                   └────────┼───────────────────────────────────────◄┘
//                                            └─► committed, ready reads ─► node-state
//
// Everything that arrived before the flush message to itself is in one output: proposals of one
// turn are one batch on the disk and one append per follower.
//
// It also keeps the two things that need the leader's certainty: the node leases (lease_table.hpp)
// and the membership requests.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "actors/hosted.hpp"
#include "actors/links.hpp"
#include "actors/raft_metrics.hpp"
#include "messages/limits.hpp"
#include "runtime/raft/codec.hpp"
#include "runtime/raft/core.hpp"
#include "runtime/raft/transfers.hpp"
#include "runtime/routing/buffer_pool.hpp"
#include "runtime/state/lease_table.hpp"
#include "runtime/storage/incoming.hpp"

namespace blixard::pb {
class AdminRequest;
}  // namespace blixard::pb

namespace blixard::actors {

struct raft_options {
  std::uint64_t tick_ns = 0;           // of the loop's timer that sends tick_atom
  std::uint64_t snapshot_entries = 0;  // take one after so many applied entries
  std::uint64_t snapshot_rate = 0;     // bytes per second to all peers together; 0: no limit
  /// What a former process received of a snapshot.
  std::optional<storage::incoming_snapshot> incoming;
  std::string advertise;         // of this node
  bool adaptive_window = false;  // tell the core the time, so that windows adapt
  bool lease_reads = false;      // as in the core's configuration: then its ticks follow the clock
  std::function<void(int, const std::string&)> fatal;
  routing::buffer_pool* pool = nullptr;  // of the loop; null: the heap
};

class raft_driver final : public hosted<raft_actor::base> {
 public:
  raft_driver(caf::actor_config& config, host* where, const links& to, shared_facts& facts,
              net::loop* loop, raft_options options, const raft::config& core_config,
              const raft::disk_state& disk, log_index applied);

  behavior_type make_behavior() override;

  /// Payloads of batches below this size are copied before the log keeps them.
  static constexpr std::size_t sparse_bytes = 4 * limits::KiB;

 private:
  struct pending {
    log_index index;
    blixard::term term;
    origin from;
    std::uint64_t accepted_ns = 0;
  };
  struct gated {
    persist_seq after;
    peer_frame frame;
  };
  struct lease_request {
    node_id node;
    std::uint64_t incarnation = 0;
    frame_ptr frame;
  };
  /// One ReadIndex round: everything that asked before the flush that started it.
  struct read_round {
    std::vector<read_request> queries;
    std::vector<lease_request> leases;
    std::uint64_t started_ns = 0;
  };

  // raft.cpp: inputs and the flush
  [[nodiscard]] slice keep(slice data, std::size_t arrived_bytes);
  void receive(const raft_frames& in);
  void hear_of_commit(log_index index);
  void propose(proposals& list);
  void wait_for(const pending& p);
  void collect_reads(reads& list);
  void persisted_up_to(const persisted& p);
  void applied(const applied_up_to& a);
  void on_tick();
  void catch_up();
  void show_time();
  void schedule_flush();
  void flush();
  void start_read_round();
  void route_again(read_round& round);
  void expire_reads();
  void hand_out(raft::output& out);
  void persist(raft::output& out);
  void persist_late();
  void send_messages(raft::output& out);
  void release_gated(persist_seq durable);
  void hand_committed(raft::output& out);
  void finish_reads(raft::output& out);
  void release_reads();
  void role_changed();
  void publish();
  void publish_view();
  void show_peer(const raft::peer_status& p);
  void fail_pending(log_index from, const error& why);
  void answer(const origin& to, const error& e);
  void answer_done(const origin& to);
  void queue_frame(raft::message& m);
  [[nodiscard]] std::uint64_t now() const noexcept;

  // raft_repair.cpp
  void log_is_repaired();
  void watch_repair();

  // raft_snapshot.cpp
  void start_snapshot_to(raft::message& m);
  void pump_snapshots();
  void send_chunk(const raft::message& m, const raft::snapshot_chunk& chunk, bool bulk);
  void receive_chunk(raft::decoded_message& m);
  void chunk_answered(const raft::decoded_message& m);
  [[nodiscard]] raft::status status_with_silent() const;
  void shorten_log();
  [[nodiscard]] log_index first_to_keep(log_index taken);
  void snapshot_is_stored(snapshot_stored& s);
  void maybe_take_snapshot();

  // raft_admin.cpp
  void administer(const admin_request& request);
  [[nodiscard]] bool is_there(node_id id) const;
  [[nodiscard]] node_id who_has(const net::address& where) const;
  void join(const origin& from, const pb::AdminRequest& request);
  void change_membership(const origin& from, const raft::conf_change& change);
  [[nodiscard]] std::optional<error> why_not_remove(node_id id) const;
  void remove(const admin_request& request, node_id id);
  void leave();
  void remove_member(const origin& from, node_id id);
  void transfer(const origin& from, node_id target);
  void promote_learners();
  void renew_lease(const lease_frame& f);
  void grant(const std::vector<lease_request>& list);
  void declare_down();
  void tell_removed(node_id node);
  void told_removed(node_id by);
  void disk_changed(const disk_space& d);
  bool hand_over();
  void stop();

  const links& to_;
  shared_facts& facts_;
  net::loop* loop_;
  raft_options options_;
  raft::core core_;
  raft::output out_;
  raft::decoded_message incoming_;  // scratch, as is pieces_: both keep their memory
  raft::encoder encoder_;
  std::vector<slice> pieces_;
  bool flush_scheduled_ = false;
  bool stopping_ = false;
  bool disk_full_ = false;
  std::uint64_t beyond_repair_ns_ = 0;  // since when nobody can repair this log; 0: somebody can
  std::uint64_t ticks_ = 0;
  std::uint64_t started_ns_ = 0;
  std::uint64_t ticked_ = 0;  // with lease reads: ticks since then that the core had or skipped
  node_id known_leader_;
  blixard::term known_term_;
  raft::role known_role_ = raft::role::follower;
  bool ever_had_leader_ = false;
  node_id last_leader_;
  std::uint64_t leader_contact_ns_ = 0;

  std::deque<pending> pending_;  // ascending by index
  std::deque<gated> gated_;      // ascending by `after`
  persist_seq durable_;
  /// A commit index that no sync is worth: goes to the disk with the next entries, or some ticks
  /// later.
  std::optional<hard_state> late_hard_;
  persist_seq late_seq_;
  /// Appends that carry a commit index and nothing else (raft::message::notice): behind the answers
  /// to the clients whose commands it commits.
  pooled_vector<peer_frame> notices_to_send_;
  to_peers outgoing_;

  std::size_t reads_waiting_ = 0;  // in the three that follow together; at most limits::reads_max
  read_round next_round_;
  std::map<std::uint64_t, read_round> rounds_;  // by context
  std::uint64_t last_context_ = 0;
  log_index handed_;             // last committed index given to node-state
  log_index applied_;            // last index that node-state reported
  log_index snapshot_index_;     // of the newest snapshot
  log_index sendable_snapshot_;  // the newest that the core has
  std::uint64_t snapshot_bytes_ = 0;
  bool somebody_needs_snapshot_ = false;  // who answers, and is behind the log and the snapshot
  std::uint64_t no_snapshot_before_ = 0;  // tick, after one that could not be stored
  std::deque<std::pair<log_index, std::vector<read_request>>> waiting_reads_;  // handed_ >= index
  std::deque<std::pair<log_index, std::vector<lease_request>>>
      waiting_grants_;  // applied_ >= index
  log_index last_conf_handed_;
  log_index last_conf_proposed_;
  std::uint64_t committed_before_ = UINT64_MAX;  // when learners were last looked at; none: no look
  log_index last_;                               // of the log
  bool was_member_ = false;
  bool removed_ = false;
  std::uint32_t removed_ticks_ = 0;  // since then, as a follower
  std::uint32_t farewell_ticks_;     // how long it stays then
  std::uint32_t handover_ticks_;     // how long a leader waits for another one before it is removed

  state::lease_table leases_;
  raft::snapshots_out snapshots_out_;
  raft::snapshots_in snapshots_in_;
  raft::log_meter log_bytes_;
  raft::payload_meter payload_bytes_;
  std::unordered_map<node_id, std::uint64_t> active_ns_;  // on a leader: when they last answered
  bool taking_snapshot_ = false;
  std::vector<origin> snapshot_askers_;
  std::unordered_map<node_id, std::uint64_t> told_at_ns_;  // notices sent, to whom and when
  struct notice_span {
    std::uint64_t first_ns = 0;
    std::uint64_t last_ns = 0;
  };
  std::unordered_map<node_id, notice_span> notices_;  // received, by whom
  struct {
    origin from;
    node_id target;
    std::uint64_t until_ns = 0;
  } transfer_;
  std::vector<admin_request> early_admin_;  // of a leader without a commit in its term
  struct {
    origin from;
    frame_ptr frame;  // null: nobody asked
    std::uint64_t until_tick = 0;
  } leaving_;  // this leader is to be removed, once somebody else leads

  published_raft published_;
  raft_metrics metrics_;
  metrics::peer_gauges peers_;  // while this node leads
};

}  // namespace blixard::actors
