#include "actors/wal.hpp"

#include <spdlog/spdlog.h>
#include <caf/send.hpp>

#include <chrono>

#include "runtime/net/loop.hpp"

namespace blixard::actors {

using metrics::metric;

namespace {
// How old the durable commit hint may be while entries come in: it bounds what a torn tail may be.
constexpr std::uint64_t hint_every_ns = 500'000'000;
// Housekeeping writes the mark of what is durable anew: two writes, for which one sync in several
// is enough under load. The last one of a burst is made up for a little later.
constexpr std::chrono::milliseconds housekeeping_every{2};
constexpr std::chrono::milliseconds housekeeping_late{10};

constexpr std::uint64_t to_ns(std::chrono::nanoseconds d) {
  return static_cast<std::uint64_t>(d.count());
}
}  // namespace

wal::wal(caf::actor_config& config, host* where, const links& to, shared_facts& facts,
         std::unique_ptr<storage::store> disk, fatal_fn fatal)
    : hosted(config, where),
      to_(to),
      disk_(std::move(disk)),
      fatal_(std::move(fatal)),
      sync_duration_(facts.registry->histogram<metric::wal_fsync_duration>()),
      sync_entries_(facts.registry->histogram<metric::wal_sync_entries>()),
      syncs_(facts.registry->counter<metric::wal_syncs>()),
      records_(facts.registry->counter<metric::wal_records>()),
      bytes_(facts.registry->counter<metric::wal_bytes>()),
      segments_(facts.registry->gauge<metric::wal_segments>()),
      waited_binding_(facts.registry->bind<metric::wal_sync_waits>([this] {
        return static_cast<double>(waited_.load(std::memory_order_relaxed)) /
               static_cast<double>(storage::sync_waits::one);
      })) {}

wal::behavior_type wal::make_behavior() {
  return {
      [this](persist_request& request) { collect(request); },
      [this](sync_atom) { write_and_sync(); },
      [this](store_snapshot& request) { store_snapshot_of(request); },
      [this](const snapshot_filed& f) { put_in_place(*f.filing); },
      [this](const keep_chunk& c) { keep(c); },
      [this](const compact_request& request) { compact(request); },
      [this](repaired_atom) { forget_damage(); },
  };
}

void wal::on_exit() {
  // The hint makes the next start quicker; nothing depends on it.
  if (disk_) (void)disk_->flush_hint();
  held_snapshot_.reset();
  disk_.reset();
}

void wal::collect(persist_request& request) {
  pending_.push_back(std::move(request));
  if (sync_queued_) return;
  sync_queued_ = true;
  send(this, sync_atom::value);
}

bool wal::check(const storage::result<void>& r) {
  if (r) return true;
  fatal_(storage::exit_code(r.error().code), r.error().message);
  return false;
}

void wal::write_and_sync() {
  sync_queued_ = false;
  if (pending_.empty()) {
    housekeeping_queued_ = false;
    return keep_house(net::monotonic_ns());
  }
  batches_.clear();
  std::size_t entries = 0;
  bool must_sync = false;
  for (const auto& p : pending_) {
    batches_.push_back({.seq = p.seq,
                        .snap = p.snap ? &*p.snap : nullptr,
                        .entries = p.entries,
                        .hard = p.hard,
                        .must_sync = p.must_sync});
    entries += p.entries.size();
    must_sync = must_sync || p.must_sync;
  }
  const auto started = net::monotonic_ns();
  if (auto written = disk_->write(batches_);
      !written && storage::may_be_repeated(written.error().code)) {
    wait_for_space(written.error());
    return;
  } else if (!check(written)) {
    return;
  }
  if (std::exchange(full_, false)) {
    spdlog::info("the disk has space again, and takes writes");
    send<caf::message_priority::high>(to_.raft, disk_space{false});
  }
  if (must_sync && !check(disk_->sync())) return;
  const auto now = net::monotonic_ns();
  if (must_sync) count_waits(started, now);
  const auto took = now - started;
  const auto last = pending_.back().seq;
  pending_.clear();
  send<caf::message_priority::high>(to_.raft, persisted{last, took});
  if (auto held = std::exchange(held_snapshot_, std::nullopt)) store_snapshot_of(*held);
  if (must_sync) account(took, entries);
  // What follows delays the next batch at most, not the acknowledgement of this one.
  if (now - hint_flushed_ns_ > hint_every_ns) {
    if (!check(disk_->flush_hint())) return;
    hint_flushed_ns_ = now;
  }
  keep_house(now);
}

// The next segment is made ready in slices, and the mark is written; raft has been told already.
// Without space or a descriptor for it the next write says so.
void wal::keep_house(std::uint64_t now) {
  if (now - housekept_ns_ < to_ns(housekeeping_every)) {
    if (!std::exchange(housekeeping_queued_, true))
      delayed_send(this, housekeeping_late, sync_atom::value);
    return;
  }
  housekept_ns_ = now;
  if (auto more = disk_->prepare(); !more && !storage::may_be_repeated(more.error().code))
    (void)check(tl::make_unexpected(more.error()));
}

// Nothing of a refused write is on the disk: all of it is tried again, and nothing is acknowledged
// meanwhile. Raft hands leadership over and refuses commands; reads go on.
void wal::wait_for_space(const storage::storage_error& why) {
  if (!std::exchange(full_, true)) {
    if (why.code == storage::storage_errc::no_space)
      spdlog::error("the disk is full: commands are refused until there is space");
    else
      spdlog::error("commands are refused until a file can be opened: {}", why.message);
    send<caf::message_priority::high>(to_.raft, disk_space{true});
  }
  sync_queued_ = true;
  delayed_send(this, std::chrono::milliseconds(200), sync_atom::value);
}

void wal::count_waits(std::uint64_t started_ns, std::uint64_t ended_ns) {
  std::uint64_t sum = 0;
  for (const auto& p : pending_)
    sum += p.entries.size() * (p.asked_ns == 0 ? storage::sync_waits::one : waits_.of(p.asked_ns));
  waited_.fetch_add(sum, std::memory_order_relaxed);
  waits_.synced(started_ns, ended_ns);
}

void wal::account(std::uint64_t sync_ns, std::size_t entries) {
  const auto& s = disk_->stats();
  sync_duration_.observe(sync_ns);
  sync_entries_.observe(entries);
  syncs_.add();
  records_.add(s.entries - written_entries_);
  bytes_.add(s.bytes - written_bytes_);
  written_entries_ = s.entries;
  written_bytes_ = s.bytes;
  segments_.set(s.segments);
}

// What a snapshot covers was handed in before it, but may still wait here: a state machine does not
// wait for this disk. The log must reach the snapshot before its file exists.
void wal::store_snapshot_of(store_snapshot& request) {
  if (!pending_.empty()) {
    held_snapshot_ = std::move(request);
    return;
  }
  if (!request.filer) {
    const auto saved = disk_->save_snapshot(request.snap);
    return report(std::move(request.snap), saved ? std::string{} : saved.error().message);
  }
  auto writer = disk_->begin_snapshot(request.snap);
  if (!writer) return report(std::move(request.snap), writer.error().message);
  auto filing = std::make_shared<snapshot_filing>();
  filing->snap = std::move(request.snap);
  filing->writer = std::move(*writer);
  caf::anon_send(request.filer, file_snapshot{std::move(filing)});
}

void wal::put_in_place(snapshot_filing& filing) {
  if (filing.failure.empty())
    if (auto placed = disk_->commit_snapshot(std::move(filing.writer)); !placed)
      filing.failure = placed.error().message;
  filing.writer.reset();
  report(std::move(filing.snap), filing.failure);
}

void wal::report(snapshot snap, const std::string& failure) {
  if (!failure.empty()) {
    spdlog::warn("snapshot at {} not stored: {}", snap.index.value(), failure);
    snap.data = {};
    snap.index = {};
  }
  send(to_.raft, snapshot_stored{std::move(snap)});
}

// Without it a restart gets the whole snapshot anew: no reason to stop.
void wal::keep(const keep_chunk& c) {
  const storage::incoming_name name{c.part.index, c.part.term, c.part.total, c.part.content};
  if (auto kept = disk_->keep_incoming(name, c.offset, c.bytes.bytes()); !kept)
    spdlog::warn("a part of a snapshot is not kept: {}", kept.error().message);
}

// Where there is no space for it the next start repairs once more, which does no harm.
void wal::forget_damage() {
  if (auto r = disk_->repaired(); !r && !storage::may_be_repeated(r.error().code)) (void)check(r);
}

void wal::compact(const compact_request& request) {
  (void)check(disk_->compact(request.through.next()));
}

}  // namespace blixard::actors
