// Snapshots on the raft actor's side: when to take one, how much of the log stays behind it, and
// the chunks of those that travel.
//
// What goes next and what has arrived is the business of raft/transfers; here is what belongs to a
// node: chunks are sub-slices of the snapshot (nothing is copied on the sending side), they take
// the bulk connection, and the receiver's WAL keeps what has arrived for a restart.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "actors/frames.hpp"
#include "actors/raft.hpp"
#include "runtime/state/machine.hpp"

namespace blixard::actors {
namespace {
// Entries kept behind a snapshot: for a follower that is only a little late, and for one that is
// being brought up. A leader under full load writes a million in ten seconds.
// What the log keeps in memory is bounded in any case, with a snapshot or without one. The least is
// the buffer that is being filled, and one more.
constexpr raft::log_limits log_bounds{.keep = {.always = 10'000, .most = 1'000'000},
                                      .most_bytes = 256 * limits::MiB,
                                      .least_bytes = 2 * limits::MiB};
// A member that has not answered for so long may never be back.
constexpr std::uint64_t silent_ns = 3'000'000'000;
}  // namespace

void raft_driver::start_snapshot_to(raft::message& m) {
  const auto to = m.to;
  const auto what = m.snapshot;
  if (!snapshots_out_.start(std::move(m), now())) return;
  metrics_.snapshots_sent.add();
  spdlog::info("sending snapshot {} ({} bytes) to node {}", what->index.value(), what->data.size(),
               to.value());
  pump_snapshots();
}

void raft_driver::pump_snapshots() {
  if (snapshots_out_.empty()) return;
  snapshots_out_.pump(now(), [this](const raft::message& m, const raft::snapshot_chunk& chunk) {
    send_chunk(m, chunk, true);
    metrics_.snapshot_bytes.add(chunk.data.size());
  });
  const bool ended = snapshots_out_.finish(now(), [this](node_id to, raft::report_kind what) {
    if (what == raft::report_kind::snapshot_failed)
      spdlog::warn("the snapshot for node {} does not get there", to.value());
    (void)core_.report(to, what);
  });
  if (ended || !outgoing_.frames.empty()) schedule_flush();
}

/// A chunk, or the answer to one: answers do not wait behind chunks.
void raft_driver::send_chunk(const raft::message& m, const raft::snapshot_chunk& chunk, bool bulk) {
  std::vector<slice> pieces;
  raft::encode_chunk(m, chunk, pieces);
  outgoing_.frames.push_back(
      {.to = m.to,
       .bulk = bulk,
       .frame = frame::make(
           {.kind = frame_kind::raft, .cls = bulk ? priority::low : priority::high, .target = m.to},
           std::move(pieces))});
}

void raft_driver::chunk_answered(const raft::decoded_message& d) {
  if (const auto* jumped = snapshots_out_.answered(d, now()))
    spdlog::info("the snapshot for node {} goes on at {} of {} bytes", d.msg.from.value(),
                 jumped->received(), jumped->name().total);
  pump_snapshots();
}

void raft_driver::receive_chunk(raft::decoded_message& d) {
  if (d.msg.reject) return chunk_answered(d);
  const auto& meta = *d.msg.snapshot;
  const bool known = leases_.knows(d.msg.from);
  if (!raft::snapshots_in::is_believable(core_, d.msg, known) ||
      d.chunk.total > limits::snapshot_max_bytes) {
    metrics_.invalid.add();
    return;
  }
  leader_contact_ns_ = now();
  hear_of_commit(meta.index);
  auto taken = snapshots_in_.take(core_, d);
  send_chunk(taken.answer, taken.state, false);
  const auto& name = taken.name;
  if (!taken.fresh.empty())
    send(to_.wal, keep_chunk{{name.index, name.term, name.total, name.content},
                             taken.offset,
                             std::move(taken.fresh)});
  if (!taken.whole) return;
  auto data = std::move(*taken.whole);
  if (data.empty() && facts_.witness) {
    // What its own start can load: a state machine that holds nothing, at the snapshot's place.
    state::machine nothing;
    nothing.stand_at(meta.index, meta.term);
    data = nothing.view().encode({facts_.cluster, meta.conf});
  }
  d.msg.snapshot =
      std::make_shared<const snapshot>(snapshot{meta.index, meta.term, meta.conf, std::move(data)});
  (void)core_.step(std::move(d.msg));
}

void raft_driver::maybe_take_snapshot() {
  if (taking_snapshot_) return;
  const bool due = somebody_needs_snapshot_ ||
                   (options_.snapshot_entries != 0 &&
                    applied_.value() >= snapshot_index_.value() + options_.snapshot_entries);
  if (!due && snapshot_askers_.empty()) return;
  // The configuration that goes with it must be the one at the snapshot's index, which is `handed_`
  // (node-state works in order): wait while a configuration entry is on its way.
  if (applied_ < last_conf_handed_) return;
  taking_snapshot_ = true;
  send(to_.state, take_snapshot{core_.configuration()});
}

void raft_driver::snapshot_is_stored(snapshot_stored& s) {
  taking_snapshot_ = false;
  auto askers = std::exchange(snapshot_askers_, {});
  if (s.snap.empty()) {
    // Not stored (disk full): the log is kept, and the next attempt waits for more entries, or a
    // second where somebody needs it.
    snapshot_index_ = applied_;
    no_snapshot_before_ = ticks_ + 100;
    for (const auto& a : askers)
      answer(a, make_error(errc::disk_full, "the snapshot could not be stored",
                           "free space in the data directory"));
    return;
  }
  metrics_.snapshots_taken.add();
  const auto index = s.snap.index;
  snapshot_bytes_ = s.snap.data.size();
  sendable_snapshot_ = std::max(sendable_snapshot_, index);
  snapshot_index_ = std::max(snapshot_index_, index);
  core_.set_snapshot(std::make_shared<const snapshot>(std::move(s.snap)));
  const auto first = first_to_keep(index);
  if (core_.compact(first)) {
    log_bytes_.compacted(first);
    send(to_.wal, compact_request{first.prev()});
  }
  for (const auto& a : askers) answer_done(a);
  schedule_flush();
}

// The core forgets at every check of its quorum who has answered; here the last answer counts.
raft::status raft_driver::status_with_silent() const {
  auto s = core_.status();
  for (auto& p : s.peers) {
    const auto it = active_ns_.find(p.id);
    p.recent_active = p.recent_active || (it != active_ns_.end() && now() - it->second < silent_ns);
  }
  return s;
}

void raft_driver::shorten_log() {
  const auto s = status_with_silent();
  const auto shorter = raft::shorten(
      s, log_bytes_, {core_.id(), applied_, sendable_snapshot_, snapshot_bytes_}, log_bounds);
  somebody_needs_snapshot_ = shorter.snapshot_needed && ticks_ >= no_snapshot_before_;
  if (somebody_needs_snapshot_) maybe_take_snapshot();
  if (shorter.first > s.first && core_.compact(shorter.first)) log_bytes_.compacted(shorter.first);
}

log_index raft_driver::first_to_keep(log_index taken) {
  const auto wanted = raft::first_to_keep(taken, status_with_silent().peers, log_bounds.keep);
  return std::min(std::max(wanted, log_bytes_.reach(log_bounds.most_bytes)), taken.next());
}

}  // namespace blixard::actors
