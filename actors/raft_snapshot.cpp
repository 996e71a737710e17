// Snapshots on the raft actor's side: when to take one, how much of the log stays behind it, and
// the chunks of those that travel.
//
// What goes next and what has arrived is the business of raft/transfer; here is what belongs to a
// node: chunks are sub-slices of the snapshot (nothing is copied on the sending side), they take
// the bulk connection, all transfers share one limit of bytes per second, and the receiver's WAL
// keeps what has arrived for a restart. An answer is a snapshot message with `reject`: its offset
// is what the receiver has, `notice` says that the chunk did not follow it.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "actors/frames.hpp"
#include "actors/raft.hpp"
#include "runtime/state/machine.hpp"

namespace blixard::actors {
namespace {
// Entries kept behind a snapshot: for a follower that is only a little late, and for one that is
// being brought up. A leader under full load writes a million in ten seconds.
constexpr raft::log_retention retention{.always = 10'000, .most = 1'000'000};
constexpr std::uint64_t kept_max_bytes = 256 * limits::MiB;
// What the log keeps in memory in any case, with a snapshot or without one.
constexpr std::uint64_t kept_min_bytes = limits::MiB;
// A member that has not answered for so long may never be back.
constexpr std::uint64_t silent_ns = 3'000'000'000;
}  // namespace

void raft_driver::start_snapshot_to(raft::message& m) {
  const auto name = raft::name_of(*m.snapshot);
  const auto to = m.to;
  if (const auto it = snapshots_out_.find(to); it != snapshots_out_.end()) {
    if (it->second.sender.name() == name) return;
    snapshots_out_.erase(it);
  }
  metrics_.snapshots_sent.add();
  spdlog::info("sending snapshot {} ({} bytes) to node {}", name.index.value(), name.total,
               to.value());
  raft::snapshot_sender plan{m.snapshot, now()};
  m.nonce = name.content;
  snapshots_out_.emplace(to, outgoing_snapshot{std::move(m), std::move(plan)});
  pump_snapshots();
}

// In turns, a chunk for each, as long as anybody may have one and the limit allows it.
void raft_driver::pump_snapshots() {
  if (snapshots_out_.empty()) return;
  for (bool any = true; any;) {
    any = false;
    for (auto& [to, out] : snapshots_out_)
      if (snapshot_rate_.allows(now())) any = send_chunk(out) || any;
  }
  finish_snapshots();
}

bool raft_driver::send_chunk(outgoing_snapshot& out) {
  const auto chunk = out.sender.next(now());
  if (!chunk) return false;
  std::vector<slice> pieces;
  raft::encode_chunk(out.message, *chunk, pieces);
  const auto to = out.message.to;
  outgoing_.frames.push_back(
      {.to = to,
       .bulk = true,
       .frame = frame::make({.kind = frame_kind::raft, .cls = priority::low, .target = to},
                            std::move(pieces))});
  snapshot_rate_.spend(chunk->data.size(), now());
  metrics_.snapshot_bytes.add(chunk->data.size());
  return true;
}

void raft_driver::finish_snapshots() {
  const auto ended = std::erase_if(snapshots_out_, [this](const auto& item) {
    const auto& [to, out] = item;
    const bool lost = out.sender.stalled(now());
    if (!out.sender.complete() && !lost) return false;
    if (lost) spdlog::warn("the snapshot for node {} does not get there", to.value());
    (void)core_.report(to,
                       lost ? raft::report_kind::snapshot_failed : raft::report_kind::snapshot_ok);
    return true;
  });
  if (ended != 0 || !outgoing_.frames.empty()) schedule_flush();
}

void raft_driver::chunk_answered(const raft::decoded_message& d) {
  const auto it = snapshots_out_.find(d.msg.from);
  if (it == snapshots_out_.end()) return;
  auto& out = it->second.sender;
  const auto& meta = *d.msg.snapshot;
  if (out.name() != raft::snapshot_name{meta.index, meta.term, d.chunk.total, d.msg.nonce}) return;
  const auto before = out.received();
  out.answered(d.chunk.offset, d.msg.notice, now());
  if (d.chunk.offset > before + raft::transfer_window_bytes || d.msg.notice)
    spdlog::info("the snapshot for node {} goes on at {} of {} bytes", d.msg.from.value(),
                 out.received(), out.name().total);
  pump_snapshots();
}

void raft_driver::answer_chunk(const raft::message& m, const raft::snapshot_chunk& state,
                               bool gap) {
  raft::message a{raft::message_type::snapshot, core_.id(), m.from};
  a.term = core_.current_term();
  a.reject = true;
  a.notice = gap;
  a.nonce = m.nonce;
  a.snapshot =
      std::make_shared<const snapshot>(snapshot{m.snapshot->index, m.snapshot->term, {}, {}});
  std::vector<slice> pieces;
  raft::encode_chunk(a, state, pieces);
  outgoing_.frames.push_back(
      {.to = m.from,
       .bulk = false,
       .frame = frame::make({.kind = frame_kind::raft, .cls = priority::high, .target = m.from},
                            std::move(pieces))});
}

void raft_driver::receive_chunk(raft::decoded_message& d) {
  if (d.msg.reject) return chunk_answered(d);
  const auto& meta = *d.msg.snapshot;
  // Judged before memory is taken for it: what the core would refuse, and sizes that cannot be. A
  // damaged log may have forgotten who the members are.
  const auto& conf = core_.configuration();
  const bool strange = conf.contains(core_.id()) && !conf.contains(d.msg.from) &&
                       !leases_.knows(d.msg.from) && !core_.recovering();
  if (d.msg.term < core_.current_term() || strange || d.chunk.total > limits::snapshot_max_bytes) {
    metrics_.invalid.add();
    return;
  }
  leader_contact_ns_ = now();
  hear_of_commit(meta.index);
  if (meta.index <= core_.commit() && !core_.recovering()) {
    answer_chunk(d.msg, {d.chunk.total, d.chunk.total, {}}, false);  // it has come another way
    return;
  }
  const raft::snapshot_name name{meta.index, meta.term, d.chunk.total, d.msg.nonce};
  auto taken = snapshot_in_.take(name, d.chunk);
  answer_chunk(d.msg, {taken.received, name.total, {}}, taken.gap);
  if (!taken.fresh.empty() && !snapshot_in_.complete())
    send(to_.wal, keep_chunk{{name.index, name.term, name.total, name.content},
                             taken.received - taken.fresh.size(),
                             std::move(taken.fresh)});
  if (taken.gap || !snapshot_in_.complete()) return;
  auto data = snapshot_in_.finish();
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

// The log in memory is for members that are late; a restart reads the one on the disk. So memory
// does not have to wait for a snapshot: it keeps what members that answer still need, and for those
// that may come back as many bytes as a snapshot would send them. Who needs more than that gets a
// snapshot, which is taken then.
void raft_driver::shorten_log() {
  const auto s = status_with_silent();
  const bool somebody_waits = std::ranges::any_of(s.peers, [&](const raft::peer_status& p) {
    return p.id != core_.id() && p.recent_active && !p.pending_snapshot && p.match.next() < s.first;
  });
  somebody_needs_snapshot_ =
      somebody_waits && sendable_snapshot_.next() < s.first && ticks_ >= no_snapshot_before_;
  if (somebody_needs_snapshot_) maybe_take_snapshot();
  auto first = log_bytes_.reach(kept_max_bytes);
  if (!somebody_waits) {  // else a snapshot is on its way, and the log goes on where it ends
    const auto enough = std::clamp(snapshot_bytes_, kept_min_bytes, kept_max_bytes);
    const auto needed =
        raft::first_to_keep(applied_, s.peers, {.always = 0, .most = retention.most});
    first = std::max(first, std::min(log_bytes_.reach(enough), needed));
  }
  first = std::min(first, applied_.next());
  if (first > s.first && core_.compact(first)) log_bytes_.compacted(first);
}

log_index raft_driver::first_to_keep(log_index taken) {
  const auto wanted = raft::first_to_keep(taken, status_with_silent().peers, retention);
  return std::min(std::max(wanted, log_bytes_.reach(kept_max_bytes)), taken.next());
}

}  // namespace blixard::actors
