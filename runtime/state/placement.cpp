// See placement.hpp. What can stand against a node, and the words for it, is in feasibility.cpp,
// scores and their order are in scoring.cpp.
#include "runtime/state/placement.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "messages/cluster.pb.h"
#include "messages/limits.hpp"
#include "runtime/state/feasibility.hpp"
#include "runtime/state/scoring.hpp"

namespace blixard::state {

pb::Decision plan(const inventory& in, const pb::VmSpec& spec, const plan_options& options) {
  const request r = make_request(in, spec, options);
  pb::Decision out;
  out.set_inventory_version(in.version.value());
  auto candidates = score_all(r, options.rejected_max, out);
  if (r.strategy == pb::STRATEGY_ROUND_ROBIN) score_by_turn(candidates, in.round_robin);
  put_best_first(candidates, options.listed_max);
  out.set_fitting(static_cast<std::uint32_t>(candidates.size()));
  choose(candidates, options.listed_max, out);
  return out;
}

pb::Decision choose_again(const inventory& in, const pb::VmSpec& spec, const pb::Decision& planned,
                          const plan_options& options) {
  const request r = make_request(in, spec, options);
  std::vector<node_id> nodes;
  for (const auto& c : planned.candidates()) nodes.emplace_back(c.node());
  std::ranges::sort(nodes);
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  std::vector<scored> candidates;
  for (const node_id id : nodes) {
    const node_usage* n = in.find(id);
    if (n == nullptr) continue;
    if (const auto fit = score(r, *n)) candidates.push_back(*fit);
  }
  if (r.strategy == pb::STRATEGY_ROUND_ROBIN) score_by_turn(candidates, in.round_robin);
  put_best_first(candidates, options.listed_max);
  pb::Decision out;
  out.set_inventory_version(in.version.value());
  out.set_fitting(planned.fitting());
  choose(candidates, options.listed_max, out);
  return out;
}

std::span<const std::uint64_t> gave_up(const pb::Vm& vm) noexcept {
  return {vm.gave_up().data(), static_cast<std::size_t>(vm.gave_up().size())};
}

bool may_place(const pb::Vm& vm, node_id planned, std::int64_t now_ms) noexcept {
  const auto tried = gave_up(vm);
  const bool untried = std::ranges::find(tried, planned.value()) == tried.end() &&
                       tried.size() < limits::gave_up_max_nodes;
  return untried || now_ms >= vm.retry_ms();
}

bool fits(const inventory& in, const pb::VmSpec& spec, node_id node, node_id resident) {
  const node_usage* n = in.find(node);
  if (n == nullptr) return false;
  plan_options options;
  options.resident = resident;
  const request r = make_request(in, spec, options);
  return !is_out_of_sight(r, *n) && find_objections(r, *n, nullptr);
}

std::string shape_of(const pb::VmSpec& spec, const plan_options& options) {
  // Lengths before what has one, so that no two shapes run together. Groups are counted per tenant.
  const std::array<std::uint64_t, 10> head{options.resident.value(),
                                           options.seed,
                                           options.listed_max,
                                           options.rejected_max,
                                           spec.vcpus(),
                                           spec.memory_bytes(),
                                           spec.disk_bytes(),
                                           static_cast<std::uint64_t>(spec.backend()),
                                           options.avoid.size(),
                                           spec.tenant().size()};
  std::string out;
  out.reserve(sizeof head + options.avoid.size_bytes() + spec.tenant().size() +
              spec.placement().ByteSizeLong());
  out.append(reinterpret_cast<const char*>(head.data()), sizeof head);
  out.append(reinterpret_cast<const char*>(options.avoid.data()), options.avoid.size_bytes());
  out += spec.tenant();
  spec.placement().AppendToString(&out);
  return out;
}

}  // namespace blixard::state
