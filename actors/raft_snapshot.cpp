// Snapshots on the raft actor's side: when to take one, sending it to a follower in chunks on the
// bulk connection, and putting received chunks together.
//
// A chunk is a sub-slice of the snapshot: nothing is copied on the sending side. The sender hands
// over only what the bulk connection has room for (a snapshot's progress is asked of at every
// tick), the receiver takes chunks in order and starts over at offset 0; a lost chunk is noticed by
// the sender's deadline and reported to the core, which then sends the snapshot again.
#include <spdlog/spdlog.h>

#include "actors/frames.hpp"
#include "actors/raft.hpp"

namespace blixard::actors {
namespace {
constexpr std::uint64_t chunks_per_tick = 4;
constexpr std::uint64_t stalled_ns = 10'000'000'000;  // no end after the last chunk: start over
// Entries kept behind a snapshot, so that a follower that is only a little late needs no snapshot.
constexpr std::uint64_t kept_entries = 10'000;
}  // namespace

void raft_driver::start_snapshot_to(raft::message& m) {
  metrics_.snapshots_sent.add();
  spdlog::info("sending snapshot {} ({} bytes) to node {}", m.snapshot->index.value(),
               m.snapshot->data.size(), m.to.value());
  const auto to = m.to;
  snapshots_out_.insert_or_assign(to, outgoing_snapshot{std::move(m), 0, now()});
  pump_snapshots();
}

void raft_driver::pump_snapshots() {
  for (auto it = snapshots_out_.begin(); it != snapshots_out_.end();) {
    auto& [to, out] = *it;
    const auto& data = out.message.snapshot->data;
    const bool sent = out.offset >= data.size() && out.offset != 0;
    if (now() - out.progress_ns > stalled_ns) {
      (void)core_.report(
          to, sent ? raft::report_kind::snapshot_ok : raft::report_kind::snapshot_failed);
      it = snapshots_out_.erase(it);
      schedule_flush();
      continue;
    }
    for (std::uint64_t n = 0; n < chunks_per_tick && (out.offset < data.size() || out.offset == 0);
         ++n) {
      const auto size =
          std::min<std::uint64_t>(limits::snapshot_chunk_bytes, data.size() - out.offset);
      std::vector<slice> pieces;
      raft::encode_chunk(out.message,
                         raft::snapshot_chunk{out.offset, data.size(), data.sub(out.offset, size)},
                         pieces);
      outgoing_.frames.push_back(
          {.to = to,
           .bulk = true,
           .frame = frame::make({.kind = frame_kind::raft, .cls = priority::low, .target = to},
                                std::move(pieces))});
      out.offset += size;
      out.progress_ns = now();
      if (data.empty()) break;
    }
    if (out.offset >= data.size()) {
      (void)core_.report(to, raft::report_kind::snapshot_ok);
      it = snapshots_out_.erase(it);
      schedule_flush();
      continue;
    }
    ++it;
  }
}

void raft_driver::receive_chunk(raft::decoded_message& d) {
  const auto& meta = *d.msg.snapshot;
  // Judged before memory is taken for it: what the core would refuse, and sizes that cannot be. A
  // damaged log may have forgotten who the members are.
  const auto& conf = core_.configuration();
  const bool strange = conf.contains(core_.id()) && !conf.contains(d.msg.from) &&
                       !leases_.knows(d.msg.from) && !core_.recovering();
  if (d.msg.term < core_.current_term() || strange || d.chunk.total > limits::snapshot_max_bytes ||
      d.chunk.offset > d.chunk.total || d.chunk.data.size() > d.chunk.total - d.chunk.offset) {
    metrics_.invalid.add();
    return;
  }
  auto& in = snapshots_in_[d.msg.from];
  if (d.chunk.offset == 0) {
    in = {.index = meta.index,
          .term = meta.term,
          .data = buffer::make(d.chunk.total),
          .total = d.chunk.total};
  }
  const bool fits = in.index == meta.index && in.term == meta.term &&
                    in.received == d.chunk.offset && in.total == d.chunk.total;
  if (!fits) return;
  std::memcpy(in.data->data() + in.received, d.chunk.data.data(), d.chunk.data.size());
  in.received += d.chunk.data.size();
  leader_contact_ns_ = now();
  if (in.received < in.total) return;
  const auto* bytes = in.data->data();
  d.msg.snapshot = std::make_shared<const snapshot>(
      snapshot{meta.index, meta.term, meta.conf, slice{std::move(in.data), bytes, in.total}});
  snapshots_in_.erase(d.msg.from);
  (void)core_.step(std::move(d.msg));
}

void raft_driver::maybe_take_snapshot() {
  if (taking_snapshot_) return;
  const bool due = options_.snapshot_entries != 0 &&
                   applied_.value() >= snapshot_index_.value() + options_.snapshot_entries;
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
    // Not stored (disk full): the log is kept, and the next attempt waits for more entries.
    snapshot_index_ = applied_;
    for (const auto& a : askers)
      answer(a, make_error(errc::disk_full, "the snapshot could not be stored",
                           "free space in the data directory"));
    return;
  }
  metrics_.snapshots_taken.add();
  const auto index = s.snap.index;
  snapshot_index_ = index;
  core_.set_snapshot(std::make_shared<const snapshot>(std::move(s.snap)));
  const auto first = log_index{index.value() - std::min(index.value(), kept_entries) + 1};
  if (core_.compact(first)) send(to_.wal, compact_request{first.prev()});
  for (const auto& a : askers) answer_done(a);
  schedule_flush();
}

}  // namespace blixard::actors
