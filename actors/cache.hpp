// The cache actor: summaries, placement decisions and peer links, each served only for the version
// of the inventory it was computed from (runtime/cache). It is the planner too: a `vm create`
// passes through here before it is proposed, so that repeated shapes cost a lookup.
#pragma once

#include <vector>

#include "actors/links.hpp"
#include "metrics/registry.hpp"
#include "runtime/cache/caches.hpp"

namespace blixard::pb {
class ClusterStatus;
class Decision;
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
  [[nodiscard]] pb::Decision decide(const state::inventory& in, const pb::VmSpec& spec,
                                    const state::plan_options& options);
  void bind(metrics::registry& r, metrics::cache_name name, const blixard::cache::cache_stats& s);

  const links& to_;
  shared_facts& facts_;
  inventory_ptr inventory_;
  blixard::cache::summary_cache summaries_;
  blixard::cache::placement_cache placements_;
  blixard::cache::peer_cache peers_;
  std::shared_ptr<const link_view> recorded_links_;
  std::vector<metrics::registry::binding> bindings_;
};

}  // namespace blixard::actors
