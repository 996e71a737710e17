// Knows everything that all nodes ever said to the driver, and what must hold of it (Raft figure
// 3):
//
//   Election Safety         one leader per term
//   Leader Append-Only      a leader's writes begin behind its last entry
//   Log Matching            an index and a term name one entry, and one entry before it
//   Leader Completeness     a new leader holds everything that was committed before
//   State Machine Safety    one entry per committed index, and one configuration behind it
//
// and beyond the figure: what is committed is durable on a quorum; promises leave after what they
// promise is durable (R1); a read is not older than what was committed when it was asked.
// Each violation is an exception with a sentence.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/scenarios/lab_disk.hpp"

namespace blixard::raft::lab {

class lab_oracle {
 public:
  using node = std::uint64_t;

  /// A node starts: from this disk, with so much applied. `status` is its first.
  void started(node id, const lab_disk& disk, std::uint64_t applied, const json& status);
  void stopped(node id) { nodes_.erase(id); }

  /// An output of `ready`, with the `status` and, for a node that has just become leader, the `log`
  /// right after it. `disks` are all disks.
  void took(node id, const json& ready, const json& status, const json& log,
            const std::map<node, lab_disk>& disks);
  /// What a node knows to be committed now: asked again before its configuration may change.
  void knows(node id, const json& status, const std::map<node, lab_disk>& disks);
  /// The answer to `applied`.
  void applied(std::uint64_t index, const json& answer);
  /// A message leaves its sender.
  void leaves(const json& msg, const lab_disk& disk) const;
  /// A read is asked for, and answered.
  void asked(node id, const std::string& ctx);

  [[nodiscard]] std::uint64_t committed() const noexcept {
    return chosen_.empty() ? 0 : chosen_.rbegin()->first;
  }
  /// Somebody has applied everything through here, entry by entry.
  [[nodiscard]] std::uint64_t applied() const noexcept { return applied_; }
  /// The configuration behind `index` <= applied(); null: still the one that all booted with.
  [[nodiscard]] json conf_at(std::uint64_t index) const;
  [[nodiscard]] std::uint64_t reads_answered() const noexcept { return reads_answered_; }
  [[nodiscard]] std::uint64_t leaders_seen() const noexcept { return leaders_.size(); }
  [[nodiscard]] std::uint64_t confs_seen() const noexcept { return confs_.size(); }
  /// R7: one empty entry for each term that committed one.
  void check_empty_entries() const;

 private:
  using position = std::pair<std::uint64_t, std::uint64_t>;  // term, index
  struct view {
    std::uint64_t base = 0;
    std::uint64_t base_term = 0;
    std::vector<std::uint64_t> terms;  // behind base
    std::uint64_t leads_in = 0;        // the term in which it was leader after the last output
    std::uint64_t handed = 0;
    bool witness = false;
    std::map<std::string, std::uint64_t> reads;  // asked: what was committed then

    [[nodiscard]] std::uint64_t last() const noexcept { return base + terms.size(); }
    [[nodiscard]] std::uint64_t term_at(std::uint64_t index) const;
  };

  [[nodiscard]] bool is_witness(node id) const;
  void wrote(view& v, const json& ready, bool leads);
  void wrote_entry(view& v, const json& e);
  void leads(node id, view& v, const json& status, const json& log);
  void handed_out(view& v, const json& ready);
  void answered(view& v, const json& ready);

  std::map<node, view> nodes_;
  std::map<std::uint64_t, node> leaders_;                       // by term
  std::map<position, std::pair<json, std::uint64_t>> entries_;  // content and the term before
  std::map<std::uint64_t, std::uint64_t> chosen_;               // index: term
  std::map<std::uint64_t, json> confs_;                         // applied at this index
  std::uint64_t applied_ = 0;
  std::uint64_t reads_answered_ = 0;
};

/// True where a majority of the voters, of both halves of a joint configuration, satisfies `holds`.
template <class Holds>
[[nodiscard]] bool quorum_holds(const json& conf, const Holds& holds) {
  for (const char* half : {"voters", "outgoing"}) {
    std::size_t yes = 0;
    for (const json& id : conf[half]) yes += holds(id.get<std::uint64_t>()) ? 1U : 0U;
    if (!conf[half].empty() && yes < conf[half].size() / 2 + 1) return false;
  }
  return true;
}

}  // namespace blixard::raft::lab
