// Commands on nodes, and what configuration changes tell about them.
//
// `node_down` may be proposed only when nothing of the node's VMs can still be running (its lease
// has expired, runtime/vm/README.md): they are free to start elsewhere. A node that was removed has
// left with it.
#include "runtime/base/planted.hpp"
#include "runtime/state/spec.hpp"
#include "runtime/state/tables.hpp"
#include "runtime/state/text.hpp"

namespace blixard::state {
namespace {

constexpr std::size_t text_max_bytes = 1024;
constexpr std::uint64_t amount_max = 1ULL << 50;  // so that sums over nodes_max nodes fit

void no_such_node(node_id id, pb::Answer& answer) {
  refuse(answer, errc::not_found, "there is no node " + to_string(id), "see `node list`");
}

bool is_registrable(const pb::Node& n, pb::Answer& answer) {
  const auto& c = n.capacity();
  if (n.id() == 0) {
    refuse(answer, errc::invalid_argument, "a node's id is not 0");
  } else if (c.vcpus() > amount_max || c.memory_bytes() > amount_max ||
             c.disk_bytes() > amount_max) {
    refuse(answer, errc::invalid_argument, "a node's capacity is at most 2^50");
  } else if (n.name().size() > text_max_bytes || n.address().size() > text_max_bytes ||
             n.version().size() > text_max_bytes || n.labels_size() > spec_limits::labels) {
    refuse(answer, errc::too_large, "the node's name, address, version or labels are too long");
  } else {
    return true;
  }
  return false;
}

/// Its last life may hold a lease.
bool may_run_vms(const pb::Node& node) {
  return node.incarnation() != 0 && node.state() != pb::NODE_DOWN && node.state() != pb::NODE_LEFT;
}

/// What a node that is there shows. One that was removed may still run VMs, until its lease ends.
pb::NodeState state_while_there(const pb::Node& node) {
  if (node.removed()) return pb::NODE_DRAINING;
  return node.cordoned() ? pb::NODE_CORDONED : pb::NODE_READY;
}

/// A witness does not register: its disk is that of its admission, and whoever had the id before
/// can tell by the list that it is no member any more, whatever it has missed.
void replace_disk(const pb::Node* before, std::uint64_t disk, pb::Node& node) {
  std::vector<std::uint64_t> former;
  if (before != nullptr) {
    former.assign(before->former_disks().begin(), before->former_disks().end());
    if (before->disk() != 0) former.push_back(before->disk());
  }
  std::erase(former, disk);
  if (former.size() > limits::former_disks_max) former.erase(former.begin());
  node.set_disk(disk);
  node.mutable_former_disks()->Assign(former.begin(), former.end());
}

void leave(pb::Node& node) {
  node.set_state(pb::NODE_LEFT);
  node.set_cordoned(false);
}

void show(const node_usage& n, pb::Answer& answer) {
  write_node(n, *answer.mutable_nodes()->add_nodes());
}

}  // namespace

void write_node(const node_usage& n, pb::Node& out) {
  out = *n.facts;
  to_proto(n.allocated, *out.mutable_allocated());
}

void machine::tables::node_register(const pb::NodeRegister& reg, pb::Answer& answer) {
  pb::Node now = reg.node();
  if (!is_registrable(now, answer)) return;
  const node_id id{now.id()};
  const auto old = vms_and_nodes.node(id);
  if (old) {
    if (old->state() == pb::NODE_LEFT)
      return refuse(answer, errc::invalid_state,
                    "node " + to_string(id) + " was removed from the cluster", "let it join again");
    if (now.incarnation() < old->incarnation())
      return refuse(answer, errc::conflict,
                    "node " + to_string(id) + " has registered as incarnation " +
                        std::to_string(old->incarnation()) + " already");
    // Whoever starts on another disk cannot see what the former life still runs, and could start
    // it once more. The lease of that life ends; then it is declared down.
    if (may_run_vms(*old) && old->disk() != 0 && now.disk() != old->disk() &&
        !planted(bug::other_disk_takes_over))
      return refuse(answer, errc::conflict,
                    "node " + to_string(id) +
                        " starts with another data directory, and VMs of the former one may run "
                        "until its lease has ended",
                    "it registers again by itself");
    // Its VMs may run elsewhere by now. A node that says so has not seen it yet: it could get a
    // lease and still start what its older state assigns to it.
    if (now.incarnation() == old->incarnation() && old->state() == pb::NODE_DOWN)
      return refuse(answer, errc::conflict,
                    "node " + to_string(id) + " was declared down as incarnation " +
                        std::to_string(old->incarnation()),
                    "register as a higher one");
  } else if (vms_and_nodes.inventory().nodes.size() >= limits::nodes_max) {
    return refuse(answer, errc::quota_exceeded, "the cluster has 10000 nodes, its limit");
  }
  now.set_cordoned(old && old->cordoned());
  now.set_removed(old && old->removed());
  now.set_state(state_while_there(now));
  if (now.address().empty() && old) now.set_address(old->address());
  vms_and_nodes.put_node(std::move(now));
  show(*vms_and_nodes.inventory().find(id), answer);
}

pb::Vm machine::tables::without_node(const pb::Vm& vm, const std::string& why) const {
  pb::Vm out = vm;
  out.set_generation(vm.generation() + 1);
  out.set_node(0);
  out.set_pid(0);
  out.clear_accelerator();
  out.clear_rejected();
  out.clear_fix();
  const bool stopped = vm.desired() == pb::DESIRED_STOPPED;
  enter(out, now(), stopped ? pb::PHASE_STOPPED : pb::PHASE_PENDING);
  out.set_reason(stopped ? why : why + ": waits for another node");
  note(out, now(), out.reason());
  return out;
}

/// Takes every VM from the node: those that should run wait for another one, those that are being
/// deleted are gone with it.
void machine::tables::release_vms_of(node_id node, const std::string& why) {
  const std::set<vm_id> ids = vms_and_nodes.vms_on(node);
  for (const vm_id id : ids) {
    const auto vm = vms_and_nodes.vm(id);
    if (vm->desired() == pb::DESIRED_DELETED)
      vms_and_nodes.remove_vm(id);
    else
      vms_and_nodes.put_vm(without_node(*vm, why));
  }
}

void machine::tables::node_down(const pb::NodeDown& down, pb::Answer& answer) {
  const node_id id{down.node()};
  const auto old = vms_and_nodes.node(id);
  if (!old) return no_such_node(id, answer);
  if (old->incarnation() != down.incarnation())
    return refuse(answer, errc::conflict,
                  "node " + to_string(id) + " is incarnation " +
                      std::to_string(old->incarnation()) + " by now");
  if (old->state() == pb::NODE_LEFT || old->state() == pb::NODE_JOINING)
    return refuse(answer, errc::invalid_state,
                  "node " + to_string(id) + " is " + std::string{node_state_name(old->state())});
  if (old->state() != pb::NODE_DOWN) {
    release_vms_of(id, "node " + to_string(id) + (old->removed() ? " was removed" : " is down"));
    pb::Node now = *old;
    now.set_state(pb::NODE_DOWN);
    if (now.removed()) leave(now);
    vms_and_nodes.put_node(std::move(now));
  }
  show(*vms_and_nodes.inventory().find(id), answer);
}

void machine::tables::node_cordon(const pb::NodeCordon& cordon, pb::Answer& answer) {
  const node_id id{cordon.node()};
  const auto old = vms_and_nodes.node(id);
  if (!old || old->state() == pb::NODE_LEFT) return no_such_node(id, answer);
  if (old->cordoned() != cordon.cordon()) {
    pb::Node now = *old;
    now.set_cordoned(cordon.cordon());
    // A node that is joining or down shows that, and is cordoned once it is back.
    if (now.state() == pb::NODE_READY || now.state() == pb::NODE_CORDONED)
      now.set_state(state_while_there(now));
    vms_and_nodes.put_node(std::move(now));
  }
  show(*vms_and_nodes.inventory().find(id), answer);
}

/// A removed node that holds no lease has left with the change itself. One that may hold a lease is
/// draining, and leaves when that has ended: what it still runs is not free before.
void machine::tables::forget_removed(const pb::ConfChange& change) {
  for (const auto& c : change.changes()) {
    const auto old = vms_and_nodes.node(node_id{c.node()});
    if (c.op() != pb::CONF_REMOVE || !old || old->state() == pb::NODE_LEFT) continue;
    pb::Node now = *old;
    now.set_removed(true);
    if (old->state() == pb::NODE_DOWN || old->state() == pb::NODE_JOINING)
      leave(now);
    else
      now.set_state(state_while_there(now));
    vms_and_nodes.put_node(std::move(now));
  }
}

/// A configuration change that adds a node brings its address: the node is joining until it
/// registers. One that has left may come back this way, as a new node.
void machine::tables::learn_address(const pb::ConfChange& change) {
  pb::NodeAddress who;
  if (change.context().empty() || !who.ParseFromString(change.context())) return;
  const node_id id{who.node()};
  if (!id || who.address().size() > text_max_bytes) return;
  const auto old = vms_and_nodes.node(id);
  if (!old && vms_and_nodes.inventory().nodes.size() >= limits::nodes_max) return;
  pb::Node now;
  if (old && old->state() != pb::NODE_LEFT) now = *old;
  const bool other_disk = who.disk() != 0 && (!old || old->disk() != who.disk());
  if (old && now.address() == who.address() && !now.removed() && !other_disk) return;
  if (other_disk) replace_disk(old.get(), who.disk(), now);
  now.set_removed(false);
  if (now.state() == pb::NODE_DRAINING) now.set_state(state_while_there(now));
  now.set_id(id.value());
  now.set_address(who.address());
  vms_and_nodes.put_node(std::move(now));
}

}  // namespace blixard::state
