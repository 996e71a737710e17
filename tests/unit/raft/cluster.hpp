// A cluster of cores in one process for tests: the driver that the core expects, with a disk that
// keeps what was synced, a network in the test's hands, and a checker of Raft's safety properties.
//
// Nothing happens by itself: a test says when a node's output is taken, when its disk is synced and
// which message is delivered. settle() does all of it in order until nothing is left.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/raft/core.hpp"

namespace blixard::raft::test {

/// What survives a crash (RAFTLAB rule R3): writes that were started are applied one step after the
/// other; a crash keeps a prefix of the steps.
struct disk {
  hard_state hard;
  std::shared_ptr<const snapshot> snap;
  std::vector<entry> entries;

  void store_snapshot(const std::shared_ptr<const snapshot>& s);
  void store_entry(const entry& e);
  void compact(log_index first);
  [[nodiscard]] disk_state state() const { return {hard, snap, entries}; }
};

struct write_step {
  persist_seq seq;
  std::function<void(disk&)> apply;
};

struct node {
  config conf;
  disk stored;                     // durable
  bool damaged = false;            // the disk lost what was durable, and knows it (durable)
  std::deque<write_step> writing;  // not durable yet, in order
  std::vector<message> gated;      // wait for persisted()
  std::unique_ptr<core> raft;      // null: down
  output out;
  std::vector<entry> applied;  // by the state machine; lost entries are replayed after a restart
  log_index applied_durable;   // what a restart claims to have applied
  conf_state applied_conf;
  std::vector<read_state> reads;
  persist_seq newest;
};

struct cluster_options {
  std::vector<std::uint64_t> voters{1, 2, 3};
  std::vector<std::uint64_t> learners{};
  std::function<void(config&)> tune{};
  bool sync_first = false;                 // the driver persists an output before it applies it
  std::vector<std::uint64_t> witnesses{};  // of the voters
};

class cluster {
 public:
  explicit cluster(cluster_options options = {});

  [[nodiscard]] core& at(std::uint64_t id) { return *nodes.at(id).raft; }
  [[nodiscard]] const core& at(std::uint64_t id) const { return *nodes.at(id).raft; }
  [[nodiscard]] bool up(std::uint64_t id) const { return nodes.at(id).raft != nullptr; }

  /// A node that knows nobody, to be added by a configuration change.
  void add_blank(std::uint64_t id);
  /// Takes the output of one node: starts its writes, applies, releases what is not gated.
  /// False if there was none.
  bool take(std::uint64_t id);
  /// The node's disk has done everything that was started.
  void sync(std::uint64_t id);
  /// The node's disk has done everything up to `seq`.
  void sync_through(std::uint64_t id, persist_seq seq);
  /// take() and sync() of one node, until it is quiet.
  void drain(std::uint64_t id);
  /// Delivers the first message in the network that is accepted by `deliverable`.
  bool deliver_one();
  /// The first message in the network is lost; its sender is told where the driver's duty is to.
  void lose_one();
  /// drain() and deliver until nothing is left. Returns the number of rounds.
  int settle();
  void tick(std::uint64_t id, int n = 1);
  /// Ticks everybody `n` times, settling after each.
  void tick_all(int n);
  /// campaign() and settle(); expects to win.
  void elect(std::uint64_t id);
  /// Proposes on `id`; the index.
  log_index propose(std::uint64_t id, const std::string& text);

  /// Loses what is in memory; `steps` of the writes under way still reach the disk.
  void crash(std::uint64_t id, std::size_t steps = 0);
  void restart(std::uint64_t id);
  /// The disk of a node that is down loses its entries from `first` on, and notices. What was known
  /// to be committed is not believed any more.
  void damage(std::uint64_t id, log_index first);
  /// The state machine's snapshot at what it applied, given to the core, with the log cut behind
  /// it.
  void snapshot_and_compact(std::uint64_t id);

  /// Messages between a and b are lost, both ways.
  void cut(std::uint64_t a, std::uint64_t b) { cuts.push_back({a, b}); }
  void isolate(std::uint64_t id);
  void heal() { cuts.clear(); }
  [[nodiscard]] bool is_cut(node_id a, node_id b) const;

  [[nodiscard]] std::optional<std::uint64_t> leader() const;
  [[nodiscard]] std::vector<std::string> texts(std::uint64_t id) const;

  /// Checked after every take(), sync() and deliver(); throws std::logic_error with what is broken.
  void check_safety(std::uint64_t id);

  std::map<std::uint64_t, node> nodes;
  std::deque<message> network;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> cuts;
  std::function<bool(const message&)> drop;  // true: the message is lost
  cluster_options options;

 private:
  void start(std::uint64_t id, log_index applied);
  [[nodiscard]] bool is_witness(std::uint64_t id) const;
  void apply(std::uint64_t id, const output& out);
  void release(std::uint64_t id, persist_seq through);
  void report(const message& m, report_kind how);
  void check_release(std::uint64_t id, const message& m) const;

  std::map<std::uint64_t, std::uint64_t> leaders_;  // term to leader
  std::map<std::uint64_t, entry> committed_;        // index to what somebody applied
  std::uint64_t incarnations_ = 0;
};

[[nodiscard]] slice text(const std::string& s);
[[nodiscard]] conf_change change(conf_op op, std::uint64_t id);
[[nodiscard]] std::vector<node_id> ids(std::initializer_list<std::uint64_t> values);

}  // namespace blixard::raft::test
