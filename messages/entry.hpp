// What Raft replicates and what a disk must keep: entries, hard state, configuration, snapshot.
//
// Shared by the Raft core, the WAL, the state machine and the simulator. `entry::data` is a slice
// of the buffer that the command arrived in: copying an entry copies a counted reference, never the
// payload.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "messages/buffer.hpp"
#include "messages/ids.hpp"

namespace blixard {

enum class entry_kind : std::uint8_t { normal = 0, conf = 1 };

/// One entry of the replicated log (Raft section 5.3). `data` is an encoded pb::Command, or for
/// conf entries a pb::ConfChange; empty for the entry that a new leader appends.
struct entry {
  blixard::term term;
  log_index index;
  entry_kind kind = entry_kind::normal;
  slice data;

  friend bool operator==(const entry&, const entry&) = default;
};

/// Must be durable before anything that depends on it leaves the node (Raft figure 2, "persistent
/// state"). `commit` is a hint: it may be lost, never wrong.
struct hard_state {
  blixard::term term;
  node_id vote;
  log_index commit;

  friend bool operator==(const hard_state&, const hard_state&) = default;
};

/// A configuration (thesis section 4.3): `outgoing` is non-empty while it is joint. All lists are
/// sorted. `witnesses` are voters that keep the terms of entries and not their data; an id stays in
/// this list when it is removed, since it could not become a voter with data.
struct conf_state {
  std::vector<node_id> voters;
  std::vector<node_id> outgoing;
  std::vector<node_id> learners;
  std::vector<node_id> learners_next;
  bool auto_leave = false;
  std::vector<node_id> witnesses{};

  [[nodiscard]] bool joint() const noexcept { return !outgoing.empty(); }
  [[nodiscard]] bool is_voter(node_id id) const noexcept {
    return std::ranges::find(voters, id) != voters.end() ||
           std::ranges::find(outgoing, id) != outgoing.end();
  }
  [[nodiscard]] bool is_witness(node_id id) const noexcept {
    return std::ranges::find(witnesses, id) != witnesses.end();
  }
  [[nodiscard]] bool contains(node_id id) const noexcept {
    return is_voter(id) || std::ranges::find(learners, id) != learners.end() ||
           std::ranges::find(learners_next, id) != learners_next.end();
  }
  friend bool operator==(const conf_state&, const conf_state&) = default;
};

/// State up to and including `index`; `data` is a sequence of pb::SnapshotRecord (empty: no
/// snapshot).
struct snapshot {
  log_index index;
  blixard::term term;
  conf_state conf;
  slice data;

  [[nodiscard]] bool empty() const noexcept { return index == log_index{}; }
  friend bool operator==(const snapshot&, const snapshot&) = default;
};

}  // namespace blixard
