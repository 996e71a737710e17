// The lease page: until when this node may run virtual machines, readable by every guard without
// asking the daemon.
//
// A VM of a dead node is placed elsewhere, so it must be certain that the old one no longer runs.
// The node therefore holds a lease from the leader. The daemon writes the lease's end into a small
// mapped file; each VM's guard watches the file and kills its VM when the end passes, whatever has
// become of the daemon. Times are CLOCK_BOOTTIME nanoseconds: a suspended host ages too, and a page
// from before a reboot is never valid (the boot id is part of it).
//
//   page:  magic u64 | sequence u64 | slot 0 | slot 1 | disk u64       slot = sequence & 1
//   slot:  incarnation u64 | deadline_ns u64 | boot u64 | crc u64 (CRC32C of the three)
//
// The writer fills the slot that is not current and then publishes the sequence: a writer killed at
// any point leaves a valid page. Anything that does not check out reads as "no lease".
//
// `disk` tells data directories apart: a node that comes back with an empty one knows nothing of
// the VMs that its former one may still be running.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "messages/errc.hpp"

namespace blixard::vm {

/// CLOCK_BOOTTIME now, in nanoseconds.
[[nodiscard]] std::uint64_t boottime_ns() noexcept;

/// What the page says. All zero: no lease.
struct lease_value {
  std::uint64_t incarnation = 0;  // of the process that the lease was granted to
  std::uint64_t deadline_ns = 0;  // CLOCK_BOOTTIME; the first instant at which no VM may run
  friend bool operator==(const lease_value&, const lease_value&) = default;
};

/// A mapping of the lease file. One writer (the node's daemon, one thread at a time); any number of
/// readers, in any process and thread. Move-only.
class lease_page {
 public:
  /// Opens or makes the file for writing. A page of another boot, or a damaged one, becomes "no
  /// lease"; a valid one is kept, so that VMs survive the daemon's restart.
  /// Errors: errc::disk_full, errc::internal with the system's text.
  [[nodiscard]] static tl::expected<lease_page, error> open(const std::string& path);
  /// Opens an existing file for reading. Errors: errc::not_found, errc::internal.
  [[nodiscard]] static tl::expected<lease_page, error> open_readonly(const std::string& path);

  lease_page(lease_page&& o) noexcept;
  lease_page& operator=(lease_page&& o) noexcept;
  lease_page(const lease_page&) = delete;
  lease_page& operator=(const lease_page&) = delete;
  ~lease_page();

  /// Moves the deadline forward; an earlier one than the current is ignored (a late grant), unless
  /// the incarnation is a newer one. Writer only.
  void extend(std::uint64_t incarnation, std::uint64_t deadline_boottime_ns) noexcept;
  /// Ends the lease now: guards kill their VMs when they next look (at most the old deadline).
  /// Writer only.
  void revoke() noexcept;
  /// What is published. All zero when there is no lease or the page does not check out.
  [[nodiscard]] lease_value current() const noexcept;
  /// Drawn at random when the file was made; not 0. The same for as long as the page is there.
  [[nodiscard]] std::uint64_t disk() const noexcept;
  /// True while the published deadline lies ahead.
  [[nodiscard]] bool valid_at(std::uint64_t now_boottime_ns) const noexcept {
    return now_boottime_ns < current().deadline_ns;
  }

 private:
  lease_page(void* memory, std::uint64_t boot, bool writable) noexcept
      : memory_(memory), boot_(boot), writable_(writable) {}
  void publish(lease_value v) noexcept;

  void* memory_ = nullptr;
  std::uint64_t boot_ = 0;
  bool writable_ = false;
};

}  // namespace blixard::vm
