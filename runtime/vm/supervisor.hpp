// The supervisor: brings the VMs of this node to what the cluster wants, and says what is true.
//
// One thread with one epoll loop serves all VMs; nothing in it waits for a single one. What is to
// be done with a VM is decided by a pure state machine (lifecycle.hpp); the supervisor starts
// guards, talks to them and to QEMU (QMP), and keeps the deadlines. A supervisor that goes away
// leaves the VMs running; the next one adopts them from vms/<id>/.
//
// Order of calls after a start: start() scans and adopts, set_desired() for every VM assigned to
// this node, then retain() with the full set: whatever was found and is not in it is killed and
// removed. Until then adopted VMs run on, under the lease.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "messages/ids.hpp"
#include "messages/limits.hpp"
#include "runtime/vm/host.hpp"
#include "runtime/vm/lease.hpp"

namespace blixard::pb {
class Vm;
class VmReport_One;
}  // namespace blixard::pb

namespace blixard::vm {

struct supervisor_options {
  std::string data_dir;      // VMs live in data_dir/vms/<id>/, the lease in data_dir/lease
  std::string guest_kernel;  // of VMs that name none; empty: default_guest()
  std::string guest_initrd;
  /// What starts a guard; "DIR" and flags are appended. Empty: {/proc/self/exe, "guard"}.
  std::vector<std::string> guard_argv;
  std::vector<backend_kind> backends;  // that VMs may use here; none: every VM is refused
  bool use_lease = true;               // false only in tests: VMs start and live without a lease
  std::uint64_t start_deadline_ms =
      static_cast<std::uint64_t>(std::chrono::milliseconds(limits::vm_start_deadline).count());
  std::uint64_t boot_deadline_ms =
      static_cast<std::uint64_t>(std::chrono::milliseconds(limits::vm_boot_deadline).count());
  std::uint64_t stop_deadline_ms =
      static_cast<std::uint64_t>(std::chrono::milliseconds(limits::vm_stop_deadline).count());
  std::uint64_t qmp_deadline_ms =
      static_cast<std::uint64_t>(std::chrono::milliseconds(limits::qmp_deadline).count());
  std::uint64_t kill_retry_ms = 5000;  // a VM that does not die is killed again, guard and all
  /// A VM is seen. Called on the supervisor's thread for every change (and once for every new
  /// generation); must not block, may call the supervisor. `generation` is the one of the desired
  /// state that the report is about.
  std::function<void(const pb::VmReport_One&)> on_report;
  /// A line for the log (level: "info" or "warn"). Called on the supervisor's thread; may be empty.
  std::function<void(const char* level, const std::string& line)> on_log;
};

/// Counters since start; each is written by the supervisor's thread and read by any (relaxed).
struct supervisor_stats {
  std::uint64_t starts = 0;    // of guards
  std::uint64_t restarts = 0;  // of these, by the restart policy
  std::uint64_t crashes = 0;   // exits that nobody asked for, and starts that failed
  std::uint64_t adopted = 0;
  std::uint64_t lease_kills = 0;
  std::uint64_t qmp_timeouts = 0;
  std::uint64_t wakeups = 0;  // turns of the loop
};

class supervisor {
 public:
  explicit supervisor(supervisor_options options);
  /// Stops the thread; VMs run on (that is the point), under their guards and the lease.
  ~supervisor();
  supervisor(const supervisor&) = delete;
  supervisor& operator=(const supervisor&) = delete;

  /// Makes data_dir/vms, scans it and starts the thread. Call once.
  /// Errors: errc::internal or disk_full when the directory cannot be made or read.
  [[nodiscard]] tl::expected<void, error> start();
  /// Ends the thread and closes every connection to guards; idempotent. VMs run on.
  void stop();

  /// What the cluster wants of a VM that is assigned to this node. An older generation than the
  /// last is ignored. Returns at once; what follows comes as reports. Any thread.
  void set_desired(std::shared_ptr<const pb::Vm> vm);
  /// The VM is not this node's any more: it is killed, its directory removed, `gone` reported.
  /// Any thread.
  void forget(vm_id id);
  /// forget() for every known VM that is not in `ids`. Any thread.
  void retain(std::set<vm_id> ids);

  /// The last `lines` lines of the VM's console (all of it while it fits the files), oldest first.
  /// Reads files on the caller's thread. Empty when there is nothing. Any thread.
  [[nodiscard]] std::vector<std::string> console_tail(vm_id id, std::size_t lines) const;
  /// Every VM of which something may be left on this node: wanted, found at the start, or on its
  /// way out. One leaves the list when nothing of it lives and its directory is removed. Any
  /// thread; takes a short lock.
  [[nodiscard]] std::set<vm_id> held() const;
  [[nodiscard]] supervisor_stats stats() const noexcept;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace blixard::vm
