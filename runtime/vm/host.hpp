// What this host can run: capacity, backends, accelerator, and where the default guest lies.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"

namespace blixard::vm {

enum class backend_kind : std::uint8_t { qemu = 1, process = 2 };

[[nodiscard]] const char* to_string(backend_kind b) noexcept;  // "qemu", "process"

struct capacity {
  std::uint32_t vcpus = 0;         // processors this process may use
  std::uint64_t memory_bytes = 0;  // physical memory, or the cgroup's limit where that is less
  std::uint64_t disk_bytes = 0;    // see disk_capacity()
};

/// What a file system can give to VMs: its free space and what their disks hold already, so that
/// the answer is the same however full those are. Whole GiB, where there is one: what a log or
/// another program writes between two starts of a node mostly does not show.
[[nodiscard]] constexpr std::uint64_t disk_capacity(std::uint64_t free_bytes,
                                                    std::uint64_t held_bytes) noexcept {
  constexpr std::uint64_t gib = 1ULL << 30U;
  const auto bytes = free_bytes + held_bytes;
  return bytes < gib ? bytes : bytes / gib * gib;
}

/// What the scratch disks of the VMs in this data directory occupy; they are sparse files.
[[nodiscard]] std::uint64_t scratch_disk_bytes(const std::string& data_dir);

/// Capacity of this host; `data_dir` must exist (0 disk bytes where it does not).
[[nodiscard]] capacity host_capacity(const std::string& data_dir);

/// What was found out about QEMU. Empty `binary`: there is none, `why` says so.
struct qemu_info {
  std::string binary;       // absolute path of qemu-system-x86_64
  std::string version;      // "7.2.22"
  std::string accelerator;  // "kvm" where a KVM virtual machine really runs under QEMU, else "tcg"
  std::string why;          // why there is no QEMU, or why not KVM; for a person
};

/// Looks for QEMU in PATH and tries the accelerator: opens /dev/kvm, makes a virtual machine and
/// lets QEMU start one (takes up to some seconds, blocking; the result is cached for the process).
/// Thread-safe. BLIXARD_QEMU names another binary, BLIXARD_ACCEL=tcg|kvm overrides the trial.
[[nodiscard]] const qemu_info& detect_qemu();

/// A kernel and an initial RAM disk that boot without anything else (made by scripts/guest).
struct guest_files {
  std::string kernel;
  std::string initrd;
};
/// $BLIXARD_GUEST_DIR, else $XDG_CACHE_HOME/blixard/guest, else ~/.cache/blixard/guest.
[[nodiscard]] std::string default_guest_dir();
/// What it says on its console when it is up.
inline constexpr const char* default_guest_ready = "blixard guest ready";
/// The default guest. Errors: errc::not_found, with the command that makes it as the hint.
[[nodiscard]] tl::expected<guest_files, error> default_guest();

/// Backends that work here: process always, qemu where QEMU is there. (Waits for detect_qemu().)
[[nodiscard]] std::vector<backend_kind> available_backends();

}  // namespace blixard::vm
