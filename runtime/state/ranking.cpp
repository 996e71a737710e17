// See ranking.hpp.
#include "runtime/state/ranking.hpp"

#include <algorithm>
#include <string_view>

#include "messages/check.hpp"
#include "messages/cluster.pb.h"
#include "runtime/state/feasibility.hpp"

namespace blixard::state {
namespace {

/// Whether placement sees the two alike. Facts, and the capacity with them, are never changed in
/// place, and those of the older inventory are alive: one address is one content.
bool looks_the_same(const node_usage& a, const node_usage& b) noexcept {
  return a.facts == b.facts && a.allocated == b.allocated;
}

bool can_advance(const plan_options& o) noexcept {
  return o.rejected_max == 0 && o.listed_max <= ranked_max / 2;
}

}  // namespace

ranking::ranking(std::shared_ptr<const inventory> in, const pb::VmSpec& spec,
                 const plan_options& options)
    : spec_(std::make_unique<const pb::VmSpec>(spec)),
      avoid_(options.avoid.begin(), options.avoid.end()),
      options_(options),
      by_turn_(spec.placement().strategy() == pb::STRATEGY_ROUND_ROBIN),
      last_(in->round_robin),
      decision_(std::make_unique<pb::Decision>()) {
  options_.avoid = avoid_;
  decision_->set_inventory_version(in->version.value());
  auto all = score_all(make_request(*in, *spec_, options_), options_.rejected_max, *decision_);
  fitting_ = all.size();
  decision_->set_fitting(static_cast<std::uint32_t>(fitting_));
  if (can_advance(options_)) keep_best(all);
  if (by_turn_) score_by_turn(all, last_);
  put_best_first(all, options_.listed_max);
  choose(all, options_.listed_max, *decision_);
  if (can_advance(options_)) in_ = std::move(in);
}
ranking::~ranking() = default;

/// `all` is in order of id, and is left so in round robin.
void ranking::keep_best(std::vector<scored>& all) {
  const auto kept = std::min(ranked_max, all.size());
  ranked_.reserve(kept + 1);
  const auto end = static_cast<std::ptrdiff_t>(kept);
  if (by_turn_) {
    const auto first = std::ranges::upper_bound(all, last_, {}, &scored::node) - all.begin();
    for (std::size_t i = 0; i < kept; ++i)
      ranked_.push_back(all[(static_cast<std::size_t>(first) + i) % all.size()]);
    if (kept < all.size()) bound_ = all[(static_cast<std::size_t>(first) + kept) % all.size()];
  } else {
    if (kept < all.size()) {
      std::ranges::nth_element(all, all.begin() + end, is_better);
      bound_ = all[kept];
    }
    std::sort(all.begin(), all.begin() + end, is_better);
    ranked_.assign(all.begin(), all.begin() + end);
  }
  std::ranges::reverse(ranked_);
}

std::uint64_t ranking::turn_of(node_id id) const noexcept {
  return id.value() - last_.value() - 1;  // around: the one whose turn it was comes last
}

bool ranking::precedes(const scored& a, const scored& b) const noexcept {
  return by_turn_ ? turn_of(a.node) < turn_of(b.node) : is_better(a, b);
}

bool ranking::advance(std::shared_ptr<const inventory> to) {
  if (!in_) return false;
  const auto before = make_request(*in_, *spec_, options_);
  const auto after = make_request(*to, *spec_, options_);
  if (!find_changes(*to, before.group) || (by_turn_ && !turn_to(to->round_robin))) return false;
  for (const auto& c : changed_) {
    if (c.before != nullptr)
      if (const auto was = score(before, *c.before)) take_out(*was);
    if (c.after != nullptr)
      if (const auto is = score(after, *c.after)) put_in(*is);
  }
  in_ = std::move(to);
  return write();
}

bool ranking::find_changes(const inventory& to, std::string_view group) {
  changed_.clear();
  std::size_t compared = 0;
  const auto look = [&](const node_usage* before, const node_usage* after) {
    if (before == nullptr || after == nullptr || !looks_the_same(*before, *after))
      changed_.push_back({before, after});
    return ++compared <= compared_max && changed_.size() <= rescored_max;
  };
  return decltype(to.nodes)::for_each_unshared(in_->nodes, to.nodes, look) &&
         (group.empty() || find_group_changes(to, group));
}

// A node may look the same and hold another number of the group: one VM came as another one went.
bool ranking::find_group_changes(const inventory& to, std::string_view group) {
  std::size_t compared = 0;
  const auto look = [&](const group_usage* before, const group_usage* after) {
    if (++compared > compared_max) return false;
    const auto& one = before != nullptr ? *before : *after;
    if (one.group != group) return true;
    if (before != nullptr && after != nullptr && before->vms == after->vms) return true;
    const changed_node node{in_->find(one.node), to.find(one.node)};
    if (std::ranges::find(changed_, node) == changed_.end()) changed_.push_back(node);
    return changed_.size() <= rescored_max;
  };
  return decltype(to.groups)::for_each_unshared(in_->groups, to.groups, look);
}

/// Those who have had their turn go to the end of the round.
bool ranking::turn_to(node_id last) {
  if (last == last_) return true;
  const auto passed = turn_of(last);
  if (!has_all() && turn_of(bound_.node) <= passed) return false;
  const auto had = std::ranges::partition_point(
      ranked_, [&](const scored& s) { return turn_of(s.node) > passed; });
  if (has_all())
    std::rotate(ranked_.begin(), had, ranked_.end());
  else
    ranked_.erase(had, ranked_.end());
  last_ = last;
  return true;
}

void ranking::take_out(const scored& was) {
  const auto at = std::ranges::lower_bound(
      ranked_, was, [&](const scored& a, const scored& b) { return precedes(b, a); });
  if (at != ranked_.end() && at->node == was.node) ranked_.erase(at);
  CHECK_GT(fitting_, std::size_t{0});
  --fitting_;
}

void ranking::put_in(const scored& is) {
  const bool kept = has_all() || precedes(is, bound_);
  ++fitting_;
  if (!kept) return;
  const auto at = std::ranges::lower_bound(
      ranked_, is, [&](const scored& a, const scored& b) { return precedes(b, a); });
  ranked_.insert(at, is);
  if (ranked_.size() <= ranked_max) return;
  bound_ = ranked_.front();
  ranked_.erase(ranked_.begin());
}

bool ranking::write() {
  if (fitting_ == 0) return false;
  const auto listed = std::min(std::max(options_.listed_max, std::size_t{1}), fitting_);
  decision_->set_inventory_version(in_->version.value());
  decision_->set_fitting(static_cast<std::uint32_t>(fitting_));
  decision_->clear_fix();
  if (by_turn_) return write_by_turn(listed);
  if (ranked_.size() < listed) return false;
  first_.assign(ranked_.rbegin(), ranked_.rbegin() + static_cast<std::ptrdiff_t>(listed));
  choose(first_, options_.listed_max, *decision_);
  return true;
}

/// A turn is a score above 0, what pushes a node behind the others takes it to 0 or below: as soon
/// as enough are not pushed, nobody whose turn is later is better.
bool ranking::write_by_turn(std::size_t listed) {
  first_.clear();
  std::size_t not_pushed = 0;
  for (std::size_t i = 0; i < ranked_.size() && not_pushed < listed; ++i) {
    auto one = ranked_[ranked_.size() - 1 - i];
    if (one.score == 0) ++not_pushed;
    one.score += share(fitting_ - i, fitting_);
    first_.push_back(one);
  }
  if (not_pushed < listed && !has_all()) return false;
  put_best_first(first_, listed);
  choose(first_, options_.listed_max, *decision_);
  return true;
}

}  // namespace blixard::state
