#include "actors/vm_operations.hpp"

namespace blixard::actors {
namespace {

using metrics::vm_operation;

enum class verdict : std::uint8_t { open, done, failed };

/// Whether a report about the wish's own generation ends the operation.
verdict judge(vm_operation what, const pb::VmReport_One& r) {
  if (r.phase() == pb::PHASE_FAILED && what != vm_operation::remove) return verdict::failed;
  const bool running = r.phase() == pb::PHASE_RUNNING;
  const bool paused = r.phase() == pb::PHASE_PAUSED;
  const bool refused = !r.reason().empty();
  bool done = false;
  switch (what) {
    case vm_operation::start:
    case vm_operation::restart:
    case vm_operation::adopt:
      done = running || paused;
      break;
    case vm_operation::pause:
      if (running && refused) return verdict::failed;
      done = paused;
      break;
    case vm_operation::resume:
      if (paused && refused) return verdict::failed;
      done = running;
      break;
    case vm_operation::stop:
      done = r.phase() == pb::PHASE_STOPPED;
      break;
    case vm_operation::remove:
      done = r.gone();
      break;
  }
  return done ? verdict::done : verdict::open;
}

}  // namespace

std::optional<vm_operation> vm_operations::asked(const one& before, const pb::Vm& vm, bool found) {
  const bool fresh = before.generation == 0;
  switch (vm.desired()) {
    case pb::DESIRED_DELETED:
      return vm_operation::remove;
    case pb::DESIRED_STOPPED:
      return fresh ? std::nullopt : std::optional{vm_operation::stop};
    case pb::DESIRED_PAUSED:
      return fresh ? (found ? vm_operation::adopt : vm_operation::start) : vm_operation::pause;
    case pb::DESIRED_RUNNING:
      if (fresh) return found ? vm_operation::adopt : vm_operation::start;
      if (before.desired == pb::DESIRED_STOPPED) return vm_operation::start;
      if (vm.restarts() > before.restarts) return vm_operation::restart;
      return before.desired == pb::DESIRED_PAUSED ? vm_operation::resume : vm_operation::start;
    case pb::Desired_INT_MIN_SENTINEL_DO_NOT_USE_:
    case pb::Desired_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return std::nullopt;
}

void vm_operations::wanted(const pb::Vm& vm, bool found, std::uint64_t now_ns) {
  auto& o = vms_[vm_id{vm.id()}];
  if (vm.generation() <= o.generation) return;
  o.under_way = asked(o, vm, found);
  o.since_ns = now_ns;
  o.generation = vm.generation();
  o.restarts = vm.restarts();
  o.desired = vm.desired();
}

std::optional<vm_operations::ended> vm_operations::seen(const pb::VmReport_One& r,
                                                        std::uint64_t now_ns) {
  const auto it = vms_.find(vm_id{r.vm()});
  if (it == vms_.end()) return std::nullopt;
  auto& o = it->second;
  // A start that nobody asked for: by the restart policy, or of one that was found dead.
  const bool starts = r.phase() == pb::PHASE_STARTING && !r.gone();
  if (starts && (!o.under_way || o.under_way == vm_operation::adopt)) {
    o.under_way = vm_operation::start;
    o.since_ns = now_ns;
  }
  std::optional<ended> out;
  if (o.under_way && (r.generation() == o.generation || r.gone())) {
    const auto v = judge(*o.under_way, r);
    if (v != verdict::open) {
      out = ended{*o.under_way, now_ns - o.since_ns, v == verdict::failed};
      o.under_way.reset();
    }
  }
  if (r.gone()) vms_.erase(it);
  return out;
}

}  // namespace blixard::actors
