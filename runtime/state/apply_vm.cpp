// Commands on VMs; the table of what they do by desired state and phase is in README.md.
#include "runtime/state/placement.hpp"
#include "runtime/state/tables.hpp"
#include "runtime/state/text.hpp"

namespace blixard::state {
namespace {

bool is_deleting(const pb::Vm& vm) noexcept { return vm.desired() == pb::DESIRED_DELETED; }

std::string vm_label(const pb::Vm& vm) { return "VM " + quote(vm.spec().name()); }

void cannot(const pb::Vm& vm, std::string_view why, pb::Answer& answer, std::string hint = {}) {
  refuse(answer, errc::invalid_state, vm_label(vm) + " " + std::string{why}, std::move(hint));
}

void show(const pb::Vm& vm, pb::Answer& answer) { *answer.mutable_vm() = vm; }

void unplaceable(const std::string& name, pb::Decision verdict, pb::Answer& answer) {
  std::string fix = verdict.fix();
  refuse(answer, errc::unplaceable, "no node can take VM " + quote(name), std::move(fix));
  *answer.mutable_decision() = std::move(verdict);
}

}  // namespace

void no_such_vm(pb::Answer& answer, std::string_view tenant, std::string_view name) {
  std::string what = "there is no VM " + quote(name);
  if (tenant != "default") what += " of tenant " + quote(tenant);
  refuse(answer, errc::not_found, std::move(what), "see `vm list`");
}

void machine::tables::store(pb::Vm vm, pb::Answer& answer) {
  show(vm, answer);
  vms_and_nodes.put_vm(std::move(vm));
}

/// A new generation of the VM: reports about the one before are stale from here on.
pb::Vm machine::tables::told(const pb::Vm& vm, std::string_view what) const {
  pb::Vm out = vm;
  out.set_generation(vm.generation() + 1);
  note(out, now(), what);
  return out;
}

void machine::tables::assign(pb::Vm& vm, node_id node) const {
  vm.set_node(node.value());
  enter(vm, now(), pb::PHASE_SCHEDULED);
  vm.set_pid(0);
  vm.clear_reason();
  vm.clear_rejected();
  vm.clear_fix();
}

/// Assigns the VM to the proposed node if nothing has changed since, else to the best of the
/// candidates by now: of many decisions that were made at once, as after the loss of a node, each
/// names the same node. Where none of them fits, to what the planner says now. False: it fits
/// nowhere, `verdict` says why, and the VM is unchanged.
bool machine::tables::place(pb::Vm& vm, const pb::Decision& proposed, pb::Decision& verdict) {
  const auto& in = vms_and_nodes.inventory();
  const auto& spec = vm.spec();
  plan_options options;
  options.avoid = gave_up(vm);
  options.listed_max = options.rejected_max = limits::reasons_max_nodes;
  const bool alone = proposed.candidates_size() < 2;
  const bool holds = proposed.node() != 0 &&
                     (alone || proposed.inventory_version() == in.version.value()) &&
                     fits(in, spec, node_id{proposed.node()});
  if (!holds) verdict = choose_again(in, spec, proposed, options);
  if (!holds && verdict.node() == 0) verdict = plan(in, spec, options);
  const auto& decision = holds ? proposed : verdict;
  const node_id chosen{decision.node()};
  if (!chosen) return false;
  if (spec.placement().strategy() == pb::STRATEGY_ROUND_ROBIN)
    vms_and_nodes.note_round_robin(chosen);
  note(vm, now(), placed_text(spec, decision, chosen));
  assign(vm, chosen);
  return true;
}

void machine::tables::vm_create(const pb::VmCreate& create, pb::Answer& answer) {
  pb::Vm vm;
  pb::VmSpec& spec = *vm.mutable_spec();
  spec = create.spec();
  fill_defaults(spec);
  if (const auto ok = validate(spec); !ok)
    return refuse(answer, ok.error().code, ok.error().message, ok.error().hint);
  if (const auto old = vms_and_nodes.vm(spec.tenant(), spec.name()))
    return refuse(
        answer, errc::already_exists,
        vm_label(*old) + (is_deleting(*old) ? " is still being deleted" : " exists"),
        is_deleting(*old) ? "wait until it is gone" : "choose another name, or see `vm show`");
  if (vms_and_nodes.vms().size() >= limits::vms_max)
    return refuse(answer, errc::quota_exceeded, "the cluster holds 1000000 VMs, its limit");
  vm.set_desired(spec.desired());
  vm.set_generation(1);
  vm.set_created_index(applied.value());
  vm.set_created_ms(time_ms);
  note(vm, now(), "created");
  if (pb::Decision verdict; spec.desired() == pb::DESIRED_STOPPED)
    enter(vm, now(), pb::PHASE_STOPPED);  // gets a node when it is started
  else if (!place(vm, create.decision(), verdict))
    return unplaceable(spec.name(), std::move(verdict), answer);
  vm.set_id(next_vm_id++);
  store(std::move(vm), answer);
}

void machine::tables::vm_action(const pb::VmAction& action, pb::Answer& answer) {
  const auto tenant = tenant_or_default(action.tenant());
  const auto vm = vms_and_nodes.vm(tenant, action.name());
  if (!vm) return no_such_vm(answer, tenant, action.name());
  if (is_deleting(*vm) && action.action() != pb::VM_DELETE)
    return cannot(*vm, "is being deleted", answer);
  switch (action.action()) {
    case pb::VM_START:
      return vm_start(vm, answer);
    case pb::VM_STOP:
      return vm_stop(vm, action.force(), answer);
    case pb::VM_RESTART:
      return vm_restart(vm, answer);
    case pb::VM_PAUSE:
      return vm_pause(vm, answer);
    case pb::VM_RESUME:
      return vm_resume(vm, answer);
    case pb::VM_DELETE:
      return vm_delete(vm, action.force(), answer);
    case pb::VmActionKind_INT_MIN_SENTINEL_DO_NOT_USE_:
    case pb::VmActionKind_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  refuse(answer, errc::internal, "the action is not known to this version");
}

void machine::tables::vm_start(const vm_ptr& vm, pb::Answer& answer) {
  if (vm->desired() == pb::DESIRED_PAUSED)
    return cannot(*vm, "is paused, not stopped", answer, "resume it");
  // What should run and does not, because it failed or ended by itself, is started again.
  const bool ended = vm->phase() == pb::PHASE_FAILED || vm->phase() == pb::PHASE_STOPPED;
  if (vm->desired() == pb::DESIRED_RUNNING && !ended) return show(*vm, answer);
  pb::Vm next = told(*vm, "told to start");
  next.set_desired(pb::DESIRED_RUNNING);
  next.set_force_stop(false);
  // Its node has seen this VM asked to run before: only another count of restarts tells it again.
  if (vm->desired() == pb::DESIRED_RUNNING || vm->phase() == pb::PHASE_FAILED)
    next.set_restarts(vm->restarts() + 1);
  if (pb::Decision verdict; vm->node() != 0)
    assign(next, node_id{vm->node()});
  else if (!place(next, {}, verdict))
    return unplaceable(vm->spec().name(), std::move(verdict), answer);
  forgive(next);
  store(std::move(next), answer);
}

void machine::tables::vm_stop(const vm_ptr& vm, bool force, pb::Answer& answer) {
  const bool stopped = vm->desired() == pb::DESIRED_STOPPED;
  const bool harder = force && !vm->force_stop() && vm->phase() == pb::PHASE_STOPPING;
  if (stopped && !harder) return show(*vm, answer);
  pb::Vm next = told(*vm, force ? "told to stop at once" : "told to stop");
  next.set_desired(pb::DESIRED_STOPPED);
  next.set_force_stop(force);
  enter(next, now(), vm->node() == 0 ? pb::PHASE_STOPPED : pb::PHASE_STOPPING);
  next.clear_reason();
  next.clear_rejected();
  next.clear_fix();
  store(std::move(next), answer);
}

void machine::tables::vm_restart(const vm_ptr& vm, pb::Answer& answer) {
  if (vm->desired() == pb::DESIRED_STOPPED) return cannot(*vm, "is stopped", answer, "start it");
  pb::Vm next = told(*vm, "told to restart");
  next.set_desired(pb::DESIRED_RUNNING);
  next.set_restarts(vm->restarts() + 1);
  forgive(next);
  if (vm->node() != 0) assign(next, node_id{vm->node()});  // else it waits for a node as before
  store(std::move(next), answer);
}

void machine::tables::vm_pause(const vm_ptr& vm, pb::Answer& answer) {
  if (vm->desired() == pb::DESIRED_PAUSED) return show(*vm, answer);
  if (vm->desired() != pb::DESIRED_RUNNING || vm->phase() != pb::PHASE_RUNNING)
    return cannot(*vm, "is " + std::string{phase_name(vm->phase())} + ", not running", answer);
  pb::Vm next = told(*vm, "told to pause");
  next.set_desired(pb::DESIRED_PAUSED);
  store(std::move(next), answer);
}

void machine::tables::vm_resume(const vm_ptr& vm, pb::Answer& answer) {
  if (vm->desired() == pb::DESIRED_RUNNING) return show(*vm, answer);
  if (vm->desired() != pb::DESIRED_PAUSED)
    return cannot(*vm, "is stopped, not paused", answer, "start it");
  pb::Vm next = told(*vm, "told to resume");
  next.set_desired(pb::DESIRED_RUNNING);
  store(std::move(next), answer);
}

void machine::tables::vm_delete(const vm_ptr& vm, bool force, pb::Answer& answer) {
  const bool harder = force && !vm->force_stop();
  if (is_deleting(*vm) && !harder) return show(*vm, answer);
  pb::Vm next = told(*vm, "told to be deleted");
  next.set_desired(pb::DESIRED_DELETED);
  next.set_force_stop(force);
  enter(next, now(), pb::PHASE_DELETING);
  next.clear_rejected();
  next.clear_fix();
  if (vm->node() != 0) return store(std::move(next), answer);
  show(next, answer);  // no node has anything of it
  vms_and_nodes.remove_vm(vm_id{vm->id()});
}

void machine::tables::vm_place(const pb::VmPlace& request, pb::Answer& answer) {
  const auto vm = vms_and_nodes.vm(vm_id{request.vm()});
  if (!vm) return refuse(answer, errc::not_found, "there is no VM " + std::to_string(request.vm()));
  if (vm->generation() != request.generation())
    return refuse(answer, errc::conflict,
                  vm_label(*vm) + " has generation " + std::to_string(vm->generation()) + ", not " +
                      std::to_string(request.generation()));
  if (!is_pending(*vm)) return cannot(*vm, "does not wait for a node", answer);
  pb::Decision verdict;
  pb::Vm next = *vm;
  if (place(next, request.decision(), verdict)) {
    next.set_generation(vm->generation() + 1);
    return store(std::move(next), answer);
  }
  *next.mutable_rejected() = verdict.rejected();
  next.set_fix(verdict.fix());
  vms_and_nodes.put_vm(std::move(next));
  unplaceable(vm->spec().name(), std::move(verdict), answer);
}

}  // namespace blixard::state
