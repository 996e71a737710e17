// See history.hpp.
#include "runtime/state/history.hpp"

#include <algorithm>

#include "messages/limits.hpp"
#include "runtime/state/text.hpp"

namespace blixard::state {
namespace {

std::uint64_t back_off_ms(const pb::RestartPolicy& policy, std::uint32_t doublings) {
  const std::uint64_t most = std::uint64_t{policy.backoff_max_seconds()} * 1000;
  std::uint64_t wait = std::uint64_t{policy.backoff_seconds()} * 1000;
  for (doublings = std::min(doublings, 32U); doublings > 0 && wait < most; --doublings) wait *= 2;
  return std::min(wait, most);
}

/// Two decimals, or nothing for a score that no plan gives (it comes from an entry).
std::string score_text(double score) {
  constexpr double most = 1e9;
  if (!(score >= 0 && score < most)) return {};
  const auto hundredths = static_cast<std::uint64_t>(score * 100 + 0.5);
  const std::string digits = std::to_string(hundredths % 100);
  return ", score " + std::to_string(hundredths / 100) + (digits.size() < 2 ? ".0" : ".") + digits;
}

std::string running_text(const pb::Vm& vm) {
  std::string out = "runs on node " + std::to_string(vm.node());
  out += " as process " + std::to_string(vm.pid());
  if (vm.backend() == pb::BACKEND_PROCESS) return out;
  out += ", ";
  out += backend_name(vm.backend());
  return vm.accelerator().empty() ? out : out + " (" + vm.accelerator() + ")";
}

}  // namespace

void note(pb::Vm& vm, const moment& now, std::string_view text) {
  auto& events = *vm.mutable_events();
  if (static_cast<std::size_t>(events.size()) >= limits::vm_events_max)
    events.DeleteSubrange(0, events.size() - static_cast<int>(limits::vm_events_max) + 1);
  auto& e = *events.Add();
  e.set_index(now.index.value());
  e.set_time_ms(now.time_ms);
  e.set_text(bounded(text, limits::vm_event_max_bytes));
}

void enter(pb::Vm& vm, const moment& now, pb::Phase phase) {
  if (vm.phase() == phase && vm.phase_ms() != 0) return;
  vm.set_phase(phase);
  vm.set_phase_ms(now.time_ms);
}

void count_give_up(pb::Vm& vm, const moment& now) {
  auto& nodes = *vm.mutable_gave_up();
  nodes.erase(std::remove(nodes.begin(), nodes.end(), vm.node()), nodes.end());
  if (static_cast<std::size_t>(nodes.size()) >= limits::gave_up_max_nodes)
    nodes.erase(nodes.begin());
  nodes.Add(vm.node());
  vm.set_give_ups(vm.give_ups() + 1);
  const auto again = vm.give_ups() - static_cast<std::uint32_t>(nodes.size());
  vm.set_retry_ms(now.time_ms + static_cast<std::int64_t>(back_off_ms(vm.spec().restart(), again)));
}

void forgive(pb::Vm& vm) {
  vm.clear_gave_up();
  vm.clear_give_ups();
  vm.clear_retry_ms();
}

std::string placed_text(const pb::VmSpec& spec, const pb::Decision& decision, node_id chosen) {
  std::string out = "placed on node " + to_string(chosen) + ": ";
  out += spec.placement().node() != 0 ? "pinned" : strategy_name(spec.placement().strategy());
  for (const auto& c : decision.candidates())
    if (c.node() == chosen.value()) out += score_text(c.score());
  if (decision.fitting() > 1)
    out += ", best of " + std::to_string(decision.fitting()) + " that fit";
  return out;
}

std::string observed_text(const pb::Vm& before, const pb::Vm& now) {
  const bool entered = before.phase() != now.phase() || before.pid() != now.pid();
  const bool says_more = before.reason() != now.reason() && !now.reason().empty();
  if (!entered && !says_more) return {};
  const auto with_reason = [&](const char* what) {
    return now.reason().empty() ? std::string{what} : what + (": " + now.reason());
  };
  switch (now.phase()) {
    case pb::PHASE_RUNNING:
      if (says_more) return now.reason();
      return before.phase() == pb::PHASE_PAUSED ? "resumed" : running_text(now);
    case pb::PHASE_PAUSED:
      return with_reason("paused");
    case pb::PHASE_STOPPED:
      return with_reason("stopped");
    case pb::PHASE_FAILED:
      return with_reason("failed");
    case pb::PHASE_SCHEDULED:  // it was up and waits for something; the way up says nothing
    case pb::PHASE_STOPPING:
      return says_more ? now.reason() : std::string{};
    case pb::PHASE_STARTING:
    case pb::PHASE_DELETING:
    case pb::PHASE_PENDING:
    case pb::Phase_INT_MIN_SENTINEL_DO_NOT_USE_:
    case pb::Phase_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return {};
}

}  // namespace blixard::state
