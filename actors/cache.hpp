// The cache actor: summaries, placement decisions and peer links, each served only for the version
// of the inventory it was computed from (runtime/cache). A `vm create` passes through here before
// it is proposed, so that repeated shapes cost a lookup.
//
//   asked ─┬► known ─────────────────────────────────────► goes on to raft or router
//          └► not known: waits ─► planner ─► plan_found ─┘ (one flight for all who ask the same)
#pragma once

#include <unordered_map>
#include <variant>
#include <vector>

#include "actors/links.hpp"
#include "metrics/registry.hpp"
#include "runtime/cache/caches.hpp"

namespace blixard::pb {
class ClusterStatus;
class VmSpec;
}  // namespace blixard::pb

namespace blixard::actors {

class cache final : public cache_actor::base {
 public:
  cache(caf::actor_config& config, const links& to, shared_facts& facts);

  behavior_type make_behavior() override;

 private:
  void plan(const plan_command& command);
  void complete(const complete_answer& request);
  void place(const place_vm& request);
  void stats(const local_query& q);
  void fill_links(pb::ClusterStatus& status);

  /// A `vm create` on its way to the log.
  struct creation {
    origin from;
    frame_ptr frame;
    std::shared_ptr<pb::Command> command;
  };
  /// What goes on once there is a decision.
  using continuation = std::variant<creation, place_vm, complete_answer>;

  void decide(const inventory_ptr& in, const pb::VmSpec& spec, const state::plan_options& options,
              continuation then);
  void planned(const plan_found& found);
  void go_on(const creation& r, const pb::Decision& decision);
  void go_on(const place_vm& r, const pb::Decision& decision);
  void go_on(const complete_answer& r, const pb::Decision& decision);
  void bind(metrics::registry& r, metrics::cache_name name, const blixard::cache::cache_stats& s);

  const links& to_;
  shared_facts& facts_;
  inventory_ptr inventory_;
  blixard::cache::summary_cache summaries_;
  blixard::cache::placement_cache placements_;
  blixard::cache::peer_cache peers_;
  std::shared_ptr<const link_view> recorded_links_;
  std::unordered_map<blixard::cache::waiter_id, continuation> waiting_;  // for a plan
  blixard::cache::waiter_id last_waiter_ = 0;
  metrics::counter encodes_;
  std::vector<metrics::registry::binding> bindings_;
};

}  // namespace blixard::actors
