#include "runtime/storage/log_reader.hpp"

#include <algorithm>

#include "runtime/storage/bytes.hpp"
#include "runtime/storage/checksum.hpp"

namespace blixard::storage {
namespace {

constexpr std::size_t chunk_bytes = 256 * limits::KiB;
/// How far a file behind the log is searched for remains of the log.
constexpr std::uint64_t spare_search_bytes = 64 * limits::KiB;

/// A segment's bytes in counted chunks: a record lies within one chunk, and its payload is a slice
/// of that.
class segment_bytes {
 public:
  segment_bytes(std::unique_ptr<file> f, std::uint64_t size) : file_(std::move(f)), size_(size) {}

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// The disk refused to read a part of what was asked for; that part counts as zeros.
  [[nodiscard]] bool unreadable() const noexcept { return unreadable_; }
  /// `n` bytes at `offset`, or null where the file is shorter.
  result<const std::byte*> at(std::uint64_t offset, std::uint64_t n) {
    if (offset + n > size_) return nullptr;
    if (offset < start_ || offset + n > start_ + filled_) {
      if (auto done = load(offset, n); !done) return tl::unexpected(done.error());
      if (filled_ < n) return nullptr;
    }
    return chunk_->data() + (offset - start_);
  }
  /// What is at hand from `offset` on, at least a record's header; empty at the end of the file.
  result<std::span<const std::byte>> window(std::uint64_t offset) {
    const auto head = at(offset, record_header_bytes);
    if (!head) return tl::unexpected(head.error());
    if (*head == nullptr) return std::span<const std::byte>{};
    return std::span{*head, static_cast<std::size_t>(start_ + filled_ - offset)};
  }
  /// The same as a slice. Precondition: at(offset, n) has just succeeded.
  [[nodiscard]] slice share(std::uint64_t offset, std::size_t n) const {
    if (n == 0) return {};
    return {chunk_, chunk_->data() + (offset - start_), n};
  }

 private:
  result<void> load(std::uint64_t offset, std::uint64_t n) {
    const auto want = static_cast<std::size_t>(
        std::min<std::uint64_t>(std::max<std::uint64_t>(n, chunk_bytes), size_ - offset));
    if (!chunk_ || !chunk_->unique() || chunk_->capacity() < want) chunk_ = buffer::make(want);
    const auto got = file_->pread({chunk_->data(), want}, offset);
    if (!got && !is_unreadable(got.error())) return tl::unexpected(got.error());
    start_ = offset;
    filled_ = got ? *got : read_around({chunk_->data(), want}, offset);
    return {};
  }

  std::size_t read_around(std::span<std::byte> into, std::uint64_t offset) {
    unreadable_ = true;
    for (std::size_t at = 0; at < into.size(); at += limits::sector_bytes) {
      const auto sector = into.subspan(at, std::min(limits::sector_bytes, into.size() - at));
      const auto got = file_->pread(sector, offset + at);
      std::ranges::fill(sector.subspan(got ? *got : 0), std::byte{});
    }
    return into.size();
  }

  std::unique_ptr<file> file_;
  std::uint64_t size_;
  ref<buffer> chunk_;
  std::uint64_t start_ = 0;
  std::size_t filled_ = 0;
  bool unreadable_ = false;
};

struct found_file {
  std::uint64_t sequence = 0;
  std::unique_ptr<segment_bytes> bytes;
  decoded_segment header;
};

std::uint32_t life_of(std::uint64_t sequence) { return static_cast<std::uint32_t>(sequence); }

enum class reading : std::uint8_t {
  good,     // checksum and life are right
  nothing,  // no record of this life begins here
  pieces,   // begins like one, but is not whole
};

struct read_record {
  reading state = reading::nothing;
  record_header head;
  std::uint32_t checksum = 0;
  std::uint64_t bytes = 0;  // of the record; for pieces: what it claims, within the file
};

/// Looks at one place.
result<read_record> read_at(segment_bytes& in, std::uint64_t sequence, std::uint64_t offset) {
  read_record found;
  const auto head = in.at(offset, record_header_bytes);
  if (!head) return tl::unexpected(head.error());
  if (*head == nullptr) return found;
  const auto decoded = decode_record(*head);
  if (!decoded || decoded->life != life_of(sequence)) return found;
  found.head = *decoded;
  found.state = reading::pieces;
  found.bytes = std::min(record_bytes(decoded->length), in.size() - offset);
  if (decoded->length > record_max_payload) return found;
  const auto all = in.at(offset, record_bytes(decoded->length));
  if (!all) return tl::unexpected(all.error());
  if (*all == nullptr) return found;
  found.checksum = stored_checksum(*all);
  if (record_checksum(*all, decoded->length) == found.checksum) found.state = reading::good;
  return found;
}

/// What lies behind a place where reading stopped.
struct remains {
  std::uint64_t end = 0;     // of the last piece; 0: nothing
  bool later_write = false;  // a good record, written when the place was durable already
  log_index highest;
};

/// Searches [from, to) of one file for records of its life. `found` may be empty.
result<void> search(segment_bytes& in, std::uint64_t sequence, wal_position stopped,
                    std::uint64_t from, std::uint64_t to, remains& out,
                    const std::function<void(const seen_record&)>& found = {}) {
  from = padded(from);
  to = std::min(to, in.size());
  while (from + record_header_bytes <= to) {
    const auto bytes = in.window(from);
    if (!bytes) return tl::unexpected(bytes.error());
    if (bytes->empty()) return {};
    std::size_t at = 0;
    while (at + 4 <= bytes->size() && get<std::uint32_t>(bytes->data() + at) != record_magic)
      at += record_align;
    from += at;
    if (at + 4 > bytes->size() || from + record_header_bytes > to) continue;
    const auto record = read_at(in, sequence, from);
    if (!record) return tl::unexpected(record.error());
    if (record->state != reading::nothing) out.end = std::max(out.end, from + record->bytes);
    if (record->state == reading::good) {
      out.highest = std::max(out.highest, record->head.index);
      out.later_write |= record->head.durable > stopped;
      if (found)
        found({{sequence, from},
               record->head,
               in.share(from + record_header_bytes, record->head.length)});
      from += record->bytes;
    } else {
      from += record_align;
    }
  }
  return {};
}

/// One walk; a member function per step.
class walker {
 public:
  walker(file_system& fs, const std::string& dir, node_id node, wal_position durable,
         const log_listener& listener)
      : fs_(fs), dir_(dir), node_(node), durable_(durable), listener_(listener) {}

  result<log_walk> run() {
    if (auto done = open_files(); !done) return tl::unexpected(done.error());
    std::size_t i = 0;
    bool goes_on = !files_.empty() && files_[0].header.state == segment_state::valid;
    if (!files_.empty()) out_.end = {files_[0].sequence, 0};
    while (goes_on) {
      auto more = read_segment(i);
      if (!more) return tl::unexpected(more.error());
      goes_on = *more;
      if (goes_on) ++i;
    }
    if (!out_.corrupt) {
      if (auto done = judge_end(i); !done) return tl::unexpected(done.error());
    }
    if (!out_.corrupt && out_.end < durable_)
      complain("the log ends before what is known to have been durable");
    if (out_.corrupt && listener_.behind) {
      if (auto done = tell_what_is_behind(); !done) return tl::unexpected(done.error());
    }
    return std::move(out_);
  }

 private:
  result<void> open_files() {
    const auto names = fs_.list(dir_);
    if (!names) return tl::unexpected(names.error());
    for (const auto& name : *names) {
      const auto sequence = segment_sequence(name);
      if (!sequence) continue;
      auto handle = fs_.open(dir_ + "/" + name, open_mode::read);
      if (!handle) return tl::unexpected(handle.error());
      const auto size = (*handle)->size();
      if (!size) return tl::unexpected(size.error());
      found_file one{*sequence, std::make_unique<segment_bytes>(std::move(*handle), *size), {}};
      const auto head = one.bytes->at(0, segment_header_bytes);
      if (!head) return tl::unexpected(head.error());
      if (*head != nullptr)
        one.header = decode_segment({*head, segment_header_bytes}, one.sequence);
      if (one.header.state == segment_state::too_new)
        return fail(storage_errc::too_new, dir_ + "/" + name + " has a newer format");
      if (one.header.state == segment_state::valid && one.header.head.node != node_)
        return fail(storage_errc::other_owner,
                    dir_ + "/" + name + " is of node " + to_string(one.header.head.node));
      files_.push_back(std::move(one));
    }
    return {};
  }

  /// The header of the segment after i, if it is there and valid.
  [[nodiscard]] const segment_header* successor(std::size_t i) const {
    if (i + 1 >= files_.size() || files_[i + 1].sequence != files_[i].sequence + 1) return nullptr;
    const auto& header = files_[i + 1].header;
    return header.state == segment_state::valid ? &header.head : nullptr;
  }

  /// Reads the records of segment i. Returns whether the log goes on in the next.
  result<bool> read_segment(std::size_t i) {
    found_file& f = files_[i];
    if (i == 0) out_.previous = f.header.head.previous;
    if (const auto why = listener_.segment(f.header.head); !why.empty()) {
      complain_at({f.sequence, 0}, why);
      return false;
    }
    out_.live.push_back({f.sequence, f.bytes->size(), f.header.head.last_index, log_index{}});
    out_.end = {f.sequence, segment_header_bytes};
    const segment_header* next = successor(i);
    while (next == nullptr || out_.end.offset != next->end.offset) {
      const auto good = take_record(f);
      if (!good) return tl::unexpected(good.error());
      if (!*good) break;
    }
    if (next == nullptr || out_.corrupt) return false;
    if (next->end != out_.end) complain("a record is unreadable; the log goes on behind it");
    return !out_.corrupt;
  }

  /// Takes the record at the end, if it is the next one.
  result<bool> take_record(found_file& f) {
    const auto record = read_at(*f.bytes, f.sequence, out_.end.offset);
    if (!record) return tl::unexpected(record.error());
    if (record->state != reading::good || record->head.previous != out_.previous) return false;
    const auto payload = f.bytes->share(out_.end.offset + record_header_bytes, record->head.length);
    if (const auto why = listener_.record({out_.end, record->head, payload}); !why.empty()) {
      complain(why);
      return false;
    }
    auto& here = out_.live.back();
    if (record->head.type != record_type::snapshot)
      here.max_index = std::max(here.max_index, record->head.index);
    out_.highest_seen = std::max(out_.highest_seen, record->head.index);
    out_.previous = record->checksum;
    out_.settled = std::max(out_.settled, record->head.durable);
    out_.end.offset += record->bytes;
    return true;
  }

  /// Decides what the end in file i is, and sorts the files behind it.
  result<void> judge_end(std::size_t i) {
    bool later_write = false;
    bool unreadable = false;
    for (; i < files_.size(); ++i) {
      found_file& f = files_[i];
      const bool last = f.sequence == out_.end.segment;
      remains rest;
      const std::uint64_t from = last ? out_.end.offset : 0;
      const std::uint64_t to = last ? f.bytes->size() : spare_search_bytes;
      if (auto done = search(*f.bytes, f.sequence, out_.end, from, to, rest); !done) return done;
      // A valid header behind the end: the segment in front of it is missing or its header is bad.
      if (!last && f.header.state == segment_state::valid) later_write = true;
      later_write |= rest.later_write;
      unreadable |= f.bytes->unreadable();
      out_.highest_seen = std::max(out_.highest_seen, rest.highest);
      if (last && rest.end == 0) {
        const auto broken = broken_header(f, from);
        if (!broken) return tl::unexpected(broken.error());
        rest.end = *broken;
      }
      if (rest.end > from) {
        out_.cut |= last;
        out_.torn_bytes += rest.end - from;
      }
      const bool in_log = !out_.live.empty() && out_.live.back().sequence == f.sequence;
      if (!in_log) (rest.end != 0 ? out_.junk : out_.spares).push_back(f.sequence);
    }
    if (later_write) complain("a record is unreadable; what was written after it is there");
    if (!later_write && unreadable) complain("the disk cannot read what lies here or behind it");
    return {};
  }

  result<void> tell_what_is_behind() {
    for (auto& f : files_) {
      if (f.sequence < out_.end.segment) continue;
      const std::uint64_t from = f.sequence == out_.end.segment ? out_.end.offset : 0;
      remains rest;
      if (auto done = search(*f.bytes, f.sequence, out_.end,
                             std::max<std::uint64_t>(from, segment_header_bytes), f.bytes->size(),
                             rest, listener_.behind);
          !done)
        return done;
    }
    return {};
  }

  /// The file ends within a record's header. Returns where, or 0 if there is no such header.
  static result<std::uint64_t> broken_header(found_file& f, std::uint64_t from) {
    const std::uint64_t size = f.bytes->size();
    if (from >= size || size - from >= record_header_bytes) return 0;
    const auto rest = f.bytes->at(from, size - from);
    if (!rest) return tl::unexpected(rest.error());
    if (*rest == nullptr) return 0;
    const auto is_zero = [](std::byte b) { return b == std::byte{}; };
    return std::ranges::all_of(std::span{*rest, size - from}, is_zero) ? 0 : size;
  }

  void complain(const std::string& what) { complain_at(out_.end, what); }
  void complain_at(wal_position at, const std::string& what) {
    out_.corrupt = damage{"wal/" + segment_name(at.segment), at.offset, what, true};
  }

  file_system& fs_;
  const std::string& dir_;
  node_id node_;
  wal_position durable_;
  const log_listener& listener_;
  std::vector<found_file> files_;
  log_walk out_;
};

}  // namespace

result<log_walk> walk_log(file_system& fs, const std::string& dir, node_id node,
                          wal_position durable, const log_listener& listener) {
  return walker{fs, dir, node, durable, listener}.run();
}

log_index log_image::last_index() const noexcept {
  return entries_.empty() ? base_index_ : entries_.back().index;
}
blixard::term log_image::last_term() const noexcept {
  return entries_.empty() ? base_term_ : entries_.back().term;
}

std::string log_image::begin_segment(const segment_header& head) {
  if (!std::exchange(started_, true)) {
    base_index_ = head.last_index;
    base_term_ = head.last_term;
    return {};
  }
  if (head.last_index != last_index() || head.last_term != last_term())
    return "the segment does not continue the log";
  return {};
}

std::string log_image::add(const seen_record& record) {
  const auto& head = record.head;
  if (head.type == record_type::snapshot) {
    install(head.index, head.term);
    return {};
  }
  if (!head.index || head.index > last_index().next()) return "an entry is missing before this one";
  if (head.index <= base_index_) {
    // Replaces entries of which only the tail is known (first segment after a compaction).
    entries_.clear();
    base_index_ = head.index.prev();
    base_term_ = blixard::term{};
  }
  const std::size_t before = head.index.value() - base_index_.value() - 1;
  if (head.term < (before == 0 ? base_term_ : entries_[before - 1].term))
    return "the term of this entry is lower than the one before";
  entries_.resize(before);
  const auto kind = head.type == record_type::conf ? entry_kind::conf : entry_kind::normal;
  entries_.push_back({head.term, head.index, kind, record.payload});
  return {};
}

bool log_image::install(log_index index, blixard::term term) {
  const bool inside = index > base_index_ && index <= last_index();
  const std::size_t count = inside ? index.value() - base_index_.value() : 0;
  const bool agrees = inside ? entries_[count - 1].term == term
                             : index == base_index_ && (base_term_ == term || !base_term_);
  if (agrees)
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(count));
  else
    entries_.clear();
  base_index_ = index;
  base_term_ = term;
  return !agrees;
}

}  // namespace blixard::storage
