// Reports: what a node says of its VMs. The node is the source of truth, for its VMs of the
// generation that it knows; anything else is stale and refused, one by one.
#include "runtime/state/tables.hpp"
#include "runtime/state/text.hpp"

namespace blixard::state {
namespace {

bool is_observable(pb::Phase p) noexcept {
  switch (p) {
    case pb::PHASE_STARTING:
    case pb::PHASE_RUNNING:
    case pb::PHASE_PAUSED:
    case pb::PHASE_STOPPING:
    case pb::PHASE_STOPPED:
    case pb::PHASE_FAILED:
    case pb::PHASE_DELETING:
    case pb::PHASE_SCHEDULED:
      return true;
    case pb::PHASE_PENDING:
    case pb::Phase_INT_MIN_SENTINEL_DO_NOT_USE_:
    case pb::Phase_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return false;
}

/// Whether a VM that its node gave up may run somewhere else.
bool may_move(const pb::Vm& vm) noexcept {
  const bool wanted = vm.desired() == pb::DESIRED_RUNNING || vm.desired() == pb::DESIRED_PAUSED;
  return wanted && vm.spec().placement().node() == 0;
}

bool failed(const pb::VmReport::One& one) noexcept {
  return one.gave_up() || one.phase() == pb::PHASE_FAILED;
}

/// A run of at least the longest back-off: what went wrong before it does not count any more.
bool ran_well(const pb::Vm& vm, const moment& now) noexcept {
  return vm.phase() == pb::PHASE_RUNNING &&
         now.time_ms - vm.phase_ms() >=
             std::int64_t{vm.spec().restart().backoff_max_seconds()} * 1000;
}

bool same_observation(const pb::Vm& a, const pb::Vm& b) {
  return a.phase() == b.phase() && a.backend() == b.backend() && a.pid() == b.pid() &&
         a.reason() == b.reason() && a.accelerator() == b.accelerator();
}

}  // namespace

/// The VM waits for a node again, and this one is tried again only after a while.
pb::Vm machine::tables::given_up(const pb::Vm& vm, const pb::VmReport::One& one) const {
  pb::Vm out = vm;
  if (ran_well(vm, now())) forgive(out);
  if (vm.phase() != pb::PHASE_FAILED) out.set_crashes(vm.crashes() + 1);
  count_give_up(out, now());
  out.set_generation(vm.generation() + 1);
  out.set_node(0);
  enter(out, now(), pb::PHASE_PENDING);
  out.set_pid(0);
  out.clear_accelerator();
  std::string why = "node " + std::to_string(vm.node()) + " gave it up";
  if (!one.reason().empty()) why += ": " + bounded(one.reason(), limits::reason_max_bytes);
  note(out, now(), why);
  out.set_reason(std::move(why));
  return out;
}

pb::Vm machine::tables::observed(const pb::Vm& vm, const pb::VmReport::One& one) const {
  pb::Vm out = vm;
  const bool deleting = vm.desired() == pb::DESIRED_DELETED;
  const auto phase = deleting ? pb::PHASE_DELETING : failed(one) ? pb::PHASE_FAILED : one.phase();
  if (phase != pb::PHASE_RUNNING && ran_well(vm, now())) forgive(out);
  if (phase == pb::PHASE_FAILED && vm.phase() != phase) out.set_crashes(vm.crashes() + 1);
  enter(out, now(), phase);
  out.set_backend(one.backend());
  out.set_pid(one.pid());
  out.set_reason(bounded(one.reason(), limits::reason_max_bytes));
  out.set_accelerator(bounded(one.accelerator(), limits::name_max_bytes));
  if (const auto text = observed_text(vm, out); !text.empty()) note(out, now(), text);
  return out;
}

/// Takes one report; says why if it is refused.
std::string machine::tables::take_report(node_id from, const pb::VmReport::One& one) {
  const vm_id id{one.vm()};
  const std::string label = "vm " + to_string(id) + ": ";
  const auto vm = vms_and_nodes.vm(id);
  if (!vm) return label + "not known";
  if (node_id{vm->node()} != from) return label + "not assigned to node " + to_string(from);
  if (vm->generation() != one.generation())
    return label + "generation " + std::to_string(one.generation()) + ", now " +
           std::to_string(vm->generation());
  if (!is_observable(one.phase()) || !pb::Backend_IsValid(one.backend()))
    return label + "no phase or backend that a node can report";
  if (vm->desired() == pb::DESIRED_DELETED && one.gone()) {
    vms_and_nodes.remove_vm(id);
  } else if (one.gave_up() && may_move(*vm)) {
    vms_and_nodes.put_vm(given_up(*vm, one));
  } else if (pb::Vm now = observed(*vm, one); !same_observation(now, *vm)) {
    vms_and_nodes.put_vm(std::move(now));
  }
  return {};
}

void machine::tables::vm_report(const pb::VmReport& report, pb::Answer& answer) {
  const node_id from{report.node()};
  if (!vms_and_nodes.node(from))
    return refuse(answer, errc::not_found, "there is no node " + to_string(from));
  auto* refused = answer.mutable_lines();
  for (const auto& one : report.vms())
    if (std::string why = take_report(from, one); !why.empty()) refused->add_lines(std::move(why));
}

}  // namespace blixard::state
