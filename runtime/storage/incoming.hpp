// The part of a snapshot that has arrived from a peer, so that a restarted receiver asks for the
// rest only.
//
//   snap/incoming      a head with the snapshot's name, then the chunks as they came
//
// A cache and nothing more: it is never synced, each chunk is under a checksum that continues the
// one before, and what a crash left is good up to the first one that is not. README.md has the
// layout.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "messages/buffer.hpp"
#include "messages/ids.hpp"
#include "runtime/storage/file_system.hpp"

namespace blixard::storage {

/// Which snapshot, and which bytes (raft::snapshot_name).
struct incoming_name {
  log_index index;
  blixard::term term;
  std::uint64_t total = 0;  // bytes
  std::uint64_t content = 0;

  friend bool operator==(const incoming_name&, const incoming_name&) = default;
};

/// What a start finds: the first `received` bytes of `data`, which has room for all.
struct incoming_snapshot {
  incoming_name name;
  ref<buffer> data;
  std::uint64_t received = 0;
};

class incoming_file {
 public:
  incoming_file(file_system& fs, const std::string& snap_dir)
      : fs_(fs), path_(snap_dir + "/incoming") {}

  /// What is whole of it; later chunks are added there. Nothing: there is none, or it cannot be
  /// read.
  [[nodiscard]] std::optional<incoming_snapshot> load();
  /// Adds the bytes at `offset`. Offset 0 begins anew; bytes that do not follow what is there are
  /// passed over. After an error the file is gone.
  [[nodiscard]] result<void> add(const incoming_name& name, std::uint64_t offset,
                                 std::span<const std::byte> bytes);
  /// Removes the file, if there is one.
  void drop();

  /// Of what is kept; index 0: nothing is.
  [[nodiscard]] const incoming_name& name() const noexcept { return name_; }

 private:
  [[nodiscard]] result<void> begin(const incoming_name& name);
  [[nodiscard]] result<void> append(std::span<const std::byte> bytes);

  file_system& fs_;
  std::string path_;
  std::unique_ptr<file> file_;
  incoming_name name_;
  std::uint64_t received_ = 0;
  std::uint64_t end_ = 0;  // of the file
  std::uint32_t crc_ = 0;  // of the last chunk
};

}  // namespace blixard::storage
