// The log on disk, for writing: gathers records, writes them with one call, syncs, rotates and
// recycles segments. Reading is log_reader.hpp's, the format is format.hpp's.
//
// A write never spans segments: where it does not fit, the segment in use is made durable and the
// write opens the next one, whose header says where its predecessor ended. Segments are made of
// zeros ahead of time (a sync of space that is already there moves no metadata) and used again once
// the log in them is not needed any more.
//
// One thread. After an io error the object refuses everything.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "messages/entry.hpp"
#include "runtime/storage/file_system.hpp"
#include "runtime/storage/format.hpp"
#include "runtime/storage/log_reader.hpp"
#include "runtime/storage/store.hpp"

namespace blixard::storage {

struct wal_options {
  node_id node;
  std::size_t segment_bytes = limits::segment_bytes;
};

class wal {
 public:
  /// Continues behind a walk that found no damage. `tail`: last entry of the log there.
  /// What was read is made durable first, so that nothing stands on unsynced data.
  [[nodiscard]] static result<wal> open(file_system& fs, const std::string& dir,
                                        const wal_options& options, const log_walk& walk,
                                        log_index tail_index, blixard::term tail_term);

  /// Adds to the next flush(). The payload is not copied: it must live until then.
  void add(const entry& e);
  /// The log starts again behind a snapshot.
  void add_snapshot_mark(log_index index, blixard::term term);
  /// One gathered write of what was added. On an error nothing of it counts as written.
  [[nodiscard]] result<void> flush();
  [[nodiscard]] result<void> sync();
  [[nodiscard]] bool dirty() const noexcept { return durable_ != end_; }

  /// One slice of zero-filling; true if there is more to do now.
  [[nodiscard]] result<bool> prepare();
  /// Drops the segments with entries below `bound` only.
  [[nodiscard]] result<void> compact(log_index bound);

  [[nodiscard]] wal_position durable() const noexcept { return durable_; }
  [[nodiscard]] log_index last_index() const noexcept { return tail_index_; }
  [[nodiscard]] log_index first_index() const noexcept;
  [[nodiscard]] std::uint64_t file_count() const noexcept { return live_.size() + spares_.size(); }
  [[nodiscard]] const store_stats& counters() const noexcept { return counters_; }

 private:
  struct pending {
    record_type type = record_type::normal;
    log_index index;
    blixard::term term;
    std::span<const std::byte> payload;
  };
  struct spare {
    std::uint64_t sequence = 0;
    std::uint64_t filled = 0;  // bytes of the file
    std::unique_ptr<file> handle;
    bool ready = false;  // filled and synced
  };

  wal(file_system& fs, std::string dir, const wal_options& options)
      : fs_(&fs), dir_(std::move(dir)), options_(options) {}

  [[nodiscard]] std::string path(std::uint64_t sequence) const {
    return dir_ + "/" + segment_name(sequence);
  }
  [[nodiscard]] result<void> settle(wal_position settled);
  [[nodiscard]] std::uint64_t pending_bytes() const noexcept;
  [[nodiscard]] result<void> make_spare();
  [[nodiscard]] result<void> settle_names();
  [[nodiscard]] result<void> fill(file& f, std::uint64_t& filled, std::uint64_t to);
  [[nodiscard]] result<void> encode_and_write(bool new_segment, std::uint64_t total);
  [[nodiscard]] result<void> write_short(std::size_t bytes, bool new_segment);
  void commit_pending(bool new_segment);
  void gather(std::span<const std::byte> head, const pending& record);

  file_system* fs_;
  std::string dir_;
  wal_options options_;
  std::deque<live_segment> live_;
  std::unique_ptr<file> current_;  // null: the first write makes or takes a segment
  std::uint64_t filled_ = 0;       // bytes of the current file
  std::deque<spare> spares_;       // sequences follow the last live one
  wal_position end_;
  wal_position durable_;
  std::uint32_t previous_ = 0;
  std::uint32_t next_previous_ = 0;  // checksum of the last record of the write under way
  log_index tail_index_;
  blixard::term tail_term_;
  bool rotate_ = false;          // remains of a torn tail lie behind the end
  bool names_unsynced_ = false;  // files were made, renamed or removed since sync_dir
  bool failed_ = false;
  std::uint64_t last_write_bytes_ = 0;

  // Reused from write to write.
  std::vector<pending> pending_;
  std::vector<std::byte> heads_;
  std::vector<iovec> pieces_;
  segment_header_block segment_block_{};
  store_stats counters_;
};

}  // namespace blixard::storage
