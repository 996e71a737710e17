// `blixard wal dump|verify [--json] DATA_DIR`: a log looked at from outside, without a running
// node.
//
// Reads only; takes no lock, so that it also works beside a node. The last records may then be seen
// half written, and are said to be the tail; and files may be removed while they are read, so
// damage is reported only when a second look finds it at the same place.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>

#include "messages/ids.hpp"
#include "runtime/storage/file_system.hpp"

namespace blixard::storage {

/// One record, or one place that should hold one.
struct record_info {
  std::string file;  // below the data directory
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // header, payload and padding, bytes; 0 where it cannot be known
  log_index index;
  blixard::term term;
  std::string type;  // normal, conf, snapshot, segment, meta, snapshot_file, tail, damaged
  bool ok = true;
  std::string note;  // why not ok; of a good record: that it lies behind damage
};

struct verify_result {
  std::uint64_t records = 0;
  std::uint64_t damaged = 0;
  std::uint64_t tail_bytes = 0;  // of a torn tail, which a start would cut
};

/// Walks everything durable below `dir` in the order of the log; behind damage, whole records are
/// still shown. `visit` may be empty.
[[nodiscard]] result<verify_result> inspect(file_system& fs, const std::string& dir,
                                            const std::function<void(const record_info&)>& visit);

/// The command. `verify` prints damage and a summary, otherwise every record; with `json` one JSON
/// object per line. Returns 0 (sound; a torn tail is), 1 (damage found, or the files cannot be
/// read) or 3 (no data directory there).
int wal_command(file_system& fs, bool verify, bool json, const std::string& dir, std::FILE* out,
                std::FILE* err);
/// The same on the real file system.
int wal_command(bool verify, bool json, const std::string& dir, std::FILE* out, std::FILE* err);

}  // namespace blixard::storage
