#include "runtime/raft/transfer.hpp"

#include <algorithm>
#include <cstring>

#include "messages/check.hpp"
#include "runtime/base/planted.hpp"

namespace blixard::raft {
namespace {

constexpr std::uint64_t ns_per_second = 1'000'000'000;
// A pause of the sender is caught up with, but not more than this: a burst would be what the limit
// is there to prevent.
constexpr std::uint64_t burst_ns = 20'000'000;

constexpr std::size_t samples = 64;
constexpr std::size_t sample_bytes = 1 * limits::KiB;

// FNV-1a over 8 bytes at a time, with a final mix: tells apart what differs by accident.
std::uint64_t mix(std::uint64_t h, std::span<const std::byte> bytes) noexcept {
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const auto n = std::min(sizeof word, bytes.size());
    std::memcpy(&word, bytes.data(), n);
    h = (h ^ word ^ n) * 0x100000001B3ULL;
    h ^= h >> 29;
    bytes = bytes.subspan(n);
  }
  return h;
}

}  // namespace

snapshot_name name_of(const snapshot& s) noexcept {
  const auto all = s.data.bytes();
  std::uint64_t h = 0xCBF29CE484222325ULL;
  if (all.size() <= samples * sample_bytes) {
    h = mix(h, all);
  } else {
    const auto step = (all.size() - sample_bytes) / (samples - 1);
    for (std::size_t i = 0; i + 1 < samples; ++i) h = mix(h, all.subspan(i * step, sample_bytes));
    h = mix(h, all.last(sample_bytes));
  }
  return {s.index, s.term, all.size(), h};
}

void byte_rate::spend(std::uint64_t bytes, std::uint64_t now_ns) noexcept {
  if (per_second_ == 0) return;
  const auto earliest = now_ns - std::min(now_ns, burst_ns);
  // Bytes are those of one chunk, so that the product fits.
  free_at_ns_ = std::max(free_at_ns_, earliest) + bytes * ns_per_second / per_second_;
}

// ---------------------------------------------------------------- sender

snapshot_sender::snapshot_sender(std::shared_ptr<const snapshot> what, std::uint64_t now_ns,
                                 const transfer_limits& limits)
    : what_(std::move(what)), limits_(limits), name_(name_of(*what_)), heard_ns_(now_ns) {}

std::optional<snapshot_chunk> snapshot_sender::next(std::uint64_t now_ns) {
  if (complete_) return std::nullopt;
  if (asked_ && now_ns - std::min(now_ns, std::max(asked_ns_, heard_ns_)) > limits_.repeat_ns) {
    sent_ = acked_;
    asked_ = open_ = false;
  }
  const bool room = open_ ? sent_ - acked_ < limits_.window_bytes : !asked_;
  if (!room || (asked_ && sent_ == name_.total)) return std::nullopt;
  const auto size = std::min(limits_.chunk_bytes, name_.total - sent_);
  snapshot_chunk chunk{sent_, name_.total, what_->data.sub(sent_, size)};
  sent_ += size;
  asked_ = true;
  asked_ns_ = now_ns;
  return chunk;
}

void snapshot_sender::answered(std::uint64_t received, bool gap, std::uint64_t now_ns) {
  if (received > name_.total) return;
  if (gap) {
    // Others that were in flight say the same; one chunk is on its way to close the gap.
    if (!open_ && received == acked_) return;
    acked_ = sent_ = received;
    asked_ = open_ = false;
    return;
  }
  if (received > acked_) heard_ns_ = now_ns;
  open_ = true;
  acked_ = received;
  sent_ = std::max(sent_, received);
  asked_ = sent_ != acked_;
  complete_ = received == name_.total;
}

// ---------------------------------------------------------------- receiver

snapshot_receiver::answer snapshot_receiver::take(const snapshot_name& name,
                                                  const snapshot_chunk& chunk) {
  CHECK_LE(chunk.data.size(), name.total);
  CHECK_LE(chunk.offset, name.total - chunk.data.size());
  const bool fits = data_ && chunk.offset + chunk.data.size() <= name_.total;
  if (!data_ || (name != name_ && !(fits && planted(bug::chunk_of_another)))) {
    if (chunk.offset != 0) return {.received = 0, .gap = true, .fresh = {}};
    name_ = name;
    data_ = buffer::make(std::max<std::uint64_t>(name.total, 1));
    received_ = 0;
  }
  if (chunk.offset > received_ && !planted(bug::chunk_behind_a_gap))
    return {.received = received_, .gap = true, .fresh = {}};
  const auto known = received_ - std::min(received_, chunk.offset);
  if (known >= chunk.data.size()) return {.received = received_, .gap = false, .fresh = {}};
  auto fresh = chunk.data.sub(known, chunk.data.size() - known);
  std::memcpy(data_->data() + received_, fresh.data(), fresh.size());
  received_ += fresh.size();
  return {.received = received_, .gap = false, .fresh = std::move(fresh)};
}

void snapshot_receiver::resume(const snapshot_name& name, ref<buffer> data,
                               std::uint64_t received) {
  CHECK_LE(received, name.total);
  name_ = name;
  data_ = std::move(data);
  received_ = received;
}

slice snapshot_receiver::finish() {
  CHECK(complete());
  const auto* bytes = data_->data();
  slice all{std::move(data_), bytes, name_.total};
  data_ = nullptr;
  received_ = 0;
  name_ = {};
  return all;
}

// ---------------------------------------------------------------- the log behind it

void log_meter::appended(log_index index, std::uint64_t bytes) {
  while (!marks_.empty() && marks_.back().index > index) marks_.pop_back();
  if (marks_.empty() || index.value() >= marks_.back().index.value() + mark_entries_ ||
      total_ - marks_.back().before >= mark_bytes_)
    marks_.push_back({index, total_});
  total_ += bytes;
}

log_index log_meter::reach(std::uint64_t bytes) const noexcept {
  const auto fits = [&](const mark& m) { return total_ - m.before <= bytes; };
  const auto it = std::ranges::find_if(marks_, fits);
  if (it != marks_.end()) return it->index;
  return marks_.empty() ? log_index{} : marks_.back().index.plus(mark_entries_);
}

void log_meter::compacted(log_index first) {
  while (marks_.size() > 1 && marks_[1].index <= first) marks_.pop_front();
}

std::uint64_t payload_meter::added_by(const slice& payload) noexcept {
  const buffer* const owner = payload.owner().get();
  const bool more_of_it = owner == last_ && payload.data() >= end_;
  last_ = owner;
  end_ = payload.data() + payload.size();
  if (owner == nullptr) return payload.size();
  return more_of_it ? 0 : owner->capacity();
}

log_index first_to_keep(log_index taken, std::span<const peer_status> peers,
                        const log_retention& keep) noexcept {
  const auto back = [&](std::uint64_t entries) {
    return log_index{taken.value() - std::min(taken.value(), entries)};
  };
  log_index needed = back(keep.always);
  for (const auto& p : peers) {
    if (!p.recent_active && !p.pending_snapshot) continue;  // nobody knows when it will be back
    if (p.state == progress_state::probe && !p.match) continue;
    needed = std::min(needed, std::max(p.match, p.pending_snapshot));
  }
  return std::max(needed, back(std::max(keep.most, keep.always))).next();
}

shortened_log shorten(const status& s, const log_meter& bytes, const log_facts& own,
                      const log_limits& limits) {
  const bool somebody_waits = std::ranges::any_of(s.peers, [&](const peer_status& p) {
    return p.id != own.self && p.recent_active && !p.pending_snapshot && p.match.next() < s.first;
  });
  shortened_log out{.first = bytes.reach(limits.most_bytes),
                    .snapshot_needed = somebody_waits && own.sendable.next() < s.first};
  if (!somebody_waits) {  // else a snapshot is on its way, and the log goes on where it ends
    const auto enough = std::clamp(own.snapshot_bytes, limits.least_bytes, limits.most_bytes);
    const auto needed =
        first_to_keep(own.applied, s.peers, {.always = 0, .most = limits.keep.most});
    out.first = std::max(out.first, std::min(bytes.reach(enough), needed));
  }
  out.first = std::min(out.first, own.applied.next());
  return out;
}

}  // namespace blixard::raft
