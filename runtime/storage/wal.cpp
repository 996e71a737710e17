#include "runtime/storage/wal.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "messages/check.hpp"
#include "runtime/base/fault.hpp"
#include "runtime/storage/checksum.hpp"

namespace blixard::storage {
namespace {

/// Zeroed at the first start, before anything is written.
constexpr std::uint64_t first_fill_bytes = 1 * limits::MiB;
constexpr std::uint64_t slice_bytes = 256 * limits::KiB;
/// Recycled files kept ready; more are removed.
constexpr std::uint64_t spares_max = 2;
/// Header of a record and the padding of the one before.
constexpr std::size_t head_room = record_header_bytes + record_align;

constexpr std::array<std::byte, 64 * limits::KiB> zeros{};

iovec piece(const void* data, std::size_t size) { return {const_cast<void*>(data), size}; }

tl::unexpected<storage_error> refuse() {
  return fail(storage_errc::io, "the log had an error before and is not used any more");
}

}  // namespace

result<wal> wal::open(file_system& fs, const std::string& dir, const wal_options& options,
                      const log_walk& walk, log_index tail_index, blixard::term tail_term) {
  wal w{fs, dir, options};
  w.live_.assign(walk.live.begin(), walk.live.end());
  w.end_ = w.durable_ = walk.end;
  w.previous_ = walk.previous;
  w.rotate_ = walk.cut;
  w.tail_index_ = tail_index;
  w.tail_term_ = tail_term;
  if (!w.live_.empty()) {
    auto handle = fs.open(w.path(w.live_.back().sequence), open_mode::write);
    if (!handle) return tl::unexpected(handle.error());
    w.current_ = std::move(*handle);
    w.filled_ = w.live_.back().file_bytes;
    if (auto done = w.settle(walk.settled); !done) return tl::unexpected(done.error());
  }
  std::uint64_t next =
      w.live_.empty() ? std::max<std::uint64_t>(walk.end.segment, 1) : w.live_.back().sequence + 1;
  if (w.live_.empty()) w.end_ = w.durable_ = {};
  for (const auto sequence : walk.junk)
    if (auto done = fs.unlink(w.path(sequence)); !done) return tl::unexpected(done.error());
  for (const auto sequence : walk.spares) {
    if (sequence != next) {
      if (auto done = fs.unlink(w.path(sequence)); !done) return tl::unexpected(done.error());
      continue;
    }
    auto handle = fs.open(w.path(sequence), open_mode::write);
    if (!handle) return tl::unexpected(handle.error());
    const auto size = (*handle)->size();
    if (!size) return tl::unexpected(size.error());
    w.spares_.push_back({sequence, *size, std::move(*handle), *size >= options.segment_bytes});
    ++next;
  }
  if (auto done = fs.sync_dir(dir); !done) return tl::unexpected(done.error());
  if (w.live_.empty() && w.spares_.empty()) {
    if (auto done = w.make_spare(); !done) return tl::unexpected(done.error());
    spare& first = w.spares_.front();
    const std::uint64_t to = std::min<std::uint64_t>(options.segment_bytes, first_fill_bytes);
    if (auto done = w.fill(*first.handle, first.filled, to); !done)
      return tl::unexpected(done.error());
    if (auto done = first.handle->sync(); !done) return tl::unexpected(done.error());
    first.ready = to == options.segment_bytes;
  }
  return w;
}

/// What was found may have been read from the page cache that a process left. After a failed sync
/// such pages count as clean, and no later sync writes them (Rebello et al. 2020, "Can applications
/// recover from fsync failures?"): what the log itself does not know to be durable is written
/// again.
result<void> wal::settle(wal_position settled) {
  const std::uint64_t end = end_.offset;
  std::vector<std::byte> again;
  std::uint64_t at =
      settled.segment == end_.segment ? std::min<std::uint64_t>(settled.offset, end) : 0;
  while (at < end) {
    again.resize(static_cast<std::size_t>(std::min(end - at, slice_bytes)));
    const auto got = current_->pread(again, at);
    if (!got) return tl::unexpected(got.error());
    again.resize(*got);
    if (again.empty()) break;
    if (auto done = current_->pwrite(again, at); !done) return done;
    at += again.size();
  }
  return current_->sync();
}

void wal::add(const entry& e) {
  CHECK_LE(e.data.size(), record_max_payload);
  const auto type = e.kind == entry_kind::conf ? record_type::conf : record_type::normal;
  pending_.push_back({type, e.index, e.term, e.data.bytes()});
}

void wal::add_snapshot_mark(log_index index, blixard::term term) {
  pending_.push_back({record_type::snapshot, index, term, {}});
}

std::uint64_t wal::pending_bytes() const noexcept {
  std::uint64_t total = 0;
  for (const auto& p : pending_) total += record_bytes(p.payload.size());
  return total;
}

result<void> wal::flush() {
  if (pending_.empty()) return {};
  if (failed_) return refuse();
  const std::uint64_t total = pending_bytes();
  CHECK_LT(segment_header_bytes + total, segment_max_bytes);
  const bool full =
      end_.offset > segment_header_bytes && end_.offset + total > options_.segment_bytes;
  const bool new_segment = !current_ || rotate_ || full;
  auto done = [&]() -> result<void> {
    if (new_segment && current_ && dirty())
      if (auto synced = sync(); !synced) return synced;
    if (new_segment && spares_.empty())
      if (auto made = make_spare(); !made) return made;
    if (new_segment)
      if (auto named = settle_names(); !named) return named;
    return encode_and_write(new_segment, total);
  }();
  if (done) commit_pending(new_segment);
  pending_.clear();
  if (!done && !may_be_repeated(done.error().code)) failed_ = true;
  return done;
}

/// Appends the pieces of one record: padding of the one before and this header, then the payload.
void wal::gather(std::span<const std::byte> head, const pending& record) {
  pieces_.push_back(piece(head.data(), head.size()));
  if (!record.payload.empty())
    pieces_.push_back(piece(record.payload.data(), record.payload.size()));
}

result<void> wal::encode_and_write(bool new_segment, std::uint64_t total) {
  const std::uint64_t sequence = new_segment ? spares_.front().sequence : end_.segment;
  pieces_.clear();
  if (new_segment) {
    segment_block_ =
        encode_segment({sequence, options_.node, end_, previous_, tail_index_, tail_term_});
    pieces_.push_back(piece(segment_block_.data(), segment_block_.size()));
  }
  if (heads_.size() < pending_.size() * head_room) heads_.resize(pending_.size() * head_room);
  next_previous_ = previous_;
  std::byte* at = heads_.data();
  std::size_t padding = 0;
  for (const auto& p : pending_) {
    const std::byte* from = at;
    at = std::fill_n(at, padding, std::byte{});
    const record_header head{static_cast<std::uint32_t>(p.payload.size()),
                             p.type,
                             static_cast<std::uint32_t>(sequence),
                             next_previous_,
                             p.index,
                             p.term,
                             durable_};
    next_previous_ = encode_record(at, head, p.payload);
    at += record_header_bytes;
    gather({from, at}, p);
    padding = padded(p.payload.size()) - p.payload.size();
  }
  if (padding != 0) pieces_.push_back(piece(zeros.data(), padding));

  if (const auto fault = BLIXARD_FAULT("wal.before_write"); fault.error != 0)
    return tl::unexpected(system_error(fault.error, "write", path(sequence)));
  else if (fault.short_bytes < total)
    return write_short(fault.short_bytes, new_segment);
  file& f = new_segment ? *spares_.front().handle : *current_;
  if (auto done = f.pwritev(pieces_, new_segment ? 0 : end_.offset); !done) return done;
  if (const auto fault = BLIXARD_FAULT("wal.after_write"); fault.error != 0)
    return tl::unexpected(system_error(fault.error, "write", path(sequence)));
  return {};
}

/// A fault point's doing: the disk takes only the first bytes.
result<void> wal::write_short(std::size_t bytes, bool new_segment) {
  file& f = new_segment ? *spares_.front().handle : *current_;
  std::uint64_t at = new_segment ? 0 : end_.offset;
  for (const iovec& one : pieces_) {
    const std::size_t n = std::min(bytes, one.iov_len);
    if (auto done = f.pwrite({static_cast<const std::byte*>(one.iov_base), n}, at); !done)
      return done;
    at += n;
    bytes -= n;
  }
  return tl::unexpected(system_error(EIO, "write all of", dir_));
}

/// The write has happened: everything in memory follows.
void wal::commit_pending(bool new_segment) {
  const std::uint64_t total = pending_bytes();
  if (new_segment) {
    spare next = std::move(spares_.front());
    spares_.pop_front();
    current_ = std::move(next.handle);
    filled_ = next.filled;
    live_.push_back({next.sequence, next.filled, tail_index_, log_index{}});
    end_ = {next.sequence, segment_header_bytes};
    counters_.bytes += segment_header_bytes;
    rotate_ = false;
  }
  for (const auto& p : pending_) {
    tail_index_ = p.index;
    tail_term_ = p.term;
    if (p.type == record_type::snapshot) continue;
    live_.back().max_index = std::max(live_.back().max_index, p.index);
    ++counters_.entries;
  }
  end_.offset += total;
  filled_ = std::max(filled_, end_.offset);
  live_.back().file_bytes = filled_;
  previous_ = next_previous_;
  last_write_bytes_ = total;
  counters_.bytes += total;
  ++counters_.writes;
}

result<void> wal::sync() {
  if (failed_) return refuse();
  if (!dirty()) return {};
  auto done = [&]() -> result<void> {
    if (const auto fault = BLIXARD_FAULT("wal.sync"); fault.error != 0)
      return tl::unexpected(system_error(fault.error, "sync", path(end_.segment)));
    return current_->sync();
  }();
  if (!done) {
    failed_ = true;
    // A full disk must not be taken for a lesser problem here: what was written may be gone.
    done.error().code = storage_errc::io;
    return done;
  }
  durable_ = end_;
  ++counters_.syncs;
  (void)BLIXARD_FAULT("wal.after_sync");
  return {};
}

result<void> wal::make_spare() {
  std::uint64_t sequence = 1;
  if (!live_.empty()) sequence = live_.back().sequence + 1;
  if (!spares_.empty()) sequence = spares_.back().sequence + 1;
  auto handle = fs_->open(path(sequence), open_mode::create_new);
  if (!handle) return tl::unexpected(handle.error());
  names_unsynced_ = true;
  if (auto done = settle_names(); !done) return done;
  spares_.push_back({sequence, 0, std::move(*handle), false});
  return {};
}

/// The names of the files are durable. Without a descriptor for the folder they are not yet, and no
/// segment is begun before.
result<void> wal::settle_names() {
  if (!names_unsynced_) return {};
  if (auto done = fs_->sync_dir(dir_); !done) return done;
  names_unsynced_ = false;
  return {};
}

result<void> wal::fill(file& f, std::uint64_t& filled, std::uint64_t to) {
  const std::uint64_t from = filled;
  pieces_.clear();
  for (std::uint64_t at = from; at < to; at += zeros.size())
    pieces_.push_back(piece(
        zeros.data(), static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), to - at))));
  if (auto done = f.pwritev(pieces_, from); !done) return done;
  f.start_writeback(from, to - from);
  filled = to;
  return {};
}

result<bool> wal::prepare() {
  if (failed_) return refuse();
  const std::uint64_t slice = std::max(slice_bytes, 2 * last_write_bytes_);
  const std::uint64_t size = options_.segment_bytes;
  // The whole segment at once, a slice per sync: while the file does not grow, a sync has no inode
  // to write. Recycled segments are full from the start.
  if (current_ && filled_ < size) {
    if (auto done = fill(*current_, filled_, std::min(size, filled_ + slice)); !done)
      return tl::unexpected(done.error());
    live_.back().file_bytes = filled_;
    return true;
  }
  if (!current_ || end_.offset < size / 2) return false;
  if (spares_.empty())
    if (auto done = make_spare(); !done) return tl::unexpected(done.error());
  spare& next = spares_.front();
  if (next.ready) return false;
  if (next.filled < size) {
    if (auto done = fill(*next.handle, next.filled, std::min(size, next.filled + slice)); !done)
      return tl::unexpected(done.error());
    return true;
  }
  if (auto done = next.handle->sync(); !done) return tl::unexpected(done.error());
  next.ready = true;
  return false;
}

result<void> wal::compact(log_index bound) {
  if (failed_) return refuse();
  while (live_.size() > 1 && live_.front().max_index < bound) {
    const live_segment old = live_.front();
    const bool fits = old.file_bytes >= options_.segment_bytes / 2 &&
                      old.file_bytes <= 2 * options_.segment_bytes;
    if (fits && spares_.size() < spares_max) {
      const std::uint64_t sequence =
          (spares_.empty() ? live_.back().sequence : spares_.back().sequence) + 1;
      if (auto done = fs_->rename(path(old.sequence), path(sequence)); !done) return done;
      auto handle = fs_->open(path(sequence), open_mode::write);
      const bool ready = old.file_bytes >= options_.segment_bytes;
      if (handle) {
        spares_.push_back({sequence, old.file_bytes, std::move(*handle), ready});
        ++counters_.recycled;
      } else if (handle.error().code != storage_errc::no_files) {
        return tl::unexpected(handle.error());
      } else if (auto done = fs_->unlink(path(sequence)); !done) {
        return done;  // no spare without a descriptor for it
      }
    } else if (auto done = fs_->unlink(path(old.sequence)); !done) {
      return done;
    }
    live_.pop_front();
    names_unsynced_ = true;
  }
  if (auto done = settle_names(); !done && done.error().code != storage_errc::no_files) return done;
  return {};
}

log_index wal::first_index() const noexcept {
  return live_.empty() ? tail_index_.next() : live_.front().before.next();
}

}  // namespace blixard::storage
