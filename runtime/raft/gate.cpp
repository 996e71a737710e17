#include "runtime/raft/gate.hpp"

#include "messages/check.hpp"
#include "runtime/base/planted.hpp"

namespace blixard::raft {

void persist_gate::log_changed(log_index first) {
  if (first >= untaken_) return;
  untaken_ = first;
  durable_ = std::min(durable_, first.prev());
  if (planted(bug::persist_aba)) return;
  for (std::size_t i = 0; i < writes_.size(); ++i)
    writes_[i].through = std::min(writes_[i].through, first.prev());
}

void persist_gate::snapshot_installed(log_index index) {
  log_changed(log_index{1});
  untaken_ = index.next();
  snapshot_dirty_ = true;
}

persist_seq persist_gate::for_log(log_index index) const {
  if (index <= durable_) return {};
  if (snapshot_dirty_ || index >= untaken_) return last_.next();
  for (std::size_t i = 0; i < writes_.size(); ++i)
    if (writes_[i].through >= index) return writes_[i].seq;
  return last_.next();
}

persist_seq persist_gate::take(log_index last) {
  last_ = last_.next();
  if (vote_dirty_) vote_seq_ = last_;
  if (commit_dirty_) commit_seq_ = last_;
  // A write without log (only a vote, say) claims nothing new about the log.
  const bool carries_log = untaken_ <= last || snapshot_dirty_;
  writes_.push_back({last_, carries_log ? last : log_index{}});
  untaken_ = std::max(untaken_, last.next());
  vote_dirty_ = commit_dirty_ = snapshot_dirty_ = false;
  return last_;
}

bool persist_gate::persisted(persist_seq seq) {
  CHECK_LE(seq, last_);
  if (seq <= persisted_) return false;
  persisted_ = seq;
  while (!writes_.empty() && writes_.front().seq <= seq) {
    durable_ = std::max(durable_, writes_.front().through);
    writes_.pop_front();
  }
  return true;
}

}  // namespace blixard::raft
