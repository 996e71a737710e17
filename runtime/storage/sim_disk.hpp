// A disk in memory that does what real disks do to data that was not synced, and worse.
//
// Deterministic: everything follows from the seed and the calls. Copying the disk copies its whole
// state, so that a test can try every possible crash from one point:
//
//   for (std::size_t n = 0; n <= disk.pending(); ++n) {
//     sim_disk after = disk;
//     after.crash_keeping_first(n);   // exactly n unsynced sector writes and name changes survive
//     ... recover from `after` ...
//   }
//
// One thread. Paths are plain strings; directories exist once made.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/storage/file_system.hpp"

namespace blixard::storage {

/// How often the disk misbehaves by itself, in parts per million of the calls; 0 is never.
struct disk_faults {
  std::uint32_t sync_error_ppm = 0;  // sync fails with EIO, the data stays unsynced
  /// A failed sync of a file forgets what it could not write: reads still see it, later syncs
  /// succeed without it, as the page cache of Linux does (Rebello et al. 2020).
  bool failed_sync_forgets = false;
  std::uint32_t write_error_ppm = 0;        // pwritev fails with EIO after a part of it
  std::uint32_t lost_write_ppm = 0;         // a sector write is acknowledged and never happens
  std::uint32_t misdirected_write_ppm = 0;  // a sector lands on another sector of the same file
  std::uint64_t capacity_bytes = 0;         // ENOSPC above so many bytes in all files; 0: no limit
};

class sim_disk final : public file_system {
 public:
  explicit sim_disk(std::uint64_t seed = 1);
  /// Copies are independent. Open files and locks stay with the disk that they were opened on.
  sim_disk(const sim_disk& other);
  sim_disk& operator=(const sim_disk&) = delete;
  ~sim_disk() override;

  result<std::unique_ptr<file>> open(const std::string& path, open_mode mode) override;
  result<std::unique_ptr<file_lock>> lock(const std::string& path) override;
  result<std::vector<std::string>> list(const std::string& dir) override;
  result<void> rename(const std::string& from, const std::string& to) override;
  result<void> unlink(const std::string& path) override;
  result<bool> exists(const std::string& path) override;
  result<void> make_dir(const std::string& path) override;
  result<void> sync_dir(const std::string& dir) override;

  void set_faults(const disk_faults& faults);
  /// The nth call from now (1: the next) fails with this errno; 0 disarms. Syncs of files and of
  /// directories count alike.
  void fail_sync(std::uint64_t nth, int sys);
  void fail_write(std::uint64_t nth, int sys);
  /// From now on nothing can be opened (0: again), as without a free descriptor; nor can a folder
  /// be synced, which has to be opened for that.
  void fail_opens(int sys);

  /// The power fails in the middle of the nth call from now that changes or syncs something (1: the
  /// next; 0 disarms): it and all later calls fail with EIO, and of a write a part is queued. A
  /// crash makes the disk usable again.
  void lose_power_in(std::uint64_t nth);
  [[nodiscard]] bool has_power() const noexcept;
  /// The nth sector that is written from now on (1: the next; 0 disarms) is acknowledged and never
  /// reaches the platter, or lands on another sector of the same file.
  void lose_write(std::uint64_t nth);
  void misdirect_write(std::uint64_t nth);

  /// Unsynced sector writes, truncations and name changes, oldest first.
  [[nodiscard]] std::size_t pending() const noexcept;
  /// Power cut: of what is unsynced, exactly the first `n` survive. Open files and locks are dead.
  void crash_keeping_first(std::size_t n);
  /// Power cut: every unsynced sector survives or not by the seed; name changes keep a prefix.
  void crash();
  /// Another, empty disk in the place of this one, without power as after a crash: nothing is left.
  void replace();
  /// The process dies, the machine does not: nothing is lost, open files and locks are dead.
  void kill_process();

  // Damage behind the back of the file system, to the content as reads see it. Precondition: the
  // file exists and the range lies within it.
  void flip_bit(const std::string& path, std::uint64_t offset, unsigned bit);
  void overwrite(const std::string& path, std::uint64_t offset, std::span<const std::byte> bytes);
  void zero(const std::string& path, std::uint64_t offset, std::uint64_t size);
  void cut(const std::string& path, std::uint64_t size);
  /// One random bit of one random file below `dir`; false if there is no byte.
  bool rot(const std::string& dir);

  /// The files whose paths begin like this, sorted, and the bytes in all files, as reads see them.
  [[nodiscard]] std::vector<std::string> paths(const std::string& prefix) const;
  [[nodiscard]] std::uint64_t used() const;
  /// The content of a file as reads see it; empty if there is none.
  [[nodiscard]] std::span<const std::byte> content(const std::string& path) const;
  [[nodiscard]] std::uint64_t syncs() const noexcept;          // successful, of files
  [[nodiscard]] std::uint64_t bytes_written() const noexcept;  // by pwritev
  [[nodiscard]] std::uint64_t writes() const noexcept;         // calls of pwritev
  /// Sector writes that were acknowledged and lost, misdirected or forgotten by a failed sync.
  [[nodiscard]] std::uint64_t lies() const noexcept;

 private:
  friend class sim_file;
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace blixard::storage
