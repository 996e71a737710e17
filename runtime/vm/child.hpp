// The guard's side of one VM process: start it so that it cannot outlive the guard, limit it, and
// kill it with everything that came out of it.
//
// Every VM process has its own session and process group, PDEATHSIG = SIGKILL, and where the host
// has cgroup v2 mounted and writable a cgroup of its own. The cgroup is what makes the kill
// complete (cgroup.kill also reaches processes that left the session); without it the guard, as
// subreaper, kills what is reparented to it. Memory and CPU limits come from the cgroup's
// controllers; where those are not available RLIMIT_DATA bounds each process's memory, and the CPU
// is not limited.
#pragma once

#include <sys/types.h>

#include <string>
#include <tl/expected.hpp>

#include "messages/errc.hpp"
#include "runtime/vm/files.hpp"
#include "runtime/vm/record.hpp"

namespace blixard::vm {

/// A cgroup of our own; removed by the destructor when nothing is left in it.
class vm_cgroup {
 public:
  /// Makes `blixard-<hash of tag>` in `parent`, with the limits that can be had there. Where that
  /// is not possible the result has an empty path. Zero: no such limit.
  [[nodiscard]] static vm_cgroup make(const std::string& parent, const std::string& tag,
                                      std::uint64_t memory_bytes, std::uint32_t vcpus);
  vm_cgroup() noexcept = default;
  vm_cgroup(vm_cgroup&& o) noexcept
      : path_(std::exchange(o.path_, {})), memory_(o.memory_), cpu_(o.cpu_) {}
  vm_cgroup& operator=(vm_cgroup&& o) noexcept {
    std::swap(path_, o.path_);
    memory_ = o.memory_;
    cpu_ = o.cpu_;
    return *this;
  }
  ~vm_cgroup();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] bool limits_memory() const noexcept { return memory_; }
  [[nodiscard]] bool limits_cpu() const noexcept { return cpu_; }
  void kill() const noexcept;

 private:
  std::string path_;
  bool memory_ = false;
  bool cpu_ = false;
};

/// This process's cgroup v2 directory, or empty where cgroup v2 is not mounted.
[[nodiscard]] std::string own_cgroup();
/// Kills everything in a cgroup by its directory (cgroup.kill). Nothing happens when there is none.
void kill_cgroup(const std::string& path) noexcept;

/// Descriptors that the VM process gets.
struct child_files {
  int input = -1;
  int output = -1;
  int errors = -1;
  int lock = -1;  // stays open in the child, so that the lock tells whether anything of it lives
};

struct child_process {
  pid_t pid = 0;
  std::uint64_t start_time = 0;
  std::string limits;  // which limits hold, for a person
};

/// Forks and executes `plan` in `directory`. Blocks until the exec has happened or failed.
/// Errors: errc::not_found and others with the program's name. Must be called by the thread whose
/// death is to kill the child.
[[nodiscard]] tl::expected<child_process, error> start_child(const launch_plan& plan,
                                                             const std::string& directory,
                                                             const child_files& files,
                                                             const vm_cgroup& group);

/// Kills every child that this process has (and, as subreaper, gets) until none is left.
/// True when none is left; false when some do not die within `deadline_ms`.
bool kill_all_children(std::uint64_t deadline_ms);

}  // namespace blixard::vm
