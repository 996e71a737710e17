#include "runtime/storage/snapshots.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <functional>

#include "messages/check.hpp"
#include "messages/limits.hpp"
#include "runtime/base/fault.hpp"
#include "runtime/base/planted.hpp"
#include "runtime/storage/bytes.hpp"
#include "runtime/storage/checksum.hpp"
#include "runtime/storage/zstd_context.hpp"

namespace blixard::storage {
namespace {

constexpr std::uint64_t snapshot_magic = 0x3150414E53584C42;  // "BLXSNAP1"
constexpr std::uint32_t snapshot_format = 1;
constexpr std::size_t header_bytes = 64;  // the lists of ids follow
constexpr std::size_t block_header_bytes = 16;
constexpr std::size_t block_max_bytes = limits::snapshot_chunk_bytes;
constexpr std::size_t blocks_per_sync = 4;
constexpr std::uint32_t ids_max = 1U << 16;
constexpr std::uint32_t kind_plain = 0;
constexpr std::uint32_t kind_zstd = 1;
constexpr std::uint32_t kind_end = 2;  // raw bytes of all blocks, 8 bytes

using bytes = std::vector<std::byte>;

std::string hex16(std::uint64_t value) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + 16, value, 16).ptr;
  const auto size = static_cast<std::size_t>(end - digits.data());
  return std::string(16 - size, '0').append(digits.data(), size);
}

std::optional<log_index> index_of(const std::string& name) {
  if (name.size() != 16 + 1 + 16 + 5 || !name.ends_with(".snap")) return std::nullopt;
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + 16, value, 16);
  if (parsed.ec != std::errc{} || parsed.ptr != name.data() + 16) return std::nullopt;
  return log_index{value};
}

bytes encode_header(const blixard::snapshot& s) {
  const std::array lists{&s.conf.voters, &s.conf.outgoing, &s.conf.learners, &s.conf.learners_next,
                         &s.conf.witnesses};
  bytes out(header_bytes);
  for (std::size_t i = 0; i < lists.size(); ++i) {
    CHECK_LE(lists[i]->size(), ids_max);
    put(out.data() + 40 + 4 * i, static_cast<std::uint32_t>(lists[i]->size()));
    for (const node_id id : *lists[i]) {
      out.resize(out.size() + 8);
      put(out.data() + out.size() - 8, id.value());
    }
  }
  std::byte* at = out.data();
  put(at, snapshot_magic);
  put(at + 12, snapshot_format);
  put(at + 16, static_cast<std::uint32_t>(out.size()));
  put(at + 20, std::uint32_t{s.conf.auto_leave});
  put(at + 24, s.index.value());
  put(at + 32, s.term.value());
  put(at + 8, crc32c(crc_start, at + 12, out.size() - 12));
  return out;
}

/// Header and lists; the data stays empty. Nothing if they are not whole.
std::optional<blixard::snapshot> decode_header(std::span<const std::byte> in, std::size_t& size) {
  const std::byte* at = in.data();
  if (in.size() < header_bytes || get<std::uint64_t>(at) != snapshot_magic) return std::nullopt;
  size = get<std::uint32_t>(at + 16);
  if (size < header_bytes || size > in.size()) return std::nullopt;
  if (crc32c(crc_start, at + 12, size - 12) != get<std::uint32_t>(at + 8)) return std::nullopt;
  blixard::snapshot s;
  s.index = log_index{get<std::uint64_t>(at + 24)};
  s.term = blixard::term{get<std::uint64_t>(at + 32)};
  s.conf.auto_leave = get<std::uint32_t>(at + 20) != 0;
  const std::array lists{&s.conf.voters, &s.conf.outgoing, &s.conf.learners, &s.conf.learners_next,
                         &s.conf.witnesses};
  std::size_t next = header_bytes;
  for (std::size_t i = 0; i < lists.size(); ++i) {
    const auto count = get<std::uint32_t>(at + 40 + 4 * i);
    if (count > ids_max || next + 8 * std::size_t{count} > size) return std::nullopt;
    for (std::uint32_t k = 0; k < count; ++k, next += 8)
      lists[i]->push_back(node_id{get<std::uint64_t>(at + next)});
  }
  if (next != size) return std::nullopt;
  return s;
}

class file_writer final : public snapshot_writer {
 public:
  file_writer(file_system& fs, std::string dir, std::string name, int level)
      : fs_(fs), dir_(std::move(dir)), name_(std::move(name)), level_(level) {}
  file_writer(const file_writer&) = delete;
  file_writer& operator=(const file_writer&) = delete;
  ~file_writer() override {
    file_.reset();
    if (!placed_) (void)fs_.unlink(temporary());  // what is left goes at the next start
  }

  result<void> start(const blixard::snapshot& meta) {
    auto handle = fs_.open(temporary(), open_mode::create_new);
    if (!handle) return tl::unexpected(handle.error());
    file_ = std::move(*handle);
    const bytes head = encode_header(meta);
    crc_ = get<std::uint32_t>(head.data() + 8);
    return write(head);
  }

  result<void> append(std::span<const std::byte> chunk) override {
    CHECK(!finished_);
    while (!chunk.empty()) {
      const std::size_t n = std::min(chunk.size(), block_max_bytes - block_.size());
      block_.insert(block_.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(n));
      chunk = chunk.subspan(n);
      if (block_.size() < block_max_bytes) continue;
      if (auto done = write_data_block(); !done) return done;
    }
    return {};
  }

  result<void> finish() override {
    CHECK(!finished_);
    if (!block_.empty())
      if (auto done = write_data_block(); !done) return done;
    std::array<std::byte, 8> total{};
    put(total.data(), raw_bytes_);
    if (auto done = write_block(kind_end, 0, total); !done) return done;
    if (auto done = file_->sync(); !done) return done;
    finished_ = true;
    return {};
  }

  /// Rename and directory sync.
  result<void> place() {
    CHECK(finished_);
    if (const auto fault = BLIXARD_FAULT("snap.before_rename"); fault.error != 0)
      return tl::unexpected(system_error(fault.error, "rename", temporary()));
    if (auto done = fs_.rename(temporary(), dir_ + "/" + name_); !done) return done;
    placed_ = true;
    if (planted(bug::snapshot_without_dir_sync)) return {};
    if (const auto fault = BLIXARD_FAULT("snap.after_rename"); fault.error != 0)
      return tl::unexpected(system_error(fault.error, "sync", dir_));
    return fs_.sync_dir(dir_);
  }

 private:
  [[nodiscard]] std::string temporary() const { return dir_ + "/" + name_ + ".tmp"; }

  result<void> write_data_block() {
    const auto raw = static_cast<std::uint32_t>(block_.size());
    raw_bytes_ += raw;
    packed_.resize(ZSTD_compressBound(block_.size()));
    const std::size_t size =
        ZSTD_compressCCtx(lent_compressor{}.get(), packed_.data(), packed_.size(), block_.data(),
                          block_.size(), level_);
    const bool smaller = ZSTD_isError(size) == 0 && size < block_.size();
    auto done = smaller ? write_block(kind_zstd, raw, std::span{packed_}.first(size))
                        : write_block(kind_plain, raw, block_);
    block_.clear();
    // Small syncs on the way: one of hundreds of megabytes at the end would hold up those of the
    // log, on the same disk, for as long as it takes.
    if (done && ++unsynced_blocks_ == blocks_per_sync) {
      unsynced_blocks_ = 0;
      return file_->sync();
    }
    return done;
  }

  result<void> write_block(std::uint32_t kind, std::uint32_t raw,
                           std::span<const std::byte> stored) {
    std::array<std::byte, block_header_bytes> head{};
    put(head.data() + 4, kind);
    put(head.data() + 8, raw);
    put(head.data() + 12, static_cast<std::uint32_t>(stored.size()));
    crc_ = crc32c(crc_, head.data() + 4, head.size() - 4);
    crc_ = crc32c(crc_, stored.data(), stored.size());
    put(head.data(), crc_);
    if (auto done = write(head); !done) return done;
    return write(stored);
  }

  result<void> write(std::span<const std::byte> what) {
    if (const auto fault = BLIXARD_FAULT("snap.write"); fault.error != 0)
      return tl::unexpected(system_error(fault.error, "write", temporary()));
    else if (fault.short_bytes < what.size())
      return short_write(what.first(fault.short_bytes));
    if (auto done = file_->pwrite(what, offset_); !done) return done;
    offset_ += what.size();
    return {};
  }
  result<void> short_write(std::span<const std::byte> what) {
    if (auto done = file_->pwrite(what, offset_); !done) return done;
    return tl::unexpected(system_error(EIO, "write all of", temporary()));
  }

  file_system& fs_;
  std::string dir_;
  std::string name_;
  int level_;
  std::unique_ptr<file> file_;
  std::uint64_t offset_ = 0;
  std::uint64_t raw_bytes_ = 0;
  std::uint32_t crc_ = 0;
  bytes block_;
  bytes packed_;
  std::size_t unsynced_blocks_ = 0;
  bool finished_ = false;
  bool placed_ = false;
};

struct block_view {
  std::uint32_t kind = 0;
  std::uint32_t raw = 0;
  std::span<const std::byte> stored;
};

/// The block at the front of `rest`, which is then cut off it. Nothing if it is not whole.
std::optional<block_view> take_block(std::span<const std::byte>& rest, std::uint32_t& crc) {
  if (rest.size() < block_header_bytes) return std::nullopt;
  const std::byte* at = rest.data();
  block_view b{get<std::uint32_t>(at + 4), get<std::uint32_t>(at + 8), {}};
  const auto stored = get<std::uint32_t>(at + 12);
  if (b.kind > kind_end || b.raw > block_max_bytes || stored > block_max_bytes ||
      stored > rest.size() - block_header_bytes)
    return std::nullopt;
  crc = crc32c(crc, at + 4, block_header_bytes - 4 + stored);
  if (crc != get<std::uint32_t>(at)) return std::nullopt;
  b.stored = rest.subspan(block_header_bytes, stored);
  rest = rest.subspan(block_header_bytes + stored);
  return b;
}

/// Walks the blocks behind the header; `take` may be empty. Returns the raw size, if all is whole.
std::optional<std::uint64_t> walk_blocks(std::span<const std::byte> rest, std::uint32_t crc,
                                         const std::function<bool(const block_view&)>& take) {
  std::uint64_t raw = 0;
  while (true) {
    const auto b = take_block(rest, crc);
    if (!b) return std::nullopt;
    if (b->kind == kind_end) {
      const bool whole =
          rest.empty() && b->stored.size() == 8 && get<std::uint64_t>(b->stored.data()) == raw;
      return whole ? std::optional{raw} : std::nullopt;
    }
    if (b->kind == kind_plain && b->raw != b->stored.size()) return std::nullopt;
    raw += b->raw;
    if (take && !take(*b)) return std::nullopt;
  }
}

}  // namespace

std::string snapshot_name(log_index index, blixard::term term) {
  return hex16(index.value()) + "-" + hex16(term.value()) + ".snap";
}

result<blixard::snapshot> read_snapshot(file_system& fs, const std::string& path) {
  const auto content = read_file(fs, path);
  if (!content) return tl::unexpected(content.error());
  const auto damaged = [&path] { return fail(storage_errc::corrupt, path + " is damaged"); };
  std::size_t head = 0;
  auto snap = decode_header(*content, head);
  if (!snap) return damaged();
  if (get<std::uint32_t>(content->data() + 12) > snapshot_format)
    return fail(storage_errc::too_new, path + " has a newer format than this program knows");
  const auto rest = std::span{*content}.subspan(head);
  const auto crc = get<std::uint32_t>(content->data() + 8);
  const auto raw = walk_blocks(rest, crc, {});
  if (!raw || *raw > UINT32_MAX) return damaged();
  auto data = buffer::make(*raw);
  std::size_t filled = 0;
  const auto unpack = [&](const block_view& b) {
    std::byte* to = data->data() + filled;
    filled += b.raw;
    if (b.kind == kind_plain) {
      std::ranges::copy(b.stored, to);
      return true;
    }
    return ZSTD_decompressDCtx(lent_decompressor{}.get(), to, b.raw, b.stored.data(),
                               b.stored.size()) == b.raw;
  };
  if (!walk_blocks(rest, crc, unpack)) return damaged();
  const std::byte* begin = data->data();
  if (*raw != 0) snap->data = slice{std::move(data), begin, *raw};
  return std::move(*snap);
}

result<found_snapshots> snapshots::load() {
  const auto names = fs_->list(dir_);
  if (!names) return tl::unexpected(names.error());
  found_snapshots found;
  std::size_t kept = 0;
  for (auto name = names->rbegin(); name != names->rend() && kept < snapshots_kept; ++name) {
    const auto index = index_of(*name);
    if (!index) continue;
    if (found.newest.empty()) {
      auto snap = read_snapshot(*fs_, dir_ + "/" + *name);
      if (!snap && snap.error().code != storage_errc::corrupt && !is_unreadable(snap.error()))
        return tl::unexpected(snap.error());
      if (!snap || snap->index != *index) {
        found.bad.push_back(*name);
        continue;
      }
      found.newest = std::move(*snap);
    }
    found.oldest_kept = *index;
    ++kept;
  }
  oldest_kept_ = found.oldest_kept;
  return found;
}

result<void> snapshots::tidy(const std::vector<std::string>& bad) {
  const auto names = fs_->list(dir_);
  if (!names) return tl::unexpected(names.error());
  for (const auto& name : *names) {
    if (!name.ends_with(".tmp")) continue;
    if (auto done = fs_->unlink(dir_ + "/" + name); !done) return done;
  }
  for (const auto& name : bad) {
    if (auto done = fs_->rename(dir_ + "/" + name, dir_ + "/" + name + ".bad"); !done) return done;
  }
  // Also where nothing changed: a name that was found may be one that no sync has reached yet.
  return fs_->sync_dir(dir_);
}

result<std::unique_ptr<snapshot_writer>> snapshots::begin(const blixard::snapshot& meta) {
  CHECK(!meta.empty());
  auto writer =
      std::make_unique<file_writer>(*fs_, dir_, snapshot_name(meta.index, meta.term), level_);
  if (auto done = writer->start(meta); !done) return tl::unexpected(done.error());
  return writer;
}

result<void> snapshots::commit(std::unique_ptr<snapshot_writer> writer) {
  if (auto done = static_cast<file_writer&>(*writer).place(); !done) return done;
  return retire();
}

result<void> snapshots::save(const blixard::snapshot& snap) {
  auto writer = begin(snap);
  if (!writer) return tl::unexpected(writer.error());
  if (auto done = (*writer)->append(snap.data.bytes()); !done) return done;
  if (auto done = (*writer)->finish(); !done) return done;
  return commit(std::move(*writer));
}

/// Removes all but the newest.
result<void> snapshots::retire() {
  const auto names = fs_->list(dir_);
  if (!names) return tl::unexpected(names.error());
  std::size_t kept = 0;
  for (auto name = names->rbegin(); name != names->rend(); ++name) {
    const auto index = index_of(*name);
    if (!index) continue;
    if (kept < snapshots_kept) {
      oldest_kept_ = *index;
      ++kept;
    } else if (auto done = fs_->unlink(dir_ + "/" + *name); !done) {
      return done;
    }
  }
  return {};
}

}  // namespace blixard::storage
