// The durable side of a node behind one door: what Raft wants persisted goes in, and after sync()
// it survives.
//
// The WAL actor is a loop around it (one thread, this object is not shared):
//
//   collect batches from the mailbox -> write(batches) -> sync() -> tell raft persisted(last seq)
//   -> prepare()                                                    // one slice of housekeeping
//
// Within one batch the order on disk is snapshot, entries, hard state (RAFTLAB R3); a crash leaves
// a prefix of the batches, and of that a prefix of this order. Payloads are written from where they
// are: no copy, no allocation per entry.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "messages/entry.hpp"
#include "messages/limits.hpp"
#include "runtime/storage/data_dir.hpp"
#include "runtime/storage/file_system.hpp"
#include "runtime/storage/incoming.hpp"

namespace blixard::storage {

/// What one output of the Raft core needs durable. A view: the caller keeps what it refers to alive
/// until write() returns.
struct persist_batch {
  persist_seq seq;
  const blixard::snapshot* snap = nullptr;  // null: none. Drops the log as RAFTLAB R3 says
  std::span<const entry> entries;           // contiguous; the first replaces what is at its index
  std::optional<hard_state> hard;
  bool must_sync = true;  // false: may be lost whole (only the commit hint moved)
};

struct store_options {
  identity owner;
  std::size_t segment_bytes = limits::segment_bytes;
  int compression_level = 1;  // zstd, of snapshots
};

/// Damage that must not be passed over: what was found is not all that was acknowledged, or nobody
/// can tell. The node may not vote, acknowledge or lead until it is repaired from its peers.
struct damage {
  std::string file;          // path below the data directory
  std::uint64_t offset = 0;  // bytes into it
  std::string what;          // for a person
  bool repairable = true;    // by the peers; false: term and vote are lost, too (exit 10)
};

/// What a restart finds. `entries` refer to the buffers that the segments were read into.
struct recovery {
  identity owner;
  /// commit lies within [snap.index, last_index], and is snap.index where something is corrupt;
  /// term
  /// >= the last entry's term.
  hard_state hard;
  blixard::snapshot snap;      // empty(): none
  std::vector<entry> entries;  // contiguous, from snap.index + 1
  log_index last_index;        // snap.index where there are no entries
  blixard::term last_term;
  std::uint64_t truncated_bytes = 0;  // of a torn tail that was cut: never acknowledged
  bool fresh = false;                 // the directory was empty
  std::optional<damage> corrupt;      // what precedes it is valid
  /// The node once lost acknowledged entries and has not got them back (0: it has lost nothing). It
  /// must not vote before a leader has repaired it (raft::config::repair). The index is the highest
  /// that it is known to have had. Survives restarts until repaired().
  log_index repair_to;
  std::vector<std::string> warnings;  // damage that redundancy made good; to be logged
  /// What had arrived of a snapshot from a peer, newer than `snap`; not of examine().
  std::optional<incoming_snapshot> incoming;
};

/// Counters since open.
struct store_stats {
  std::uint64_t syncs = 0;
  std::uint64_t writes = 0;    // gathered writes to the log
  std::uint64_t entries = 0;   // records of entries written
  std::uint64_t bytes = 0;     // written to the log, headers included
  std::uint64_t segments = 0;  // now on disk, spare ones included
  std::uint64_t recycled = 0;  // segments used again
  std::uint64_t snapshots_saved = 0;
};

/// Fills a snapshot file from chunks, away from the log. May be used on another thread than the
/// store, by one thread at a time. A writer that is dropped leaves nothing.
class snapshot_writer {
 public:
  virtual ~snapshot_writer() = default;
  /// The next bytes of the snapshot's data. Errors: no_space, io.
  [[nodiscard]] virtual result<void> append(std::span<const std::byte> chunk) = 0;
  /// Makes the content durable under a temporary name; nothing can be appended afterwards.
  [[nodiscard]] virtual result<void> finish() = 0;
};

class store {
 public:
  struct opened;

  /// Opens or makes the data directory `dir`, checks who owns it, and recovers. Damage is not an
  /// error here: it is reported as recovery::corrupt, and write() refuses until accept_damage().
  /// Errors: as data_dir::open, and too_new, io, no_space. `fs` must outlive the store.
  [[nodiscard]] static result<opened> open(file_system& fs, const std::string& dir,
                                           const store_options& options);

  /// What open() would find, without a lock and without changing anything. For tools and tests;
  /// beside a running node the answer may be torn. Errors: as open.
  [[nodiscard]] static result<recovery> examine(file_system& fs, const std::string& dir);

  /// Hands batches to the disk in one gathered write. Nothing is durable before sync(). On no_space
  /// and no_files none of the batches may be taken as written; the same call, with more behind it
  /// or not, may be repeated later. Errors: no_space, no_files, io (fatal), corrupt (see open).
  /// Preconditions: entries do not leave a gap behind the log or the snapshot; term does not
  /// shrink.
  [[nodiscard]] virtual result<void> write(std::span<const persist_batch> batches) = 0;
  /// Makes everything that was written durable: one fdatasync of the log, and one of the term /
  /// vote copies if those changed. Any error is fatal for the process (exit 12).
  [[nodiscard]] virtual result<void> sync() = 0;
  /// True if something that must be durable was written since the last sync().
  [[nodiscard]] virtual bool dirty() const noexcept = 0;

  /// Housekeeping in slices of about a millisecond: writes the commit hint and the mark of what is
  /// durable (without a sync), zero-fills the segment that is needed next. Call after each sync(),
  /// behind the acknowledgement of what it made durable, and when idle. Returns whether more is to
  /// be done; errors as write().
  [[nodiscard]] virtual result<bool> prepare() = 0;
  /// Makes the commit hint durable now (one small write and sync). For an idle moment: a few times
  /// per second is plenty, and once at the end. Does nothing when it is durable already.
  [[nodiscard]] virtual result<void> flush_hint() = 0;

  /// Entries below `first` are needed no more. Drops whole segments; keeps what the older of the
  /// kept snapshots needs to be of use.
  [[nodiscard]] virtual result<void> compact(log_index first) = 0;
  /// No entry below this one is on disk (last_index + 1 where there is none at all).
  [[nodiscard]] virtual log_index first_index() const noexcept = 0;
  [[nodiscard]] virtual log_index last_index() const noexcept = 0;

  /// Stores a snapshot of the node's own state: durable on return. The log stays as it is.
  [[nodiscard]] virtual result<void> save_snapshot(const blixard::snapshot& snap) = 0;
  /// Starts one that is filled by chunks; `meta.data` is not looked at.
  [[nodiscard]] virtual result<std::unique_ptr<snapshot_writer>> begin_snapshot(
      const blixard::snapshot& meta) = 0;
  /// Puts a finished snapshot in place (rename, directory sync): durable on return.
  [[nodiscard]] virtual result<void> commit_snapshot(std::unique_ptr<snapshot_writer> writer) = 0;
  /// Reads the newest valid snapshot back. empty() where there is none.
  [[nodiscard]] virtual result<blixard::snapshot> latest_snapshot() = 0;

  /// Keeps what has arrived of a peer's snapshot for a restart (incoming.hpp), until one is
  /// installed. Promises nothing. Errors: no_space, io, after which nothing is kept.
  [[nodiscard]] virtual result<void> keep_incoming(const incoming_name& name, std::uint64_t offset,
                                                   std::span<const std::byte> bytes) = 0;

  /// Remembers the cluster once it is known; durable on return.
  [[nodiscard]] virtual result<void> set_cluster(cluster_id cluster) = 0;
  /// After recovery::corrupt: sets the damaged files aside (*.bad), keeps the valid part and goes
  /// on from there. Durable on return, with recovery::repair_to for the restarts to come. Errors:
  /// corrupt if the damage is not repairable, io, no_space; then the store is to be opened anew.
  [[nodiscard]] virtual result<void> accept_damage() = 0;
  /// For the empty disk of a node that had one before: what it acknowledged is missing, its vote in
  /// terms up to `known` is not known. Durable on return, with recovery::repair_to for the restarts
  /// to come. Precondition: nothing was written yet.
  [[nodiscard]] virtual result<void> start_over(term known) = 0;
  /// The log has again all that was lost: the node is a full member. Durable on return.
  [[nodiscard]] virtual result<void> repaired() = 0;

  [[nodiscard]] virtual const store_stats& stats() const noexcept = 0;
  virtual ~store() = default;
};

struct store::opened {
  std::unique_ptr<store> disk;
  recovery found;
};

}  // namespace blixard::storage
