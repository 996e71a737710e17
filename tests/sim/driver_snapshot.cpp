// Snapshots on a node's side, as actors/raft_snapshot.cpp, actors/wal.cpp and
// actors/snapshot_worker.cpp: when one is taken, how it gets into its file beside the log, what of
// the log stays, and the chunks of those that travel on the bulk connection.
#include <algorithm>

#include "runtime/storage/packing.hpp"
#include "tests/sim/driver.hpp"

namespace blixard::sim {

// ---------------------------------------------------------------- on the way

void driver::start_snapshot_to(raft::message& m) {
  const auto to = m.to;
  const auto index = m.snapshot->index.value();
  const auto size = m.snapshot->data.size();
  if (!snapshots_out_.start(std::move(m), local_now())) return;
  world_.trace("snapshot_to", to, index, size);
  pump_snapshots();
}

void driver::pump_snapshots() {
  if (snapshots_out_.empty()) return;
  snapshots_out_.pump(local_now(), [this](const raft::message& m, const raft::snapshot_chunk& c) {
    send_chunk(m, c, true);
  });
  (void)snapshots_out_.finish(local_now(), [this](node_id to, raft::report_kind what) {
    world_.trace("snapshot_end", to, static_cast<std::uint64_t>(what), 0);
    (void)core_->report(to, what);
  });
}

void driver::send_chunk(const raft::message& m, const raft::snapshot_chunk& chunk, bool bulk) {
  pieces_.clear();
  raft::encode_chunk(m, chunk, pieces_);
  post({.from = where_.id,
        .to = m.to,
        .kind = frame_kind::raft,
        .cls = bulk ? priority::low : priority::high,
        .bulk = bulk,
        .body = joined(pieces_)});
}

void driver::receive_chunk(raft::decoded_message& d) {
  if (d.msg.reject) {
    if (const auto* jumped = snapshots_out_.answered(d, local_now()))
      world_.trace("goes_on", d.msg.from, jumped->received(), jumped->name().total);
    return pump_snapshots();
  }
  const auto& meta = *d.msg.snapshot;
  if (!raft::snapshots_in::is_believable(*core_, d.msg, leases_.knows(d.msg.from))) return;
  auto taken = snapshots_in_.take(*core_, d);
  send_chunk(taken.answer, taken.state, false);
  const auto& name = taken.name;
  if (!taken.fresh.empty())
    submit(disk_job{.keep = kept_chunk{{name.index, name.term, name.total, name.content},
                                       taken.offset,
                                       std::move(taken.fresh)}});
  if (!taken.whole) return;
  auto data = std::move(*taken.whole);
  if (data.empty() && where_.witness) {
    state::machine nothing;
    nothing.stand_at(meta.index, meta.term);
    data = nothing.view().encode({cluster_id{1}, meta.conf});
  }
  d.msg.snapshot =
      std::make_shared<const snapshot>(snapshot{meta.index, meta.term, meta.conf, std::move(data)});
  (void)core_->step(std::move(d.msg));
}

// ---------------------------------------------------------------- of the own state

void driver::maybe_take_snapshot() {
  if (taking_snapshot_) return;
  if (!somebody_needs_snapshot_ &&
      applied_.value() < snapshot_index_.value() + common_.snapshot_entries)
    return;
  // Its configuration must be the one at its index, which is what was handed out.
  if (applied_ < last_conf_handed_) return;
  taking_snapshot_ = true;
  submit(task{.take_snapshot = core_->configuration()});
}

void driver::take_snapshot(const conf_state& conf) {
  const auto view = machine_.view();
  snapshot s{.index = view.index(), .term = view.term(), .conf = conf};
  s.data = view.encode({cluster_id{1}, conf});
  if (common_.packed_snapshots) {
    storage::packer packed;
    packed.add(s.data.bytes());
    s.data = packed.finish();
  }
  submit(disk_job{.save = std::move(s)});
}

// The file is filled away from the log, which goes on meanwhile.
void driver::begin_filing(snapshot&& s) {
  auto writer = disk_->begin_snapshot(s);
  if (!writer) return filing_failed();
  filing_ = {std::move(s), std::move(*writer)};
  world_.wake(where_.id, turn::filer);
}

void driver::fill_file() {
  auto done = filing_.writer->append(filing_.what.data.bytes());
  if (done) done = filing_.writer->finish();
  if (!done) return filing_failed();
  submit(disk_job{.place = true});
}

void driver::put_in_place() {
  if (!disk_->commit_snapshot(std::move(filing_.writer))) return filing_failed();
  where_.durable.take_snapshot(filing_.what);
  auto s = std::exchange(filing_.what, {});
  taking_snapshot_ = false;
  snapshot_bytes_ = s.data.size();
  sendable_snapshot_ = std::max(sendable_snapshot_, s.index);
  snapshot_index_ = std::max(snapshot_index_, s.index);
  const auto first = first_to_keep(s.index);
  core_->set_snapshot(std::make_shared<const snapshot>(std::move(s)));
  if (!core_->compact(first)) return;
  log_bytes_.compacted(first);
  submit(disk_job{.compact = first});
}

// The log is kept, and the next attempt waits for more entries, or a while where somebody needs it.
// Without power there is no next one.
void driver::filing_failed() {
  if (!where_.disk.has_power()) throw process_ended{"no power"};
  filing_ = {};
  taking_snapshot_ = false;
  snapshot_index_ = applied_;
  no_snapshot_before_ = ticks_ + 20;
}

// ---------------------------------------------------------------- the log behind them

// The core forgets at every check of its quorum who has answered; here the last answer counts.
raft::status driver::status_with_silent() {
  auto s = core_->status();
  const auto now = local_now();
  for (auto& p : s.peers) {
    auto& last = active_ns_[p.id];
    if (p.recent_active) last = now;
    p.recent_active = last != 0 && now - last < common_.silent_ns;
  }
  return s;
}

void driver::shorten_log() {
  const auto s = status_with_silent();
  const auto shorter = raft::shorten(
      s, log_bytes_, {where_.id, applied_, sendable_snapshot_, snapshot_bytes_}, common_.log);
  somebody_needs_snapshot_ = shorter.snapshot_needed && ticks_ >= no_snapshot_before_;
  if (somebody_needs_snapshot_) maybe_take_snapshot();
  if (shorter.first > s.first && core_->compact(shorter.first)) log_bytes_.compacted(shorter.first);
}

log_index driver::first_to_keep(log_index taken) {
  const auto& log = common_.log;
  const auto wanted = raft::first_to_keep(taken, status_with_silent().peers, log.keep);
  return std::min(std::max(wanted, log_bytes_.reach(log.most_bytes)), taken.next());
}

}  // namespace blixard::sim
