// The node-state actor: owns the replicated state machine. Applies what Raft committed, answers
// queries, and tells the others what changed: the VM actor its VMs, the cache a new inventory, the
// router the members' addresses, raft who can hold a lease.
//
// It lives on the I/O loop: an entry is applied and its client answered in the turn that committed
// it. What takes long runs on threads of its own (snapshot_worker.hpp); lists are bounded.
//
// It also does what follows from the state alone: registering this node, and, on the leader, asking
// for a place for VMs that have none.
#pragma once

#include <unordered_map>
#include <variant>
#include <vector>

#include "actors/hosted.hpp"
#include "actors/links.hpp"
#include "metrics/registry.hpp"
#include "runtime/state/machine.hpp"

namespace blixard::pb {
class Answer;
class MemberStatus;
class Node;
class Query;
}  // namespace blixard::pb

namespace blixard::actors {

class node_state final : public hosted<state_actor::base> {
 public:
  /// `self` is what this node registers as: id, name, address, capacity, backends, labels, version.
  node_state(caf::actor_config& config, host* where, const links& to, shared_facts& facts,
             state::machine machine, std::shared_ptr<const pb::Node> self);

  ~node_state() override;

  behavior_type make_behavior() override;

 private:
  static constexpr std::size_t placements_per_tick = 256;
  static constexpr std::size_t digests_max = 256;

  void apply(const committed& batch);
  void note_changes(const state::changes& c);
  void tell_others();
  void add_members(pb::Answer& answer) const;
  void show_inventory(const state::inventory& in);
  void answer_digests();
  void expire_digests();
  void read(const ready_reads& r);
  void local(const local_query& q);
  void answer_query(const origin& from, const pb::Query& q, const frame_ptr& frame, answers& out);
  void show_member(const raft_view& view, pb::MemberStatus& m) const;
  [[nodiscard]] error no_data() const;
  void complete_header(pb::Answer& a) const;
  void digest(const origin& from, const pb::Query& q);
  void send_digest(const origin& to);
  void cluster_status(const status_query& question);
  void explain(const origin& from, const pb::Query& q);
  void logs(const origin& from, const pb::Query& q, const frame_ptr& frame);
  void metrics_text(const origin& from, const pb::Query& q);
  void install(const install_snapshot& s);
  void use(machine_loaded& m);
  /// Handles `m` now, or behind the snapshot that is being loaded.
  template <class Message>
  void in_order(const Message& m);
  void take(const take_snapshot& t);
  void tick();
  void register_self();
  void heard(const local_answer& a);
  void place_pending();
  void publish();
  void send_members();
  void show_own_disk();
  void sync_vms();
  void answer(const origin& to, const pb::Answer& a);
  void refuse(const origin& to, const error& e);
  [[nodiscard]] pb::Answer no_vm(const std::string& tenant, const std::string& name) const;

  const links& to_;
  shared_facts& facts_;
  state::machine machine_;
  /// What came while a snapshot was being loaded, in order; it belongs behind it.
  std::vector<std::variant<committed, ready_reads, install_snapshot>> behind_;
  bool loading_ = false;
  state::applied_result result_;
  std::shared_ptr<const pb::Node> self_;
  std::uint64_t incarnation_ = 0;  // 0: not registered in this process's life
  bool registered_ = false;        // the state holds this incarnation of this node as alive
  std::uint64_t register_sent_ns_ = 0;
  std::string refusal_;  // of the last registration; empty: none
  std::vector<vm_id> changed_vms_;
  bool nodes_changed_ = true;
  bool inventory_changed_ = true;
  /// A pending VM that a place was asked for: not again before something has changed.
  struct asked_place {
    log_index version;  // of the inventory
    std::int64_t at_ms = 0;
  };
  std::unordered_map<vm_id, asked_place> placing_;
  vm_id placed_last_;  // where the next tick goes on among the pending ones
  published_state published_;
  std::uint64_t ticks_ = 0;
  /// `digest` queries for an index that is not applied yet; bounded.
  struct waiting_digest {
    log_index index;
    origin from;
  };
  std::vector<waiting_digest> digests_;

  metrics::histogram apply_duration_;
  metrics::counter applied_count_, stale_reads_, encodes_;
  metrics::gauge keys_, sessions_;
  std::vector<metrics::gauge> nodes_by_state_, vms_by_phase_;
  metrics::gauge vcpus_, memory_, disk_, vcpus_used_, memory_used_, disk_used_;
};

}  // namespace blixard::actors
