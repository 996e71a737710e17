// See scoring.hpp.
#include "runtime/state/scoring.hpp"

#include <algorithm>
#include <array>

#include "messages/cluster.pb.h"
#include "runtime/state/feasibility.hpp"

namespace blixard::state {
namespace {

// Scores are counted in millionths, so that every build orders them the same.
constexpr std::int64_t one = 1'000'000;
constexpr std::int64_t last_resort = 1'000'000 * one;  // a node that gave the VM up

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

}  // namespace

std::int64_t share(std::uint64_t part, std::uint64_t whole) noexcept {
  return static_cast<std::int64_t>(static_cast<unsigned __int128>(part) * one / whole);
}

std::optional<scored> score(const request& r, const node_usage& n) {
  if (is_out_of_sight(r, n) || !find_objections(r, n, nullptr)) return std::nullopt;
  return score_fitting(r, n);
}

scored score_fitting(const request& r, const node_usage& n) noexcept {
  return {n.id, base_score(r, n) - penalty(r, n), tie_of(n.id, r.seed)};
}

std::vector<scored> score_all(const request& r, std::size_t rejected_max, pb::Decision& out) {
  std::vector<scored> candidates;
  cheapest_fix fix;
  std::vector<objection> against;
  r.in.nodes.for_each([&](const node_usage& n) {
    if (is_out_of_sight(r, n)) return;
    against.clear();
    if (find_objections(r, n, &against)) {
      candidates.push_back(score_fitting(r, n));
      return;
    }
    fix.offer(n.id, against);
    if (static_cast<std::size_t>(out.rejected_size()) < rejected_max)
      describe(r, n, against, *out.add_rejected());
  });
  if (candidates.empty()) out.set_fix(fix.text(r));
  return candidates;
}

void score_by_turn(std::vector<scored>& candidates, node_id last) {
  const auto first = std::ranges::upper_bound(candidates, last, {}, &scored::node);
  const auto start = static_cast<std::size_t>(first - candidates.begin());
  const auto n = candidates.size();
  for (std::size_t i = 0; i < n; ++i) candidates[(start + i) % n].score += share(n - i, n);
}

void put_best_first(std::vector<scored>& candidates, std::size_t listed) {
  const auto sorted = std::min(std::max(listed, std::size_t{1}), candidates.size());
  std::ranges::partial_sort(candidates, candidates.begin() + static_cast<std::ptrdiff_t>(sorted),
                            is_better);
}

void choose(std::span<const scored> best, std::size_t listed_max, pb::Decision& out) {
  out.clear_candidates();
  for (std::size_t i = 0; i < std::min(listed_max, best.size()); ++i) {
    auto* c = out.add_candidates();
    c->set_node(best[i].node.value());
    c->set_score(static_cast<double>(best[i].score) / static_cast<double>(one));
  }
  out.set_node(best.empty() ? 0 : best.front().node.value());
}

}  // namespace blixard::state
