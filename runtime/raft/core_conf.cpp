// Configuration changes (thesis chapter 4): effective when applied, one in flight, none before the
// leader has committed in its own term.
#include <algorithm>
#include <utility>

#include "messages/check.hpp"
#include "runtime/base/planted.hpp"
#include "runtime/raft/codec.hpp"
#include "runtime/raft/confchange.hpp"
#include "runtime/raft/core.hpp"

namespace blixard::raft {

bool core::conf_change_allowed(const conf_change& change) const {
  // A change that is not applied yet would be decided in a configuration that nobody uses; and one
  // before the first commit of the term could overtake another leader's (the 2015 erratum on
  // single-server changes).
  if (log_.last_conf() > applied_ && !planted(bug::change_while_pending)) return false;
  if (!committed_in_term()) return false;
  const auto next = apply_change(tracker_.conf(), change);
  return next && data_stays(*next);
}

// How far the log may be committed, or told to a witness. Where witnesses vote, a quorum may hold
// an entry's place alone. Its data must then be where somebody can lead from: so this leader's own
// disk counts, always, and some voter with data in each half. From a configuration entry on, until
// it is effective, somebody with data who stays must have it, too: whoever is removed may be the
// only one that has.
log_index core::data_limit() const {
  const conf_state& conf = tracker_.conf();
  if (conf.witnesses.empty() || planted(bug::witness_has_data)) return log_.last();
  const auto durable = [](const progress& p) { return p.repair == 0 ? p.match.value() : 0; };
  std::uint64_t sure = std::min(log_.last().value(), tracker_.data_of(durable));
  if (const progress* self = tracker_.find(config_.id)) sure = std::min(sure, durable(*self));
  const log_index change = log_.last_conf();
  if (change <= applied_ || change.value() > sure) return log_index{sure};
  const auto decoded = decode_conf_change(log_.at(change).data);
  const auto next = decoded ? apply_change(conf, *decoded) : conf_result{conf};
  if (!next) return log_index{sure};
  const auto reached = [&](node_id id) {
    const progress* p = tracker_.find(id);
    return p == nullptr ? 0 : durable(*p);
  };
  return log_index{std::min(sure, std::max(data_index(*next, reached), change.prev().value()))};
}

// A change that would wait for data, and with it everything behind it, is refused: somebody with
// data who stays has what is committed, and was heard of lately.
bool core::data_stays(const conf_state& next) const {
  if (next.witnesses.empty()) return true;
  const auto ready = [&](node_id id) -> std::uint64_t {
    const progress* p = tracker_.find(id);
    const bool up = p != nullptr && p->repair == 0 && p->match >= commit_;
    return up && (id == config_.id || p->recent_active) ? 1 : 0;
  };
  return data_index(next, ready) != 0;
}

// A change that is refused still takes its place in the log, as an empty entry: the proposer sees
// at its index that it came to nothing.
log_index core::append_conf(const conf_change& change, slice encoded) {
  if (!conf_change_allowed(change)) return append_own(entry_kind::normal, {});
  return append_own(entry_kind::conf, std::move(encoded));
}

tl::expected<log_index, refusal> core::propose_conf(const conf_change& change) {
  slice encoded = encode_conf_change(change);
  if (is_leader()) {
    if (auto ok = may_append(encoded.size()); !ok) return ok;
    return append_conf(change, std::move(encoded));
  }
  if (!lead_) return tl::unexpected(refusal::no_leader);
  if (!config_.forward) return tl::unexpected(refusal::not_leader);
  message& m = send(message_type::propose, lead_);
  m.entries.push_back({{}, {}, entry_kind::conf, std::move(encoded)});
  return log_index{};
}

const conf_state* core::applied(log_index index) {
  if (index <= applied_) return nullptr;
  CHECK_LE(index, handed_);
  log_index changed_by;
  for (const log_index at : log_.confs(applied_, index))
    if (apply_conf_entry(at)) changed_by = at;
  applied_ = index;
  if (changed_by) after_conf_applied(changed_by);
  maybe_auto_leave();
  return changed_by ? &tracker_.conf() : nullptr;
}

bool core::apply_conf_entry(log_index index) {
  const auto change = decode_conf_change(log_.at(index).data);
  if (!change) return false;
  auto next = apply_change(tracker_.conf(), *change);
  // Every leader checks before it appends; whatever still does not fit is skipped by all alike.
  if (!next || *next == tracker_.conf()) return false;
  use_conf(std::move(*next));
  return true;
}

void core::use_conf(conf_state conf) {
  tracker_.set_conf(std::move(conf), log_.last().next());
  conf_changed_ = true;
}

void core::after_conf_applied(log_index change) {
  if (!is_leader()) {
    // Who is no voter any more cannot win what it asked for.
    if (role_ != raft::role::follower && !tracker_.is_voter(config_.id)) become_follower(term_, {});
    return;
  }
  replicate_wanted_ = true;
  if (transferee_ && !tracker_.is_voter(transferee_)) transferee_ = {};
  if (!tracker_.is_voter(config_.id) && config_.step_down_on_removal) {
    // We still lead until a quorum of those who stay knows that the change is committed: before
    // that, they could be unable to elect anybody without us.
    removal_ = change;
    round_wanted_ = true;
  }
  // A smaller quorum may hold more than the old one did.
  maybe_commit();
  answer_confirmed_reads();
}

void core::maybe_auto_leave() {
  const conf_state& conf = tracker_.conf();
  if (!conf.joint() || !conf.auto_leave || !committed_in_term()) return;
  if (log_.last_conf() <= applied_) append_own(entry_kind::conf, encode_conf_change({}));
}

void core::step_down_if_removal_known() {
  if (!removal_) return;
  const auto known = [](const progress& p) { return std::uint64_t{p.knows_removal}; };
  if (tracker_.quorum_of(known) > 0 && tracker_.data_of(known) > 0) become_follower(term_, {});
}

}  // namespace blixard::raft
