#include "runtime/vm/vm_entry.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <utility>

#include "messages/cluster.pb.h"
#include "runtime/base/fault.hpp"
#include "runtime/vm/child.hpp"
#include "runtime/vm/console.hpp"

namespace blixard::vm {
namespace {

constexpr std::uint64_t qmp_retry_ms = 50;            // while QEMU is starting
constexpr std::uint64_t qmp_reconnect_ms = 1000;      // later
constexpr std::uint64_t conclude_retry_ms = 10;       // between looks at the lock
constexpr std::uint64_t conclude_patience_ms = 1000;  // then stragglers are killed
constexpr std::size_t control_line_max_bytes = 64 * limits::KiB;
constexpr std::size_t last_words_lines = 3;
constexpr std::size_t last_words_bytes = 400;

pb::Phase phase_of(condition c, bool wants_up, bool deleting) {
  switch (c) {
    case condition::absent:
      return wants_up ? pb::PHASE_SCHEDULED : pb::PHASE_STOPPED;
    case condition::starting:
      return pb::PHASE_STARTING;
    case condition::running:
      return pb::PHASE_RUNNING;
    case condition::paused:
      return pb::PHASE_PAUSED;
    case condition::stopping:
      return deleting ? pb::PHASE_DELETING : pb::PHASE_STOPPING;
    case condition::waiting:
    case condition::gave_up:
      return pb::PHASE_FAILED;
    case condition::gone:
      return pb::PHASE_DELETING;
  }
  return pb::PHASE_FAILED;
}

/// The spawn's attributes and file actions, released at the end of the scope.
struct spawn_setup {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  spawn_setup() {
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
  }
  ~spawn_setup() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
  spawn_setup(const spawn_setup&) = delete;
  spawn_setup& operator=(const spawn_setup&) = delete;
};

/// Starts a process in a session of its own with `listener` as fd 3, `lock` as fd 4 and standard
/// error in `log`. Returns its pid.
tl::expected<pid_t, error> spawn_detached(const std::vector<std::string>& argv, int listener,
                                          int lock, const std::string& log) {
  spawn_setup setup;
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&setup.attributes, &none);
  posix_spawnattr_setsigdefault(&setup.attributes, &all);
  posix_spawnattr_setflags(&setup.attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  // Out of the way first: the sources could be 3 and 4 themselves.
  const unique_fd high_listener{::fcntl(listener, F_DUPFD_CLOEXEC, 10)};
  const unique_fd high_lock{::fcntl(lock, F_DUPFD_CLOEXEC, 10)};
  auto* actions = &setup.actions;
  posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(actions, high_listener.get(), 3);
  posix_spawn_file_actions_adddup2(actions, high_lock.get(), 4);
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const auto& a : argv) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int failed =
      ::posix_spawn(&pid, arguments[0], actions, &setup.attributes, arguments.data(), environ);
  if (failed != 0) return tl::unexpected(system_error("cannot start the guard " + argv[0], failed));
  return pid;
}

/// The last lines since the VM's last start that are not the guard's own, joined.
std::string tail_since_start(const std::string& log) {
  std::vector<std::string> words;
  for (auto& line : read_tail(log, 40)) {
    if (line.rfind("[blixard] start of", 0) == 0)
      words.clear();
    else if (!line.empty() && line.rfind("[blixard]", 0) != 0)
      words.push_back(std::move(line));
  }
  std::string text;
  const std::size_t first = words.size() - std::min(words.size(), last_words_lines);
  for (std::size_t i = first; i < words.size(); ++i)
    text.append(text.empty() ? "" : " | ").append(words[i]);
  if (text.size() > last_words_bytes) text.erase(0, text.size() - last_words_bytes);
  return text;
}

/// True when the process behind a pidfd has ended.
bool has_ended(const unique_fd& process) {
  pollfd p{process.get(), POLLIN, 0};
  return process && ::poll(&p, 1, 0) == 1;
}

lifecycle_limits limits_of(const supervisor_options& o) {
  lifecycle_limits limits;
  limits.start_deadline_ms = o.start_deadline_ms;
  limits.boot_deadline_ms = o.boot_deadline_ms;
  limits.stop_deadline_ms = o.stop_deadline_ms;
  limits.kill_again_ms = o.kill_retry_ms;
  return limits;
}

}  // namespace

vm_entry::vm_entry(vm_environment& environment, std::uint64_t id, std::string directory)
    : environment_(environment),
      id_(id),
      directory_(std::move(directory)),
      life_(limits_of(environment.options())) {}

vm_entry::~vm_entry() {
  // Outstanding QMP handlers refer to this object; closing calls them, so make that harmless.
  if (qmp_) qmp_->close();
}

std::string vm_entry::label() const {
  return "vm " + std::to_string(id_) + (plan_.name.empty() ? "" : " (" + plan_.name + ")");
}

launch_context vm_entry::context() const {
  const auto& o = environment_.options();
  return {directory_, o.data_dir + "/lease", o.guest_kernel, o.guest_initrd, o.backends};
}

// ------------------------------------------------------------------ inputs

void vm_entry::set_desired(std::shared_ptr<const pb::Vm> vm, std::uint64_t now_ms) {
  now_ms_ = now_ms;
  if (vm_ && vm->generation() < vm_->generation()) return;
  vm_ = std::move(vm);
  if (environment_.options().use_lease) life_.lease(environment_.lease_is_valid(), now_ms);
  life_.desire(desired_of(*vm_), now_ms);
  pump(now_ms);
}

void vm_entry::forget(std::uint64_t now_ms) {
  now_ms_ = now_ms;
  desired_state d;
  if (life_.has_desire()) d = life_.wish();
  d.state = want::deleted;
  d.force = true;
  life_.desire(d, now_ms);
  pump(now_ms);
}

void vm_entry::on_event(fd_role role, std::uint64_t now_ms) {
  now_ms_ = now_ms;
  switch (role) {
    case fd_role::control:
      read_control(now_ms);
      break;
    case fd_role::guard:
      // An event of the same turn may have started the next guard: its end is not what was seen.
      if (!has_ended(guard_process_)) break;
      reap_guard();
      on_guard_ended(now_ms);
      break;
    case fd_role::qmp:
      if (qmp_ && !qmp_->on_readable()) qmp_lost_ = true;
      break;
  }
  pump(now_ms);
}

void vm_entry::on_time(std::uint64_t now_ms) {
  now_ms_ = now_ms;
  if (qmp_ && !qmp_->tick(now_ms)) {
    environment_.count(vm_environment::happening::qmp_timeout);
    environment_.log("warn", label() + ": QEMU does not answer its control socket");
    life_.remark("QEMU does not answer its control socket", now_ms);
    qmp_lost_ = true;
  }
  if (conclude_ms_ && *conclude_ms_ <= now_ms) conclude(now_ms);
  if (qmp_retry_ms_ && *qmp_retry_ms_ <= now_ms) connect_qmp(now_ms);
  life_.tick(now_ms);
  pump(now_ms);
}

std::optional<std::uint64_t> vm_entry::deadline() const {
  std::optional<std::uint64_t> result = life_.has_desire() ? life_.deadline() : std::nullopt;
  const auto sooner = [&result](std::optional<std::uint64_t> t) {
    if (t) result = std::min(result.value_or(*t), *t);
  };
  sooner(qmp_retry_ms_);
  sooner(conclude_ms_);
  if (qmp_) sooner(qmp_->deadline());
  return result;
}

// ------------------------------------------------------------------ carrying out

void vm_entry::pump(std::uint64_t now_ms) {
  if (std::exchange(qmp_lost_, false)) on_qmp_lost(now_ms);
  if (environment_.options().use_lease) life_.lease(environment_.lease_is_valid(), now_ms);
  for (auto actions = life_.take_actions(); !actions.empty(); actions = life_.take_actions())
    for (const action a : actions) carry_out(a, now_ms);
  for (; crashes_seen_ < life_.crashes(); ++crashes_seen_) {
    environment_.count(vm_environment::happening::crash);
    environment_.log("warn", label() + ": " + life_.reason());
  }
  publish();
}

void vm_entry::carry_out(action a, std::uint64_t now_ms) {
  switch (a) {
    case action::start:
      launch(now_ms);
      return;
    case action::power_down:
      power_down(now_ms);
      return;
    case action::kill:
      kill();
      return;
    case action::pause:
      pause_or_resume(true, now_ms);
      return;
    case action::resume:
      pause_or_resume(false, now_ms);
      return;
    case action::remove:
      remove();
      return;
  }
}

void vm_entry::launch(std::uint64_t now_ms) {
  kills_ = 0;
  const auto fail = [&](const error& e, bool hopeless) {
    std::string text = e.message;
    if (!e.hint.empty()) text += "; " + e.hint;
    life_.exited({ended_by::start, text, {}, hopeless}, now_ms);
  };
  std::error_code made;
  std::filesystem::create_directories(directory_, made);
  ::chmod(directory_.c_str(), 0700);
  auto lock = take_lock(path(name_of::lock));
  if (!lock) return fail(lock.error(), false);
  auto plan = make_plan(*vm_, context());
  if (!plan) {
    plan_ = launch_plan{};
    plan_.name = vm_->spec().name();
    plan_.backend = backend_of(*vm_, context());
    return fail(plan.error(), true);
  }
  plan_ = std::move(*plan);
  plan_.failures = life_.failures();
  state_ = guard_state{};
  qemu_answers_ = false;
  for (const char* old : {name_of::state, name_of::qmp, name_of::errors})
    ::unlink(path(old).c_str());
  if (auto started = start_guard(plan_, std::move(*lock)); !started)
    return fail(started.error(), false);
  environment_.count(vm_environment::happening::start);
  if (plan_.failures > 0) environment_.count(vm_environment::happening::restart);
}

tl::expected<void, error> vm_entry::start_guard(const launch_plan& plan, unique_fd lock) {
  if (auto written = write_file(path(name_of::spec), encode(plan), false); !written) return written;
  // Listening before the guard exists: whoever connects from now on reaches it, sooner or later.
  auto listener = listen_unix(directory_, name_of::socket);
  if (!listener) return tl::unexpected(listener.error());
  const auto& o = environment_.options();
  auto argv = o.guard_argv;
  argv.push_back(directory_);
  if (!o.use_lease) argv.emplace_back("--no-lease");
  if (const auto fault = BLIXARD_FAULT("vm.before_start"); fault.error != 0)
    return tl::unexpected(system_error("cannot start the guard " + argv[0], fault.error));
  auto pid = spawn_detached(argv, listener->get(), lock.get(), path(name_of::guard_log));
  if (!pid) return tl::unexpected(pid.error());
  (void)BLIXARD_FAULT("vm.after_start");
  guard_pid_ = *pid;
  guard_is_child_ = true;
  // Our own unreaped child: the pid cannot have been reused.
  guard_process_ = unique_fd{static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0))};
  environment_.watch(id_, fd_role::guard, guard_process_.get());
  auto control = connect_unix(directory_, name_of::socket);
  if (!control) {
    kill_process(guard_process_);
    return {};  // its end is noticed through the pidfd, and read from the lock
  }
  control_ = std::move(*control);
  control_input_.clear();
  environment_.watch(id_, fd_role::control, control_.get());
  return {};
}

void vm_entry::say(const std::string& word) {
  const std::string line = word + "\n";
  if (control_) ::send(control_.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void vm_entry::power_down(std::uint64_t now_ms) {
  if (!is_qemu() || !qmp_ || !qmp_->ready()) {
    say("term");  // to QEMU this is the power cord, but it saves what it can
    return;
  }
  qmp_command("system_powerdown", "power-down", now_ms);
}

void vm_entry::kill() {
  ++kills_;
  say("kill");
  if (control_ && kills_ == 1) return;
  // The guard does not do it (or cannot be reached): the VM dies with its guard.
  kill_process(guard_process_);
  kill_process(open_process(static_cast<pid_t>(state_.pid), state_.pid_start));
  kill_cgroup(state_.cgroup);
}

void vm_entry::pause_or_resume(bool pause, std::uint64_t now_ms) {
  if (is_qemu())
    qmp_command(pause ? "stop" : "cont", pause ? "pause" : "resume", now_ms);
  else
    say(pause ? "stop" : "cont");
}

void vm_entry::remove() {
  // Held while removing, so that nothing can be started in a directory that is going away.
  const auto lock = take_lock(path(name_of::lock));
  std::error_code failed;
  std::filesystem::remove_all(directory_, failed);
  if (failed) environment_.log("warn", "cannot remove " + directory_ + ": " + failed.message());
}

void vm_entry::publish() {
  const condition now = life_.now();
  if (adopting_ && now != condition::starting) {
    adopting_ = false;
    if (now == condition::running || now == condition::paused)
      environment_.log("info", label() + ": adopted, process " + std::to_string(state_.pid));
  }
  // For the cluster it runs all the while: "starting" would be news that is none.
  if (!life_.has_desire() || adopting_) return;
  const want wish = life_.wish().state;
  const bool wants_up = wish == want::running || wish == want::paused;
  pb::VmReport_One r;
  r.set_vm(id_);
  r.set_generation(life_.wish().generation);
  r.set_phase(phase_of(now, wants_up, wish == want::deleted));
  r.set_reason(life_.reason());
  r.set_gave_up(now == condition::gave_up);
  r.set_gone(now == condition::gone);
  const bool known = !plan_.argv.empty();
  const auto backend = known ? plan_.backend
                       : vm_ ? backend_of(*vm_, context())
                             : backend_kind::process;
  r.set_backend(backend == backend_kind::qemu ? pb::BACKEND_QEMU : pb::BACKEND_PROCESS);
  if (backend == backend_kind::qemu) r.set_accelerator(plan_.accelerator);
  const bool up = now == condition::starting || now == condition::running ||
                  now == condition::paused || now == condition::stopping;
  if (up) r.set_pid(state_.pid);
  std::string encoded = r.SerializeAsString();
  if (encoded == last_report_) return;
  last_report_ = std::move(encoded);
  environment_.report(r);
}

// ------------------------------------------------------------------ the guard

void vm_entry::adopt(std::uint64_t now_ms) {
  now_ms_ = now_ms;
  if (const auto text = read_file(path(name_of::spec)))
    if (auto plan = decode_plan(*text)) plan_ = std::move(*plan);
  if (const auto text = read_file(path(name_of::state)))
    if (auto state = decode_state(*text)) state_ = std::move(*state);
  if (take_lock(path(name_of::lock))) {
    // Nothing lives. How it ended matters only where the restart policy has begun to count.
    life_.recall_failures(plan_.failures);
    return;
  }
  adopting_ = true;
  environment_.count(vm_environment::happening::adopted);
  // Not taken for running before its guard (and QEMU) have said so themselves.
  life_.adopt({condition::starting, plan_.restarts, plan_.failures}, now_ms);
  auto control = connect_unix(directory_, name_of::socket);
  if (!control) {
    environment_.log("warn", label() + ": its guard is gone, ending what is left of it");
    on_guard_ended(now_ms);
    return;
  }
  control_ = std::move(*control);
  environment_.watch(id_, fd_role::control, control_.get());
}

void vm_entry::read_control(std::uint64_t now_ms) {
  std::array<char, 4096> block{};
  while (control_) {
    const ssize_t n = ::recv(control_.get(), block.data(), block.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || control_input_.size() > control_line_max_bytes) {
      on_guard_ended(now_ms);
      return;
    }
    control_input_.append(block.data(), static_cast<std::size_t>(n));
    for (auto end = control_input_.find('\n'); end != std::string::npos;
         end = control_input_.find('\n')) {
      const auto state = decode_state(std::string_view{control_input_}.substr(0, end));
      control_input_.erase(0, end + 1);
      if (state) on_guard_state(*state, now_ms);
    }
  }
}

void vm_entry::on_guard_state(const guard_state& state, std::uint64_t now_ms) {
  state_ = state;
  if (!guard_process_ && guard_pid_ == 0) {
    // Adopted: this line is the first proof of who the guard is.
    guard_pid_ = static_cast<pid_t>(state.guard_pid);
    guard_process_ = open_process(guard_pid_, state.guard_start);
    if (guard_process_) environment_.watch(id_, fd_role::guard, guard_process_.get());
  }
  switch (state.phase) {
    case guard_phase::starting:
    case guard_phase::exited:
      return;
    case guard_phase::running:
      if (is_qemu()) {
        if (!qmp_) qmp_retry_ms_ = now_ms;
        if (qemu_answers_) qemu_is_up(now_ms);
        return;
      }
      life_.started(now_ms);
      life_.resumed(now_ms);
      return;
    case guard_phase::paused:
      life_.started(now_ms);
      life_.paused(now_ms);
      return;
  }
}

void vm_entry::reap_guard() {
  if (guard_is_child_ && guard_pid_ != 0) ::waitpid(guard_pid_, nullptr, WNOHANG);
  guard_pid_ = 0;
  guard_is_child_ = false;
  guard_process_.reset();
}

void vm_entry::on_guard_ended(std::uint64_t now_ms) {
  control_.reset();
  control_input_.clear();
  if (!conclude_ms_) conclude_since_ms_ = now_ms;
  conclude(now_ms);
}

void vm_entry::conclude(std::uint64_t now_ms) {
  const bool reaped = !guard_is_child_;
  const auto lock = take_lock(path(name_of::lock));
  const bool free = lock || lock.error().code != errc::conflict;
  if (!free || !reaped) {
    if (now_ms - conclude_since_ms_ > conclude_patience_ms) clear_stragglers();
    // A lock that stays held for seconds is looked at less often.
    const std::uint64_t waited = now_ms - conclude_since_ms_;
    conclude_ms_ = now_ms + std::max(conclude_retry_ms, waited / 10);
    return;
  }
  conclude_ms_.reset();
  qmp_retry_ms_.reset();
  if (qmp_) qmp_->close();
  qmp_.reset();
  guard_process_.reset();
  guard_pid_ = 0;
  const exit_info info = how_it_ended();
  if (info.by == ended_by::lease) environment_.count(vm_environment::happening::lease_kill);
  // A guard removes its cgroup itself; one that was killed could not.
  if (!state_.cgroup.empty()) ::rmdir(state_.cgroup.c_str());
  state_.pid = 0;
  life_.exited(info, now_ms);
}

void vm_entry::clear_stragglers() {
  kill_process(guard_process_);
  kill_cgroup(state_.cgroup);
  for (const pid_t pid : holders_of(path(name_of::lock))) {
    const auto start = process_start_time(pid);
    if (!start) continue;
    environment_.log("warn", label() + ": killing left-over process " + std::to_string(pid));
    kill_process(open_process(pid, *start));
  }
}

exit_info vm_entry::how_it_ended() const {
  exit_info info;
  const auto text = read_file(path(name_of::state));
  const auto state = text ? decode_state(*text) : tl::unexpected(text.error());
  if (state && state->phase == guard_phase::exited) {
    info.by = state->by;
    info.reason = state->reason;
  } else {
    info.by = ended_by::itself;
    info.reason = "its guard ended without a record (was it killed?)";
    const auto log = read_tail(path(name_of::guard_log), 1);
    if (!log.empty()) info.reason += ": " + log.front();
  }
  if (info.by != ended_by::lease) info.tail = last_words();
  return info;
}

std::string vm_entry::last_words() const {
  std::string text = is_qemu() ? tail_since_start(path(name_of::errors)) : std::string{};
  return text.empty() ? tail_since_start(path(name_of::console)) : text;
}

// ------------------------------------------------------------------ QEMU

void vm_entry::connect_qmp(std::uint64_t now_ms) {
  qmp_retry_ms_.reset();
  if (qmp_ || !control_) return;
  auto client = qmp_client::connect(
      directory_, name_of::qmp,
      {environment_.options().qmp_deadline_ms, [this](const qmp_message& m) { on_qmp_event(m); }},
      now_ms);
  if (!client) {
    const bool starting = life_.now() == condition::starting;
    qmp_retry_ms_ = now_ms + (starting ? qmp_retry_ms : qmp_reconnect_ms);
    return;
  }
  qmp_.emplace(std::move(*client));
  environment_.watch(id_, fd_role::qmp, qmp_->fd());
  greet_qmp(now_ms);
}

void vm_entry::greet_qmp(std::uint64_t now_ms) {
  qmp_->execute(
      "query-uuid",
      [this](const qmp_client::answer& a) {
        if (!a || json_text(*a, "UUID") == plan_.uuid) return;
        environment_.log("warn", label() + ": another QEMU answers here; killing it");
        kill();
      },
      now_ms);
  qmp_->execute(
      "query-status",
      [this](const qmp_client::answer& a) {
        if (!a) return;
        qemu_answers_ = true;
        qemu_is_up(now_ms_);
        life_.remark("", now_ms_);
        const std::string status = json_text(*a, "status");
        if (status == "paused") life_.paused(now_ms_);
        if (status == "running") life_.resumed(now_ms_);
      },
      now_ms);
}

// The machine is; its guest, where it is one that says so, may still boot, or hang in that.
void vm_entry::qemu_is_up(std::uint64_t now_ms) {
  if (plan_.ready_text.empty() || state_.ready)
    life_.started(now_ms);
  else
    life_.boots(now_ms);
}

void vm_entry::on_qmp_event(const qmp_message& m) {
  if (m.name == "STOP") life_.paused(now_ms_);
  if (m.name == "RESUME") life_.resumed(now_ms_);
  if (m.name == "SHUTDOWN") {
    const std::string why = json_text(m.text, "reason");
    environment_.log("info", label() + ": shutdown" + (why.empty() ? "" : ", " + why));
  }
}

void vm_entry::on_qmp_lost(std::uint64_t now_ms) {
  if (qmp_) qmp_->close();
  qmp_.reset();
  if (control_) qmp_retry_ms_ = now_ms + qmp_reconnect_ms;
}

void vm_entry::qmp_command(const char* command, const std::string& what, std::uint64_t now_ms) {
  if (!qmp_) {
    life_.remark(what + " failed: no connection to QEMU", now_ms);
    return;
  }
  qmp_->execute(
      command,
      [this, what](const qmp_client::answer& a) {
        if (a) {
          if (what == "pause") life_.paused(now_ms_);
          if (what == "resume") life_.resumed(now_ms_);
          return;
        }
        if (a.error().code == errc::timeout)
          environment_.count(vm_environment::happening::qmp_timeout);
        if (a.error().code != errc::connection_lost)
          life_.remark(what + " failed: " + a.error().message, now_ms_);
      },
      now_ms);
}

}  // namespace blixard::vm
