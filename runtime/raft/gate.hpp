// The persist gate: which write to the disk has to be durable before what may happen.
//
// Every output that has something to persist gets a sequence number. The gate remembers which
// sequence carries which part of the log and which term and vote, so that it can say, for an
// acknowledgement of index i or a vote, how long it must wait. It also knows how far the log is
// durable *in its present form*: entries that were overwritten while their write was under way do
// not become stable when that write is acknowledged (the ABA case), since the claim of the write
// was cut when they were.
#pragma once

#include <algorithm>

#include "messages/ids.hpp"
#include "runtime/raft/ring.hpp"

namespace blixard::raft {

class persist_gate {
 public:
  /// Everything up to `durable` is on the disk.
  explicit persist_gate(log_index durable) noexcept : durable_(durable), untaken_(durable.next()) {}

  // --- what changed and was not taken yet

  /// Entries from `first` on are new or were replaced.
  void log_changed(log_index first);
  /// A snapshot took the place of the whole log.
  void snapshot_installed(log_index index);
  void vote_changed() noexcept { vote_dirty_ = true; }
  /// The commit index passed something that a restart must not forget.
  void commit_must_sync() noexcept { commit_dirty_ = true; }

  // --- how long to wait: 0 not at all

  /// Until the log is durable through `index`.
  [[nodiscard]] persist_seq for_log(log_index index) const;
  /// Until term and vote are durable.
  [[nodiscard]] persist_seq for_vote() const noexcept { return wait(vote_dirty_, vote_seq_); }
  /// Until the commit index is durable as far as commit_must_sync() asked for.
  [[nodiscard]] persist_seq for_commit() const noexcept { return wait(commit_dirty_, commit_seq_); }

  // --- the disk

  /// The first entry that no output has carried yet.
  [[nodiscard]] log_index untaken() const noexcept { return untaken_; }
  /// The next output must be synced before it counts: it has entries up to `last`, a snapshot, or a
  /// term or vote.
  [[nodiscard]] bool must_sync(log_index last) const noexcept {
    return untaken_ <= last || snapshot_dirty_ || vote_dirty_ || commit_dirty_;
  }
  /// Everything up to now goes to the disk, the log through `last`. Returns its number.
  persist_seq take(log_index last);
  /// Everything up to `seq` is durable. False if that was known.
  bool persisted(persist_seq seq);
  [[nodiscard]] log_index durable() const noexcept { return durable_; }
  [[nodiscard]] persist_seq last_taken() const noexcept { return last_; }

 private:
  struct write {
    persist_seq seq;
    log_index through;  // the log is durable to here when `seq` is
  };

  [[nodiscard]] persist_seq wait(bool dirty, persist_seq carried) const noexcept {
    if (dirty) return last_.next();
    return carried > persisted_ ? carried : persist_seq{};
  }

  log_index durable_;
  log_index untaken_;
  persist_seq last_;
  persist_seq persisted_;
  persist_seq vote_seq_;    // carries the present term and vote
  persist_seq commit_seq_;  // carries the commit index that must not be forgotten
  bool vote_dirty_ = false;
  bool commit_dirty_ = false;
  bool snapshot_dirty_ = false;
  ring<write> writes_;  // taken and not acknowledged, ascending
};

}  // namespace blixard::raft
