// The disk as the storage code sees it: few calls, each with a stated durability.
//
// Two implementations: the real one (posix_file_system) and a simulated one that crashes, tears and
// rots on demand (sim_disk.hpp). Contract of both, and all that the code above may rely on:
//   - pwritev is visible to reads at once and durable after sync() of that file;
//   - unsynced data may be lost in any part, in units of 512-byte sectors, in any order;
//   - create, rename and unlink are durable after sync_dir() of the directory, and a crash before
//     that keeps a prefix of them in order; rename is atomic;
//   - after a failed sync() nothing is known about the data written before it: stop.
// A file system and its files are used by one thread at a time per file.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/storage/error.hpp"

namespace blixard::storage {

/// An open file. Closed by the destructor; closing makes nothing durable.
class file {
 public:
  virtual ~file() = default;
  /// Reads up to `into.size()` bytes at `offset`; less only at the end of the file.
  [[nodiscard]] virtual result<std::size_t> pread(std::span<std::byte> into,
                                                  std::uint64_t offset) = 0;
  /// Writes all pieces, one after the other, from `offset` on; extends the file where needed.
  /// On error any part may have been written.
  [[nodiscard]] virtual result<void> pwritev(std::span<const iovec> pieces,
                                             std::uint64_t offset) = 0;
  /// Makes data and size durable (fdatasync).
  [[nodiscard]] virtual result<void> sync() = 0;
  [[nodiscard]] virtual result<void> truncate(std::uint64_t size) = 0;
  [[nodiscard]] virtual result<std::uint64_t> size() = 0;
  /// A hint: start to write this range back now, so that a later sync() has less to do.
  virtual void start_writeback(std::uint64_t offset, std::uint64_t size) = 0;

  /// One contiguous piece.
  [[nodiscard]] result<void> pwrite(std::span<const std::byte> bytes, std::uint64_t offset);
};

enum class open_mode : std::uint8_t {
  read,        // must exist
  write,       // must exist; read and write
  create,      // made if missing; read and write
  create_new,  // truncated if it exists; read and write
};

/// Held while the object lives; released also when the process dies.
class file_lock {
 public:
  virtual ~file_lock() = default;
};

class file_system {
 public:
  virtual ~file_system() = default;
  [[nodiscard]] virtual result<std::unique_ptr<file>> open(const std::string& path,
                                                           open_mode mode) = 0;
  /// An exclusive lock on the file, made if missing. storage_errc::locked if somebody has it.
  [[nodiscard]] virtual result<std::unique_ptr<file_lock>> lock(const std::string& path) = 0;
  /// Names (no paths) of the regular files in a directory, sorted.
  [[nodiscard]] virtual result<std::vector<std::string>> list(const std::string& dir) = 0;
  /// Replaces `to` where it exists.
  [[nodiscard]] virtual result<void> rename(const std::string& from, const std::string& to) = 0;
  [[nodiscard]] virtual result<void> unlink(const std::string& path) = 0;
  [[nodiscard]] virtual result<bool> exists(const std::string& path) = 0;
  /// Makes the directory and what is missing above it, durable on return; fine if it exists.
  [[nodiscard]] virtual result<void> make_dir(const std::string& path) = 0;
  /// Makes creates, renames and unlinks in this directory durable.
  [[nodiscard]] virtual result<void> sync_dir(const std::string& dir) = 0;
};

/// The real thing: plain pwritev, fdatasync, flock through libc.
///
/// unlink() takes the name away; the blocks of a large file are freed in a thread of this object,
/// bit by bit (ext4 takes 17 ms for a segment of 64 MiB, 70 ms for a snapshot of 300 MB, and syncs
/// of other files wait meanwhile). All of them are when it ends. Whoever has such a file open sees
/// it shrink.
class posix_file_system final : public file_system {
 public:
  posix_file_system();
  ~posix_file_system() override;
  posix_file_system(const posix_file_system&) = delete;
  posix_file_system& operator=(const posix_file_system&) = delete;

  result<std::unique_ptr<file>> open(const std::string& path, open_mode mode) override;
  result<std::unique_ptr<file_lock>> lock(const std::string& path) override;
  result<std::vector<std::string>> list(const std::string& dir) override;
  result<void> rename(const std::string& from, const std::string& to) override;
  result<void> unlink(const std::string& path) override;
  result<bool> exists(const std::string& path) override;
  result<void> make_dir(const std::string& path) override;
  result<void> sync_dir(const std::string& dir) override;

 private:
  class remover;
  std::unique_ptr<remover> remover_;
};

/// The whole file as one buffer of bytes.
[[nodiscard]] result<std::vector<std::byte>> read_file(file_system& fs, const std::string& path);
/// Writes `path` so that after a crash the old or the new content is there, never a mixture:
/// temporary file, sync, rename, directory sync.
[[nodiscard]] result<void> replace_file(file_system& fs, const std::string& dir,
                                        const std::string& name,
                                        std::span<const std::byte> content);

}  // namespace blixard::storage
