// What a node knows about the members: the active configuration and, on a leader, how far each
// one's log is known to agree, what is on its way to it, and when it last proved to follow.
//
//   probe      agreement unknown: one append at a time, until one is accepted
//   replicate  appends are pipelined up to the in-flight window
//   snapshot   what it needs is compacted: nothing is sent until the snapshot arrived or failed
#pragma once

#include <cstdint>
#include <vector>

#include "messages/entry.hpp"
#include "messages/ids.hpp"
#include "runtime/raft/quorum.hpp"
#include "runtime/raft/ring.hpp"
#include "runtime/raft/types.hpp"
#include "runtime/raft/window.hpp"

namespace blixard::raft {

/// Appends that were sent and not acknowledged, bounded by messages and by bytes: by limits, and
/// within them by a window that adapts (window.hpp).
class inflights {
 public:
  using limits = flight_window::amount;
  /// Ticks for what is promised, microseconds for what is measured (0: no clock).
  struct moment {
    std::uint64_t tick = 0;
    std::uint64_t us = 0;
  };
  explicit inflights(limits l) noexcept : window_(l) {}

  [[nodiscard]] bool full() const noexcept { return window_.is_full({sent_.size(), bytes_}); }
  [[nodiscard]] std::size_t count() const noexcept { return sent_.size(); }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] const flight_window& window() const noexcept { return window_; }
  void add(log_index last, std::uint64_t bytes, moment now);
  struct arrival {
    log_index last;        // of the newest append that has arrived; 0: none
    std::uint64_t at = 0;  // the tick at which it was sent
  };
  /// All up to `match` have arrived.
  arrival free_to(log_index match, moment now);
  void clear();

 private:
  struct sent {
    log_index last;
    std::uint64_t bytes = 0;
    std::uint64_t at = 0;  // ticks
    flight_window::mark mark;
  };
  flight_window window_;
  std::uint64_t bytes_ = 0;
  ring<sent> sent_;
};

/// One member, as its leader sees it. Invariant: match < next.
struct progress {
  progress(node_id who, log_index next_index, inflights::limits limits)
      : id(who), next(next_index), window(limits) {}

  node_id id;
  progress_state state = progress_state::probe;
  log_index match;  // known to be durable there
  log_index next;   // the next entry to send
  inflights window;
  bool probe_sent = false;     // probe: wait for an answer
  bool ping = false;           // replicate: something may be lost, send an append to find out
  bool recent_active = false;  // answered in this interval (an election timeout of its leader)
  std::uint32_t active_intervals = 0;  // so many before it, without a break
  std::uint32_t rank = 0;              // its election rank, as it says
  bool learner = false;                //
  bool witness = false;                // gets entries and snapshots without their data
  log_index pending_snapshot;          // snapshot: what was sent
  log_index commit_sent;               // newest commit index it was told in an append
  log_index newest_sent;               // in an append or a snapshot, in this term
  log_index sent_before;               // the same when `window` was cleared last
  std::uint64_t probe_at = 0;     // tick of the first append since `window` was cleared; 0: none
  std::uint64_t lease_until = 0;  // through this tick it surely votes for nobody else
  std::uint64_t round = 0;        // newest read round it acknowledged
  std::uint64_t repair = 0;       // it is being repaired, under this number: it counts for nothing
  std::uint64_t removal_round = 0;  // the round that told it about our removal; 0: none yet
  bool knows_removal = false;

  [[nodiscard]] bool paused() const noexcept;
  void become_probe();
  void become_replicate();
  void become_snapshot(log_index index);
  /// What is on its way is not known any more, and may still arrive.
  void forget_sent();
  /// It lost part of its log: nothing is known of it. `probe` is the first entry to try.
  void start_over(log_index probe);
  /// It acknowledged `match`; false if that is no news.
  bool acknowledge(log_index acked);
  /// It refused an append behind `rejected`; `agree` is where both might agree. False: an old
  /// answer.
  bool reject(log_index rejected, log_index agree);
};

class tracker {
 public:
  explicit tracker(inflights::limits limits) noexcept : limits_(limits) {}

  [[nodiscard]] const conf_state& conf() const noexcept { return conf_; }
  /// Makes `conf` active; members that stay keep their progress, new ones start probing at `next`.
  void set_conf(conf_state conf, log_index next);
  /// An interval of check_quorum is over.
  void start_interval() noexcept;
  /// A new leader knows nothing yet.
  void reset(log_index next);

  [[nodiscard]] progress* find(node_id id) noexcept;
  [[nodiscard]] const progress* find(node_id id) const noexcept;
  [[nodiscard]] std::vector<progress>& all() noexcept { return peers_; }
  [[nodiscard]] const std::vector<progress>& all() const noexcept { return peers_; }
  [[nodiscard]] bool is_voter(node_id id) const noexcept { return conf_.is_voter(id); }
  /// `id` alone decides.
  [[nodiscard]] bool is_only_voter(node_id id) const noexcept {
    return !conf_.joint() && conf_.voters.size() == 1 && conf_.voters.front() == id;
  }
  /// quorum_index() over a member of progress.
  template <class Field>
  [[nodiscard]] std::uint64_t quorum_of(const Field& field) const {
    return quorum_index(conf_, [&](node_id id) { return field(*find(id)); });
  }
  /// data_index() over a member of progress.
  template <class Field>
  [[nodiscard]] std::uint64_t data_of(const Field& field) const {
    return data_index(conf_, [&](node_id id) { return field(*find(id)); });
  }

 private:
  inflights::limits limits_;
  conf_state conf_;
  std::vector<progress> peers_;  // sorted by id; every member of conf_
};

}  // namespace blixard::raft
