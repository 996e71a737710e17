// Every metric of a node, in one table: identifier, name, type, label, help.
//
// Nothing else defines a metric. The table is expanded into an enum (the handle of a metric in
// code) and into a constexpr array of descriptions, and is checked at compile time against
// Prometheus's naming rules: counters end in _total, base units only (seconds, bytes), no unit
// twice, help text present. A label has a closed set of values that stands here too; the only open
// one is `peer`, bounded by `peers_max` and by the membership. There is no label for a VM, key,
// tenant or address.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace blixard::metrics {

enum class kind : std::uint8_t {
  counter,    // cumulative since the process started; integer
  gauge,      // set, never accumulated
  durations,  // histogram: observed in nanoseconds, exposed in seconds
  sizes,      // histogram: observed and exposed as a plain count
};

/// The label of a metric. One at most: the product of two label sets is where cardinality explodes.
enum class label : std::uint8_t {
  none,
  priority,   // blixard::priority
  outcome,    // metrics::proposal_outcome
  cache,      // metrics::cache_name
  phase,      // pb::Phase
  operation,  // metrics::vm_operation
  state,      // pb::NodeState
  buffer,     // metrics::buffer_class
  read,       // metrics::read_kind
  snapshot,   // metrics::snapshot_event
  member,     // metrics::member_kind
  closed,     // net::close_reason
  tls,        // net::tls_failure
  inbound,    // routing::inbound_use
  peer,       // node id; bounded by peers_max, see registry::peer
};
inline constexpr std::size_t label_count = 15;

enum class proposal_outcome : std::uint8_t { applied, refused, unknown };
enum class cache_name : std::uint8_t { summary, placement, peer };
enum class vm_operation : std::uint8_t { start, stop, pause, resume, restart, remove, adopt };
enum class buffer_class : std::uint8_t { small, medium, large };
enum class read_kind : std::uint8_t { read_index, lease, stale };
enum class snapshot_event : std::uint8_t { taken, sent, installed };
enum class member_kind : std::uint8_t { voter, learner, witness };

/// Peers with a series of their own at one time; more share one that is not exposed.
inline constexpr std::size_t peers_max = 64;

/// Name of a label ("class") and its values in the order of the enum that indexes them.
struct label_info {
  std::string_view name;
  std::array<std::string_view, 17> values;
  std::size_t count;
};

inline constexpr std::array<label_info, label_count> labels{{
    {"", {""}, 1},
    {"class", {"critical", "high", "normal", "low"}, 4},
    {"outcome", {"applied", "refused", "unknown"}, 3},
    {"cache", {"summary", "placement", "peer"}, 3},
    {"phase",
     {"pending", "scheduled", "starting", "running", "paused", "stopping", "stopped", "failed",
      "deleting"},
     9},
    {"operation", {"start", "stop", "pause", "resume", "restart", "delete", "adopt"}, 7},
    {"state", {"joining", "ready", "cordoned", "draining", "left", "down"}, 6},
    {"buffer", {"small", "medium", "large"}, 3},
    {"kind", {"read_index", "lease", "stale"}, 3},
    {"event", {"taken", "sent", "installed"}, 3},
    {"kind", {"voter", "learner", "witness"}, 3},
    {"reason",
     {"peer_closed", "truncated", "io_error", "bad_frame", "oversized", "bad_handshake", "refused",
      "handshake_timeout", "unresponsive", "send_queue_full", "idle", "replaced", "local",
      "connect_failed", "tls_failed", "crowded_out", "frame_timeout"},
     17},
    {"reason",
     {"plaintext", "closed", "protocol", "no_certificate", "expired", "untrusted", "wrong_identity",
      "refused"},
     8},
    {"use", {"half_frames", "requests", "held"}, 3},
    {"peer", {}, 0},
}};

// clang-format off
// X(identifier, name, kind, label, help)
#define BLIXARD_METRICS(X) \
  /* --- raft: written by the raft actor */ \
  X(raft_term, "blixard_raft_term", gauge, none, "Current Raft term of this node.") \
  X(raft_is_leader, "blixard_raft_is_leader", gauge, none, "1 while this node leads, else 0.") \
  X(raft_has_leader, "blixard_raft_has_leader", gauge, none, "1 while this node knows a leader of its term, else 0.") \
  X(raft_leader_id, "blixard_raft_leader_id", gauge, none, "Node id of the leader as this node knows it, 0 for none.") \
  X(raft_leader_changes, "blixard_raft_leader_changes_total", counter, none, "Times this node learned of a leader other than the last one.") \
  X(raft_elections, "blixard_raft_elections_total", counter, none, "Elections that this node started (pre-votes not counted).") \
  X(raft_proposals, "blixard_raft_proposals_total", counter, outcome, "Commands proposed at this node as leader, by how they ended.") \
  X(raft_proposals_pending, "blixard_raft_proposals_pending", gauge, none, "Proposals of this leader that are not applied yet.") \
  X(raft_commit_index, "blixard_raft_commit_index", gauge, none, "Highest log index known to be committed.") \
  X(raft_applied_index, "blixard_raft_applied_index", gauge, none, "Highest log index applied to the state machine.") \
  X(raft_last_index, "blixard_raft_last_index", gauge, none, "Highest log index in this node's log.") \
  X(raft_commit_duration, "blixard_raft_commit_duration_seconds", durations, none, "From accepting a proposal to knowing that it is committed, on the leader.") \
  X(raft_heartbeat_gap, "blixard_raft_heartbeat_gap_seconds", durations, none, "Time between messages from the leader, on a follower.") \
  X(raft_follower_lag, "blixard_raft_follower_lag_entries", gauge, peer, "Entries that a peer's durable log is behind the leader's, on the leader.") \
  X(raft_window_messages, "blixard_raft_window_messages", gauge, peer, "Appends that may be on their way to a peer, on the leader; 0 for no limit.") \
  X(raft_window_bytes, "blixard_raft_window_bytes", gauge, peer, "Payload bytes that may be on their way to a peer, on the leader; 0 for no limit.") \
  X(raft_inflight_messages, "blixard_raft_inflight_messages", gauge, peer, "Appends on their way to a peer and not acknowledged, on the leader.") \
  X(raft_inflight_bytes, "blixard_raft_inflight_bytes", gauge, peer, "Payload bytes on their way to a peer and not acknowledged, on the leader.") \
  X(raft_ack_delay, "blixard_raft_shortest_ack_delay_seconds", gauge, peer, "Shortest time lately from sending an append to its acknowledgement by a peer, on the leader; 0 with fixed windows.") \
  X(raft_election_rank, "blixard_raft_election_rank", gauge, none, "Election rank of this node: 0 campaigns first.") \
  X(raft_reads, "blixard_raft_reads_total", counter, read, "Reads answered by this node, by how they were made safe.") \
  X(raft_read_rounds, "blixard_raft_read_rounds_total", counter, none, "Quorum rounds made for reads; many reads share one.") \
  X(raft_snapshot_bytes, "blixard_raft_snapshot_sent_bytes_total", counter, none, "Bytes of snapshots sent to peers, repetitions included.") \
  X(raft_snapshots, "blixard_raft_snapshots_total", counter, snapshot, "Snapshots taken, sent to a peer, or installed from one.") \
  X(raft_members, "blixard_raft_members", gauge, member, "Members of the current configuration, each in one kind: voters with data, learners, witnesses (voters without data). Quorums are of voters and witnesses.") \
  X(raft_outgoing, "blixard_raft_outgoing_voters", gauge, none, "Voters and witnesses of the configuration that a joint one leaves; 0 while none is left. Those that stay are members, too.") \
  X(raft_recovering, "blixard_raft_recovering", gauge, none, "1 while this node's damaged log is being repaired by its peers: it does not vote or count, else 0.") \
  X(raft_repairs, "blixard_raft_repairs_total", counter, none, "Repairs of this node's damaged log that were completed.") \
  X(raft_persist_waits, "blixard_raft_persist_waits_total", counter, none, "Outputs that waited for the disk before they could leave the node.") \
  X(raft_payload_copies, "blixard_raft_payload_copies_total", counter, none, "Entry payloads copied into a buffer of their own, because little arrived with them.") \
  X(raft_entries_encoded, "blixard_raft_entries_encoded_total", counter, none, "Entries put into the wire form of an append; other followers that need the same entries at that moment share it.") \
  X(raft_command_encodes, "blixard_raft_command_encodes_total", counter, none, "Commands that this node put into wire form (its own and those it completed); a client's command is encoded by the client and never again.") \
  /* --- wal: written by the WAL's thread */ \
  X(wal_fsync_duration, "blixard_wal_fsync_duration_seconds", durations, none, "Duration of one fdatasync of the write-ahead log.") \
  X(wal_sync_entries, "blixard_wal_sync_entries", sizes, none, "Entries made durable by one sync.") \
  X(wal_sync_waits, "blixard_wal_sync_waits_total", counter, none, "Syncs that entries waited for, summed over entries: the one that carries an entry, and what was left of the one that ran when it came. By blixard_wal_records_total: per entry.") \
  X(wal_syncs, "blixard_wal_syncs_total", counter, none, "Syncs of the write-ahead log.") \
  X(wal_records, "blixard_wal_records_total", counter, none, "Records written to the write-ahead log.") \
  X(wal_bytes, "blixard_wal_written_bytes_total", counter, none, "Bytes written to the write-ahead log.") \
  X(wal_segments, "blixard_wal_segments", gauge, none, "Segment files of the write-ahead log in use.") \
  X(wal_truncated, "blixard_wal_truncated_bytes", gauge, none, "Bytes of torn tail cut when this process started.") \
  /* --- router and transport: written by the I/O loop */ \
  X(router_sent, "blixard_router_sent_total", counter, priority, "Frames handed to a connection.") \
  X(router_received, "blixard_router_received_total", counter, priority, "Frames received.") \
  X(router_dropped, "blixard_router_dropped_total", counter, priority, "Frames to others dropped because a queue was full or the peer gone.") \
  X(router_lane_refused, "blixard_router_lane_refused_total", counter, priority, "Frames that arrived and found their lane full: requests are answered with `overloaded`, what else peers say is lost (Raft repeats what matters).") \
  X(router_superseded, "blixard_router_superseded_total", counter, priority, "Queued frames replaced by a newer one of the same kind and peer.") \
  X(router_queued, "blixard_router_queued_frames", gauge, priority, "Frames waiting in the lanes.") \
  X(router_queue_bytes, "blixard_router_queue_bytes", gauge, priority, "Bytes waiting in the lanes.") \
  X(router_sent_bytes, "blixard_router_sent_bytes_total", counter, priority, "Bytes of frames handed to a connection.") \
  X(router_received_bytes, "blixard_router_received_bytes_total", counter, priority, "Bytes of frames received.") \
  X(router_forwarded, "blixard_router_forwarded_total", counter, none, "Client frames passed to the leader by header alone.") \
  X(router_overloaded, "blixard_router_overloaded_total", counter, none, "Requests refused with `overloaded`.") \
  X(router_invalid, "blixard_router_invalid_frames_total", counter, none, "Frames or handshakes refused as malformed, too large or from a stranger.") \
  X(net_connections, "blixard_net_connections", gauge, none, "Open connections of this node.") \
  X(net_clients, "blixard_net_clients", gauge, none, "Open connections of clients.") \
  X(net_clients_max, "blixard_net_clients_max", gauge, none, "Connections of clients that this node takes, as its file descriptors allow; beyond that they are refused.") \
  X(net_accept_pauses, "blixard_net_accept_pauses_total", counter, none, "Times that no connection was taken for 100 ms, because there was no file descriptor left for one.") \
  X(inbound_bytes, "blixard_inbound_bytes", gauge, inbound, "Memory that requests of clients hold on this node: half received, admitted and not answered, or passed on by other nodes and waiting for a leader.") \
  X(inbound_bytes_max, "blixard_inbound_bytes_max", gauge, none, "Of all of these, at most (half of --memory-cap).") \
  X(inbound_refused, "blixard_inbound_refused_total", counter, inbound, "Requests refused because there was no memory for them.") \
  X(net_connects, "blixard_net_connects_total", counter, none, "Connections established, either way.") \
  X(net_read_calls, "blixard_net_read_calls_total", counter, none, "Socket reads.") \
  X(net_write_calls, "blixard_net_write_calls_total", counter, none, "Gathered socket writes.") \
  X(net_copied_in, "blixard_net_copied_in_bytes_total", counter, none, "Bytes of frame bodies that had to be moved after the read; the rest stay where they arrived.") \
  X(net_staged, "blixard_net_staged_bytes_total", counter, none, "Bytes of headers and small pieces copied for a gathered write; larger pieces are not copied.") \
  X(net_packed_frames, "blixard_net_packed_frames_total", counter, none, "Large frames to other nodes that were compressed.") \
  X(net_packed_saved, "blixard_net_packed_saved_bytes_total", counter, none, "Bytes that need not be sent because of that.") \
  X(net_unpacked_frames, "blixard_net_unpacked_frames_total", counter, none, "Compressed frames received from other nodes.") \
  X(net_incompressible, "blixard_net_incompressible_frames_total", counter, none, "Large frames that were tried and sent as they were, because they did not shrink.") \
  X(net_closed, "blixard_net_closed_total", counter, closed, "Connections closed, by reason.") \
  X(net_tls_failures, "blixard_net_tls_failures_total", counter, tls, "Connections, either way, that did not come about because of TLS, by reason.") \
  X(net_tls_expires, "blixard_net_tls_certificate_expires_timestamp_seconds", gauge, none, "When this node's certificate expires, in seconds since 1970; 0 without TLS.") \
  /* --- buffer pools: bound to the pool's own atomics */ \
  X(pool_buffers, "blixard_pool_buffers_in_use", gauge, buffer, "Pooled buffers that are referenced.") \
  X(pool_gets, "blixard_pool_gets_total", counter, buffer, "Buffers asked of a pool.") \
  X(pool_misses, "blixard_pool_misses_total", counter, buffer, "Buffers that came from the heap because the pool was empty.") \
  X(pool_block_allocations, "blixard_pool_block_allocations_total", counter, none, "Frames, messages between actors and short lists whose memory came from the heap: no free block was there, or it was too large for one.") \
  /* --- caches: bound to the caches' own atomics */ \
  X(cache_hits, "blixard_cache_hits_total", counter, cache, "Lookups answered from the cache.") \
  X(cache_renewals, "blixard_cache_renewals_total", counter, cache, "Of the hits: those whose entry was behind and was brought up to date by what had changed since.") \
  X(cache_misses, "blixard_cache_misses_total", counter, cache, "Lookups that had to compute.") \
  X(cache_waits, "blixard_cache_waits_total", counter, cache, "Lookups that waited for a computation already running.") \
  X(cache_evictions, "blixard_cache_evictions_total", counter, cache, "Entries removed for space.") \
  X(cache_invalidations, "blixard_cache_invalidations_total", counter, cache, "Entries removed because the inventory changed, they were too old, or on request.") \
  X(cache_in_flight, "blixard_cache_in_flight", gauge, cache, "Computations running now.") \
  X(cache_entries, "blixard_cache_entries", gauge, cache, "Entries held.") \
  /* --- node state: written by the node-state actor */ \
  X(state_keys, "blixard_state_keys", gauge, none, "Keys in the key-value store.") \
  X(state_sessions, "blixard_state_sessions", gauge, none, "Clients whose last operation is remembered.") \
  X(state_apply_duration, "blixard_state_apply_duration_seconds", durations, none, "Time to apply one batch of committed entries.") \
  X(state_applied, "blixard_state_applied_entries_total", counter, none, "Entries applied by this process.") \
  /* --- cluster: written by the node-state actor from the replicated inventory */ \
  X(cluster_nodes, "blixard_cluster_nodes", gauge, state, "Nodes of the cluster by state.") \
  X(cluster_vcpus, "blixard_cluster_capacity_vcpus", gauge, none, "Virtual CPUs of all healthy nodes.") \
  X(cluster_memory, "blixard_cluster_capacity_memory_bytes", gauge, none, "Memory of all healthy nodes.") \
  X(cluster_disk, "blixard_cluster_capacity_disk_bytes", gauge, none, "Disk space of all healthy nodes.") \
  X(cluster_vcpus_allocated, "blixard_cluster_allocated_vcpus", gauge, none, "Virtual CPUs allocated to VMs.") \
  X(cluster_memory_allocated, "blixard_cluster_allocated_memory_bytes", gauge, none, "Memory allocated to VMs.") \
  X(cluster_disk_allocated, "blixard_cluster_allocated_disk_bytes", gauge, none, "Disk space allocated to VMs.") \
  X(cluster_vms, "blixard_cluster_vms", gauge, phase, "VMs of the whole cluster by phase, as this node has applied them.") \
  /* --- vm: written by the vm actor, about this node's VMs */ \
  X(vm_local, "blixard_vm_local", gauge, phase, "VMs of this node by observed phase.") \
  X(vm_operation_duration, "blixard_vm_operation_duration_seconds", durations, operation, "Duration of an operation on a VM of this node.") \
  X(vm_operation_failures, "blixard_vm_operation_failures_total", counter, operation, "Operations on VMs of this node that failed.") \
  X(vm_starts, "blixard_vm_starts_total", counter, none, "Attempts to start a VM on this node.") \
  X(vm_restarts, "blixard_vm_restarts_total", counter, none, "Of these, by the VM's restart policy after it failed.") \
  X(vm_crashes, "blixard_vm_crashes_total", counter, none, "VMs of this node that ended although nobody asked for it, or did not come up.") \
  X(vm_adopted, "blixard_vm_adopted_total", counter, none, "Running VMs that this process found when it started, and took over.") \
  X(vm_lease_kills, "blixard_vm_lease_kills_total", counter, none, "VMs of this node that were killed because its lease ran out.") \
  X(vm_qmp_timeouts, "blixard_vm_qmp_timeouts_total", counter, none, "Commands to QEMU that were not answered in time.") \
  X(vm_lease_remaining, "blixard_vm_lease_remaining_seconds", gauge, none, "Time for which this node may still run VMs; negative when the lease has expired.") \
  /* --- process and build: read at the scrape */ \
  X(process_cpu, "process_cpu_seconds_total", counter, none, "User and system CPU time of the process.") \
  X(process_resident, "process_resident_memory_bytes", gauge, none, "Resident memory of the process.") \
  X(process_virtual, "process_virtual_memory_bytes", gauge, none, "Virtual memory of the process.") \
  X(process_fds, "process_open_fds", gauge, none, "Open file descriptors.") \
  X(process_max_fds, "process_max_fds", gauge, none, "Most file descriptors that the process may open.") \
  X(process_threads, "process_threads", gauge, none, "Threads of the process.") \
  X(process_start_time, "process_start_time_seconds", gauge, none, "When the process started, in seconds since the Unix epoch.") \
  X(scrapes, "blixard_metrics_scrapes_total", counter, none, "Scrapes of this node's metrics.") \
  X(handles, "blixard_metrics_handles_total", counter, none, "Handles of series resolved; events add nothing to it.") \
  X(counting_threads, "blixard_metrics_counting_threads", gauge, none, "Threads that count in cells of their own, without a locked instruction.") \
  /* --- status page: bound to the page's own numbers */ \
  X(status_writes, "blixard_status_writes_total", counter, none, "Groups of the status page written, each as a whole.") \
  X(status_rereads, "blixard_status_rereads_total", counter, none, "Reads of the status page in this process that met a write and were made again.")
// clang-format on

/// The only metric outside the table: always 1, its labels (version, compiler) are constants of the
/// build.
inline constexpr std::string_view build_info_name = "blixard_build_info";
inline constexpr std::string_view build_info_help = "What this binary was built from; always 1.";

/// A metric's handle in code: an index into `catalogue`.
enum class metric : std::uint16_t {
#define BLIXARD_METRIC_ID(id, name, type, label, help) id,
  BLIXARD_METRICS(BLIXARD_METRIC_ID)
#undef BLIXARD_METRIC_ID
};

struct metric_info {
  std::string_view name;
  metrics::kind kind;
  metrics::label label;
  std::string_view help;
};

inline constexpr metric_info catalogue[] = {
#define BLIXARD_METRIC_INFO(id, name, type, label_, help) {name, kind::type, label::label_, help},
    BLIXARD_METRICS(BLIXARD_METRIC_INFO)
#undef BLIXARD_METRIC_INFO
};
inline constexpr std::size_t metric_count = std::size(catalogue);

[[nodiscard]] constexpr const metric_info& info(metric m) noexcept {
  return catalogue[static_cast<std::size_t>(m)];
}
/// Where a metric with one series per peer stands among those.
[[nodiscard]] constexpr std::size_t peer_place(metric m) noexcept {
  std::size_t place = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(m); ++i)
    place += catalogue[i].label == label::peer ? 1 : 0;
  return place;
}
inline constexpr std::size_t peer_metric_count = peer_place(static_cast<metric>(metric_count));
[[nodiscard]] constexpr const label_info& info(label l) noexcept {
  return labels[static_cast<std::size_t>(l)];
}
[[nodiscard]] constexpr bool is_histogram(kind k) noexcept {
  return k == kind::durations || k == kind::sizes;
}

namespace detail {
/// Whether a description follows Prometheus's naming rules.
[[nodiscard]] constexpr bool is_well_named(const metric_info& m) noexcept {
  if (m.help.empty() || m.help.back() != '.') return false;
  for (char c : m.name) {
    if (!((c >= 'a' && c <= 'z') || c == '_')) return false;
  }
  const bool is_total = m.name.ends_with("_total");
  if (is_total != (m.kind == kind::counter)) return false;
  if (m.kind == kind::durations && !m.name.ends_with("_seconds")) return false;
  return m.name.starts_with("blixard_") || m.name.starts_with("process_");
}
[[nodiscard]] constexpr bool all_well_named() noexcept {
  for (std::size_t i = 0; i < metric_count; ++i) {
    if (!is_well_named(catalogue[i])) return false;
    for (std::size_t j = 0; j < i; ++j) {
      if (catalogue[i].name == catalogue[j].name) return false;
    }
  }
  return true;
}
}  // namespace detail
static_assert(detail::all_well_named(), "a metric breaks the naming rules or is there twice");

}  // namespace blixard::metrics
