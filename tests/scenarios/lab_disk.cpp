#include "tests/scenarios/lab_disk.hpp"

#include <stdexcept>

namespace blixard::raft::lab {

void lab_disk::submit(const json& ready) {
  const auto seq = ready["seq"].get<std::uint64_t>();
  const bool writes =
      ready.contains("hard") || ready.contains("snapshot") || !ready["entries"].empty();
  if ((seq != 0) != writes) throw std::runtime_error("seq is not 0 exactly where nothing is to do");
  if (seq == 0) return;
  if (seq <= newest_) throw std::runtime_error("seq does not rise");
  newest_ = seq;
  write w{seq, ready["must_sync"].get<bool>(), {}};
  if (!w.must_sync && (ready.contains("snapshot") || !ready["entries"].empty()))
    throw std::runtime_error("entries or a snapshot that need no sync");
  if (ready.contains("snapshot")) w.steps.emplace_back("snapshot", ready["snapshot"]);
  for (const json& e : ready["entries"]) w.steps.emplace_back("entry", e);
  if (ready.contains("hard")) w.steps.emplace_back("hard", ready["hard"]);
  writing_.push_back(std::move(w));
}

std::uint64_t lab_disk::complete_one() {
  const write w = std::move(writing_.front());
  writing_.pop_front();
  for (const step& s : w.steps) apply(s);
  return w.seq;
}

void lab_disk::apply(const step& s) {
  if (s.first == "hard") {
    hard_ = s.second;
    return;
  }
  const auto index = s.second["index"].get<std::uint64_t>();
  if (s.first == "entry") {
    entries_.erase(entries_.lower_bound(index), entries_.end());
    entries_[index] = s.second;
    return;
  }
  const auto same = entries_.find(index);
  if (same == entries_.end() || same->second["term"] != s.second["term"]) entries_.clear();
  entries_.erase(entries_.begin(), entries_.upper_bound(index));
  snapshot_ = s.second;
}

json lab_disk::to_json() const {
  json list = json::array();
  for (const auto& [index, e] : entries_) list.push_back(e);
  return {{"hard", hard_}, {"snapshot", snapshot_}, {"entries", std::move(list)}};
}

std::uint64_t lab_disk::base() const {
  return snapshot_.is_null() ? 0 : snapshot_["index"].get<std::uint64_t>();
}

std::uint64_t lab_disk::last() const {
  return entries_.empty() ? base() : entries_.rbegin()->first;
}

std::uint64_t lab_disk::term_at(std::uint64_t index) const {
  if (const auto at = entries_.find(index); at != entries_.end()) return at->second["term"];
  return index != 0 && index == base() ? snapshot_["term"].get<std::uint64_t>() : 0;
}

}  // namespace blixard::raft::lab
