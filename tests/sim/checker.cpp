#include "tests/sim/checker.hpp"

#include <algorithm>

namespace blixard::sim {
namespace {

[[noreturn]] void fail(const char* check, node_id id, const std::string& what) {
  throw failure(check, "node " + to_string(id) + ": " + what);
}

std::string at(log_index index, term t) {
  return "index " + to_string(index) + " of term " + to_string(t);
}

}  // namespace

std::uint64_t hash_of(const entry& e) noexcept {
  std::uint64_t h = 0xCBF29CE484222325ULL ^ static_cast<std::uint64_t>(e.kind);
  for (const std::byte b : e.data.bytes())
    h = (h ^ static_cast<std::uint64_t>(b)) * 0x100000001B3ULL;
  return h;
}

// ---------------------------------------------------------------- the disk

log_index durable_log::last() const noexcept {
  for (auto i = terms.size(); i > snap.value() + 1; --i)
    if (terms[i - 1]) return log_index{i - 1};
  return snap;
}

// Damage may be found by several restarts before it is repaired.
void durable_log::remember_lost() {
  lost.resize(std::max(lost.size(), terms.size()));
  for (std::size_t i = 0; i < terms.size(); ++i)
    if (terms[i]) lost[i] = terms[i];
  lost_snap = std::max(lost_snap, snap);
}

void durable_log::disk_lost() {
  remember_lost();
  terms.clear();
  snap = {};
  hard = {};
  untouched();
}

bool durable_log::has(log_index index, term t) const noexcept {
  if (index <= snap) return true;
  return index.value() < terms.size() && terms[index.value()] == t;
}

bool durable_log::had(log_index index, term t) const noexcept {
  return has(index, t) || index <= lost_snap ||
         (index.value() < lost.size() && lost[index.value()] == t);
}

// The order on disk and what a snapshot does to the log: RAFTLAB rule R3.
void durable_log::touch(const storage::persist_batch& batch) {
  if (batch.snap != nullptr && !has(batch.snap->index, batch.snap->term))
    replaced_by = std::min(replaced_by, batch.snap->index);
  if (!batch.entries.empty()) touched = std::min(touched, batch.entries.front().index);
}

void durable_log::take(const storage::persist_batch& batch) {
  if (batch.snap != nullptr) {
    const bool matches = has(batch.snap->index, batch.snap->term) && batch.snap->index > snap;
    if (!matches) terms.clear();
    snap = std::max(snap, batch.snap->index);
  }
  for (const auto& e : batch.entries) {
    terms.resize(e.index.value());
    terms.push_back(e.term);
  }
  if (batch.hard) hard = *batch.hard;
}

void durable_log::take_snapshot(const snapshot& s) { snap = std::max(snap, s.index); }

void checker::recovered(node_id id, const storage::recovery& found, const durable_log& durable,
                        bool spoiled) {
  if (found.corrupt && !(spoiled && found.corrupt->repairable))
    fail("durability", id, "damage after a crash: " + found.corrupt->what);
  if (found.hard.term < durable.hard.term)
    fail("durability", id, "the term went back to " + to_string(found.hard.term));
  if (found.hard.term == durable.hard.term && durable.hard.vote &&
      found.hard.vote != durable.hard.vote)
    fail("durability", id, "the vote of term " + to_string(found.hard.term) + " was lost");
  if (found.corrupt || found.repair_to) return;  // the rest is its peers' to bring back
  if (found.last_index < durable.snap)
    fail("durability", id, "a snapshot at " + to_string(durable.snap) + " was lost");
  for (log_index i = std::max(durable.snap, found.snap.index).next(); i <= durable.last();
       i = i.next()) {
    const bool is_there = i <= found.last_index;
    const auto t =
        is_there ? found.entries[i.value() - found.entries.front().index.value()].term : term{};
    if (t == durable.terms[i.value()]) continue;
    if (i >= durable.touched || found.snap.index >= durable.replaced_by) break;
    fail("durability", id,
         (is_there ? "an entry of term " + to_string(t) + " stands at " : "lost ") +
             at(i, durable.terms[i.value()]));
  }
}

// ---------------------------------------------------------------- logs

std::uint64_t checker::content_of(node_id id, const entry& e) const {
  return witnesses_.contains(id) ? 0 : hash_of(e);
}

void checker::entry_written(const raft::core& core, const entry& e) {
  const auto before = e.index.prev();
  const known_entry now{e.term, content_of(core.id(), e),
                        core.log().knows_term(before) ? core.log().term_at(before) : term{}};
  auto& there = known_at(entries_, e.index);
  const auto known = std::ranges::find(there, e.term, &known_entry::term);
  if (known == there.end()) {
    there.push_back(now);
    return;
  }
  if (known->hash == 0) known->hash = now.hash;
  if (now.hash != 0 && known->hash != now.hash)
    fail("log matching", core.id(), "two entries with " + at(e.index, e.term));
  if (known->before && now.before && known->before != now.before)
    fail("log matching", core.id(), "different histories below " + at(e.index, e.term));
}

void checker::committed(const raft::core& core, const entry& e) {
  const known_commit now{e.term, content_of(core.id(), e), core.current_term()};
  auto& known = known_at(committed_, e.index);
  if (!known.entry_term) {
    known = now;
    return;
  }
  if (known.hash == 0) known.hash = now.hash;
  if (known.entry_term != e.term || (now.hash != 0 && known.hash != now.hash))
    fail("state machine safety", core.id(),
         at(e.index, e.term) + " where another node applied one of term " +
             to_string(known.entry_term));
}

bool checker::is_committed(log_index index, term t) const {
  return t && index.value() < committed_.size() && committed_[index.value()].entry_term == t;
}

void checker::check_durable(const raft::core& leader, log_index index) const {
  const term t = leader.log().term_at(index);
  const auto check = [&](const std::vector<node_id>& voters) {
    if (voters.empty()) return;
    std::size_t have = 0;
    for (const auto id : voters)
      if (const auto* d = durable_(id); d != nullptr && d->had(index, t)) ++have;
    if (2 * have > voters.size()) return;
    fail("durable on a quorum", leader.id(),
         at(index, t) + " is committed and durable on " + std::to_string(have) + " of " +
             std::to_string(voters.size()));
  };
  check(leader.configuration().voters);
  check(leader.configuration().outgoing);
  if (!leader.configuration().witnesses.empty()) check_data(leader, index);
}

// A quorum may hold an entry's place alone: then somebody who can lead must have its data.
void checker::check_data(const raft::core& leader, log_index index) const {
  const auto& conf = leader.configuration();
  const auto has_it = [&](node_id id) {
    const auto* d = durable_(id);
    return !conf.is_witness(id) && d != nullptr && d->had(index, leader.log().term_at(index));
  };
  // One that only waits for the others to know of its removal does not count.
  const bool enough = (!conf.contains(leader.id()) || has_it(leader.id())) &&
                      std::ranges::any_of(conf.voters, has_it) &&
                      (conf.outgoing.empty() || std::ranges::any_of(conf.outgoing, has_it));
  if (!enough)
    fail("data on a disk that can lead", leader.id(),
         at(index, leader.log().term_at(index)) + " is committed");
}

void checker::read_confirmed(node_id id, log_index index, log_index needed) const {
  if (index < needed)
    fail("read sees what is committed", id,
         "a read was confirmed at " + to_string(index) + ", but " + to_string(needed) +
             " was committed when it was asked");
}

// ---------------------------------------------------------------- leaders

void checker::disk_lost(node_id id) {
  known(id).released = {};
  std::erase_if(votes_, [id](const auto& v) { return v.first.first == id; });
}

void checker::check_complete(const raft::core& leader) const {
  for (auto i = committed_.size(); i-- > 0;) {
    const auto& known = committed_[i];
    if (!known.entry_term || known.committed_in >= leader.current_term()) continue;
    const log_index index{i};
    if (index <= leader.log().base()) return;
    if (!leader.log().matches(index, known.entry_term))
      fail("leader completeness", leader.id(),
           "leads term " + to_string(leader.current_term()) + " without " +
               at(index, known.entry_term));
    return;  // what lies below follows by Log Matching
  }
}

void checker::check_monotone(const raft::core& core) {
  if (core.commit() > core.log().last() || core.applied() > core.commit())
    fail("state machine safety", core.id(), "applied <= commit <= last does not hold");
  auto& node = known(core.id());
  if (core.current_term() < node.released)
    fail("term monotone", core.id(), "back in term " + to_string(core.current_term()));
  auto& seen = node.seen;
  if (core.current_term() < seen.term || core.commit() < seen.commit)
    fail("term monotone", core.id(),
         "term or commit index went back, to " + at(core.commit(), core.current_term()));
  seen = {core.current_term(), core.commit()};
  newest_commit_ = std::max(newest_commit_, core.commit());
}

void checker::check_leader(const raft::core& core) {
  const auto [leader, is_new] = leaders_.try_emplace(core.current_term(), core.id());
  if (leader->second != core.id())
    fail("election safety", core.id(),
         "leads term " + to_string(core.current_term()) + ", as does " + to_string(leader->second));
  if (is_new) check_complete(core);
  auto& led = known(core.id()).led;
  if (led.term == core.current_term()) {
    if (core.log().last() < led.last ||
        (led.last >= core.log().base() && core.log().term_at(led.last) != led.last_term))
      fail("leader append-only", core.id(), "changed its log at " + at(led.last, led.last_term));
    for (auto i = led.commit.next(); i <= core.commit(); i = i.next()) {
      check_durable(core, i);
      ++commits_;
    }
  }
  led = {core.current_term(), core.log().last(), core.log().last_term(), core.commit()};
}

void checker::after_step(const raft::core& core) {
  check_monotone(core);
  if (core.is_leader())
    check_leader(core);
  else
    known(core.id()).led = {};
}

void checker::released(const promise& m) {
  using raft::message_type;
  const bool binds = m.type == message_type::vote ||
                     (m.type == message_type::vote_resp && !m.reject) ||
                     (m.type == message_type::append_resp && !m.reject);
  if (!binds) return;
  auto& newest = known(m.from).released;
  newest = std::max(newest, m.term);
  node_id candidate;
  if (m.type == message_type::vote) candidate = m.from;
  if (m.type == message_type::vote_resp && !m.reject) candidate = m.to;
  if (!candidate) return;
  const auto [vote, is_new] = votes_.try_emplace({m.from, m.term}, candidate);
  if (!is_new && vote->second != candidate)
    fail("one vote per term", m.from,
         "voted in term " + to_string(m.term) + " for " + to_string(vote->second) + " and " +
             to_string(candidate));
}

void checker::applied(node_id id, log_index index, state::hash128 digest) {
  auto& known = known_at(digests_, index);
  if (!known) known = digest;
  if (!(*known == digest))
    fail("equal digests", id,
         "at index " + to_string(index) + " " + state::to_hex(digest) + ", another node has " +
             state::to_hex(*known));
}

}  // namespace blixard::sim
