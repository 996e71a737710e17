// VMs and nodes, and everything that is derived from them and kept up to date per change.
//
// A command works on a copy of a VM and puts it back: `put_vm` compares old and new and adjusts
// allocations, group counts, totals, the list of what is pending, names, the digest and the two
// versions of the inventory. So no command can forget one of them, and `check` can recompute all.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "messages/cluster.pb.h"
#include "messages/ids.hpp"
#include "runtime/state/cow_tree.hpp"
#include "runtime/state/hash.hpp"
#include "runtime/state/inventory.hpp"
#include "runtime/state/machine.hpp"

namespace blixard::state {

using vm_ptr = std::shared_ptr<const pb::Vm>;
using node_ptr = std::shared_ptr<const pb::Node>;

struct vm_item {
  vm_id id;
  vm_ptr vm;
  hash128 hash;
};

struct vm_order {
  using key_type = vm_id;
  static vm_id key_of(const vm_item& i) noexcept { return i.id; }
  static std::strong_ordering compare(vm_id a, vm_id b) noexcept { return a <=> b; }
};

using vm_tree = cow_tree<vm_item, vm_order>;
using node_tree = cow_tree<node_usage, node_order>;

/// What a VM takes of the node that it is assigned to.
[[nodiscard]] resources needs_of(const pb::VmSpec& spec) noexcept;
/// Whether it waits for a node.
[[nodiscard]] bool is_pending(const pb::Vm& vm) noexcept;

class fleet {
 public:
  /// Changes from here on belong to the entry `index` and are noted in `out` (ids may repeat).
  void begin(log_index index, changes* out) noexcept {
    index_ = index;
    changes_ = out;
  }

  [[nodiscard]] vm_ptr vm(vm_id id) const;
  [[nodiscard]] vm_ptr vm(std::string_view tenant, std::string_view name) const;
  [[nodiscard]] node_ptr node(node_id id) const;

  /// Creates or replaces the VM with that id. Precondition: its node, if any, is known; its name
  /// is its own.
  void put_vm(pb::Vm vm);
  void remove_vm(vm_id id);
  /// Creates or replaces the node with that id; `allocated` is ignored.
  void put_node(pb::Node node);
  /// Round robin chose that node.
  void note_round_robin(node_id chosen);

  [[nodiscard]] const vm_tree& vms() const noexcept { return vms_; }
  [[nodiscard]] const state::inventory& inventory() const noexcept { return inventory_; }
  [[nodiscard]] std::shared_ptr<const state::inventory> publish() const;
  /// Ids of the VMs assigned to the node, ascending.
  [[nodiscard]] const std::set<vm_id>& vms_on(node_id node) const;
  [[nodiscard]] const std::set<vm_id>& pending() const noexcept { return pending_; }
  /// Ids by (tenant, name), from the first that is not below.
  using name_key = std::pair<std::string, std::string>;
  struct name_less {
    using is_transparent = void;
    using view = std::pair<std::string_view, std::string_view>;
    bool operator()(const view& a, const view& b) const noexcept { return a < b; }
  };
  using name_index = std::map<name_key, vm_id, name_less>;
  [[nodiscard]] const name_index& names() const noexcept { return names_; }

  [[nodiscard]] hash128 sum() const noexcept { return sum_; }
  [[nodiscard]] static hash128 hash(const pb::Vm& vm);
  [[nodiscard]] static hash128 hash(const pb::Node& facts);
  /// Of facts_hash and what is allocated.
  [[nodiscard]] static hash128 hash(const node_usage& node);

  /// Puts a snapshot's objects back, nodes first. False if they contradict each other.
  bool restore_node(pb::Node node);
  bool restore_vm(pb::Vm vm);
  void restore_versions(log_index version, log_index summary_version, node_id round_robin);

 private:
  enum class sign : std::int8_t { minus = -1, plus = 1 };
  void charge(const pb::Vm& vm, sign s);
  void charge_node(const pb::Vm& vm, sign s);
  void charge_group(const pb::Vm& vm, sign s);
  void count_node(const node_usage& n, sign s);
  void replace_usage(const node_usage& old, node_usage now);
  void moved(bool placement);
  void note(vm_id id);
  void note(node_id id);

  log_index index_;
  changes* changes_ = nullptr;
  vm_tree vms_;
  state::inventory inventory_;
  mutable std::shared_ptr<const state::inventory> published_;  // null: changed since
  name_index names_;
  std::unordered_map<node_id, std::set<vm_id>> by_node_;
  std::set<vm_id> pending_;
  hash128 sum_;
};

}  // namespace blixard::state
