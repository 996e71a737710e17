// What leaves the core, and what the disk says to it.
#include <algorithm>
#include <utility>

#include "messages/check.hpp"
#include "runtime/raft/core.hpp"

namespace blixard::raft {
namespace {
// Emptied entry lists that are kept for the next messages.
constexpr std::size_t spares_max = 64;
}  // namespace

void output::clear() {
  seq = {};
  must_sync = false;
  soft.reset();
  hard.reset();
  snapshot.reset();
  entries.clear();
  committed.clear();
  messages.clear();
  reads.clear();
  conf.reset();
  repaired = false;
}

log_index core::committable() const noexcept {
  return config_.commit_persisted ? std::min(commit_, gate_.durable()) : commit_;
}

bool core::has_output() const noexcept {
  return !messages_.empty() || !answered_reads_.empty() || conf_changed_ || repaired_ ||
         replicate_wanted_ || round_wanted_ || gate_.must_sync(log_.last()) ||
         hard() != taken_hard_ || handed_ < committable() ||
         soft_state{role_, lead_} != taken_soft_;
}

void core::take_output(output& out) {
  recycle(out);
  if (is_leader()) {
    if (round_wanted_) send_heartbeats();
    if (replicate_wanted_) replicate();
  }
  take_writes(out);
  take_committed(out);
  take_changes(out);
  std::swap(out.messages, messages_);
  std::swap(out.reads, answered_reads_);
}

void core::take_writes(output& out) {
  const bool hard_changed = hard() != taken_hard_;
  out.must_sync = gate_.must_sync(log_.last());
  if (!out.must_sync && !hard_changed) return;
  if (gate_.untaken() <= log_.last()) log_.copy(gate_.untaken(), log_.last(), 0, out.entries);
  if (installed_) out.snapshot = std::exchange(installed_, nullptr);
  if (hard_changed) out.hard = taken_hard_ = hard();
  out.seq = gate_.take(log_.last());
}

void core::take_committed(output& out) {
  const log_index to = committable();
  if (handed_ >= to) return;
  log_.copy(handed_.next(), to, config_.max_committed_bytes, out.committed);
  handed_ = out.committed.back().index;
}

void core::take_changes(output& out) {
  const soft_state now{role_, lead_};
  if (now != taken_soft_) out.soft = taken_soft_ = now;
  if (std::exchange(conf_changed_, false)) out.conf = tracker_.conf();
  out.repaired = std::exchange(repaired_, false);
}

void core::persisted(persist_seq seq) {
  if (!gate_.persisted(seq)) return;
  finish_repair();
  if (is_leader()) {
    progress* self = tracker_.find(config_.id);
    // A witness hears of entries that this disk has.
    if (!tracker_.conf().witnesses.empty()) replicate_wanted_ = true;
    if (self != nullptr && self->acknowledge(gate_.durable()) && self->match > commit_)
      maybe_commit();
  } else if (self_vote_after_ && self_vote_after_ <= seq) {
    self_vote_after_ = {};
    record_vote(config_.id, true);
  }
}

std::vector<entry> core::spare_entries() {
  if (spares_.empty()) return {};
  std::vector<entry> v = std::move(spares_.back());
  spares_.pop_back();
  return v;
}

void core::recycle(output& out) {
  for (message& m : out.messages) {
    if (m.entries.capacity() == 0 || spares_.size() >= spares_max) continue;
    m.entries.clear();
    spares_.push_back(std::move(m.entries));
  }
  out.clear();
}

raft::status core::status() const {
  raft::status s;
  s.role = role_;
  s.lead = lead_;
  s.hard = hard();
  s.applied = applied_;
  s.conf = tracker_.conf();
  s.voter = tracker_.is_voter(config_.id);
  s.recovering = recovering();
  s.first = log_.first();
  s.last = log_.last();
  s.last_term = log_.last_term();
  s.stable = gate_.durable();
  if (!is_leader()) return s;
  for (const progress& p : tracker_.all()) {
    peer_status peer;
    peer.id = p.id;
    peer.state = p.state;
    peer.match = p.match;
    peer.next = p.id == config_.id ? log_.last().next() : p.next;
    peer.paused = p.paused();
    peer.inflight = static_cast<std::uint32_t>(p.window.count());
    peer.inflight_bytes = p.window.bytes();
    peer.window_messages = p.window.window().allowed().messages;
    peer.window_bytes = p.window.window().allowed().bytes;
    peer.delay_us = p.window.window().shortest_us();
    peer.rank = p.id == config_.id ? config_.election_rank : p.rank;
    peer.pending_snapshot = p.pending_snapshot;
    peer.recent_active = p.recent_active || p.id == config_.id;
    peer.learner = p.learner;
    peer.witness = p.witness;
    peer.recovering = p.repair != 0;
    s.peers.push_back(peer);
  }
  return s;
}

}  // namespace blixard::raft
