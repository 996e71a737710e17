// One VM of this node as the supervisor holds it: its lifecycle, its guard, its QEMU.
//
// The lifecycle decides (pure); this class carries out: starts guards, sends them words, speaks
// QMP, turns descriptors and deadlines into inputs of the lifecycle, and what the lifecycle shows
// into reports. It never waits. Used by the supervisor's thread alone.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "runtime/vm/launch.hpp"
#include "runtime/vm/lifecycle.hpp"
#include "runtime/vm/qmp.hpp"
#include "runtime/vm/record.hpp"
#include "runtime/vm/supervisor.hpp"

namespace blixard::vm {

/// Which of an entry's descriptors an event is about.
enum class fd_role : std::uint8_t { control = 1, guard = 2, qmp = 3 };

/// What the supervisor does for its entries.
class vm_environment {
 public:
  virtual ~vm_environment() = default;
  /// Adds the descriptor to the loop (readable); closing it takes it out again.
  virtual void watch(std::uint64_t vm, fd_role role, int fd) = 0;
  virtual void report(const pb::VmReport_One& report) = 0;
  virtual void log(const char* level, const std::string& line) = 0;
  [[nodiscard]] virtual bool lease_is_valid() = 0;
  [[nodiscard]] virtual const supervisor_options& options() const = 0;
  enum class happening : std::uint8_t { start, restart, crash, adopted, lease_kill, qmp_timeout };
  static constexpr std::size_t happenings = 6;
  virtual void count(happening h) = 0;
};

class vm_entry {
 public:
  vm_entry(vm_environment& environment, std::uint64_t id, std::string directory);
  ~vm_entry();
  vm_entry(const vm_entry&) = delete;
  vm_entry& operator=(const vm_entry&) = delete;

  /// Looks at what an earlier supervisor left in the directory and takes it over.
  void adopt(std::uint64_t now_ms);
  void set_desired(std::shared_ptr<const pb::Vm> vm, std::uint64_t now_ms);
  void forget(std::uint64_t now_ms);
  void on_event(fd_role role, std::uint64_t now_ms);
  void on_time(std::uint64_t now_ms);

  /// When on_time() is needed at the latest.
  [[nodiscard]] std::optional<std::uint64_t> deadline() const;
  [[nodiscard]] bool waits_for_lease() const { return life_.waits_for_lease(); }
  /// Nothing is left of it, and that is reported.
  [[nodiscard]] bool is_gone() const { return life_.now() == condition::gone; }
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }

 private:
  // Carrying out.
  void pump(std::uint64_t now_ms);
  void carry_out(action a, std::uint64_t now_ms);
  void launch(std::uint64_t now_ms);
  [[nodiscard]] tl::expected<void, error> start_guard(const launch_plan& plan, unique_fd lock);
  void power_down(std::uint64_t now_ms);
  void kill();
  void pause_or_resume(bool pause, std::uint64_t now_ms);
  void remove();
  void say(const std::string& word);
  void publish();

  // The guard.
  void read_control(std::uint64_t now_ms);
  void on_guard_state(const guard_state& state, std::uint64_t now_ms);
  void reap_guard();
  void on_guard_ended(std::uint64_t now_ms);
  void conclude(std::uint64_t now_ms);
  void clear_stragglers();
  [[nodiscard]] exit_info how_it_ended() const;
  [[nodiscard]] std::string last_words() const;

  // QEMU.
  void connect_qmp(std::uint64_t now_ms);
  void greet_qmp(std::uint64_t now_ms);
  void qemu_is_up(std::uint64_t now_ms);
  void on_qmp_event(const qmp_message& m);
  void on_qmp_lost(std::uint64_t now_ms);
  void qmp_command(const char* command, const std::string& what, std::uint64_t now_ms);

  [[nodiscard]] std::string path(const char* name) const { return directory_ + "/" + name; }
  [[nodiscard]] bool is_qemu() const { return plan_.backend == backend_kind::qemu; }
  [[nodiscard]] std::string label() const;
  [[nodiscard]] launch_context context() const;
  /// The time of the input that is being handled, for callbacks that come without one.
  std::uint64_t now_ms_ = 0;

  vm_environment& environment_;
  std::uint64_t id_;
  std::string directory_;
  lifecycle life_;
  std::shared_ptr<const pb::Vm> vm_;  // the last wish; null: none yet
  launch_plan plan_;                  // of the running or last attempt
  guard_state state_;                 // what the guard last said
  pid_t guard_pid_ = 0;               // 0: no guard
  bool guard_is_child_ = false;       // then it is ours to reap
  bool qemu_answers_ = false;         // since the last launch
  bool adopting_ = false;             // what was found has not said yet that it lives
  unique_fd guard_process_;           // pidfd
  unique_fd control_;
  std::string control_input_;
  std::uint32_t kills_ = 0;  // of this attempt
  std::uint64_t crashes_seen_ = 0;
  std::optional<qmp_client> qmp_;
  bool qmp_lost_ = false;  // to be dropped once no call of it is on the stack
  std::optional<std::uint64_t> qmp_retry_ms_;
  std::optional<std::uint64_t> conclude_ms_;  // next look whether the lock is free
  std::uint64_t conclude_since_ms_ = 0;
  std::string last_report_;  // encoded, to report changes only
};

}  // namespace blixard::vm
