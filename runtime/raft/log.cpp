#include "runtime/raft/log.hpp"

#include <algorithm>

#include "messages/check.hpp"

namespace blixard::raft {

bool entry_log::is_up_to_date(term other_last_term, log_index other_last) const {
  const term mine = last_term();
  return other_last_term > mine || (other_last_term == mine && other_last >= last());
}

log_index entry_log::newest_with_term_at_most(log_index index, term t) const {
  index = std::min(index, last());
  // The last run that begins at or before `index` with a term that is low enough.
  const auto too_new =
      std::ranges::find_if(runs_, [&](const run& r) { return r.begin > index || r.term > t; });
  if (too_new != runs_.end() && too_new->begin <= index) index = too_new->begin.prev();
  if (index > base_ || (index == base_ && base_term_ <= t)) return index;
  return std::min(index, base_.prev());
}

void entry_log::append(entry&& e) {
  CHECK_EQ(e.index, last().next());
  const term before = last_term();
  CHECK_GE(e.term, before);
  if (entries_.empty() || e.term != before) runs_.push_back({e.index, e.term});
  if (e.kind == entry_kind::conf) confs_.push_back(e.index);
  entries_.push_back(std::move(e));
}

void entry_log::truncate(log_index from) {
  CHECK_GT(from, base_);
  while (last() >= from) entries_.pop_back();
  while (!runs_.empty() && runs_.back().begin >= from) runs_.pop_back();
  while (!confs_.empty() && confs_.back() >= from) confs_.pop_back();
}

void entry_log::compact(log_index first) {
  CHECK_GT(first, base_);
  CHECK_LE(first, last().next());
  base_term_ = term_at(first.prev());
  while (base_.next() < first) {
    entries_.pop_front();
    base_ = base_.next();
  }
  // The run that `first` is in goes on, from there.
  const auto next_run = std::ranges::find_if(runs_, [&](const run& r) { return r.begin > first; });
  const bool inside = !entries_.empty();
  const auto keep = inside ? next_run - 1 : runs_.end();
  runs_.erase(runs_.begin(), keep);
  if (inside) runs_.front().begin = first;
  std::erase_if(confs_, [&](log_index i) { return i < first; });
}

void entry_log::restore(log_index base, term base_term) {
  entries_.clear();
  runs_.clear();
  confs_.clear();
  base_ = base;
  base_term_ = base_term;
}

std::uint64_t entry_log::copy(log_index from, log_index to, std::uint64_t max_bytes,
                              std::vector<entry>& out) const {
  if (to < from) return 0;
  CHECK_GT(from, base_);
  CHECK_LE(to, last());
  const std::size_t begin = from.value() - base_.value() - 1;
  const std::size_t end = to.value() - base_.value();
  std::uint64_t bytes = 0;
  for (std::size_t i = begin; i < end; ++i) {
    const entry& e = entries_[i];
    if (max_bytes != 0 && i != begin && bytes + e.data.size() > max_bytes) break;
    bytes += e.data.size();
    out.push_back(e);
  }
  return bytes;
}

std::uint64_t entry_log::bytes(log_index from, log_index to) const {
  std::uint64_t sum = 0;
  for (log_index i = from; i <= to; i = i.next()) sum += at(i).data.size();
  return sum;
}

std::span<const log_index> entry_log::confs(log_index after, log_index through) const {
  if (confs_.empty()) return {};
  const auto begin = std::ranges::upper_bound(confs_, after);
  const auto end = std::ranges::upper_bound(begin, confs_.end(), through);
  return {begin, end};
}

}  // namespace blixard::raft
