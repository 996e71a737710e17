// Snapshot files: written beside the log, put in place by a rename, read back whole.
//
//   snap/<index>-<term>.snap       in place
//   snap/<index>-<term>.snap.tmp   being written; removed at the next start
//
// A file is a header, blocks of at most 1 MiB (zstd where that is smaller) and an end; every byte
// is under a checksum, and each block's continues the one before. README.md has the layout. The
// newest two are kept.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "messages/entry.hpp"
#include "runtime/storage/file_system.hpp"
#include "runtime/storage/store.hpp"

namespace blixard::storage {

inline constexpr std::size_t snapshots_kept = 2;

struct found_snapshots {
  blixard::snapshot newest;      // the newest that is whole; empty(): none
  log_index oldest_kept;         // 0: none
  std::vector<std::string> bad;  // names of files that are not whole, newer than `newest`
};

/// "0000000000000064-0000000000000003.snap" for index 100 of term 3.
[[nodiscard]] std::string snapshot_name(log_index index, blixard::term term);

/// Reads one file. Error corrupt, if any byte of it is not what was written; too_new; io.
[[nodiscard]] result<blixard::snapshot> read_snapshot(file_system& fs, const std::string& path);

class snapshots {
 public:
  snapshots(file_system& fs, std::string dir, int compression_level)
      : fs_(&fs), dir_(std::move(dir)), level_(compression_level) {}

  /// Finds the newest whole snapshot; changes nothing.
  [[nodiscard]] result<found_snapshots> load();
  /// Removes temporary files, sets damaged ones (`bad`) aside as *.bad and makes the names that are
  /// there durable.
  [[nodiscard]] result<void> tidy(const std::vector<std::string>& bad);

  [[nodiscard]] result<std::unique_ptr<snapshot_writer>> begin(const blixard::snapshot& meta);
  /// Precondition: the writer is one of begin()'s and finished.
  [[nodiscard]] result<void> commit(std::unique_ptr<snapshot_writer> writer);
  [[nodiscard]] result<void> save(const blixard::snapshot& snap);

  /// Index of the oldest file that is kept; 0: none.
  [[nodiscard]] log_index oldest_kept() const noexcept { return oldest_kept_; }

 private:
  [[nodiscard]] result<void> retire();

  file_system* fs_;
  std::string dir_;
  int level_;
  log_index oldest_kept_;
};

}  // namespace blixard::storage
