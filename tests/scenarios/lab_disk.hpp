// The disk of one node under the raft lab, as the protocol page describes it: what an output asks
// to keep is a queue of small steps (snapshot, each entry, hard state), and a crash leaves any
// prefix of them. Also what the node itself may take for durable, to hold its promises against.
#pragma once

#include <deque>
#include <map>
#include <string>

#include "apps/raftlab/json.hpp"

namespace blixard::raft::lab {

class lab_disk {
 public:
  /// A disk with a snapshot to boot from; null: empty.
  explicit lab_disk(json boot = nullptr) : snapshot_(std::move(boot)) {}

  /// What `ready` said goes into the queue; nothing is durable yet. Answers without a seq do
  /// nothing.
  void submit(const json& ready);
  /// The oldest write is durable from now on. Precondition: there is one.
  std::uint64_t complete_one();
  [[nodiscard]] bool idle() const noexcept { return writing_.empty(); }
  /// The newest sequence that was submitted.
  [[nodiscard]] std::uint64_t newest() const noexcept { return newest_; }
  /// True once everything up to `seq` is durable.
  [[nodiscard]] bool has(std::uint64_t seq) const noexcept {
    return writing_.empty() || seq < writing_.front().seq;
  }
  /// Power is lost: `steps` of what was queued have reached the disk, the rest is gone. A write
  /// that need not be synced may be gone as a whole, where `lose()` says so.
  template <class Lose>
  void crash(std::uint64_t steps, const Lose& lose) {
    for (const write& w : writing_) {
      if (!w.must_sync && lose()) continue;
      for (const auto& s : w.steps)
        if (steps > 0) {
          --steps;
          apply(s);
        }
    }
    writing_.clear();
    newest_ = 0;
  }
  /// The node took a snapshot of its own and forgot the entries that it covers.
  void store_snapshot(const json& snapshot) { apply({"snapshot", snapshot}); }

  /// As `new` wants it.
  [[nodiscard]] json to_json() const;
  [[nodiscard]] const json& snapshot() const noexcept { return snapshot_; }
  [[nodiscard]] std::uint64_t base() const;
  [[nodiscard]] std::uint64_t last() const;
  [[nodiscard]] std::uint64_t term() const noexcept { return hard_["term"]; }
  [[nodiscard]] std::uint64_t vote() const noexcept { return hard_["vote"]; }
  [[nodiscard]] std::uint64_t commit() const noexcept { return hard_["commit"]; }
  /// The term of a durable entry; 0 if it is not there, or is covered by the snapshot and was not
  /// its last.
  [[nodiscard]] std::uint64_t term_at(std::uint64_t index) const;

 private:
  using step = std::pair<std::string, json>;
  struct write {
    std::uint64_t seq = 0;
    bool must_sync = false;
    std::deque<step> steps;
  };

  void apply(const step& s);

  json hard_{{"term", 0}, {"vote", 0}, {"commit", 0}};
  json snapshot_;
  std::map<std::uint64_t, json> entries_;
  std::deque<write> writing_;
  std::uint64_t newest_ = 0;
};

}  // namespace blixard::raft::lab
