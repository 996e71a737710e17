// What placement and summaries look at: an immutable value, true at one log index.
//
// The state machine keeps it up to date entry by entry; `machine::inventory()` hands out a copy
// that shares its tree with the machine (cow_tree.hpp), so that publishing it costs the same for
// three nodes and for ten thousand. Any thread may read a copy for as long as it likes.
//
// Two versions, both log indexes: `version` moves when a placement could come out differently
// (nodes, capacity, allocation, labels, groups, the round-robin position); `summary_version` moves
// when a summary could (the same, and phases of VMs).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "messages/ids.hpp"
#include "runtime/state/cow_tree.hpp"
#include "runtime/state/hash.hpp"

namespace blixard::pb {
class Node;
class Resources;
class Summary;
}  // namespace blixard::pb

namespace blixard::state {

inline constexpr std::size_t phase_count = 9;       // of pb::Phase
inline constexpr std::size_t node_state_count = 6;  // of pb::NodeState

/// Amounts of what a VM needs and a node has. Memory and disk are bytes.
struct resources {
  std::uint64_t vcpus = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t disk_bytes = 0;

  resources& operator+=(const resources& o) noexcept {
    vcpus += o.vcpus;
    memory_bytes += o.memory_bytes;
    disk_bytes += o.disk_bytes;
    return *this;
  }
  resources& operator-=(const resources& o) noexcept {
    vcpus -= o.vcpus;
    memory_bytes -= o.memory_bytes;
    disk_bytes -= o.disk_bytes;
    return *this;
  }
  friend bool operator==(const resources&, const resources&) noexcept = default;
};

[[nodiscard]] resources from_proto(const pb::Resources& r);
void to_proto(const resources& r, pb::Resources& out);

using phase_counts = std::array<std::uint32_t, phase_count>;

/// A node and what its VMs take of it. Plain values: copying one is cheap. What two versions of one
/// differ in comes first: it is compared for all of a leaf.
struct node_usage {
  node_id id;
  std::shared_ptr<const pb::Node> facts;  // as registered; its `allocated` is not set
  resources allocated;                    // by all VMs assigned to the node, whatever their phase
  resources capacity;                     // of facts
  phase_counts vms{};                     // assigned to the node, by phase
  hash128 facts_hash;                     // of facts, for the digest; placement ignores it
};

struct node_order {
  using key_type = node_id;
  static node_id key_of(const node_usage& n) noexcept { return n.id; }
  static std::strong_ordering compare(node_id a, node_id b) noexcept { return a <=> b; }
};

/// How many VMs of one anti-affinity group a node holds.
struct group_usage {
  std::string group;  // tenant '/' name: groups of two tenants are two groups
  node_id node;
  std::uint32_t vms = 0;
};

struct group_probe {
  std::string_view group;
  node_id node;

  friend std::strong_ordering operator<=>(const group_probe&, const group_probe&) = default;
};

struct group_order {
  struct key_type {
    std::string group;
    node_id node;

    key_type() = default;
    explicit key_type(group_probe p) : group(p.group), node(p.node) {}
  };
  static group_probe key_of(const group_usage& g) noexcept { return {g.group, g.node}; }
  static std::strong_ordering compare(group_probe a, group_probe b) noexcept { return a <=> b; }
  static std::strong_ordering compare(group_probe a, const key_type& b) noexcept {
    return a <=> group_probe{b.group, b.node};
  }
};

/// Sums over the whole cluster, kept incrementally.
struct totals {
  std::uint64_t nodes = 0;          // members: all that are known and were not removed
  std::uint64_t nodes_healthy = 0;  // of these: ready or cordoned, their lease is alive
  std::uint64_t nodes_leaving = 0;  // removed, their lease may be alive
  resources capacity;               // of the healthy nodes
  resources allocated;              // on all nodes
  std::array<std::uint64_t, phase_count> vms{};
  std::array<std::uint64_t, node_state_count> nodes_by_state{};

  friend bool operator==(const totals&, const totals&) noexcept = default;
};

/// See the head of this file. The members are for the state machine and for tests that make one up.
struct inventory {
  log_index version;
  log_index summary_version;
  node_id round_robin;  // the node that round robin chose last; 0: none yet
  totals sums;
  cow_tree<node_usage, node_order> nodes;
  cow_tree<group_usage, group_order> groups;

  /// The node, or null. The pointer is good as long as this value is.
  [[nodiscard]] const node_usage* find(node_id id) const { return nodes.find(id); }
  /// VMs of that anti-affinity group on the node.
  [[nodiscard]] std::uint32_t group_count(std::string_view group, node_id node) const;
};

/// The name under which a tenant's anti-affinity group is counted.
[[nodiscard]] std::string group_name(std::string_view tenant, std::string_view group);

/// Totals of the cluster (node 0) or of one node, from aggregates: O(1) in nodes and VMs. False if
/// the node is not known; `out` is then unchanged.
[[nodiscard]] bool summarize(const inventory& in, node_id node, pb::Summary& out);

}  // namespace blixard::state
