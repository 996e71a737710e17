// What stands on disk about a VM: the plan that a guard is to carry out and the state it reports.
//
//   vms/<id>/spec.json    launch_plan: written by the supervisor before the guard starts
//   vms/<id>/state.json   guard_state: written by the guard; the same text goes over guard.sock
//
// Both are JSON objects of one line; unknown keys are ignored, so that an older guard can be
// adopted by a newer daemon and the other way round.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "runtime/vm/host.hpp"

namespace blixard::vm {

// Files of a VM's directory.
namespace name_of {
inline constexpr const char* spec = "spec.json";
inline constexpr const char* state = "state.json";
inline constexpr const char* lock = "lock";
inline constexpr const char* socket = "guard.sock";
inline constexpr const char* qmp = "qmp.sock";
inline constexpr const char* console = "console.log";
inline constexpr const char* errors = "stderr.log";    // QEMU's own messages
inline constexpr const char* guard_log = "guard.log";  // the guard's own messages
inline constexpr const char* work = "work";            // working directory of a process VM
}  // namespace name_of

/// One start of a VM, resolved to the last argument.
struct launch_plan {
  std::uint64_t vm = 0;
  std::uint64_t generation = 0;  // of the desired state at the start
  std::uint64_t restarts = 0;    // value of Vm.restarts that this start honours
  std::uint32_t failures = 0;    // failed attempts before this one (restart policy)
  std::string name;
  backend_kind backend = backend_kind::process;
  std::string accelerator;         // qemu: kvm or tcg
  std::string uuid;                // qemu: what query-uuid must answer
  std::vector<std::string> argv;   // argv[0] is looked up in PATH of `env` when it has no slash
  std::vector<std::string> env;    // the whole environment, KEY=value
  std::uint32_t vcpus = 0;         // process: cpu limit; 0: none
  std::uint64_t memory_bytes = 0;  // process: memory limit; 0: none
  std::string lease;               // path of the lease page
  std::string ready_text;          // on the console, when the guest is up; empty: not known
};

enum class guard_phase : std::uint8_t { starting, running, paused, exited };
/// Who ended a VM.
enum class ended_by : std::uint8_t {
  itself,   // it exited, crashed, or something outside killed it
  command,  // the supervisor asked the guard
  lease,    // the node's lease ran out (or was not there at the start)
  start,    // it could not be started at all
};

struct guard_state {
  guard_phase phase = guard_phase::starting;
  std::uint64_t guard_pid = 0;
  std::uint64_t guard_start = 0;  // ticks since boot, as process_start_time()
  std::uint64_t pid = 0;          // of the VM; also its process group and session
  std::uint64_t pid_start = 0;
  std::uint64_t boot = 0;  // boot_id_hash()
  std::string cgroup;      // directory of its own cgroup, or empty
  std::string limits;      // which limits hold, for a person
  bool ready = false;      // launch_plan::ready_text has been on the console
  // Only when exited:
  ended_by by = ended_by::itself;
  int exit_code = -1;  // or -1
  int signal = 0;      // that killed it, or 0
  std::string reason;  // for a person
};

[[nodiscard]] std::string encode(const launch_plan& plan);
[[nodiscard]] std::string encode(const guard_state& state);
/// Errors: errc::internal with what is wrong with the text.
[[nodiscard]] tl::expected<launch_plan, error> decode_plan(std::string_view text);
[[nodiscard]] tl::expected<guard_state, error> decode_state(std::string_view text);

}  // namespace blixard::vm
