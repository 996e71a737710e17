// The data directory: whose it is, which format it has, and that nobody else has it open.
//
//   LOCK        flock, held while the object lives
//   node.json   node id, cluster id, format version
//   meta        term, vote, commit hint (meta.hpp)
//   wal/        segments (wal.hpp)
//   snap/       snapshots (snapshots.hpp)
#pragma once

#include <memory>
#include <string>

#include "messages/ids.hpp"
#include "runtime/storage/file_system.hpp"

namespace blixard::storage {

inline constexpr int format_version = 1;

/// Who owns the data. A cluster of 0 is "not known yet": a node that has not joined.
struct identity {
  node_id node;
  cluster_id cluster;
};

/// What node.json says, without a lock or a change. Errors: not_found, corrupt, too_new, io.
[[nodiscard]] result<identity> stored_owner(file_system& fs, const std::string& dir);

class data_dir {
 public:
  /// Makes the directories, takes the lock, checks node.json against `wanted`. Errors: locked,
  /// other_owner (another node id, or both cluster ids are known and differ), too_new, read_only,
  /// no_space, corrupt (node.json does not parse), io.
  [[nodiscard]] static result<data_dir> open(file_system& fs, const std::string& path,
                                             const identity& wanted);

  /// Who the directory belongs to, as stored.
  [[nodiscard]] const identity& owner() const noexcept { return owner_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// True where there is no node.json yet: it is written last, when everything else is in place.
  [[nodiscard]] bool fresh() const noexcept { return fresh_; }
  /// Writes node.json into a fresh directory; durable on return.
  [[nodiscard]] result<void> claim();
  /// Stores the cluster id once it is known; durable on return. Error other_owner if another one is
  /// stored.
  [[nodiscard]] result<void> set_cluster(cluster_id cluster);

  [[nodiscard]] std::string wal_dir() const { return path_ + "/wal"; }
  [[nodiscard]] std::string snap_dir() const { return path_ + "/snap"; }

 private:
  data_dir(file_system& fs, std::string path) : fs_(&fs), path_(std::move(path)) {}

  [[nodiscard]] result<void> read_owner(const identity& wanted);

  file_system* fs_;
  std::string path_;
  identity owner_;
  bool fresh_ = false;
  std::unique_ptr<file_lock> lock_;
};

}  // namespace blixard::storage
