// The disk's side of a node: recovery, and the one job at a time that actors/wal.cpp does.
#include <algorithm>

#include "messages/check.hpp"
#include "tests/sim/driver.hpp"

namespace blixard::sim {
namespace {

// As the product: after an error nothing is known about the disk, and the process ends (exit 12).
template <class T>
void expect(const storage::result<T>& r) {
  if (!r) throw process_ended{r.error().message};
}

template <class T>
bool is_full(const storage::result<T>& r) {
  return !r && r.error().code == storage::storage_errc::no_space;
}

}  // namespace

void driver::recover() {
  auto opened = storage::store::open(
      where_.disk, "/data",
      {.owner = {where_.id, cluster_id{}}, .segment_bytes = world_.common().segment_bytes});
  expect(opened);
  disk_ = std::move(opened->disk);
  auto& found = opened->found;
  world_.checks().recovered(where_.id, found, where_.durable, where_.spoiled);
  if (found.corrupt) expect(disk_->accept_damage());
  const bool is_whole = !found.corrupt && !found.repair_to;
  world_.trace("recovered", where_.id, found.last_index.value(), is_whole ? 0 : 1);
  // What recovery found counts as durable from here on.
  durable_log& durable = where_.durable;
  durable.hard = found.hard;
  durable.snap = found.snap.index;
  durable.untouched();
  if (!is_whole) durable.lost = durable.terms;
  durable.terms.clear();
  raft::disk_state disk{.hard = found.hard};
  disk.entries = std::move(found.entries);
  for (const auto& e : disk.entries) {
    durable.terms.resize(e.index.value());
    durable.terms.push_back(e.term);
  }
  if (has(mutant::restart_forgets_vote)) disk.hard.vote = {};
  if (has(mutant::restart_loses_tail) && disk.entries.size() > 2)
    disk.entries.resize(disk.entries.size() - 2);
  if (!found.snap.empty()) {
    const auto loaded = machine_.load(found.snap.data.bytes());
    if (!loaded) throw failure("storage", "snapshot: " + loaded.error().message);
    disk.snapshot = std::make_shared<const snapshot>(std::move(found.snap));
  }
  if (auto ready = disk_->prepare(); !is_full(ready)) expect(ready);
  auto config = world_.common().core;
  config.id = where_.id;
  config.seed = world_.chance().next();
  config.incarnation = where_.starts;
  if (!is_whole) config.repair = world_.chance().next() | 1;
  if (world_.common().ranks) config.election_rank = where_.id.value() % 3;
  // Some do not read by lease themselves; what they promise is the same.
  if (config.reads == raft::read_mode::lease && where_.id.value() % 3 == 0)
    config.reads = raft::read_mode::safe;
  applied_ = handed_ = machine_.applied_index();
  if (const auto ok = raft::check_start(config, disk, applied_); !ok)
    throw failure("recovery", ok.error());
  snapshot_index_ = disk.snapshot ? disk.snapshot->index : log_index{};
  core_ = std::make_unique<raft::core>(config, disk, applied_, disk.snapshot);
  was_member_ = core_->configuration().contains(where_.id);
}

void driver::submit(disk_job job) {
  jobs_.push_back(std::move(job));
  start_disk();
}

void driver::start_disk() {
  if (disk_busy_ || jobs_.empty()) return;
  disk_busy_ = true;
  world_.wake(where_.id, turn::disk);
  if (jobs_.front().save) {
    saving_ = std::move(jobs_.front().save);
    jobs_.pop_front();
    return;
  }
  if (jobs_.front().compact) {
    expect(disk_->compact(jobs_.front().compact));
    jobs_.pop_front();
    return;
  }
  if (jobs_.front().repaired) {
    if (const auto done = disk_->repaired(); !is_full(done)) expect(done);
    jobs_.pop_front();
    return;
  }
  while (!jobs_.empty() && jobs_.front().persist) {
    writing_.push_back(std::move(*jobs_.front().persist));
    jobs_.pop_front();
  }
  write_batches();
}

// Nothing of a refused write counts: all of it is tried again, and nothing acknowledged meanwhile.
void driver::write_batches() {
  std::vector<storage::persist_batch> batches;
  for (const auto& p : writing_)
    batches.push_back({.seq = p.seq,
                       .snap = p.snap.get(),
                       .entries = p.entries,
                       .hard = p.hard,
                       .must_sync = p.must_sync});
  for (const auto& b : batches) where_.durable.touch(b);
  const auto written = disk_->write(batches);
  disk_full_ = is_full(written);
  if (disk_full_) return;
  expect(written);
  if (has(mutant::ack_before_sync)) acknowledge(writing_.back().seq);
}

void driver::finish_disk() {
  if (disk_full_) {
    write_batches();
    return world_.wake(where_.id, turn::disk);
  }
  disk_busy_ = false;
  if (saving_) {
    auto snap = std::move(*std::exchange(saving_, std::nullopt));
    const auto saved = disk_->save_snapshot(snap);
    if (!where_.disk.has_power()) expect(saved);
    taking_snapshot_ = false;
    if (saved) {  // without it the log stays as long as it is
      where_.durable.take_snapshot(snap);
      snapshot_is_stored(std::move(snap));
    }
  } else if (!writing_.empty()) {
    const bool must_sync = std::ranges::any_of(writing_, &persist_job::must_sync);
    if (must_sync) {
      expect(disk_->sync());
      for (const auto& p : writing_)
        where_.durable.take({p.seq, p.snap.get(), p.entries, p.hard, p.must_sync});
      where_.durable.untouched();
    }
    const auto last = has(mutant::ack_newest_sequence) ? submitted_ : writing_.back().seq;
    writing_.clear();
    acknowledge(last);
    if (const auto ready = disk_->prepare(); !is_full(ready)) expect(ready);
  }
  start_disk();
}

void driver::settle_disk() { (void)disk_->flush_hint(); }

void driver::acknowledge(persist_seq seq) {
  durable_ = std::max(durable_, seq);
  core_->persisted(seq);
  release_gated();
}

void driver::snapshot_is_stored(snapshot s) {
  snapshot_index_ = s.index;
  const auto kept = world_.common().kept_entries;
  const auto first = log_index{s.index.value() - std::min(s.index.value(), kept) + 1};
  core_->set_snapshot(std::make_shared<const snapshot>(std::move(s)));
  if (core_->compact(first)) submit(disk_job{.compact = first});
}

}  // namespace blixard::sim
