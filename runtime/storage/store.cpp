// Puts directory, meta, log and snapshots together: the order of writing, and what a restart makes
// of what it finds.
#include "runtime/storage/store.hpp"

#include <algorithm>

#include "messages/check.hpp"
#include "runtime/base/fault.hpp"
#include "runtime/base/planted.hpp"
#include "runtime/storage/log_reader.hpp"
#include "runtime/storage/meta.hpp"
#include "runtime/storage/snapshots.hpp"
#include "runtime/storage/wal.hpp"

namespace blixard::storage {
namespace {

/// What the three kinds of files hold, and what they amount to together.
struct findings {
  loaded_meta meta;
  log_walk walk;
  log_image log;
  found_snapshots snaps;
  bool restart_log = false;   // the log in the files is superseded by the snapshot
  log_index file_tail_index;  // last entry as the files have it
  blixard::term file_tail_term;
  recovery found;
};

void complain(findings& f, std::string file, std::string what, bool repairable = true) {
  // The first is told, but for one that no peer can repair: that decides.
  if (f.found.corrupt && (repairable || !f.found.corrupt->repairable)) return;
  f.found.corrupt = damage{std::move(file), 0, std::move(what), repairable};
}

/// The newest whole snapshot and the log must meet (RAFTLAB R3).
void join_snapshot(findings& f) {
  auto& snap = f.snaps.newest;
  for (const auto& name : f.snaps.bad)
    f.found.warnings.push_back("snap/" + name + " is damaged; an older one and the log replace it");
  if (snap.index < f.log.base_index()) {
    complain(f, "snap",
             "no readable snapshot reaches the log, which begins at " +
                 to_string(f.log.base_index().next()));
    f.log = log_image{};
    f.restart_log = true;
  }
  if (snap.empty()) return;
  f.restart_log |= f.log.install(snap.index, snap.term);
}

/// Term, vote and commit against the log.
void join_meta(findings& f) {
  auto& found = f.found;
  if (f.meta.damaged)
    complain(f, "meta", "term and vote are unreadable: this node may have voted and not know it",
             false);
  else if (f.meta.bad_copies != 0)
    found.warnings.push_back("meta: " + std::to_string(f.meta.bad_copies) +
                             " of 4 copies were damaged and are written again");
  found.hard = f.meta.state.hard;
  if (found.hard.commit > found.last_index)
    complain(f, "wal",
             "entries up to " + to_string(found.hard.commit) + " were committed, the log ends at " +
                 to_string(found.last_index));
  found.hard.commit = std::clamp(found.hard.commit, found.snap.index, found.last_index);
  // A lost record may have replaced entries that are still there: then those are not the committed
  // ones. Nothing but the snapshot is known to be.
  if (found.corrupt) found.hard.commit = found.snap.index;
  if (found.last_term > found.hard.term) found.hard = {found.last_term, {}, found.hard.commit};
}

/// Where to look and what is known about it.
struct place {
  const std::string& dir;
  identity owner;
  bool fresh = false;  // there is no node.json
};

result<findings> look(file_system& fs, const place& at, snapshots& snaps) {
  findings f;
  auto meta = meta_file::load(fs, at.dir, at.owner.node);
  if (!meta) return tl::unexpected(meta.error());
  f.meta = *meta;
  const log_listener listener{[&f](const segment_header& h) { return f.log.begin_segment(h); },
                              [&f](const seen_record& r) { return f.log.add(r); }};
  auto walk = walk_log(fs, at.dir + "/wal", at.owner.node, f.meta.state.durable, listener);
  if (!walk) return tl::unexpected(walk.error());
  f.walk = std::move(*walk);
  auto found_snaps = snaps.load();
  if (!found_snaps) return tl::unexpected(found_snaps.error());
  f.snaps = std::move(*found_snaps);
  f.found.corrupt = f.walk.corrupt;
  f.found.truncated_bytes = f.walk.torn_bytes;
  const bool has_data = !f.walk.live.empty() || !f.snaps.newest.empty();
  if (at.fresh && has_data)
    return fail(storage_errc::corrupt, at.dir + " holds data, but no node.json says whose");
  if (!at.fresh && f.meta.missing)
    complain(f, "meta", "the file with term and vote is missing", false);
  f.file_tail_index = f.log.last_index();
  f.file_tail_term = f.log.last_term();
  join_snapshot(f);
  f.found.snap = std::move(f.snaps.newest);
  f.found.last_index = f.log.last_index();
  f.found.last_term = f.log.last_term();
  f.found.entries = std::move(f.log.entries());
  join_meta(f);
  f.found.owner = at.owner;
  f.found.fresh = at.fresh;
  f.found.repair_to = f.meta.state.repair_to;
  return f;
}

/// Which term the entries of the written log have: one item per change of term.
class term_map {
 public:
  void reset(log_index base, blixard::term term) { runs_ = {{base, term}}; }
  void add(log_index index, blixard::term term) {
    while (!runs_.empty() && runs_.back().first >= index) runs_.pop_back();
    if (runs_.empty() || runs_.back().second != term) runs_.emplace_back(index, term);
  }
  /// The term at an index between base and tail; 0 where it is unknown.
  [[nodiscard]] blixard::term at(log_index index) const {
    const auto next = std::ranges::upper_bound(runs_, index, {}, &run::first);
    return next == runs_.begin() ? blixard::term{} : std::prev(next)->second;
  }
  /// Forgets what lies below an index.
  void drop_before(log_index index) {
    const auto next = std::ranges::upper_bound(runs_, index, {}, &run::first);
    if (next - runs_.begin() > 1) runs_.erase(runs_.begin(), std::prev(next));
  }

 private:
  using run = std::pair<log_index, blixard::term>;
  std::vector<run> runs_;
};

class disk_store final : public store {
 public:
  disk_store(file_system& fs, data_dir dir, const store_options& options)
      : fs_(fs),
        dir_(std::move(dir)),
        options_(options),
        snaps_(fs, dir_.snap_dir(), options.compression_level),
        incoming_(fs, dir_.snap_dir()) {}

  result<recovery> recover();

  result<void> write(std::span<const persist_batch> batches) override;
  result<void> sync() override;
  bool dirty() const noexcept override {
    return ready() && (log_->dirty() || vote_changed() || conf_committed());
  }
  result<bool> prepare() override;
  result<void> flush_hint() override;
  result<void> compact(log_index first) override;
  log_index first_index() const noexcept override;
  log_index last_index() const noexcept override { return tail_; }
  result<void> save_snapshot(const blixard::snapshot& snap) override;
  result<std::unique_ptr<snapshot_writer>> begin_snapshot(const blixard::snapshot& meta) override;
  result<void> commit_snapshot(std::unique_ptr<snapshot_writer> writer) override;
  result<blixard::snapshot> latest_snapshot() override;
  result<void> keep_incoming(const incoming_name& name, std::uint64_t offset,
                             std::span<const std::byte> bytes) override {
    if (!ready()) return refuse();
    return incoming_.add(name, offset, bytes);
  }
  result<void> set_cluster(cluster_id cluster) override { return dir_.set_cluster(cluster); }
  result<void> accept_damage() override;
  result<void> start_over(term known) override;
  result<void> repaired() override;
  const store_stats& stats() const noexcept override;

 private:
  [[nodiscard]] bool ready() const noexcept { return !damaged_; }
  [[nodiscard]] result<void> make_ready(const findings& f);
  [[nodiscard]] result<void> set_aside(log_walk& walk);
  [[nodiscard]] result<void> install(const blixard::snapshot& snap);
  /// `from`: the first batch that is not on the disk.
  [[nodiscard]] result<void> write_from(std::span<const persist_batch> batches, std::size_t& from);
  [[nodiscard]] result<void> flush(std::span<const persist_batch> staged);
  void stage(std::span<const entry> entries);
  [[nodiscard]] bool vote_changed() const noexcept {
    return hard_.term != durable_meta_.hard.term || hard_.vote != durable_meta_.hard.vote;
  }
  /// A configuration entry is known to be committed: a restart must not fall behind it, or it would
  /// campaign and count votes in a configuration that the others have left.
  [[nodiscard]] bool conf_committed() const noexcept {
    return !confs_.empty() && confs_.front() <= std::min(hard_.commit, kept_tail_);
  }
  void note_conf(const entry& e);
  [[nodiscard]] meta_state wanted_meta() const;
  [[nodiscard]] result<void> write_meta_durably(const meta_state& wanted);
  [[nodiscard]] tl::unexpected<storage_error> refuse() const {
    return fail(storage_errc::corrupt, dir_.path() + " is damaged and not repaired");
  }

  file_system& fs_;
  data_dir dir_;
  store_options options_;
  snapshots snaps_;
  incoming_file incoming_;
  std::unique_ptr<findings> damaged_;  // set: nothing is written before accept_damage()
  std::optional<meta_file> meta_;
  std::optional<wal> log_;
  term_map terms_;
  hard_state hard_;          // as handed in
  meta_state durable_meta_;  // what a power cut leaves at least
  log_index tail_;           // last index written
  log_index staged_tail_;    // with what is added and not flushed
  log_index durable_tail_;   // last index synced
  log_index kept_tail_;      // of that, what no unsynced write replaces
  log_index snapshot_index_;
  log_index repair_to_;
  std::vector<log_index> confs_;  // configuration entries above the durable commit, ascending
  std::optional<std::pair<log_index, blixard::term>> mark_;  // precedes the next record
  bool mark_staged_ = false;
  std::size_t kept_of_refused_ = 0;  // batches of a refused write that are on the disk already
  std::uint64_t snapshots_saved_ = 0;
  mutable store_stats stats_;
};

result<recovery> disk_store::recover() {
  auto looked = look(fs_, {dir_.path(), dir_.owner(), dir_.fresh()}, snaps_);
  if (!looked) return tl::unexpected(looked.error());
  recovery& found = looked->found;
  hard_ = found.hard;
  tail_ = staged_tail_ = durable_tail_ = kept_tail_ = found.last_index;
  snapshot_index_ = found.snap.index;
  repair_to_ = found.repair_to;
  terms_.reset(looked->log.base_index(), looked->log.base_term());
  for (const entry& e : found.entries) {
    terms_.add(e.index, e.term);
    if (e.index > found.hard.commit) note_conf(e);
  }
  if (looked->restart_log) mark_.emplace(found.snap.index, found.snap.term);
  recovery answer = std::move(found);
  answer.incoming = incoming_.load();
  if (answer.incoming && answer.incoming->name.index <= snapshot_index_) {
    answer.incoming.reset();
    incoming_.drop();
  }
  if (answer.corrupt) {
    damaged_ = std::make_unique<findings>(std::move(*looked));
    damaged_->found.corrupt = answer.corrupt;
    return answer;
  }
  if (auto done = make_ready(*looked); !done) return tl::unexpected(done.error());
  return answer;
}

/// Opens everything for writing. What was found becomes durable first: it may have been read from
/// the page cache that a process left which died before its sync.
result<void> disk_store::make_ready(const findings& f) {
  if (auto done = snaps_.tidy(f.snaps.bad); !done) return done;
  auto log = wal::open(fs_, dir_.wal_dir(), {dir_.owner().node, options_.segment_bytes}, f.walk,
                       f.file_tail_index, f.file_tail_term);
  if (!log) return tl::unexpected(log.error());
  log_.emplace(std::move(*log));
  durable_meta_ = wanted_meta();
  auto meta = meta_file::make(fs_, dir_.path(), dir_.owner().node, durable_meta_, f.meta.version);
  if (!meta) return tl::unexpected(meta.error());
  meta_.emplace(std::move(*meta));
  return dir_.fresh() ? dir_.claim() : result<void>{};
}

meta_state disk_store::wanted_meta() const {
  meta_state wanted{hard_, log_->durable(), durable_tail_, repair_to_};
  // A leader may commit on the others' disks before its own: the hint never runs ahead of the log,
  // nor does it vouch for synced entries whose successors at the same index are not synced yet.
  wanted.hard.commit = std::min(hard_.commit, kept_tail_);
  return wanted;
}

/// Adds entries, behind the mark that restarts the log where one is due.
void disk_store::stage(std::span<const entry> entries) {
  if (mark_ && !mark_staged_) {
    log_->add_snapshot_mark(mark_->first, mark_->second);
    mark_staged_ = true;
  }
  for (const entry& e : entries) {
    CHECK_LE(e.index, staged_tail_.next());
    CHECK_GT(e.index, snapshot_index_);
    log_->add(e);
    staged_tail_ = e.index;
  }
}

/// An entry takes the place of everything from its index on.
void disk_store::note_conf(const entry& e) {
  while (!confs_.empty() && confs_.back() >= e.index) confs_.pop_back();
  if (e.kind == entry_kind::conf) confs_.push_back(e.index);
}

/// Writes what is staged; only then does the state in memory follow.
result<void> disk_store::flush(std::span<const persist_batch> staged) {
  auto done = log_->flush();
  if (!done) {
    staged_tail_ = tail_;
    mark_staged_ = false;
    return done;
  }
  if (mark_staged_) mark_.reset();
  mark_staged_ = false;
  tail_ = staged_tail_;
  for (const auto& batch : staged) {
    if (!batch.entries.empty())
      kept_tail_ = std::min(kept_tail_, batch.entries.front().index.prev());
    for (const entry& e : batch.entries) {
      terms_.add(e.index, e.term);
      note_conf(e);
    }
    if (!batch.hard) continue;
    CHECK_GE(batch.hard->term, hard_.term);
    hard_ = *batch.hard;
  }
  return {};
}

result<void> disk_store::write(std::span<const persist_batch> batches) {
  if (!ready()) return refuse();
  CHECK_LE(kept_of_refused_, batches.size());
  std::size_t from = std::exchange(kept_of_refused_, 0);
  auto done = write_from(batches, from);
  if (!done && may_be_repeated(done.error().code)) kept_of_refused_ = from;
  return done;
}

result<void> disk_store::write_from(std::span<const persist_batch> batches, std::size_t& from) {
  for (std::size_t i = from; i < batches.size(); ++i) {
    if (batches[i].snap != nullptr) {
      // What precedes the snapshot is durable before it: a crash leaves a prefix.
      if (auto done = flush(batches.subspan(from, i - from)); !done) return done;
      from = i;
      if (auto done = log_->sync(); !done) return done;
      if (auto done = install(*batches[i].snap); !done) return done;
    }
    if (mark_ || !batches[i].entries.empty()) stage(batches[i].entries);
  }
  return flush(batches.subspan(from));
}

/// A snapshot from a peer: its file first, then (with the next flush) the restart of the log.
result<void> disk_store::install(const blixard::snapshot& snap) {
  if (const auto fault = BLIXARD_FAULT("snap.install"); fault.error != 0)
    return tl::unexpected(system_error(fault.error, "install a snapshot in", dir_.snap_dir()));
  if (auto done = save_snapshot(snap); !done) return done;
  incoming_.drop();
  const bool agrees = snap.index <= tail_ && terms_.at(snap.index) == snap.term;
  snapshot_index_ = snap.index;
  if (agrees) {
    terms_.drop_before(snap.index);
    return {};
  }
  mark_.emplace(snap.index, snap.term);
  terms_.reset(snap.index, snap.term);
  confs_.clear();
  kept_tail_ = std::min(kept_tail_, snap.index);
  tail_ = staged_tail_ = snap.index;
  return {};
}

result<void> disk_store::write_meta_durably(const meta_state& wanted) {
  if (const auto fault = BLIXARD_FAULT("meta.before_write"); fault.error != 0)
    return tl::unexpected(system_error(fault.error, "write", dir_.path() + "/meta"));
  if (auto done = meta_->write(wanted); !done) return done;
  if (planted(bug::vote_not_synced)) return {};
  if (auto done = meta_->sync(); !done) return done;
  (void)BLIXARD_FAULT("meta.after_sync");
  durable_meta_ = wanted;
  std::erase_if(confs_, [&](log_index i) { return i <= wanted.hard.commit; });
  return {};
}

result<void> disk_store::sync() {
  if (!ready()) return refuse();
  if (auto done = log_->sync(); !done) return done;
  durable_tail_ = kept_tail_ = tail_;
  // Log first, then term and vote: RAFTLAB R3. The commit hint alone can wait for prepare().
  if (vote_changed() || conf_committed()) return write_meta_durably(wanted_meta());
  return {};
}

result<void> disk_store::flush_hint() {
  if (!ready()) return refuse();
  const meta_state wanted = wanted_meta();
  if (wanted == durable_meta_ || vote_changed() || conf_committed()) return {};
  return write_meta_durably(wanted);
}

result<bool> disk_store::prepare() {
  if (!ready()) return tl::unexpected(refuse().value());
  // Not worth a sync: it outlives the process, and after a power cut an older one will do.
  const meta_state wanted = wanted_meta();
  if (!vote_changed() && !conf_committed() && wanted != meta_->written())
    if (auto done = meta_->write(wanted); !done) return tl::unexpected(done.error());
  return log_->prepare();
}

result<void> disk_store::compact(log_index first) {
  if (!ready()) return refuse();
  const log_index covered = snaps_.oldest_kept();
  if (!covered) return {};
  terms_.drop_before(covered);
  return log_->compact(std::min(first, covered.next()));
}

log_index disk_store::first_index() const noexcept {
  return ready() ? std::min(log_->first_index(), tail_.next()) : tail_.next();
}

result<void> disk_store::save_snapshot(const blixard::snapshot& snap) {
  if (!ready()) return refuse();
  if (auto done = snaps_.save(snap); !done) return done;
  ++snapshots_saved_;
  return {};
}

result<std::unique_ptr<snapshot_writer>> disk_store::begin_snapshot(const blixard::snapshot& meta) {
  if (!ready()) return refuse();
  return snaps_.begin(meta);
}

result<void> disk_store::commit_snapshot(std::unique_ptr<snapshot_writer> writer) {
  if (!ready()) return refuse();
  if (auto done = snaps_.commit(std::move(writer)); !done) return done;
  ++snapshots_saved_;
  return {};
}

result<blixard::snapshot> disk_store::latest_snapshot() {
  auto found = snaps_.load();
  if (!found) return tl::unexpected(found.error());
  return std::move(found->newest);
}

/// Renames the damaged segment and what follows it. The readable part of the damaged one is written
/// anew: what lies behind it must not be found again, nor the bad place be written again.
result<void> disk_store::set_aside(log_walk& walk) {
  const std::string dir = dir_.wal_dir();
  const auto names = fs_.list(dir);
  if (!names) return tl::unexpected(names.error());
  const std::uint64_t last = walk.live.empty() ? 0 : walk.live.back().sequence;
  for (const auto& name : *names) {
    const auto sequence = segment_sequence(name);
    if (!sequence || *sequence <= last) continue;
    if (auto done = fs_.rename(dir + "/" + name, dir + "/" + name + ".bad"); !done) return done;
  }
  if (!walk.corrupt || walk.live.empty()) return fs_.sync_dir(dir);
  const std::string name = segment_name(last);
  std::vector<std::byte> readable(walk.end.offset);
  {
    auto damaged = fs_.open(dir + "/" + name, open_mode::read);
    if (!damaged) return tl::unexpected(damaged.error());
    if (auto got = (*damaged)->pread(readable, 0); !got) return tl::unexpected(got.error());
  }
  if (auto done = fs_.rename(dir + "/" + name, dir + "/" + name + ".bad"); !done) return done;
  walk.live.back().file_bytes = walk.end.offset;
  walk.cut = false;
  return replace_file(fs_, dir, name, readable);
}

result<void> disk_store::accept_damage() {
  if (ready()) return {};
  if (!damaged_->found.corrupt->repairable) return refuse();
  findings& f = *damaged_;
  f.walk.spares.clear();
  f.walk.junk.clear();
  repair_to_ = std::max({f.meta.state.repair_to, f.meta.state.hard.commit, f.meta.state.last_index,
                         f.walk.highest_seen, log_index{1}});
  // That entries are missing is durable before the files that show it are out of the way.
  meta_state known = f.meta.state;
  known.hard = hard_;
  known.repair_to = repair_to_;
  if (auto made = meta_file::make(fs_, dir_.path(), dir_.owner().node, known, f.meta.version);
      !made)
    return tl::unexpected(made.error());
  f.meta.version += meta_file::versions_made;
  if (auto done = set_aside(f.walk); !done) return done;
  if (auto done = make_ready(f); !done) return done;
  damaged_.reset();
  // Also that the log starts anew, where it does, is so from now on.
  if (mark_) stage({});
  if (auto done = flush({}); !done) return done;
  return log_->sync();
}

result<void> disk_store::start_over(term known) {
  if (!ready()) return refuse();
  CHECK_EQ(tail_, log_index{});
  CHECK_GE(known, hard_.term);
  hard_ = {known, {}, {}};
  if (!planted(bug::repair_forgotten)) repair_to_ = log_index{1};  // how much it was nobody knows
  return write_meta_durably(wanted_meta());
}

result<void> disk_store::repaired() {
  if (!ready()) return refuse();
  repair_to_ = log_index{};
  if (auto done = sync(); !done) return done;
  return flush_hint();
}

const store_stats& disk_store::stats() const noexcept {
  if (!ready()) return stats_;
  stats_ = log_->counters();
  stats_.segments = log_->file_count();
  stats_.snapshots_saved = snapshots_saved_;
  return stats_;
}

}  // namespace

result<store::opened> store::open(file_system& fs, const std::string& dir,
                                  const store_options& options) {
  auto data = data_dir::open(fs, dir, options.owner);
  if (!data) return tl::unexpected(data.error());
  auto disk = std::make_unique<disk_store>(fs, std::move(*data), options);
  auto found = disk->recover();
  if (!found) return tl::unexpected(found.error());
  return opened{std::move(disk), std::move(*found)};
}

result<recovery> store::examine(file_system& fs, const std::string& dir) {
  const auto owner = stored_owner(fs, dir);
  if (!owner) return tl::unexpected(owner.error());
  snapshots snaps{fs, dir + "/snap", 1};
  auto looked = look(fs, {dir, *owner, false}, snaps);
  if (!looked) return tl::unexpected(looked.error());
  return std::move(looked->found);
}

}  // namespace blixard::storage
