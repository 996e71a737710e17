#include "runtime/raft/tracker.hpp"

#include <algorithm>

#include "messages/check.hpp"

namespace blixard::raft {

void inflights::add(log_index last, std::uint64_t bytes, moment now) {
  bytes_ += bytes;
  sent_.push_back({last, bytes, now.tick, window_.sent({sent_.size() + 1, bytes_}, now.us)});
}

inflights::arrival inflights::free_to(log_index match, moment now) {
  arrival newest;
  flight_window::amount arrived;
  flight_window::mark mark;
  while (!sent_.empty() && sent_.front().last <= match) {
    newest = {sent_.front().last, sent_.front().at};
    mark = sent_.front().mark;
    ++arrived.messages;
    arrived.bytes += sent_.front().bytes;
    bytes_ -= sent_.front().bytes;
    sent_.pop_front();
  }
  window_.acknowledged(arrived, mark, now.us);
  return newest;
}

void inflights::clear() {
  sent_.clear();
  bytes_ = 0;
}

bool progress::paused() const noexcept {
  switch (state) {
    case progress_state::probe:
      return probe_sent;
    case progress_state::replicate:
      return window.full();
    case progress_state::snapshot:
      return true;
  }
  return true;
}

void progress::forget_sent() {
  sent_before = newest_sent;
  probe_at = 0;
  window.clear();
}

void progress::become_probe() {
  forget_sent();
  // Behind a snapshot that arrived, the entry after it is what is missing.
  const bool behind_snapshot = state == progress_state::snapshot;
  next = behind_snapshot ? std::max(match.next(), pending_snapshot.next()) : match.next();
  state = progress_state::probe;
  probe_sent = false;
  pending_snapshot = {};
}

void progress::become_replicate() {
  forget_sent();
  state = progress_state::replicate;
  next = match.next();
  probe_sent = false;
  pending_snapshot = {};
}

void progress::become_snapshot(log_index index) {
  forget_sent();
  state = progress_state::snapshot;
  probe_sent = false;
  pending_snapshot = index;
}

void progress::start_over(log_index probe) {
  forget_sent();
  match = {};
  state = progress_state::probe;
  next = probe;
  probe_sent = false;
  pending_snapshot = {};
  commit_sent = {};
  removal_round = 0;
  knows_removal = false;
}

bool progress::acknowledge(log_index acked) {
  if (acked <= match) return false;
  match = acked;
  next = std::max(next, match.next());
  probe_sent = false;
  return true;
}

bool progress::reject(log_index rejected, log_index agree) {
  if (state == progress_state::replicate) {
    if (rejected <= match) return false;
    become_probe();
    return true;
  }
  if (state == progress_state::snapshot || next.prev() != rejected) return false;
  next = std::max(std::min(rejected, agree.next()), match.next());
  probe_sent = false;
  return true;
}

void tracker::set_conf(conf_state conf, log_index next) {
  conf_ = std::move(conf);
  std::erase_if(peers_, [&](const progress& p) { return !conf_.contains(p.id); });
  for (const auto* list : {&conf_.voters, &conf_.outgoing, &conf_.learners, &conf_.learners_next}) {
    for (const node_id id : *list) {
      if (find(id) != nullptr) continue;
      progress fresh(id, next, limits_);
      // It had no time to answer yet: the next check of the quorum must not count it as silent.
      fresh.recent_active = true;
      peers_.insert(std::ranges::lower_bound(peers_, id, {}, &progress::id), std::move(fresh));
    }
  }
  for (progress& p : peers_) {
    p.learner = !conf_.is_voter(p.id);
    p.witness = conf_.is_witness(p.id);
  }
}

void tracker::start_interval() noexcept {
  for (progress& p : peers_) {
    p.active_intervals = p.recent_active ? p.active_intervals + 1 : 0;
    p.recent_active = false;
  }
}

void tracker::reset(log_index next) {
  for (progress& p : peers_) {
    const bool learner = p.learner;
    const bool witness = p.witness;
    p = progress(p.id, next, limits_);
    p.learner = learner;
    p.witness = witness;
  }
}

progress* tracker::find(node_id id) noexcept {
  for (progress& p : peers_)
    if (p.id == id) return &p;
  return nullptr;
}

const progress* tracker::find(node_id id) const noexcept {
  for (const progress& p : peers_)
    if (p.id == id) return &p;
  return nullptr;
}

}  // namespace blixard::raft
