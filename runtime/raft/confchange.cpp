#include "runtime/raft/confchange.hpp"

#include <algorithm>
#include <iterator>
#include <vector>

namespace blixard::raft {
namespace {

using ids = std::vector<node_id>;

bool has(const ids& list, node_id id) { return std::ranges::binary_search(list, id); }

tl::unexpected<std::string> refuse(const char* why) { return tl::unexpected<std::string>(why); }

void add(ids& list, node_id id) {
  const auto at = std::ranges::lower_bound(list, id);
  if (at == list.end() || *at != id) list.insert(at, id);
}

void drop(ids& list, node_id id) { std::erase(list, id); }

void make_voter(conf_state& conf, node_id id) {
  drop(conf.learners, id);
  drop(conf.learners_next, id);
  add(conf.voters, id);
}

void make_learner(conf_state& conf, node_id id) {
  drop(conf.voters, id);
  // While it still votes in the old half it cannot be a learner: it becomes one on leaving.
  add(has(conf.outgoing, id) ? conf.learners_next : conf.learners, id);
}

void make_witness(conf_state& conf, node_id id) {
  add(conf.voters, id);
  add(conf.witnesses, id);
}

void remove(conf_state& conf, node_id id) {
  drop(conf.voters, id);
  drop(conf.learners, id);
  drop(conf.learners_next, id);
}

// Who has no data cannot become a member that should have it, nor the other way round: what a
// member has of the log would not be what its place in the configuration says.
const char* wrong_kind(const conf_state& conf, const conf_change::single& change) {
  const bool wants_data = change.op == conf_op::voter || change.op == conf_op::learner;
  if (wants_data && conf.is_witness(change.node))
    return "a witness has no data: add it with another id";
  if (change.op == conf_op::witness && conf.contains(change.node) && !conf.is_witness(change.node))
    return "a member with data cannot become a witness: remove it first";
  return nullptr;
}

conf_result apply_singles(conf_state conf, std::span<const conf_change::single> changes) {
  for (const auto& change : changes) {
    if (!change.node) continue;  // nobody: a change that was taken back
    if (const char* why = wrong_kind(conf, change)) return refuse(why);
    switch (change.op) {
      case conf_op::voter:
        make_voter(conf, change.node);
        break;
      case conf_op::learner:
        make_learner(conf, change.node);
        break;
      case conf_op::witness:
        make_witness(conf, change.node);
        break;
      case conf_op::remove:
        remove(conf, change.node);
        break;
      case conf_op::update:
        break;
    }
  }
  if (std::ranges::all_of(conf.voters, [&](node_id id) { return conf.is_witness(id); }))
    return refuse(conf.voters.empty() ? "no voter would be left" : "only witnesses would be left");
  if (auto ok = check_conf(conf); !ok) return tl::unexpected(ok.error());
  return conf;
}

std::size_t difference(const ids& a, const ids& b) {
  ids out;
  std::ranges::set_symmetric_difference(a, b, std::back_inserter(out));
  return out.size();
}

bool disjoint(const ids& a, const ids& b) {
  ids out;
  std::ranges::set_intersection(a, b, std::back_inserter(out));
  return out.empty();
}

bool is_set(const ids& list) {
  return std::ranges::adjacent_find(list, std::ranges::greater_equal{}) == list.end();
}

}  // namespace

tl::expected<void, std::string> check_conf(const conf_state& conf) {
  for (const ids* list :
       {&conf.voters, &conf.outgoing, &conf.learners, &conf.learners_next, &conf.witnesses})
    if (!is_set(*list)) return refuse("a list is not sorted or names a node twice");
  if (!disjoint(conf.learners, conf.voters) || !disjoint(conf.learners, conf.outgoing))
    return refuse("a learner is a voter too");
  if (!disjoint(conf.witnesses, conf.learners) || !disjoint(conf.witnesses, conf.learners_next))
    return refuse("a witness is a learner");
  if (!std::ranges::includes(conf.outgoing, conf.learners_next))
    return refuse("a coming learner is not an outgoing voter");
  if (!disjoint(conf.learners_next, conf.voters))
    return refuse("a coming learner is an incoming voter");
  if (!conf.joint() && conf.auto_leave) return refuse("auto_leave without a joint half");
  return {};
}

conf_result change_simple(const conf_state& from, std::span<const conf_change::single> changes) {
  if (from.joint()) return refuse("a joint configuration must be left first");
  auto next = apply_singles(from, changes);
  if (next && difference(from.voters, next->voters) > 1)
    return refuse("more than one voter would change without a joint configuration");
  return next;
}

conf_result enter_joint(const conf_state& from, std::span<const conf_change::single> changes,
                        bool auto_leave) {
  if (from.joint()) return refuse("the configuration is joint already");
  if (from.voters.empty()) return refuse("a configuration without voters cannot be joint");
  conf_state joint = from;
  joint.outgoing = joint.voters;
  joint.auto_leave = auto_leave;
  return apply_singles(std::move(joint), changes);
}

conf_result leave_joint(const conf_state& from) {
  if (!from.joint()) return refuse("the configuration is not joint");
  conf_state next = from;
  for (const node_id id : from.learners_next) add(next.learners, id);
  next.learners_next.clear();
  next.outgoing.clear();
  next.auto_leave = false;
  return next;
}

conf_result apply_change(const conf_state& from, const conf_change& change) {
  if (change.changes.empty()) return leave_joint(from);
  if (change.transition == conf_transition::automatic && change.changes.size() == 1)
    return change_simple(from, change.changes);
  return enter_joint(from, change.changes, change.transition != conf_transition::explicit_);
}

}  // namespace blixard::raft
