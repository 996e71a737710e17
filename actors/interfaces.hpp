// Every actor of a node, as a typed interface. This page is the map of who may say what to whom.
//
//   router      I/O loop    lanes, forwarding, answers          -> raft, node-state, cache, vm
//   raft        I/O loop    the consensus core                  -> wal, router, node-state
//   wal         own loop    writes and syncs                    -> raft
//   node-state  I/O loop    the replicated state machine        -> router, cache, vm, raft
//   cache       scheduler   summaries, placement decisions      -> router, raft, planner
//   planner     scheduler   scans the inventory for the cache   -> cache
//   vm          scheduler   this node's VM supervisor           -> router
//   repl        scheduler   a shell on the node's terminal      -> router
//
// Nothing is answered by a CAF response: an answer is a message of its own, routed by `origin`, so
// that no request timer, promise or response handler is allocated per command. Messages that need
// mutual order use one priority. Where a comment says HIGH the sender uses message_priority::high.
#pragma once

#include <caf/replies_to.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "actors/envelopes.hpp"

namespace blixard::actors {

/// ROUTER: puts what arrives into the four lanes, drains them strictly by priority, forwards by
/// header.
using router_actor = caf::typed_actor<
    // Frames of one socket read. Refused ones (lane full, too many outstanding) are answered
    // `overloaded` with a retry-after; nothing is dropped in silence.
    caf::reacts_to<inbound>,
    // Raft's messages: sent to the peers, dropped where a peer is not connected (Raft repeats
    // them).
    caf::reacts_to<to_peers>,
    // Answers from raft, node-state, cache and vm to whoever waits.
    caf::reacts_to<answers>,
    // A request by an actor of this node, treated like a client's.
    caf::reacts_to<local_request>,
    // INTERNAL: works through the lanes, a bounded batch at a time.
    caf::reacts_to<drain_atom>,
    // HIGH, from raft: where commands go from now on. Held requests are released.
    caf::reacts_to<leader_changed>,
    // From node-state: a query that another node answers.
    caf::reacts_to<reroute>,
    // From node-state: whom to connect to.
    caf::reacts_to<members_changed>,
    // From the transport: requests that were forwarded over it have an unknown outcome.
    caf::reacts_to<connection_closed>,
    // INTERNAL: expires requests, also forwarded and held ones.
    caf::reacts_to<tick_atom>,
    // Refuse new requests from here on (`unavailable`): the node is stopping.
    caf::reacts_to<stop_atom>>;

/// RAFT: drives the pure core; the only writer of the published Raft flags.
using raft_actor = caf::typed_actor<
    // Messages of peers. HIGH for those of the critical class.
    caf::reacts_to<raft_frames>,
    // Commands to replicate. Answered by node-state once applied; here with not_leader, no_leader
    // or overloaded, and with leadership_lost where another leader's entry took their place.
    caf::reacts_to<proposals>,
    // HIGH, from the WAL: sequences that are durable; releases what waited for them.
    caf::reacts_to<persisted>,
    // INTERNAL: hands the core's output on; everything that arrived before is in it (batching).
    caf::reacts_to<flush_atom>,
    // Queries that need a linearizable read; go on to node-state.
    caf::reacts_to<reads>,
    // From node-state: progress of apply, and the VM counts for the published page.
    caf::reacts_to<applied_up_to>,
    // HIGH, from the WAL: while the disk is full, commands are refused and leadership is handed
    // over.
    caf::reacts_to<disk_space>,
    // HIGH, INTERNAL: one tick of logical time.
    caf::reacts_to<tick_atom>,
    // Join, remove, transfer, snapshot.
    caf::reacts_to<admin_request>,
    // A node asks whether it may go on running VMs; granted after a quorum confirmed our term.
    caf::reacts_to<lease_frame>,
    // A member says that this node has left the cluster; believed when a majority says so for a
    // while.
    caf::reacts_to<removed_notice>,
    // From node-state: who can hold a lease.
    caf::reacts_to<leaseholders>,
    // From the WAL: a snapshot is durable; the log before it may be compacted.
    caf::reacts_to<snapshot_stored>,
    // From node-state: publish the view as it is now, and send the question back.
    caf::reacts_to<status_query>,
    // Hand leadership over if we have it, then answer nothing new.
    caf::reacts_to<stop_atom>>;

/// WAL: the only one that touches the log's files. Collects what arrives while a sync runs.
using wal_actor = caf::typed_actor<
    // To be written; acknowledged by `persisted` in order, after one sync for all that were
    // collected.
    caf::reacts_to<persist_request>,
    // INTERNAL: write and sync what has been collected.
    caf::reacts_to<sync_atom>,
    // A snapshot of our own state machine: stored, then reported to raft.
    caf::reacts_to<store_snapshot>,
    // From the thread that wrote its file: to be put in place.
    caf::reacts_to<snapshot_filed>,
    // From raft: a part of a peer's snapshot, kept for a restart; promises nothing.
    caf::reacts_to<keep_chunk>,
    // Drop segments that a durable snapshot covers.
    caf::reacts_to<compact_request>,
    // From raft: what a damaged log had lost is back and durable; the damage may be forgotten.
    caf::reacts_to<repaired_atom>>;

/// NODE-STATE: applies committed entries, answers queries, tells the others what changed.
using state_actor =
    caf::typed_actor<caf::reacts_to<committed>,
                     // Linearizable reads whose index is confirmed.
                     caf::reacts_to<ready_reads>,
                     // Stale and node-local queries.
                     caf::reacts_to<local_query>, caf::reacts_to<install_snapshot>,
                     // From the thread that built the machine of an installed snapshot.
                     caf::reacts_to<machine_loaded>, caf::reacts_to<take_snapshot>,
                     // INTERNAL: leader duties (placing pending VMs), registration of this node.
                     caf::reacts_to<tick_atom>,
                     // From raft: a question about the cluster, behind the view to answer it from.
                     caf::reacts_to<status_query>,
                     // The answer to a request of its own (registration, placement).
                     caf::reacts_to<local_answer>>;

/// CACHE: versioned, bounded, single-flight results of computations over the inventory.
using cache_actor = caf::typed_actor<caf::reacts_to<plan_command>, caf::reacts_to<complete_answer>,
                                     caf::reacts_to<place_vm>,
                                     // A new version: results of older ones are never served again.
                                     caf::reacts_to<inventory_changed>, caf::reacts_to<local_query>,
                                     // From the planner: goes on for everybody who waits for it.
                                     caf::reacts_to<plan_found>>;

/// PLANNER: plans what the cache does not have. It has no state; the cache goes on meanwhile.
using planner_actor = caf::typed_actor<caf::reacts_to<plan_wanted>>;

/// VM: converts between the replicated state and the supervisor, reports what was observed.
using vm_actor =
    caf::typed_actor<caf::reacts_to<vm_update>, caf::reacts_to<vm_sync>,
                     // From the supervisor's thread.
                     caf::reacts_to<vm_observed>, caf::reacts_to<logs_request>,
                     // The leader confirmed that VMs may run until the grant's end.
                     caf::reacts_to<lease_granted>, caf::reacts_to<local_answer>,
                     // INTERNAL: renews the lease, repeats reports that were not acknowledged.
                     caf::reacts_to<tick_atom>>;

}  // namespace blixard::actors
