// Snapshot data, packed: what a node keeps in memory, on its disk and sends is one zstd frame.
//
// A state of a million keys is hundreds of megabytes in large parts alike. Packed once, on the
// thread that encodes it, it costs nobody else anything: the chunks that go to a follower are parts
// of the packed bytes, and so is what lies on the disk.
//
//   BLXPACK1 | raw bytes, 8 | one zstd frame with a checksum of the raw bytes
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "messages/buffer.hpp"
#include "runtime/storage/error.hpp"

namespace blixard::storage {

/// Packs bytes as they come.
class packer {
 public:
  explicit packer(int level = 1);
  packer(const packer&) = delete;
  packer& operator=(const packer&) = delete;
  ~packer();

  void add(std::span<const std::byte> bytes);
  /// All that was added. Nothing can be added afterwards.
  [[nodiscard]] slice finish();

 private:
  struct stream;
  void run(std::span<const std::byte> bytes, bool last);

  std::unique_ptr<stream> stream_;
  std::vector<std::byte> out_;
  std::uint64_t raw_bytes_ = 0;
};

/// The raw bytes. What is not packed (it does not begin with the mark) comes back as it is. Error
/// corrupt: it begins with the mark and is not whole, or is larger than limits::snapshot_max_bytes.
[[nodiscard]] result<slice> unpack(const slice& data);

}  // namespace blixard::storage
