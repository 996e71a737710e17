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
  return !r && storage::may_be_repeated(r.error().code);
}

}  // namespace

void driver::recover() {
  auto opened = storage::store::open(
      where_.disk, "/data",
      {.owner = {where_.id, cluster_id{}}, .segment_bytes = common_.segment_bytes});
  expect(opened);
  disk_ = std::move(opened->disk);
  auto& found = opened->found;
  if (found.owner.cluster == cluster_id{}) first_start(found);
  checks_.recovered(where_.id, found, where_.durable, where_.spoiled);
  if (found.corrupt) expect(disk_->accept_damage());
  const bool is_whole = !found.corrupt && !found.repair_to;
  world_.trace("recovered", where_.id, found.last_index.value(), is_whole ? 0 : 1);
  // What recovery found counts as durable from here on.
  durable_log& durable = where_.durable;
  if (!is_whole) durable.remember_lost();
  durable.hard = found.hard;
  durable.snap = found.snap.index;
  durable.untouched();
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
    load(found.snap.data);
    disk.snapshot = std::make_shared<const snapshot>(std::move(found.snap));
  }
  if (auto ready = disk_->prepare(); !is_full(ready)) expect(ready);
  auto config = common_.core;
  config.id = where_.id;
  config.seed = world_.chance().next();
  config.incarnation = where_.starts;
  if (!is_whole) config.repair = world_.chance().next() | 1;
  if (where_.eager) config.election_max_ticks = config.election_min_ticks + 3;
  if (common_.ranks) config.election_rank = where_.id.value() % 3;
  // Some do not read by lease themselves; what they promise is the same.
  if (config.reads == raft::read_mode::lease && where_.id.value() % 3 == 0)
    config.reads = raft::read_mode::safe;
  applied_ = handed_ = machine_.applied_index();
  if (const auto ok = raft::check_start(config, disk, applied_); !ok)
    throw failure("recovery", ok.error());
  if (disk.snapshot) {
    snapshot_index_ = sendable_snapshot_ = disk.snapshot->index;
    snapshot_bytes_ = disk.snapshot->data.size();
  }
  for (const auto& e : disk.entries) log_bytes_.appended(e.index, e.data.size());
  if (auto& in = found.incoming)
    snapshots_in_.resume({in->name.index, in->name.term, in->name.total, in->name.content},
                         std::move(in->data), in->received);
  core_ = std::make_unique<raft::core>(config, disk, applied_, disk.snapshot);
  was_member_ = core_->configuration().contains(where_.id);
}

// As apps/node_disk.cpp: of an id that was a member's nobody knows what its disk had promised.
void driver::first_start(storage::recovery& found) {
  const auto ticket = std::exchange(where_.ticket, std::nullopt);
  if (!ticket) throw not_admitted{};
  if (ticket->was_member && !has(mutant::empty_disk_votes)) {
    expect(disk_->start_over(ticket->term));
    found.hard.term = ticket->term;
    found.repair_to = log_index{1};
  }
  expect(disk_->set_cluster(cluster_id{1}));
}

void driver::submit(disk_job job) {
  jobs_.push_back(std::move(job));
  start_disk();
}

void driver::start_disk() {
  if (doing_ != disk_work::none || jobs_.empty()) return;
  world_.wake(where_.id, turn::disk);
  if (jobs_.front().persist) {
    doing_ = disk_work::entries;
    while (!jobs_.empty() && jobs_.front().persist) {
      writing_.push_back(std::move(*jobs_.front().persist));
      jobs_.pop_front();
    }
    return write_batches();
  }
  auto job = std::move(jobs_.front());
  jobs_.pop_front();
  doing_ = job.place ? disk_work::place : disk_work::other;
  if (job.save) begin_filing(std::move(*job.save));
  if (job.keep) keep(*job.keep);
  if (job.compact) expect(disk_->compact(job.compact));
  if (job.repaired)
    if (const auto done = disk_->repaired(); !is_full(done)) {
      expect(done);
      where_.lost = false;
    }
}

// Without it a restart gets the whole snapshot anew: no reason to stop.
void driver::keep(const kept_chunk& c) {
  const auto kept = disk_->keep_incoming(c.name, c.offset, c.bytes.bytes());
  if (!where_.disk.has_power()) expect(kept);
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
  const auto done = std::exchange(doing_, disk_work::none);
  if (done == disk_work::place) put_in_place();
  if (done == disk_work::entries) finish_entries();
  start_disk();
}

void driver::finish_entries() {
  if (std::ranges::any_of(writing_, &persist_job::must_sync)) {
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

void driver::settle_disk() { (void)disk_->flush_hint(); }

void driver::acknowledge(persist_seq seq) {
  durable_ = std::max(durable_, seq);
  core_->persisted(seq);
  release_gated();
}

}  // namespace blixard::sim
