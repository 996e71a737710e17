// The VM actor: between the replicated state and the supervisor of this node's VMs.
//
//   node-state ─► vm_update, vm_sync ─► supervisor.set_desired / forget / retain
//   supervisor ─► vm_observed ─► VmReport command ─► router ─► leader ─► log ─► every node
//   leader ─► lease_granted ─► lease page ─► guards
//
// A report is kept until a command with it was answered `ok`; a newer one about the same VM
// replaces it.
//
// Lease: this node asks the leader again every second; VMs may run until the last grant's end. When
// the node was declared down and comes back, what ran before must be gone before the first new
// grant is asked for: another node may be running it by now (see `fenced_`).
#pragma once

#include <map>
#include <memory>
#include <set>

#include "actors/links.hpp"
#include "actors/vm_operations.hpp"
#include "metrics/registry.hpp"
#include "runtime/vm/lease.hpp"
#include "runtime/vm/supervisor.hpp"

namespace blixard::actors {

class vm_manager final : public vm_actor::base {
 public:
  /// The supervisor has been started; its reports come as `vm_observed`.
  vm_manager(caf::actor_config& config, const links& to, shared_facts& facts,
             vm::supervisor& supervisor, vm::lease_page lease);

  behavior_type make_behavior() override;

 private:
  void update(const vm_update& u);
  void sync(const vm_sync& all);
  void observe(const vm_observed& o);
  void logs(const logs_request& r);
  void granted(const lease_granted& g);
  void acknowledged(const local_answer& a);
  void tick();
  void report();
  void renew();
  [[nodiscard]] bool strangers_are_gone();
  void account(const pb::VmReport_One& r);
  void bind(metrics::registry& r);

  const links& to_;
  shared_facts& facts_;
  vm::supervisor& supervisor_;
  vm::lease_page lease_;
  std::uint64_t incarnation_ = 0;  // 0: not registered
  bool fenced_ = true;             // no grant is asked for until strangers are gone
  std::set<vm_id> assigned_;
  std::map<vm_id, std::shared_ptr<const pb::VmReport_One>> unacknowledged_;
  std::map<vm_id, std::shared_ptr<const pb::VmReport_One>> in_flight_;
  request_id in_flight_request_;  // 0: none; the router answers by its deadline at the latest
  request_id last_request_;
  std::uint64_t renewed_ns_ = 0;

  vm_operations operations_;
  std::map<vm_id, pb::Phase> phases_;  // as last reported
  std::vector<metrics::gauge> by_phase_;
  std::vector<metrics::histogram> durations_;
  std::vector<metrics::counter> failures_;
  metrics::counter encodes_;
  metrics::gauge lease_remaining_;
  std::vector<metrics::registry::binding> bindings_;
};

}  // namespace blixard::actors
