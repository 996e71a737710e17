// Small system helpers of the VM code: descriptors, whole files, process identity, locks.
//
// A process is identified by pid and start time (/proc/<pid>/stat, field 22, clock ticks since
// boot): the pair is never reused while the host is up.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "messages/unique_fd.hpp"

namespace blixard::vm {

/// `what` with the system's text for `code`. ENOENT is not_found, ENOSPC and EDQUOT disk_full,
/// EACCES and EPERM permission_denied, the rest internal.
[[nodiscard]] error system_error(const std::string& what, int code = errno);

/// The file's text, at most `max_bytes` of it. Errors: as system_error.
[[nodiscard]] tl::expected<std::string, error> read_file(const std::string& path,
                                                         std::size_t max_bytes = 1U << 20U);
/// Replaces the file as a whole (temporary file, rename). `durable`: file and directory are synced,
/// so that the content survives a power cut.
[[nodiscard]] tl::expected<void, error> write_file(const std::string& path, std::string_view text,
                                                   bool durable);

/// Start time of a process in clock ticks since boot; nothing when there is no such process or it
/// is a zombie.
[[nodiscard]] std::optional<std::uint64_t> process_start_time(pid_t pid);
/// Live and zombie children of a process, as /proc shows them.
[[nodiscard]] std::vector<pid_t> children_of(pid_t parent);
/// A pidfd of the process that has this pid and start time; empty when it is gone.
[[nodiscard]] unique_fd open_process(pid_t pid, std::uint64_t start_time);
/// SIGKILL through the pidfd.
void kill_process(const unique_fd& pidfd) noexcept;

/// Opens (makes) a lock file and locks it without waiting. Errors: errc::conflict when another
/// holds it; as system_error.
[[nodiscard]] tl::expected<unique_fd, error> take_lock(const std::string& path);
/// Processes that have the file open (found in /proc; those of other users are not seen).
[[nodiscard]] std::vector<pid_t> holders_of(const std::string& path);

/// A number that is another one after a reboot (from the kernel's boot id).
[[nodiscard]] std::uint64_t boot_id_hash();
/// A random version 4 UUID in text.
[[nodiscard]] std::string random_uuid();
/// FNV-1a, for short names of paths.
[[nodiscard]] std::uint64_t hash_text(std::string_view text) noexcept;

}  // namespace blixard::vm
