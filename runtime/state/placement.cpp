// See placement.hpp. What can stand against a node, and the words for it, is in feasibility.cpp.
#include "runtime/state/placement.hpp"

#include <algorithm>
#include <vector>

#include "messages/cluster.pb.h"
#include "messages/limits.hpp"
#include "runtime/state/feasibility.hpp"

namespace blixard::state {
namespace {

// Scores are counted in millionths, so that every build orders them the same.
constexpr std::int64_t one = 1'000'000;
constexpr std::int64_t last_resort = 1'000'000 * one;  // a node that gave the VM up

struct scored {
  node_id node;
  std::int64_t score = 0;
  std::uint64_t tie = 0;
};

/// part / whole in millionths; whole > 0.
std::int64_t share(std::uint64_t part, std::uint64_t whole) noexcept {
  return static_cast<std::int64_t>(static_cast<unsigned __int128>(part) * one / whole);
}

struct pair_of_amounts {
  std::uint64_t used_after;
  std::uint64_t capacity;
};

std::array<pair_of_amounts, 3> after_placement(const request& r, const node_usage& n) noexcept {
  const resources used = used_without(r, n);
  return {{{used.vcpus + r.needs.vcpus, n.capacity.vcpus},
           {used.memory_bytes + r.needs.memory_bytes, n.capacity.memory_bytes},
           {used.disk_bytes + r.needs.disk_bytes, n.capacity.disk_bytes}}};
}

std::int64_t mean_free_share(const request& r, const node_usage& n) noexcept {
  std::int64_t sum = 0;
  std::int64_t counted = 0;
  for (const auto& a : after_placement(r, n)) {
    if (a.capacity == 0) continue;
    sum += share(a.capacity - std::min(a.used_after, a.capacity), a.capacity);
    ++counted;
  }
  return counted == 0 ? 0 : sum / counted;
}

std::int64_t dominant_share(const request& r, const node_usage& n) noexcept {
  std::int64_t most = 0;
  for (const auto& a : after_placement(r, n))
    if (a.capacity != 0)
      most = std::max(most, share(std::min(a.used_after, a.capacity), a.capacity));
  return most;
}

/// A permutation of the ids made from the seed (a bijection: odd multiplier, xor); 0: by id.
std::uint64_t tie_of(node_id id, std::uint64_t seed) noexcept {
  return seed == 0 ? id.value() : (id.value() ^ seed) * 0x9E3779B97F4A7C15ULL;
}

std::int64_t base_score(const request& r, const node_usage& n) noexcept {
  switch (r.strategy) {
    case pb::STRATEGY_MOST_AVAILABLE:
      return mean_free_share(r, n);
    case pb::STRATEGY_LEAST_AVAILABLE:
      return dominant_share(r, n);
    case pb::STRATEGY_ROUND_ROBIN:  // by position, once all candidates are known
      return 0;
    case pb::STRATEGY_MANUAL:
      return one;
    case pb::Strategy_INT_MIN_SENTINEL_DO_NOT_USE_:
    case pb::Strategy_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return 0;
}

/// What pushes a node behind the others that fit: below zero, however good its score.
std::int64_t penalty(const request& r, const node_usage& n) noexcept {
  const auto gave_up = std::ranges::find(r.avoid, n.id.value());
  std::int64_t out = gave_up == r.avoid.end() ? 0 : last_resort * (gave_up - r.avoid.begin() + 1);
  if (r.soft && !r.group.empty()) {
    const auto here = group_members(r, n);
    if (here >= r.max_per_node) out += (here - r.max_per_node + 1) * one;
  }
  return out;
}

/// Gives candidates, which are in order of id, their turn: the first after `last` scores highest.
void score_by_turn(std::vector<scored>& candidates, node_id last) {
  const auto first = std::ranges::upper_bound(candidates, last, {}, &scored::node);
  const auto start = static_cast<std::size_t>(first - candidates.begin());
  const auto n = candidates.size();
  for (std::size_t i = 0; i < n; ++i) candidates[(start + i) % n].score += share(n - i, n);
}

/// Sorts the first `listed` of them, one at least, and leaves the rest in any order. No two compare
/// equal, so the result is that of sorting all.
void put_best_first(std::vector<scored>& candidates, std::size_t listed) {
  const auto sorted = std::min(std::max(listed, std::size_t{1}), candidates.size());
  std::ranges::partial_sort(candidates, candidates.begin() + static_cast<std::ptrdiff_t>(sorted),
                            [](const scored& a, const scored& b) {
                              return a.score != b.score ? a.score > b.score : a.tie < b.tie;
                            });
}

void list(const std::vector<scored>& candidates, std::size_t max, pb::Decision& out) {
  for (std::size_t i = 0; i < std::min(max, candidates.size()); ++i) {
    auto* c = out.add_candidates();
    c->set_node(candidates[i].node.value());
    c->set_score(static_cast<double>(candidates[i].score) / static_cast<double>(one));
  }
}

}  // namespace

pb::Decision plan(const inventory& in, const pb::VmSpec& spec, const plan_options& options) {
  const request r = make_request(in, spec, options);
  pb::Decision out;
  out.set_inventory_version(in.version.value());
  std::vector<scored> candidates;
  cheapest_fix fix;
  std::vector<objection> against;
  in.nodes.for_each([&](const node_usage& n) {
    if (is_out_of_sight(r, n)) return;
    against.clear();
    if (find_objections(r, n, &against)) {
      candidates.push_back({n.id, base_score(r, n) - penalty(r, n), tie_of(n.id, options.seed)});
      return;
    }
    fix.offer(n.id, against);
    if (static_cast<std::size_t>(out.rejected_size()) < options.listed_max)
      describe(r, n, against, *out.add_rejected());
  });
  if (r.strategy == pb::STRATEGY_ROUND_ROBIN && !candidates.empty())
    score_by_turn(candidates, in.round_robin);
  put_best_first(candidates, options.listed_max);
  out.set_fitting(static_cast<std::uint32_t>(candidates.size()));
  list(candidates, options.listed_max, out);
  if (candidates.empty())
    out.set_fix(fix.text(r));
  else
    out.set_node(candidates.front().node.value());
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
    if (n == nullptr || is_out_of_sight(r, *n) || !find_objections(r, *n, nullptr)) continue;
    candidates.push_back({id, base_score(r, *n) - penalty(r, *n), tie_of(id, options.seed)});
  }
  if (r.strategy == pb::STRATEGY_ROUND_ROBIN && !candidates.empty())
    score_by_turn(candidates, in.round_robin);
  put_best_first(candidates, options.listed_max);
  pb::Decision out;
  out.set_inventory_version(in.version.value());
  out.set_fitting(planned.fitting());
  list(candidates, options.listed_max, out);
  if (!candidates.empty()) out.set_node(candidates.front().node.value());
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
  pb::VmSpec shape;
  shape.set_tenant(spec.tenant());  // groups are counted per tenant
  shape.set_vcpus(spec.vcpus());
  shape.set_memory_bytes(spec.memory_bytes());
  shape.set_disk_bytes(spec.disk_bytes());
  shape.set_backend(spec.backend());
  *shape.mutable_placement() = spec.placement();
  // Lengths before what has one, so that no two shapes run together.
  const std::array<std::uint64_t, 4> head{options.resident.value(), options.seed,
                                          options.listed_max, options.avoid.size()};
  std::string out;
  out.append(reinterpret_cast<const char*>(head.data()), sizeof head);
  out.append(reinterpret_cast<const char*>(options.avoid.data()), options.avoid.size_bytes());
  shape.AppendToString(&out);
  return out;
}

}  // namespace blixard::state
