// Every limit of the system in one place, with its unit and why it is what it is. Relations between
// them are asserted here; the behaviour at each limit has a test beside the code that enforces it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace blixard::limits {

using namespace std::chrono_literals;

inline constexpr std::size_t KiB = 1024;
inline constexpr std::size_t MiB = 1024 * KiB;
inline constexpr std::size_t GiB = 1024 * MiB;

// --- keys, values, names (DOMAIN)
inline constexpr std::size_t key_max_bytes = 1 * KiB;
inline constexpr std::size_t value_max_bytes = 1 * MiB;
inline constexpr std::size_t name_max_bytes = 63;  // a DNS label
inline constexpr std::size_t command_max_bytes = value_max_bytes + 64 * KiB;
inline constexpr std::size_t list_max_items = 10'000;  // one answer; more are asked for by prefix

// --- frames and connections
inline constexpr std::size_t frame_max_bytes = 8 * MiB;  // default of --max-frame-bytes
inline constexpr std::size_t snapshot_chunk_bytes = 1 * MiB;
inline constexpr std::size_t send_queue_max_bytes = 64 * MiB;  // per connection: then it is closed
inline constexpr std::size_t connections_max = 4096;
inline constexpr std::size_t client_outstanding_max = 256;  // requests per connection (CLIENT)
static_assert(command_max_bytes < frame_max_bytes);
static_assert(snapshot_chunk_bytes < frame_max_bytes);

// --- raft
inline constexpr std::uint32_t tick_ms = 10;
inline constexpr std::uint32_t heartbeat_ms = 50;
inline constexpr std::uint32_t election_min_ms = 150;
inline constexpr std::uint32_t election_max_ms = 300;
inline constexpr std::uint32_t election_rank_max = 15;
/// The longest promise not to vote that a node gives (lease reads), and so what a restart waits
/// for. Not to be made smaller: a former life may have promised it.
inline constexpr std::uint32_t promise_max_ms = 150;
inline constexpr std::uint32_t clock_drift_max_percent = 50;
inline constexpr std::size_t snapshot_max_bytes = 2 * GiB;  // raw, one node's whole state
inline constexpr std::size_t append_max_bytes = 1 * MiB;    // entries of one append message
inline constexpr std::size_t inflight_max_messages = 256;
inline constexpr std::size_t inflight_max_bytes = 16 * MiB;
inline constexpr std::size_t uncommitted_max_bytes = 64 * MiB;
inline constexpr std::uint64_t snapshot_entries = 100'000;  // default of --snapshot-entries
inline constexpr std::size_t proposals_max = 16 * 1024;  // outstanding on a leader, then overloaded
inline constexpr std::size_t reads_max = 16 * 1024;
static_assert(heartbeat_ms * 2 < election_min_ms);
static_assert(election_min_ms < election_max_ms);

// --- WAL
inline constexpr std::size_t segment_bytes = 64 * MiB;  // default of --segment-bytes
inline constexpr std::size_t sector_bytes = 512;

// --- state machine
inline constexpr std::size_t sessions_max =
    10'000;  // remembered clients, least recently used go first
inline constexpr std::size_t session_window = 256;  // answers remembered per client, by sequence
inline constexpr std::size_t session_results_max = 64 * 1024;  // over all clients
inline constexpr std::size_t client_name_max_bytes = 255;
static_assert(session_window >= client_outstanding_max);  // any request in flight may be retried
inline constexpr std::size_t nodes_max = 10'000;
inline constexpr std::size_t vms_max = 1'000'000;
inline constexpr std::size_t list_max_bytes = 4 * MiB;  // of one answer, then it says `truncated`
static_assert(list_max_bytes + value_max_bytes < frame_max_bytes);
inline constexpr std::size_t reasons_max_nodes = 64;  // listed in a refusal and on a pending VM
inline constexpr std::size_t complete_max_items = 100;
inline constexpr std::size_t reason_max_bytes = 4 * KiB;  // of what a node reports about a VM
inline constexpr std::size_t vm_events_max = 10;          // remembered per VM, the oldest go first
inline constexpr std::size_t vm_event_max_bytes = 256;    // of one's text
inline constexpr std::size_t gave_up_max_nodes = 16;      // remembered per VM; then it waits anyway

inline constexpr std::size_t former_disks_max = 16;  // remembered per witness

// --- node lease: a node may run VMs only while it holds one (runtime/vm/README.md)
inline constexpr auto lease_duration = 6s;
inline constexpr auto lease_renew_every = 1s;
inline constexpr auto lease_margin =
    2s;  // clock drift and scheduling of the guard, on the leader's side
static_assert(lease_renew_every * 3 < lease_duration);

// --- buffer classes (DOMAIN): capacity and how many are made at start
inline constexpr std::size_t small_buffer_bytes = 1 * KiB;
inline constexpr std::size_t small_buffers = 100;
inline constexpr std::size_t medium_buffer_bytes = 64 * KiB;
inline constexpr std::size_t medium_buffers = 50;
inline constexpr std::size_t large_buffer_bytes = 1 * MiB;
inline constexpr std::size_t large_buffers = 10;

// --- caches (DOMAIN)
inline constexpr auto summary_ttl = 30s;
inline constexpr auto placement_ttl = 10s;
inline constexpr auto peer_ttl = 5s;
inline constexpr std::size_t summary_cache_max = 4096;
inline constexpr std::size_t placement_cache_max = 4096;
inline constexpr std::size_t cache_waiters_max =
    4096;  // of one computation; then one more computes
inline constexpr std::size_t cache_flights_max = 1024;  // computations under way per cache

// --- VMs
inline constexpr std::size_t console_max_bytes =
    4 * MiB;                                     // kept of a VM's serial console, per file
inline constexpr std::size_t console_files = 2;  // current and one older
inline constexpr auto vm_start_deadline = 30s;   // until the process runs, or QEMU answers
inline constexpr auto vm_boot_deadline = 120s;  // from then on, for a guest that says when it is up
inline constexpr auto vm_stop_deadline = 20s;   // then it is killed
inline constexpr auto qmp_deadline = 5s;

}  // namespace blixard::limits
