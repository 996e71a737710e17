// Raft's safety properties (Raft figure 3) and what hangs on them, checked from outside all nodes
// whenever one of them has done something. Knows everything, changes nothing, throws `failure`.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "messages/entry.hpp"
#include "runtime/raft/core.hpp"
#include "runtime/state/hash.hpp"
#include "runtime/storage/store.hpp"
#include "tests/sim/failure.hpp"

namespace blixard::sim {

/// What was synced on a node's disk, as the driver knows it: must be found after any crash.
struct durable_log {
  hard_state hard;
  log_index snap;           // everything up to here is in a snapshot
  std::vector<term> terms;  // by index; 0: not there
  std::vector<term> lost;   // what it was before the disk was damaged: acknowledged all the same
  log_index lost_snap;
  /// Writes that were not synced may have replaced what is in `terms`: entries from here on, and
  /// everything, if this snapshot of a peer is in place.
  log_index touched{UINT64_MAX};
  log_index replaced_by{UINT64_MAX};

  /// The disk was lost, everything on it with it.
  void disk_lost();
  /// It is damaged: what it held was acknowledged all the same.
  void remember_lost();
  [[nodiscard]] log_index last() const noexcept;
  [[nodiscard]] bool has(log_index index, term t) const noexcept;
  [[nodiscard]] bool had(log_index index, term t) const noexcept;
  /// A batch is about to be written; it is synced.
  void touch(const storage::persist_batch& batch);
  void untouched() noexcept { touched = replaced_by = log_index{UINT64_MAX}; }
  void take(const storage::persist_batch& batch);
  void take_snapshot(const snapshot& snap);
};

/// What a message may promise.
struct promise {
  raft::message_type type = raft::message_type::vote;
  node_id from;
  node_id to;
  blixard::term term;
  bool reject = false;
};

class checker {
 public:
  /// What is durable on a node's disk; null: there is no such node.
  using durable_of = std::function<const durable_log*(node_id)>;
  explicit checker(durable_of durable) : durable_(std::move(durable)) {}

  /// Election Safety, Leader Append-Only, Leader Completeness; terms and commit indexes do not go
  /// back; what a leader commits is durable on a quorum of each half of the configuration. After
  /// each input of a node's core.
  void after_step(const raft::core& core);
  /// Log Matching: every entry that enters a log, with the term of the one before it there.
  void entry_written(const raft::core& core, const entry& e);
  /// State Machine Safety: an entry that a node is told to apply.
  void committed(const raft::core& core, const entry& e);
  /// A read must see what any node knew to be committed when it was asked.
  [[nodiscard]] log_index newest_commit() const noexcept { return newest_commit_; }
  void read_confirmed(node_id id, log_index index, log_index needed) const;
  /// A message that left a node. Votes and acknowledgements are promises: one vote per term, and
  /// no way back to an earlier term, also across restarts.
  void released(const promise& m);
  /// What a restart found holds what was durable.
  /// `spoiled`: the disk changed what was on it. Then the log may be damaged, but must say so.
  void recovered(node_id id, const storage::recovery& found, const durable_log& durable,
                 bool spoiled);
  /// Nodes at the same index are in the same state.
  void applied(node_id id, log_index index, state::hash128 digest);

  [[nodiscard]] bool is_committed(log_index index, term t) const;
  /// A process begins: what follows is another core.
  void started(node_id id) { known(id).seen = {}; }
  /// It keeps terms, not data.
  void is_witness(node_id id) { witnesses_.insert(id); }
  /// Its disk was lost: what it promised, it does not know any more, and nobody may rely on it.
  void disk_lost(node_id id);
  /// Commits by leaders so far.
  [[nodiscard]] std::uint64_t commits() const noexcept { return commits_; }

 private:
  struct known_entry {
    blixard::term term;
    std::uint64_t hash = 0;  // 0: only witnesses had it so far
    blixard::term before;
  };
  struct known_commit {
    term entry_term;         // 0: nobody has committed it
    std::uint64_t hash = 0;  // as above
    term committed_in;  // the term of the node that was first seen to commit it: an upper bound
  };
  struct led_log {
    blixard::term term;
    log_index last;
    blixard::term last_term;
    log_index commit;
  };
  struct seen_core {
    blixard::term term;
    log_index commit;
  };

  /// Of what this node has: a witness knows places, not data.
  [[nodiscard]] std::uint64_t content_of(node_id id, const entry& e) const;
  void check_monotone(const raft::core& core);
  void check_leader(const raft::core& leader);
  void check_complete(const raft::core& leader) const;
  void check_durable(const raft::core& leader, log_index index) const;
  void check_data(const raft::core& leader, log_index index) const;

  durable_of durable_;
  struct node_facts {
    seen_core seen;
    term released;  // the newest term that it promised anything in
    led_log led;    // term 0: it does not lead
  };
  node_facts& known(node_id id) {
    if (nodes_.size() <= id.value()) nodes_.resize(id.value() + 1);
    return nodes_[id.value()];
  }
  std::vector<node_facts> nodes_;  // by id
  log_index newest_commit_;
  std::uint64_t commits_ = 0;
  std::map<term, node_id> leaders_;
  /// What is known of an index: logs are short, and are asked about all the time.
  template <class T>
  static T& known_at(std::vector<T>& all, log_index index) {
    if (all.size() <= index.value()) all.resize(index.value() + 1);
    return all[index.value()];
  }
  std::vector<std::vector<known_entry>> entries_;  // by index; one per term
  std::vector<known_commit> committed_;            // by index
  std::map<std::pair<node_id, term>, node_id> votes_;
  std::vector<std::optional<state::hash128>> digests_;  // by index
  std::set<node_id> witnesses_;
};

/// FNV-1a over an entry's kind and bytes.
[[nodiscard]] std::uint64_t hash_of(const entry& e) noexcept;

}  // namespace blixard::sim
