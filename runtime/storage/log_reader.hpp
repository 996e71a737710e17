// Reads a log from its files: which records are good, where it ends, and whether that end is
// honest.
//
// The walk goes through the segments in order and stops at the first thing that is not the next
// record. Three explanations are told apart:
//   nothing there      zeros, or a record of an earlier life of a recycled file: the log ends here
//   a torn tail        a record (or several) of the last write, which a power cut left in pieces:
//                      never acknowledged, may be cut
//   damage             something that was durable is not readable any more
// It is damage if the segment goes on (its successor says where it ends), if a good record behind
// it was written when this place was durable already, or if it lies below the durable mark of
// `meta`. Good records of the same unsynced write prove nothing: disks persist the sectors of one
// write in any order.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "messages/entry.hpp"
#include "runtime/storage/file_system.hpp"
#include "runtime/storage/format.hpp"
#include "runtime/storage/store.hpp"

namespace blixard::storage {

/// A segment that is part of the log.
struct live_segment {
  std::uint64_t sequence = 0;
  std::uint64_t file_bytes = 0;
  log_index before;     // last index of the log in front of this segment
  log_index max_index;  // highest index of an entry in it; 0: none
};

/// Where the log ends and what else lies around.
struct log_walk {
  std::vector<live_segment> live;
  wal_position end;            // the next record goes here; offset 0: into a segment not begun
  wal_position settled;        // up to here it was durable when the last record was written
  std::uint32_t previous = 0;  // checksum of the last record
  bool cut = false;            // remains of a torn tail lie behind the end
  std::uint64_t torn_bytes = 0;
  log_index highest_seen;  // also of readable records behind damage
  std::optional<damage> corrupt;
  std::vector<std::uint64_t> spares;  // files behind the log, without any of its records
  std::vector<std::uint64_t> junk;    // files behind the log with remains of it
};

struct seen_record {
  wal_position at;
  record_header head;
  slice payload;  // refers to the buffer that the file was read into
};

/// Who listens to a walk. The returned text is why the record cannot be here (empty: it can).
struct log_listener {
  std::function<std::string(const segment_header&)> segment;
  std::function<std::string(const seen_record&)> record;
  /// May be empty: the whole records behind damage, which are no part of the log any more.
  std::function<void(const seen_record&)> behind = {};
};

/// Walks the segments in `dir`. `durable`: everything before it is known to have been durable.
/// Changes nothing. Errors: io, too_new, other_owner.
[[nodiscard]] result<log_walk> walk_log(file_system& fs, const std::string& dir, node_id node,
                                        wal_position durable, const log_listener& listener);

/// The Raft log that a walk amounts to: appends, overwrites and snapshot marks replayed.
class log_image {
 public:
  /// The log in front of the first segment is unknown but for its tail.
  [[nodiscard]] std::string begin_segment(const segment_header& head);
  [[nodiscard]] std::string add(const seen_record& record);
  /// Applies a stored snapshot (RAFTLAB R3): drops entries up to it, or all where they disagree.
  /// Returns whether all was dropped, so that the log must start again behind the snapshot.
  bool install(log_index index, blixard::term term);

  [[nodiscard]] std::vector<entry>& entries() noexcept { return entries_; }
  [[nodiscard]] log_index base_index() const noexcept { return base_index_; }
  [[nodiscard]] blixard::term base_term() const noexcept { return base_term_; }
  [[nodiscard]] log_index last_index() const noexcept;
  [[nodiscard]] blixard::term last_term() const noexcept;

 private:
  std::vector<entry> entries_;  // contiguous, from base_index_ + 1
  log_index base_index_;
  blixard::term base_term_;  // 0: unknown
  bool started_ = false;
};

}  // namespace blixard::storage
