// See fleet.hpp.
#include "runtime/state/fleet.hpp"

#include <array>

#include "messages/check.hpp"

namespace blixard::state {
namespace {

static_assert(node_state_count == pb::NodeState_ARRAYSIZE);

std::size_t phase_of(const pb::Vm& vm) noexcept { return static_cast<std::size_t>(vm.phase()); }

bool healthy(pb::NodeState s) noexcept {
  return s == pb::NODE_READY || s == pb::NODE_CORDONED || s == pb::NODE_DRAINING;
}

std::string group_of(const pb::Vm& vm) {
  const auto& group = vm.spec().placement().anti_affinity_group();
  return group.empty() ? std::string{} : group_name(vm.spec().tenant(), group);
}

template <class Count>
void step(Count& n, int by) {
  if (by < 0) CHECK_GT(n, Count{0});
  n = static_cast<Count>(by < 0 ? n - 1 : n + 1);
}

}  // namespace

resources needs_of(const pb::VmSpec& spec) noexcept {
  return {spec.vcpus(), spec.memory_bytes(), spec.disk_bytes()};
}

bool is_pending(const pb::Vm& vm) noexcept {
  return vm.node() == 0 && vm.phase() == pb::PHASE_PENDING;
}

hash128 fleet::hash(const pb::Vm& vm) {
  return hash_of(object_kind::vm, vm.id(), vm.SerializeAsString());
}

hash128 fleet::hash(const node_usage& node) {
  const std::array<std::uint64_t, 3> a{node.allocated.vcpus, node.allocated.memory_bytes,
                                       node.allocated.disk_bytes};
  hash128 h = node.facts_hash;
  h += hash_of(object_kind::node, node.id.value(),
               {reinterpret_cast<const char*>(a.data()), sizeof a});
  return h;
}

hash128 fleet::hash(const pb::Node& facts) {
  return hash_of(object_kind::node, facts.id(), facts.SerializeAsString());
}

vm_ptr fleet::vm(vm_id id) const {
  const auto* i = vms_.find(id);
  return i == nullptr ? nullptr : i->vm;
}

vm_ptr fleet::vm(std::string_view tenant, std::string_view name) const {
  const auto it = names_.find(name_less::view{tenant, name});
  return it == names_.end() ? nullptr : vm(it->second);
}

node_ptr fleet::node(node_id id) const {
  const auto* n = inventory_.find(id);
  return n == nullptr ? nullptr : n->facts;
}

const std::set<vm_id>& fleet::vms_on(node_id node) const {
  static const std::set<vm_id> none;
  const auto it = by_node_.find(node);
  return it == by_node_.end() ? none : it->second;
}

std::shared_ptr<const state::inventory> fleet::publish() const {
  if (!published_) published_ = std::make_shared<const state::inventory>(inventory_);
  return published_;
}

void fleet::moved(bool placement) {
  published_ = nullptr;
  inventory_.summary_version = index_;
  if (placement) inventory_.version = index_;
  if (changes_ == nullptr) return;
  changes_->summary = true;
  changes_->inventory = changes_->inventory || placement;
}

void fleet::note(vm_id id) {
  if (changes_ != nullptr) changes_->vms.push_back(id);
}

void fleet::note(node_id id) {
  if (changes_ != nullptr) changes_->nodes.push_back(id);
}

void fleet::put_vm(pb::Vm vm) {
  const vm_id id{vm.id()};
  auto now = std::make_shared<const pb::Vm>(std::move(vm));
  const vm_item* known = vms_.find(id);
  const vm_ptr old = known == nullptr ? nullptr : known->vm;
  if (known != nullptr) sum_ -= known->hash;
  const hash128 h = hash(*now);
  sum_ += h;
  vms_.put({id, now, h});
  note(id);

  const bool same_place = old && old->node() == now->node();
  if (same_place && old->phase() == now->phase()) return;
  if (old) charge(*old, sign::minus);
  charge(*now, sign::plus);
  if (!old) names_.emplace(name_key{now->spec().tenant(), now->spec().name()}, id);
  moved(!same_place);
}

void fleet::remove_vm(vm_id id) {
  vm_item gone;
  CHECK(vms_.erase(id, &gone));
  sum_ -= gone.hash;
  charge(*gone.vm, sign::minus);
  names_.erase(names_.find(name_less::view{gone.vm->spec().tenant(), gone.vm->spec().name()}));
  note(id);
  moved(gone.vm->node() != 0);
}

void fleet::charge(const pb::Vm& vm, sign s) {
  const int by = static_cast<int>(s);
  step(inventory_.sums.vms[phase_of(vm)], by);
  const vm_id id{vm.id()};
  if (is_pending(vm)) {
    if (s == sign::plus)
      pending_.insert(id);
    else
      pending_.erase(id);
  }
  if (vm.node() == 0) return;
  charge_node(vm, s);
  charge_group(vm, s);
}

void fleet::charge_node(const pb::Vm& vm, sign s) {
  const node_id where{vm.node()};
  const auto* n = inventory_.find(where);
  CHECK(n != nullptr);
  node_usage now = *n;
  const resources needs = needs_of(vm.spec());
  if (s == sign::plus) {
    now.allocated += needs;
    inventory_.sums.allocated += needs;
    by_node_[where].insert(vm_id{vm.id()});
  } else {
    now.allocated -= needs;
    inventory_.sums.allocated -= needs;
    by_node_[where].erase(vm_id{vm.id()});
  }
  step(now.vms[phase_of(vm)], static_cast<int>(s));
  replace_usage(*n, std::move(now));
}

void fleet::charge_group(const pb::Vm& vm, sign s) {
  const std::string group = group_of(vm);
  if (group.empty()) return;
  const node_id where{vm.node()};
  group_usage now{group, where, inventory_.group_count(group, where)};
  step(now.vms, static_cast<int>(s));
  if (now.vms == 0)
    inventory_.groups.erase(group_probe{group, where});
  else
    inventory_.groups.put(std::move(now));
}

void fleet::replace_usage(const node_usage& old, node_usage now) {
  sum_ -= hash(old);
  sum_ += hash(now);
  inventory_.nodes.put(std::move(now));
}

void fleet::count_node(const node_usage& n, sign s) {
  const auto state = n.facts->state();
  step(inventory_.sums.nodes_by_state[static_cast<std::size_t>(state)], static_cast<int>(s));
  if (state == pb::NODE_LEFT) return;
  if (n.facts->removed()) return step(inventory_.sums.nodes_leaving, static_cast<int>(s));
  step(inventory_.sums.nodes, static_cast<int>(s));
  if (!healthy(state)) return;
  step(inventory_.sums.nodes_healthy, static_cast<int>(s));
  if (s == sign::plus)
    inventory_.sums.capacity += n.capacity;
  else
    inventory_.sums.capacity -= n.capacity;
}

void fleet::put_node(pb::Node node) {
  const node_id id{node.id()};
  node.clear_allocated();
  node_usage now;
  if (const auto* old = inventory_.find(id)) {
    now = *old;
    count_node(*old, sign::minus);
    sum_ -= hash(*old);
  }
  now.id = id;
  now.capacity = from_proto(node.capacity());
  now.facts = std::make_shared<const pb::Node>(std::move(node));
  now.facts_hash = hash(*now.facts);
  count_node(now, sign::plus);
  sum_ += hash(now);
  inventory_.nodes.put(std::move(now));
  note(id);
  moved(true);
}

void fleet::note_round_robin(node_id chosen) {
  inventory_.round_robin = chosen;
  moved(true);
}

bool fleet::restore_node(pb::Node node) {
  if (node.id() == 0 || inventory_.find(node_id{node.id()}) != nullptr ||
      !pb::NodeState_IsValid(node.state()))
    return false;
  put_node(std::move(node));
  return true;
}

bool fleet::restore_vm(pb::Vm vm) {
  const auto& spec = vm.spec();
  if (vm.id() == 0 || vms_.find(vm_id{vm.id()}) != nullptr || !pb::Phase_IsValid(vm.phase()))
    return false;
  if (vm.node() != 0 && inventory_.find(node_id{vm.node()}) == nullptr) return false;
  if (names_.contains(name_less::view{spec.tenant(), spec.name()})) return false;
  put_vm(std::move(vm));
  return true;
}

void fleet::restore_versions(log_index version, log_index summary_version, node_id round_robin) {
  inventory_.version = version;
  inventory_.summary_version = summary_version;
  inventory_.round_robin = round_robin;
  published_ = nullptr;
}

}  // namespace blixard::state
