// The log in memory: entries since the last compaction, and what is known about the one before
// them.
//
//        base          first                     last
//   -------+-------------+-------------------------+
//    gone  | index, term | entries, shared slices  |
//
// Two small side lists make the rare questions cheap: where terms begin (for fast backtracking over
// long divergent tails) and where configuration entries are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "messages/check.hpp"
#include "messages/entry.hpp"
#include "messages/ids.hpp"
#include "runtime/raft/ring.hpp"

namespace blixard::raft {

class entry_log {
 public:
  /// An empty log behind a snapshot, or behind nothing with zeros.
  entry_log(log_index base, term base_term) noexcept : base_(base), base_term_(base_term) {}

  /// The newest index that was compacted away or came as a snapshot.
  [[nodiscard]] log_index base() const noexcept { return base_; }
  [[nodiscard]] log_index first() const noexcept { return base_.next(); }
  [[nodiscard]] log_index last() const noexcept { return base_.plus(entries_.size()); }
  [[nodiscard]] term last_term() const noexcept {
    return entries_.empty() ? base_term_ : entries_.back().term;
  }

  /// True for base() <= index <= last(), where term_at() has an answer.
  [[nodiscard]] bool knows_term(log_index index) const noexcept {
    return base_ <= index && index <= last();
  }
  /// Precondition: knows_term(index).
  [[nodiscard]] term term_at(log_index index) const {
    return index == base_ ? base_term_ : at(index).term;
  }
  /// The log holds an entry with this index and term (Log Matching, section 5.3).
  [[nodiscard]] bool matches(log_index index, term t) const {
    return knows_term(index) && term_at(index) == t;
  }
  /// A log that ends like this is at least as up-to-date as ours (section 5.4.1).
  [[nodiscard]] bool is_up_to_date(term other_last_term, log_index other_last) const;
  /// The newest index <= `index` with a term <= `t`; where it is below base(), some index below
  /// base().
  [[nodiscard]] log_index newest_with_term_at_most(log_index index, term t) const;

  /// Precondition: first() <= index <= last().
  [[nodiscard]] const entry& at(log_index index) const {
    CHECK_GT(index, base_);
    CHECK_LE(index, last());
    return entries_[index.value() - base_.value() - 1];
  }

  /// Precondition: e.index == last() + 1 and its term is not below last_term().
  void append(entry&& e);
  /// Drops `from` and everything behind it. Precondition: from > base().
  void truncate(log_index from);
  /// Forgets everything below `first`. Precondition: base() < first <= last() + 1.
  void compact(log_index first);
  /// Drops everything: a snapshot takes its place.
  void restore(log_index base, term base_term);

  /// Appends copies of entries from `from` through `to` to `out`, as long as their data stay within
  /// `max_bytes` (0: no limit); one entry always fits. Returns the bytes of data.
  std::uint64_t copy(log_index from, log_index to, std::uint64_t max_bytes,
                     std::vector<entry>& out) const;
  /// Bytes of data from `from` through `to`.
  [[nodiscard]] std::uint64_t bytes(log_index from, log_index to) const;

  /// The newest configuration entry still in the log; 0 if none.
  [[nodiscard]] log_index last_conf() const noexcept {
    return confs_.empty() ? log_index{} : confs_.back();
  }
  /// The configuration entries with an index in (after, through].
  [[nodiscard]] std::span<const log_index> confs(log_index after, log_index through) const;

 private:
  struct run {
    log_index begin;  // the first entry of `term` in the log
    blixard::term term;
  };

  log_index base_;
  term base_term_;
  ring<entry> entries_;
  std::vector<run> runs_;         // ascending in both
  std::vector<log_index> confs_;  // ascending
};

}  // namespace blixard::raft
