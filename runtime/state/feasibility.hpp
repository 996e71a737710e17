// What can stand against placing a VM on a node, in words and numbers, and the least effort that
// would change it. Internal to placement.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "messages/cluster.pb.h"
#include "messages/ids.hpp"
#include "runtime/state/inventory.hpp"
#include "runtime/state/placement.hpp"

namespace blixard::state {

/// A request with what is looked up once and not per node.
struct request {
  const state::inventory& in;
  const pb::VmSpec& spec;
  resources needs;
  pb::Strategy strategy;
  node_id pinned;      // 0: any
  bool names_no_node;  // manual without a node
  std::string group;   // anti-affinity; empty: none
  std::uint32_t max_per_node;
  bool soft;
  std::span<const std::uint64_t> avoid;  // nodes that gave the VM up
  node_id resident;
  std::uint64_t seed;
};

[[nodiscard]] request make_request(const inventory& in, const pb::VmSpec& spec,
                                   const plan_options& options);

/// What others use of the node: without the VM itself where it is counted already.
[[nodiscard]] resources used_without(const request& r, const node_usage& n) noexcept;
/// Members of the request's group on the node, without the VM itself.
[[nodiscard]] std::uint32_t group_members(const request& r, const node_usage& n);
/// A node that has left is not worth a word, unless the request names it.
[[nodiscard]] bool is_out_of_sight(const request& r, const node_usage& n) noexcept;

enum class objection_kind : std::uint8_t {
  pinned,
  unnamed,  // manual placement that names no node
  state,
  backend,
  label,
  vcpus,
  memory,
  disk,
  group,
};

/// One reason against a node.
struct objection {
  objection_kind kind;
  int constraint = 0;       // of a label: which one
  std::uint64_t need = 0;   // of a resource; of a group: members here
  std::uint64_t free = 0;   // of a resource; of a group: the limit
  std::uint64_t total = 0;  // of a resource: the node's capacity
  pb::NodeState state = pb::NODE_READY;
  bool removed = false;  // with `state`: it is no member any more
};

/// True if nothing stands against the node. With `out`: collects every objection, else stops at the
/// first.
bool find_objections(const request& r, const node_usage& n, std::vector<objection>* out);

/// Writes the objections down for a person.
void describe(const request& r, const node_usage& n, const std::vector<objection>& against,
              pb::NodeReason& out);

/// Keeps the node whose objections take the least effort to remove.
class cheapest_fix {
 public:
  void offer(node_id node, const std::vector<objection>& against);
  /// One sentence; if no node was offered, what to do about that.
  [[nodiscard]] std::string text(const request& r) const;

 private:
  node_id node_;
  std::uint64_t effort_ = 0;
  std::vector<objection> against_;
};

}  // namespace blixard::state
