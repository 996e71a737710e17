// See inventory.hpp.
#include "runtime/state/inventory.hpp"

#include "messages/cluster.pb.h"

namespace blixard::state {

resources from_proto(const pb::Resources& r) {
  return {r.vcpus(), r.memory_bytes(), r.disk_bytes()};
}

void to_proto(const resources& r, pb::Resources& out) {
  out.set_vcpus(r.vcpus);
  out.set_memory_bytes(r.memory_bytes);
  out.set_disk_bytes(r.disk_bytes);
}

std::uint32_t inventory::group_count(std::string_view group, node_id node) const {
  const auto* g = groups.find(group_probe{group, node});
  return g == nullptr ? 0 : g->vms;
}

std::string group_name(std::string_view tenant, std::string_view group) {
  std::string out{tenant};
  out += '/';
  out += group;
  return out;
}

bool summarize(const inventory& in, node_id node, pb::Summary& out) {
  const node_usage* one = nullptr;
  if (node) {
    one = in.find(node);
    if (one == nullptr) return false;
  }
  out.Clear();
  out.set_at_index(in.summary_version.value());
  if (one == nullptr) {
    out.set_nodes_total(in.sums.nodes);
    out.set_nodes_healthy(in.sums.nodes_healthy);
    out.set_nodes_leaving(in.sums.nodes_leaving);
    to_proto(in.sums.capacity, *out.mutable_total());
    to_proto(in.sums.allocated, *out.mutable_used());
    for (const auto n : in.sums.vms) out.add_vms_by_phase(n);
    return true;
  }
  const auto state = one->facts->state();
  out.set_nodes_total(1);
  out.set_nodes_healthy(
      state == pb::NODE_READY || state == pb::NODE_CORDONED || state == pb::NODE_DRAINING ? 1 : 0);
  to_proto(one->capacity, *out.mutable_total());
  to_proto(one->allocated, *out.mutable_used());
  for (const auto n : one->vms) out.add_vms_by_phase(n);
  return true;
}

}  // namespace blixard::state
