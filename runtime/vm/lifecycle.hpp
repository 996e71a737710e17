// What is to be done with one VM: a pure state machine.
//
//            ┌──────────────── exited, asked for ───────────────┐
//            ▼                                                  │
//   ┌─► absent ── start ──► starting ── up ──► running ⇄ paused ─┴─ stop, restart ─► stopping
//   │     │  └─ delete ─► gone    │               │                                     │
//   │     │                      deadline,       exit, crash                        deadline: kill
//   │  waiting ◄── back-off ──────┴───────────────┘
//   │     └─► gave_up (restarts used up)
//   └── a new generation starts over
//
// Inputs are what the cluster wants, what was observed and the time; outputs are actions for the
// shell and the report for the cluster. It never waits and does not know about processes. Times are
// milliseconds of any monotonic clock. The shell feeds one input, then takes actions and report.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/vm/record.hpp"

namespace blixard::vm {

enum class want : std::uint8_t { running, stopped, paused, deleted };

/// How often and how late a VM that ended by itself is started again (DOMAIN, restart policy).
struct restart_policy {
  std::uint32_t max_restarts = 3;
  std::uint64_t backoff_ms = 5000;  // doubled with each failure
  std::uint64_t backoff_max_ms = 300'000;
  friend bool operator==(const restart_policy&, const restart_policy&) = default;
};

/// What the cluster wants of the VM.
struct desired_state {
  want state = want::running;
  std::uint64_t generation = 0;
  std::uint64_t restarts = 0;  // grows with each `vm restart`
  bool force = false;          // stop without asking the guest
  restart_policy policy;
};

enum class condition : std::uint8_t {
  absent,    // nothing of it runs
  starting,  // the guard is on its way, QEMU does not answer yet, or its guest boots
  running,
  paused,
  stopping,
  waiting,  // for the next try
  gave_up,
  gone,  // action::remove was given: the shell removes what is on disk, and that is the end
};

enum class action : std::uint8_t { start, power_down, kill, pause, resume, remove };

struct lifecycle_limits {
  std::uint64_t start_deadline_ms = 30'000;
  std::uint64_t stop_deadline_ms = 20'000;
  std::uint64_t kill_again_ms = 5'000;
  std::uint64_t boot_deadline_ms = 120'000;
};

/// How a VM ended.
struct exit_info {
  ended_by by = ended_by::itself;
  std::string reason;
  std::string tail;       // its last words (console, stderr), or empty
  bool hopeless = false;  // another try here cannot succeed (a file is missing)
};

/// A VM that was found running when the daemon started.
struct found_state {
  condition now = condition::running;  // starting, running or paused
  std::uint64_t restarts = 0;          // that its start honoured
  std::uint32_t failures = 0;
};

class lifecycle {
 public:
  explicit lifecycle(lifecycle_limits limits) : limits_(limits) {}

  /// A new wish. Older generations than the last are ignored.
  void desire(const desired_state& d, std::uint64_t now_ms);
  /// Whether the node holds its lease: without it nothing is started.
  void lease(bool valid, std::uint64_t now_ms);
  /// Takes over a running VM. Only while absent.
  void adopt(const found_state& found, std::uint64_t now_ms);
  /// Failed attempts of an earlier daemon, of a VM that was found ended. Only while absent.
  void recall_failures(std::uint32_t failures) { failures_ = failures; }
  /// QEMU answers, its guest is not up yet: the deadline of a boot begins.
  void boots(std::uint64_t now_ms);
  /// The VM is up (the process runs; QEMU answers and the guest, where that can be seen, is up).
  void started(std::uint64_t now_ms);
  void paused(std::uint64_t now_ms);
  void resumed(std::uint64_t now_ms);
  /// Something about a VM that is up: pause or resume did not work (it is not tried again before a
  /// new generation), QEMU does not answer. Empty: all is well again.
  void remark(const std::string& reason, std::uint64_t now_ms);
  /// Nothing of the VM is left.
  void exited(const exit_info& info, std::uint64_t now_ms);
  /// Time has passed.
  void tick(std::uint64_t now_ms);

  /// When tick() is needed at the latest; nothing: no deadline is running.
  [[nodiscard]] std::optional<std::uint64_t> deadline() const { return deadline_; }
  /// True while the VM would start if only the node had its lease.
  [[nodiscard]] bool waits_for_lease() const;
  /// Actions since the last call, in order.
  [[nodiscard]] std::vector<action> take_actions();

  [[nodiscard]] condition now() const noexcept { return condition_; }
  [[nodiscard]] bool has_desire() const noexcept { return desired_.has_value(); }
  [[nodiscard]] const desired_state& wish() const { return *desired_; }
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
  [[nodiscard]] std::uint32_t failures() const noexcept { return failures_; }
  /// Value of `restarts` that the last start honoured.
  [[nodiscard]] std::uint64_t honoured_restarts() const noexcept { return honoured_; }
  /// Exits that nobody asked for, since the beginning.
  [[nodiscard]] std::uint64_t crashes() const noexcept { return crashes_; }

 private:
  void settle(std::uint64_t now_ms);
  bool step(std::uint64_t now_ms);
  bool step_absent(std::uint64_t now_ms);
  bool step_up(std::uint64_t now_ms);
  bool step_stopping(std::uint64_t now_ms);
  void begin_stop(action how, std::uint64_t now_ms);
  void enter(condition c) { condition_ = c; }
  void act(action a) { actions_.push_back(a); }
  void fail(const exit_info& info, std::uint64_t now_ms);
  [[nodiscard]] bool wants_up() const {
    return desired_->state == want::running || desired_->state == want::paused;
  }

  lifecycle_limits limits_;
  std::optional<desired_state> desired_;
  condition condition_ = condition::absent;
  bool booting_ = false;  // while starting
  bool lease_valid_ = true;
  bool killed_ = false;   // while stopping: kill was sent
  bool overdue_ = false;  // the last stop became a kill because its time was up
  bool asked_ = false;    // pause or resume is under way, or was refused
  std::string failing_;   // while stopping: the failure that made us stop it
  std::string reason_;
  std::uint32_t failures_ = 0;  // in a row
  std::uint64_t honoured_ = 0;
  std::uint64_t up_since_ms_ = 0;
  std::uint64_t crashes_ = 0;
  std::optional<std::uint64_t> deadline_;
  std::vector<action> actions_;
};

}  // namespace blixard::vm
