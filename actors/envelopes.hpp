// What the actors of a node say to each other: small structs of handles.
//
// Every payload is behind a counted pointer (frames, entries, inventories, VMs): sending a message
// moves or counts pointers and copies no payload. All of these stay inside the process, hence
// "unsafe" for CAF (it never serialises them). A handler that takes `T&` moves the handles out;
// these messages always have one receiver, so that CAF never copies one to give the handler its
// own.
#pragma once

#include <caf/actor.hpp>
#include <caf/actor_addr.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/atom.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "messages/block_pool.hpp"
#include "messages/entry.hpp"
#include "messages/errc.hpp"
#include "messages/frame.hpp"
#include "messages/ids.hpp"
#include "runtime/routing/open_requests.hpp"
#include "runtime/state/lease_table.hpp"

namespace blixard::pb {
class Answer;
class Command;
class Decision;
class Vm;
class VmReport_One;
}  // namespace blixard::pb
namespace blixard::state {
struct inventory;
class machine;
class ranking;
}  // namespace blixard::state
namespace blixard::cache {
class plan_job;
}
namespace blixard::storage {
class snapshot_writer;
}

namespace blixard::actors {

/// Who waits for an answer: a client's connection, the peer that forwarded the request, an actor of
/// this node, or nobody. The request id is the waiter's own.
struct origin {
  enum class kind : std::uint8_t { nobody, connection, peer, local };
  kind where = kind::nobody;
  connection_id connection;        // kind::connection
  node_id peer;                    // kind::peer
  request_id request;              // echoed in the answer
  std::uint64_t deadline_ns = 0;   // loop clock; 0: none. Nobody waits any longer after it.
  routing::request_ticket ticket;  // the router's own: of its table of who waits here

  /// Its asker has been told so and does not count any more: not worth working on.
  [[nodiscard]] bool is_late(std::uint64_t now_ns) const noexcept {
    return deadline_ns != 0 && deadline_ns < now_ns;
  }
};

// ---------------------------------------------------------------- transport and router

/// Frames of one socket read, in the order they arrived.
struct inbound {
  connection_id connection;
  node_id peer;  // 0: a client
  pooled_vector<frame_ptr> frames;
};
struct connection_closed {
  connection_id connection;
  node_id peer;
};
/// Raft's messages to other nodes; `bulk` ones take the bulk connection.
struct peer_frame {
  node_id to;
  bool bulk = false;
  frame_ptr frame;
};
struct to_peers {
  pooled_vector<peer_frame> frames;
};
struct answered {
  origin to;
  frame_ptr frame;  // kind answer; the request id is set by the router
};
struct answers {
  pooled_vector<answered> list;
};
/// A request by an actor of this node; the answer comes back as `local_answer` to `reply_to`.
struct local_request {
  frame_ptr frame;
  caf::strong_actor_ptr reply_to;
};
struct local_answer {
  request_id request;
  frame_ptr frame;
};
struct leader_changed {
  node_id leader;  // 0: none known
  blixard::term term;
};
struct member_address {
  node_id id;
  std::string address;
};
/// The addresses of all members; replaces what was known before.
struct members_changed {
  std::vector<member_address> members;
  bool all = true;  // false: of some (a witness does not see all): what else is known stays
};
/// A request that is not for whoever got it: another node has to answer it (`target`), or, with
/// target 0, it goes through dispatch again (this node stopped leading before anything was done for
/// it).
struct reroute {
  origin from;
  frame_ptr frame;
  node_id target;
};

// ---------------------------------------------------------------- raft

struct raft_frames {
  node_id from;
  pooled_vector<frame_ptr> frames;
};
struct proposal {
  origin from;
  frame_ptr frame;  // body: encoded pb::Command, proposed verbatim
};
struct proposals {
  pooled_vector<proposal> list;
};
/// Linearizable queries: each goes on to node-state once ReadIndex confirmed an index.
struct read_request {
  origin from;
  frame_ptr query;
};
struct reads {
  pooled_vector<read_request> list;
};
struct admin_request {
  origin from;
  frame_ptr frame;
};
/// A member says that this node is not one any more.
struct removed_notice {
  node_id from;
};
struct lease_frame {
  node_id from;
  frame_ptr frame;
};
/// What the WAL made durable: every sequence up to `seq`.
struct persisted {
  persist_seq seq;
  std::uint64_t sync_ns = 0;  // how long write and fdatasync took
};
/// The WAL could not write for want of space or of a descriptor, or can again.
struct disk_space {
  bool full = false;
};
/// Node-state applied everything up to `index`.
struct applied_up_to {
  log_index index;
};
/// Nodes that hold or held a lease, from the replicated state: what the lease table needs to know.
struct leaseholders {
  std::vector<state::leaseholder> list;
};

// ---------------------------------------------------------------- WAL

/// Names a snapshot under way, and its bytes (raft::snapshot_name).
struct snapshot_part {
  log_index index;
  blixard::term term;
  std::uint64_t total = 0;  // bytes
  std::uint64_t content = 0;
};
/// One Raft output's durable part; the field order is the order on disk (RAFTLAB R3).
struct persist_request {
  persist_seq seq;
  bool must_sync = true;
  std::optional<snapshot> snap;
  pooled_vector<entry> entries;
  std::optional<hard_state> hard;
  std::uint64_t asked_ns = 0;  // monotonic; 0: not known
};
/// Entries up to `through` are covered by a durable snapshot and may go.
struct compact_request {
  log_index through;
};
/// A snapshot of the state machine that is to be stored; reported to raft with `snapshot_stored`.
/// `filer` writes the file on its own thread (it gets `file_snapshot`); without one the WAL does.
struct store_snapshot {
  snapshot snap;
  caf::actor filer;
};
/// A snapshot and the file that it goes to, away from the log; comes back when it is durable under
/// a temporary name.
struct snapshot_filing {
  snapshot snap;
  std::unique_ptr<storage::snapshot_writer> writer;
  std::string failure;  // why it is not; empty: it is
};
struct file_snapshot {
  std::shared_ptr<snapshot_filing> filing;
};
struct snapshot_filed {
  std::shared_ptr<snapshot_filing> filing;
};
/// What has arrived of a snapshot from a peer: kept so that a restart asks for the rest only.
struct keep_chunk {
  snapshot_part part;
  std::uint64_t offset = 0;
  slice bytes;
};
struct snapshot_stored {
  snapshot snap;
};

// ---------------------------------------------------------------- node-state

struct committed {
  pooled_vector<entry> entries;
  // Waiters, ascending by index; an entry without one has no waiter on this node.
  pooled_vector<std::pair<log_index, origin>> origins;
};
struct ready_reads {
  log_index index;  // evaluate when applied >= index
  std::vector<read_request> list;
};
/// A query that this node answers from what it has: stale reads and node-local tools.
struct local_query {
  origin from;
  frame_ptr query;
};
/// A question about the cluster, on its way from node-state over raft (which publishes its view)
/// and back.
struct status_query {
  origin from;
  frame_ptr query;
};
/// State from the leader, replaces everything.
struct install_snapshot {
  snapshot snap;
};
/// What an installed snapshot amounts to; `loader` takes the machine that it replaces.
struct machine_loaded {
  std::shared_ptr<state::machine> machine;
  caf::actor loader;
};
/// Raft wants to compact: answer with `store_snapshot` to the snapshot writer.
struct take_snapshot {
  conf_state conf;
};

// ---------------------------------------------------------------- cache and planner

using inventory_ptr = std::shared_ptr<const state::inventory>;
using vm_ptr = std::shared_ptr<const pb::Vm>;
using answer_ptr = std::shared_ptr<pb::Answer>;

struct inventory_changed {
  inventory_ptr inventory;
};
/// A client's `vm create`: planned, completed and proposed.
struct plan_command {
  origin from;
  frame_ptr frame;
};
/// A VM of the replicated state that needs a node.
struct place_vm {
  vm_ptr vm;
};
/// A placement that the cache does not have, and what came of it.
using plan_job_ptr = std::shared_ptr<const blixard::cache::plan_job>;
struct plan_wanted {
  plan_job_ptr job;
};
struct plan_found {
  plan_job_ptr job;
  std::shared_ptr<state::ranking> found;  // the cache's, from here on
};
/// An answer that lacks only what the caches know (summary, decision); completed and sent to
/// `from`.
struct complete_answer {
  origin from;
  answer_ptr partial;
  inventory_ptr inventory;
  vm_ptr explain;  // set: fill the decision for this VM; else: the cluster summary
};

// ---------------------------------------------------------------- VMs

/// VMs of this node that changed, as of an applied index. `assigned` false: not ours any more.
struct vm_update {
  struct one {
    vm_ptr vm;
    std::uint64_t id = 0;
    bool assigned = false;
  };
  std::vector<one> list;
};
/// All VMs of this node: sent when the node is registered and whenever a snapshot replaced the
/// state.
struct vm_sync {
  std::uint64_t incarnation = 0;  // that the cluster knows this process by
  std::vector<vm_ptr> list;
};
struct vm_observed {
  std::shared_ptr<const pb::VmReport_One> report;
};
struct lease_granted {
  frame_ptr frame;  // pb::LeaseGrant
};
struct logs_request {
  origin from;
  std::uint64_t vm = 0;
  std::uint32_t lines = 0;
  log_index index;  // of the state that said the VM is here
};

// INTERNAL atoms: messages of an actor to itself.
using flush_atom = caf::atom_constant<caf::atom("flush")>;
using tick_atom = caf::atom_constant<caf::atom("tick")>;
using sync_atom = caf::atom_constant<caf::atom("sync")>;
using drain_atom = caf::atom_constant<caf::atom("drain")>;
using stop_atom = caf::atom_constant<caf::atom("stop")>;
using repaired_atom = caf::atom_constant<caf::atom("repaired")>;

}  // namespace blixard::actors

#define BLIXARD_LOCAL_MESSAGE(type) CAF_ALLOW_UNSAFE_MESSAGE_TYPE(blixard::actors::type)
BLIXARD_LOCAL_MESSAGE(inbound)
BLIXARD_LOCAL_MESSAGE(connection_closed)
BLIXARD_LOCAL_MESSAGE(to_peers)
BLIXARD_LOCAL_MESSAGE(answers)
BLIXARD_LOCAL_MESSAGE(local_request)
BLIXARD_LOCAL_MESSAGE(local_answer)
BLIXARD_LOCAL_MESSAGE(leader_changed)
BLIXARD_LOCAL_MESSAGE(members_changed)
BLIXARD_LOCAL_MESSAGE(reroute)
BLIXARD_LOCAL_MESSAGE(raft_frames)
BLIXARD_LOCAL_MESSAGE(proposals)
BLIXARD_LOCAL_MESSAGE(reads)
BLIXARD_LOCAL_MESSAGE(admin_request)
BLIXARD_LOCAL_MESSAGE(removed_notice)
BLIXARD_LOCAL_MESSAGE(lease_frame)
BLIXARD_LOCAL_MESSAGE(persisted)
BLIXARD_LOCAL_MESSAGE(disk_space)
BLIXARD_LOCAL_MESSAGE(applied_up_to)
BLIXARD_LOCAL_MESSAGE(leaseholders)
BLIXARD_LOCAL_MESSAGE(persist_request)
BLIXARD_LOCAL_MESSAGE(compact_request)
BLIXARD_LOCAL_MESSAGE(store_snapshot)
BLIXARD_LOCAL_MESSAGE(snapshot_stored)
BLIXARD_LOCAL_MESSAGE(file_snapshot)
BLIXARD_LOCAL_MESSAGE(snapshot_filed)
BLIXARD_LOCAL_MESSAGE(keep_chunk)
BLIXARD_LOCAL_MESSAGE(committed)
BLIXARD_LOCAL_MESSAGE(ready_reads)
BLIXARD_LOCAL_MESSAGE(local_query)
BLIXARD_LOCAL_MESSAGE(status_query)
BLIXARD_LOCAL_MESSAGE(install_snapshot)
BLIXARD_LOCAL_MESSAGE(take_snapshot)
BLIXARD_LOCAL_MESSAGE(machine_loaded)
BLIXARD_LOCAL_MESSAGE(inventory_changed)
BLIXARD_LOCAL_MESSAGE(plan_command)
BLIXARD_LOCAL_MESSAGE(place_vm)
BLIXARD_LOCAL_MESSAGE(complete_answer)
BLIXARD_LOCAL_MESSAGE(plan_wanted)
BLIXARD_LOCAL_MESSAGE(plan_found)
BLIXARD_LOCAL_MESSAGE(vm_update)
BLIXARD_LOCAL_MESSAGE(vm_sync)
BLIXARD_LOCAL_MESSAGE(vm_observed)
BLIXARD_LOCAL_MESSAGE(lease_granted)
BLIXARD_LOCAL_MESSAGE(logs_request)
#undef BLIXARD_LOCAL_MESSAGE
