// Repair of a node whose disk lost entries that it had acknowledged (after Alagappan et al.,
// "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).
//
// Any of the lost entries may be committed on a quorum that needed this node. Until they are back
// it must not help to elect a leader that lacks them: it grants no vote, does not campaign, and
// what it acknowledges tells its leader where to go on, but counts for nothing.
//
// They are back when the log is, through its last entry, that of a leader whose term is not below
// our own, as that log was at some moment after our restart:
//   - what we acknowledged in earlier terms and is committed stands in it (section 5.4.3);
//   - what we acknowledged in that leader's own term came out of it, and it only grows.
// "After our restart" is what the repair's number proves: we say it in every answer, the leader
// repeats it beside its last index. An append from before the crash does not carry it. Nothing
// needs to be known about how much was lost. Term and vote must not be: that is the disk's to say.
//
//   damaged                                   leader
//      |--- answers, repair = 42 ---------------->|  forgets what it knew of us, probes our log
//      |<-- append, repair = 42, its last = 97 ---|
//      |    ... until our log is its, durable, through 97
//      |--- acknowledges 97, no repair ---------->|  we count again
#include <algorithm>

#include "runtime/base/planted.hpp"
#include "runtime/raft/codec.hpp"
#include "runtime/raft/confchange.hpp"
#include "runtime/raft/core.hpp"

namespace blixard::raft {

// ---------------------------------------------------------------- the damaged node

void core::learn_repair_target(const message& m) {
  if (repair_ == 0 || (m.repair != repair_ && !planted(bug::repair_by_old_append))) return;
  repair_target_ = std::min(repair_target_.value_or(m.match), m.match);
}

log_index core::known_to_agree() const noexcept {
  return repair_ == 0 ? log_.last() : std::min(agreed_, log_.last());
}

void core::finish_repair() {
  if (repair_ == 0 || !repair_target_ || !lead_) return;
  if (std::min(agreed_, gate_.durable()) < *repair_target_) return;
  repair_ = 0;
  repaired_ = true;
  acknowledge(lead_, agreed_);
}

// The configuration at the end of what is left of the log, committed or not: whoever may be a voter
// is asked. The one that is in force is as old as the snapshot.
conf_state core::newest_known_conf() const {
  conf_state conf = tracker_.conf();
  for (const log_index at : log_.confs(applied_, log_.last()))
    if (const auto change = decode_conf_change(log_.at(at).data))
      if (auto next = apply_change(conf, *change)) conf = std::move(*next);
  return conf;
}

// Nobody leads. A question that nobody grants: its answers say who else is damaged.
void core::ask_for_damage() {
  lead_ = {};
  election_elapsed_ = 0;
  election_timeout_ = draw_timeout();
  for (const node_id id : newest_known_conf().voters) {
    if (id == config_.id) continue;
    message& m = send(message_type::prevote, id);
    m.term = next_term();
    m.log_index = log_.last();
    m.log_term = log_.last_term();
  }
}

void core::note_damage(const message& m) {
  if (repair_ == 0 || !is_about_votes(m.type)) return;
  std::erase(damaged_, m.from);
  if (m.repair != 0) damaged_.push_back(m.from);
}

bool core::beyond_repair() const {
  if (repair_ == 0 || lead_) return false;
  const conf_state conf = newest_known_conf();
  if (conf.voters.size() < 2) return false;
  const auto whole = [&](node_id id) {
    const bool damaged = id == config_.id || std::ranges::count(damaged_, id) != 0;
    return damaged ? vote_result::lost : vote_result::won;
  };
  return tally(conf, whole) == vote_result::lost;
}

// ---------------------------------------------------------------- its leader

// What it once acknowledged it may have lost: all of that is forgotten, and its log is probed anew.
void core::track_repair(progress& p, std::uint64_t repair) {
  if (p.repair == repair) return;
  p.repair = repair;
  if (repair != 0) {
    p.start_over(log_.last().next());
    if (transferee_ == p.id) transferee_ = {};
    replicate_wanted_ = true;
    return;
  }
  maybe_commit();
  finish_transfer_if_caught_up(p);
}

void core::repeat_repair(const progress& p, message& m) const {
  m.repair = p.repair;
  if (p.repair != 0) m.match = log_.last();
}

}  // namespace blixard::raft
