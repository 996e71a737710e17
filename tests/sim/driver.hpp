// One whole node: Raft core, store on a simulated disk, lanes to its peers, state machine, leases.
//
// The same duties in the same order as actors/raft.cpp, actors/wal.cpp, actors/node_state.cpp and
// actors/vm.cpp; what is asynchronous there (disk, state machine) is a turn that the world
// schedules here. Mutants (options.hpp) are planted here.
//
//   receive / request / tick --> core --> disk jobs   --(turn::disk)----> persisted, gated frames
//                                    '--> machine tasks -(turn::machine)-> applied, replies
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "runtime/raft/codec.hpp"
#include "runtime/raft/core.hpp"
#include "runtime/raft/transfers.hpp"
#include "runtime/routing/lanes.hpp"
#include "runtime/state/lease_table.hpp"
#include "runtime/state/machine.hpp"
#include "runtime/storage/store.hpp"
#include "tests/sim/site.hpp"

namespace blixard::sim {

using link_lanes = routing::lanes<wire>;

class driver {
 public:
  /// Starts the process from what the site's disk holds.
  driver(site& where, host& world);

  void tick();
  void receive(const wire& w);
  void request(const client_request& r);
  void on_turn(turn what);
  /// The nemesis, as an administrator.
  void change_membership(const raft::conf_change& change);
  /// A node that has an empty disk wants a place; answered when it has one.
  void admit(const client_request& from, node_id id, bool witness);
  void transfer(node_id target);
  /// A read that nobody waits for: only whether it is confirmed rightly counts.
  void probe_read();
  /// Half a second without anything to write: the marks of what is durable are durable, too.
  void settle_disk();

  [[nodiscard]] const raft::core& core() const noexcept { return *core_; }
  [[nodiscard]] const state::machine& machine() const noexcept { return machine_; }
  [[nodiscard]] link_lanes& lane(node_id to, bool bulk);
  /// It applied its own removal from the cluster and has stayed long enough for those who may still
  /// need to hear of it.
  [[nodiscard]] bool gone() const noexcept { return removed_ticks_ > farewell_ticks; }

 private:
  struct persist_job {
    persist_seq seq;
    bool must_sync = true;
    std::shared_ptr<const snapshot> snap;
    std::vector<entry> entries;
    std::optional<hard_state> hard;
  };
  struct kept_chunk {
    storage::incoming_name name;
    std::uint64_t offset = 0;
    slice bytes;
  };
  struct disk_job {  // one of these
    std::optional<persist_job> persist;
    std::optional<snapshot> save;
    std::optional<kept_chunk> keep;
    log_index compact;
    bool place = false;  // the snapshot that was saved
    bool repaired = false;
  };
  struct filed_snapshot {
    snapshot what;
    std::unique_ptr<storage::snapshot_writer> writer;
  };
  struct task {  // for the state machine
    std::vector<entry> committed;
    std::vector<std::pair<log_index, client_request>> origins;
    std::vector<client_request> reads;
    std::shared_ptr<const snapshot> install;
    std::optional<conf_state> take_snapshot;
  };
  struct pending {
    log_index index;
    blixard::term term;
    client_request from;
  };
  struct lease_request {
    node_id node;
    std::uint64_t incarnation = 0;
    std::uint64_t sent_ns = 0;
  };
  struct round {
    std::vector<client_request> queries;
    std::vector<lease_request> leases;
    log_index needed;    // what was committed anywhere when it was asked
    bool probe = false;  // nobody waits for it
  };
  struct gated_frame {
    persist_seq after;
    wire frame;
    promise head;  // for the checker
  };

  // driver.cpp: the core
  void catch_up(std::uint64_t due = 0);
  void show_time();
  void hand_over();
  void await(pending p);
  [[nodiscard]] bool has(mutant m) const noexcept { return common_.driver_bug == m; }
  [[nodiscard]] std::uint64_t local_now() const noexcept { return where_.clock.at(world_.now()); }
  void flush();
  void start_read_round();
  void hand_out(raft::output& out);
  void role_changed();
  void persist(raft::output& out);
  void send_message(raft::message& m);
  void release(gated_frame&& f);
  void release_gated();
  void hand_committed(raft::output& out);
  void finish_reads(const raft::output& out);
  void release_reads();
  void promote_learners();
  void post(wire w);
  void refuse(const client_request& r);
  void propose_own(const slice& command);

  // driver_disk.cpp
  void recover();
  void first_start(storage::recovery& found);
  void start_disk();
  void write_batches();
  void finish_disk();
  void finish_entries();
  void keep(const kept_chunk& c);
  void acknowledge(persist_seq seq);
  void submit(disk_job job);

  // driver_snapshot.cpp
  void start_snapshot_to(raft::message& m);
  void pump_snapshots();
  void send_chunk(const raft::message& m, const raft::snapshot_chunk& chunk, bool bulk);
  void receive_chunk(raft::decoded_message& d);
  void maybe_take_snapshot();
  void take_snapshot(const conf_state& conf);
  void begin_filing(snapshot&& s);
  void fill_file();
  void put_in_place();
  void filing_failed();
  [[nodiscard]] raft::status status_with_silent();
  void shorten_log();
  [[nodiscard]] log_index first_to_keep(log_index taken);

  // driver_state.cpp: state machine, VMs, leases
  void submit(task t);
  void run_machine();
  void apply(task& t);
  void read(const client_request& r);
  void load(const slice& data);
  void install(const snapshot& s);
  void note_nodes();
  void run_vms();
  void look_up_vms();
  void register_self();
  void renew_lease();
  void grant(const lease_request& l);
  void granted(const wire& w);
  void declare_down();
  void place_vms();

  site& where_;
  host& world_;
  const settings& common_;
  checker& checks_;
  std::unique_ptr<storage::store> disk_;
  state::machine machine_;
  std::unique_ptr<raft::core> core_;
  raft::output out_;
  raft::decoded_message decoded_;  // scratch, as the next
  raft::encoder encoder_;
  std::vector<slice> pieces_;
  state::applied_result result_;

  std::deque<disk_job> jobs_;
  std::vector<persist_job> writing_;
  filed_snapshot filing_;
  enum class disk_work : std::uint8_t { none, entries, place, other };
  disk_work doing_ = disk_work::none;
  bool disk_full_ = false;  // what is in writing_ is tried again
  std::vector<task> tasks_;
  bool machine_woken_ = false;

  persist_seq durable_;
  persist_seq submitted_;
  log_index handed_;
  log_index applied_;
  log_index snapshot_index_;     // of the newest snapshot
  log_index sendable_snapshot_;  // the newest that the core has
  std::uint64_t snapshot_bytes_ = 0;
  raft::snapshots_out snapshots_out_;
  raft::snapshots_in snapshots_in_;
  raft::log_meter log_bytes_{4, 256};
  std::map<node_id, std::uint64_t> active_ns_;  // on a leader: when they last answered
  bool somebody_needs_snapshot_ = false;
  std::uint64_t no_snapshot_before_ = 0;  // tick, after one that could not be stored
  log_index last_conf_handed_;
  log_index last_conf_proposed_;
  bool taking_snapshot_ = false;
  bool skip_next_ = false;  // mutant::skip_after_install
  bool was_member_ = false;
  bool removed_ = false;
  std::uint32_t removed_ticks_ = 0;  // since then, as a follower
  raft::role known_role_ = raft::role::follower;
  std::uint64_t ticks_ = 0;
  std::uint64_t ticked_ns_ = 0;  // on the local clock

  std::deque<gated_frame> gated_;
  std::deque<pending> pending_;  // ascending by index
  struct link {
    link();
    link_lanes main;
    link_lanes bulk;
  };
  std::vector<std::unique_ptr<link>> links_;  // by id
  round next_round_;
  std::uint64_t last_context_ = 0;
  std::map<std::uint64_t, round> rounds_;
  std::deque<std::pair<log_index, std::vector<client_request>>> waiting_reads_;
  std::deque<std::pair<log_index, std::vector<lease_request>>> waiting_grants_;

  state::lease_table leases_;
  std::uint64_t incarnation_ = 0;
  bool registered_ = false;
  bool fenced_ = false;
  std::uint64_t renewed_ns_ = 0;
  std::uint64_t register_sent_ns_ = 0;
  log_index placed_at_;                  // plans are made once per state
  std::vector<std::uint64_t> assigned_;  // VMs of this node, sorted
  log_index assigned_at_;                // as the state was then; 0: to be looked up
};

/// As one buffer.
[[nodiscard]] slice joined(const std::vector<slice>& pieces);

/// What the state machine learns with a change of members.
[[nodiscard]] slice address_of(node_id id);

/// The same command without its operation id: a retry of it is another command.
[[nodiscard]] slice without_session(const slice& command);

}  // namespace blixard::sim
