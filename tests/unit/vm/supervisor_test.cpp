// The supervisor with real guards and real processes: what it starts, stops, notices, leaves
// running and takes over.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "runtime/vm/qmp.hpp"
#include "runtime/vm/record.hpp"
#include "tests/unit/vm/support.hpp"

namespace blixard::vm {
namespace {

using namespace test;

constexpr const char* forever = "echo up; while :; do sleep 1000 & wait $!; done";

class vm_supervisor : public ::testing::Test {
 protected:
  supervisor_options options(bool use_lease) {
    supervisor_options o;
    o.data_dir = dir_.path();
    o.guard_argv = {VM_TEST_HELPER, "guard"};
    o.backends = {backend_kind::process};
    o.use_lease = use_lease;
    o.on_report = [this](const pb::VmReport_One& r) { reports_.add(r); };
    return o;
  }
  void begin(supervisor_options o) {
    supervisor_ = std::make_unique<supervisor>(std::move(o));
    const auto started = supervisor_->start();
    ASSERT_TRUE(started) << started.error().message;
  }
  void begin() { begin(options(false)); }
  /// Starts the VM and returns its pid.
  std::uint64_t run(const std::shared_ptr<pb::Vm>& vm) {
    const auto from = reports_.size();
    supervisor_->set_desired(vm);
    return reports_.at(reports_.wait_phase(pb::PHASE_RUNNING, from)).pid();
  }
  guard_state state_on_disk(std::uint64_t id) {
    const auto text = read_file(dir_ / ("vms/" + std::to_string(id) + "/state.json"));
    const auto state = text ? decode_state(*text) : tl::unexpected(text.error());
    return state ? *state : guard_state{};
  }
  void TearDown() override {
    if (supervisor_ == nullptr) return;
    // Nothing may stay behind: the next supervisor's retain() is also what cleans up here.
    supervisor_->retain({});
    EXPECT_TRUE(eventually([&] { return supervisor_->held().empty(); }));
    supervisor_.reset();
    EXPECT_TRUE(std::filesystem::is_empty(dir_ / "vms"));
  }

  temp_dir dir_;
  recorder reports_;
  std::unique_ptr<supervisor> supervisor_;
};

TEST_F(vm_supervisor, starts_a_process_and_reports_starting_then_running) {
  begin();
  const auto pid = run(shell_vm(1, forever));
  EXPECT_TRUE(is_alive(pid));
  const auto all = reports_.all();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].phase(), pb::PHASE_STARTING);
  EXPECT_EQ(all[1].phase(), pb::PHASE_RUNNING);
  EXPECT_EQ(all[1].generation(), 1U);
  EXPECT_EQ(all[1].backend(), pb::BACKEND_PROCESS);
  EXPECT_EQ(supervisor_->held().size(), 1U);
}

TEST_F(vm_supervisor, console_holds_output_and_error_output) {
  begin();
  run(shell_vm(1, "echo out; echo err >&2; while :; do sleep 1000 & wait $!; done"));
  EXPECT_TRUE(eventually([&] {
    return supervisor_->console_tail(vm_id{1}, 2).size() == 2 &&
           supervisor_->console_tail(vm_id{1}, 2)[1] == "err";
  }));
  EXPECT_EQ(supervisor_->console_tail(vm_id{1}, 2)[0], "out");
  EXPECT_TRUE(supervisor_->console_tail(vm_id{99}, 2).empty());
}

TEST_F(vm_supervisor, a_process_vm_without_a_command_says_that_it_lives) {
  begin();
  auto vm = shell_vm(1, "");
  vm->mutable_spec()->clear_process();
  run(vm);
  EXPECT_TRUE(eventually([&] {
    const auto lines = supervisor_->console_tail(vm_id{1}, 100);
    return std::find(lines.begin(), lines.end(), "vm1 ready") != lines.end();
  }));
}

TEST_F(vm_supervisor, environment_is_the_specs_and_nothing_of_the_daemons) {
  ::setenv("BLIXARD_SECRET", "daemon", 1);
  begin();
  auto vm = shell_vm(1, "env; while :; do sleep 1000 & wait $!; done");
  auto* variable = vm->mutable_spec()->mutable_process()->add_env();
  variable->set_key("COLOUR");
  variable->set_value("a=b c");
  run(vm);
  std::vector<std::string> lines;
  EXPECT_TRUE(eventually([&] {
    lines = supervisor_->console_tail(vm_id{1}, 100);
    return std::find(lines.begin(), lines.end(), "COLOUR=a=b c") != lines.end();
  }));
  for (const auto& line : lines) EXPECT_EQ(line.find("BLIXARD_SECRET"), std::string::npos) << line;
}

TEST_F(vm_supervisor, stop_lets_the_process_end_by_itself) {
  begin();
  auto vm =
      shell_vm(1, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 1000 & wait $!; done");
  const auto pid = run(vm);
  ASSERT_TRUE(eventually([&] {
    return !supervisor_->console_tail(vm_id{1}, 1).empty() &&
           supervisor_->console_tail(vm_id{1}, 1)[0] == "up";
  }));
  supervisor_->set_desired(but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_STOPPED); }));
  const auto at = reports_.wait_phase(pb::PHASE_STOPPED);
  EXPECT_EQ(reports_.at(at).generation(), 2U);
  EXPECT_EQ(reports_.at(at).reason(), "");
  EXPECT_FALSE(is_alive(pid));
  const auto lines = supervisor_->console_tail(vm_id{1}, 2);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0], "bye");
}

TEST_F(vm_supervisor, a_process_that_ignores_the_request_is_killed_at_the_deadline) {
  auto o = options(false);
  o.stop_deadline_ms = 50;
  begin(o);
  auto vm = shell_vm(1, "trap '' TERM; echo deaf; while :; do sleep 0.05; done");
  const auto pid = run(vm);
  ASSERT_TRUE(eventually(
      [&] { return supervisor_->console_tail(vm_id{1}, 1) == std::vector<std::string>{"deaf"}; }));
  supervisor_->set_desired(but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_STOPPED); }));
  reports_.wait_phase(pb::PHASE_STOPPED);
  EXPECT_FALSE(is_alive(pid));
  EXPECT_EQ(state_on_disk(1).signal, SIGKILL);
}

TEST_F(vm_supervisor, force_stop_does_not_ask) {
  begin();
  auto vm = shell_vm(1, "trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done");
  run(vm);
  supervisor_->set_desired(but(vm, [](pb::Vm& v) {
    v.set_desired(pb::DESIRED_STOPPED);
    v.set_force_stop(true);
  }));
  reports_.wait_phase(pb::PHASE_STOPPED);
  EXPECT_EQ(state_on_disk(1).signal, SIGKILL);
}

TEST_F(vm_supervisor, pause_freezes_the_whole_group_and_resume_lets_it_go_on) {
  begin();
  auto vm = shell_vm(1, forever);
  const auto pid = run(vm);
  const auto paused = but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_PAUSED); });
  supervisor_->set_desired(paused);
  reports_.wait_phase(pb::PHASE_PAUSED);
  const auto stat = [&] {
    return read_file("/proc/" + std::to_string(pid) + "/stat").value_or("");
  };
  EXPECT_TRUE(eventually([&] { return stat().find(") T ") != std::string::npos; }));
  supervisor_->set_desired(but(paused, [](pb::Vm& v) { v.set_desired(pb::DESIRED_RUNNING); }));
  reports_.wait(
      [](const auto& r) { return r.phase() == pb::PHASE_RUNNING && r.generation() == 3; });
  EXPECT_TRUE(eventually([&] { return stat().find(") T ") == std::string::npos; }));
}

TEST_F(vm_supervisor, a_paused_vm_can_be_stopped) {
  begin();
  auto vm = shell_vm(1, "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done");
  run(vm);
  const auto paused = but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_PAUSED); });
  supervisor_->set_desired(paused);
  reports_.wait_phase(pb::PHASE_PAUSED);
  supervisor_->set_desired(but(paused, [](pb::Vm& v) { v.set_desired(pb::DESIRED_STOPPED); }));
  reports_.wait_phase(pb::PHASE_STOPPED);
}

TEST_F(vm_supervisor, restart_gives_a_new_process) {
  begin();
  auto vm = shell_vm(1, forever);
  const auto first = run(vm);
  const auto from = reports_.size();
  supervisor_->set_desired(but(vm, [](pb::Vm& v) { v.set_restarts(1); }));
  const auto at = reports_.wait(
      [&](const auto& r) { return r.phase() == pb::PHASE_RUNNING && r.pid() != first; }, from);
  EXPECT_NE(reports_.at(at).pid(), 0U);
  EXPECT_FALSE(is_alive(first));
}

TEST_F(vm_supervisor, delete_removes_everything_and_reports_gone_with_its_generation) {
  begin();
  auto vm = shell_vm(7, forever);
  const auto pid = run(vm);
  supervisor_->set_desired(but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_DELETED); }));
  const auto at = reports_.wait([](const auto& r) { return r.gone(); });
  EXPECT_EQ(reports_.at(at).generation(), 2U);
  EXPECT_FALSE(is_alive(pid));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "vms/7"));
}

TEST_F(vm_supervisor, a_deleted_vm_that_never_was_here_is_gone_too) {
  begin();
  auto vm = shell_vm(8, forever);
  vm->set_desired(pb::DESIRED_DELETED);
  supervisor_->set_desired(vm);
  reports_.wait([](const auto& r) { return r.gone() && r.vm() == 8; });
}

TEST_F(vm_supervisor, forget_kills_and_cleans_up) {
  begin();
  const auto pid = run(shell_vm(1, forever));
  supervisor_->forget(vm_id{1});
  reports_.wait([](const auto& r) { return r.gone(); });
  EXPECT_FALSE(is_alive(pid));
}

TEST_F(vm_supervisor, a_crash_is_noticed_and_restarted_after_the_back_off) {
  begin();
  auto vm = shell_vm(1, "echo last words; while :; do sleep 1000 & wait $!; done");
  vm->mutable_spec()->mutable_restart()->set_backoff_seconds(1);
  const auto pid = run(vm);
  ASSERT_TRUE(eventually([&] {
    return supervisor_->console_tail(vm_id{1}, 1) == std::vector<std::string>{"last words"};
  }));
  const auto from = reports_.size();
  ::kill(static_cast<pid_t>(pid), SIGSEGV);
  const auto failed = reports_.wait_phase(pb::PHASE_FAILED, from);
  EXPECT_EQ(reports_.at(failed).reason(),
            "killed by signal 11 (SIGSEGV): last words (restart 1 of 3 in 1 s)");
  EXPECT_FALSE(reports_.at(failed).gave_up());
  const auto again = reports_.wait_phase(pb::PHASE_RUNNING, failed);
  EXPECT_NE(reports_.at(again).pid(), pid);
  EXPECT_EQ(supervisor_->stats().crashes, 1U);
}

TEST_F(vm_supervisor, gives_up_when_the_restarts_are_used_up) {
  begin();
  auto vm = shell_vm(1, "echo oops; exit 3");
  vm->mutable_spec()->mutable_restart()->set_max_restarts(1);
  vm->mutable_spec()->mutable_restart()->set_backoff_seconds(1);
  supervisor_->set_desired(vm);
  const auto at = reports_.wait([](const auto& r) { return r.gave_up(); });
  EXPECT_EQ(reports_.at(at).phase(), pb::PHASE_FAILED);
  EXPECT_EQ(reports_.at(at).reason(), "exited with code 3: oops (gave up after 1 restarts)");
  EXPECT_EQ(supervisor_->stats().starts, 2U);
}

TEST_F(vm_supervisor, a_missing_program_says_so_in_the_reason) {
  begin();
  auto vm = shell_vm(1, "");
  vm->mutable_spec()->mutable_process()->clear_argv();
  vm->mutable_spec()->mutable_process()->add_argv("/no/such/program");
  supervisor_->set_desired(vm);
  const auto at = reports_.wait_phase(pb::PHASE_FAILED);
  EXPECT_NE(reports_.at(at).reason().find("cannot run /no/such/program: No such file"),
            std::string::npos)
      << reports_.at(at).reason();
}

TEST_F(vm_supervisor, a_backend_that_the_node_does_not_offer_is_given_up_at_once) {
  begin();
  auto vm = shell_vm(1, "");
  vm->mutable_spec()->set_backend(pb::BACKEND_QEMU);
  supervisor_->set_desired(vm);
  const auto at = reports_.wait([](const auto& r) { return r.gave_up(); });
  EXPECT_EQ(supervisor_->stats().starts, 0U);
  EXPECT_FALSE(reports_.at(at).reason().empty());
}

TEST_F(vm_supervisor, children_of_the_process_die_with_it_even_out_of_its_session) {
  begin();
  run(shell_vm(1, "setsid sleep 1000 & echo child $!; wait"));
  std::uint64_t child = 0;
  ASSERT_TRUE(eventually([&] {
    const auto lines = supervisor_->console_tail(vm_id{1}, 1);
    return !lines.empty() && std::sscanf(lines[0].c_str(), "child %lu", &child) == 1;
  }));
  const auto process = watch_process(child);
  supervisor_->forget(vm_id{1});
  reports_.wait([](const auto& r) { return r.gone(); });
  EXPECT_TRUE(ends(process));
}

TEST_F(vm_supervisor, a_killed_guard_takes_its_vm_with_it) {
  begin();
  auto vm = shell_vm(1, forever);
  const auto pid = run(vm);
  const auto process = watch_process(pid);
  const auto from = reports_.size();
  ::kill(static_cast<pid_t>(state_on_disk(1).guard_pid), SIGKILL);
  EXPECT_TRUE(ends(process));
  const auto at = reports_.wait_phase(pb::PHASE_FAILED, from);
  EXPECT_NE(reports_.at(at).reason().find("guard ended without a record"), std::string::npos);
}

TEST_F(vm_supervisor, a_killed_guard_with_a_runaway_child_is_cleaned_up_before_the_next_start) {
  begin();
  auto vm = shell_vm(1, "setsid sleep 1000 & echo child $!; wait");
  run(vm);
  std::uint64_t child = 0;
  ASSERT_TRUE(eventually([&] {
    const auto lines = supervisor_->console_tail(vm_id{1}, 1);
    return !lines.empty() && std::sscanf(lines[0].c_str(), "child %lu", &child) == 1;
  }));
  const auto process = watch_process(child);
  ::kill(static_cast<pid_t>(state_on_disk(1).guard_pid), SIGKILL);
  reports_.wait_phase(pb::PHASE_FAILED);
  EXPECT_FALSE(is_alive(child)) << "reported as ended while a process of it still ran";
  EXPECT_TRUE(ends(process));
}

TEST_F(vm_supervisor, one_hung_guard_does_not_delay_another_vm) {
  auto o = options(false);
  o.kill_retry_ms = 100;
  begin(o);
  run(shell_vm(1, forever));
  const auto guard = static_cast<pid_t>(state_on_disk(1).guard_pid);
  ::kill(guard, SIGSTOP);
  supervisor_->forget(vm_id{1});  // cannot be obeyed
  const auto pid = run(shell_vm(2, forever));
  EXPECT_TRUE(is_alive(pid));
  // In the end the hung guard is killed, and its VM with it.
  reports_.wait([](const auto& r) { return r.gone() && r.vm() == 1; });
}

// ---------------------------------------------------------------- lease

TEST_F(vm_supervisor, nothing_starts_without_a_lease_and_everything_when_it_comes) {
  begin(options(true));
  supervisor_->set_desired(shell_vm(1, forever));
  const auto waiting = reports_.wait_phase(pb::PHASE_SCHEDULED);
  EXPECT_EQ(reports_.at(waiting).reason(), "waiting for this node's lease");
  auto lease = lease_page::open(dir_ / "lease");
  ASSERT_TRUE(lease);
  lease->extend(1, boottime_ns() + 3600'000'000'000U);
  reports_.wait_phase(pb::PHASE_RUNNING, waiting);
}

TEST_F(vm_supervisor, a_guard_that_finds_no_lease_starts_nothing) {
  std::filesystem::create_directories(dir_ / "vms/1");
  launch_plan plan;
  plan.vm = 1;
  plan.name = "x";
  plan.argv = {"/bin/sh", "-c", "touch ../started"};
  plan.lease = dir_ / "lease";
  ASSERT_TRUE(lease_page::open(plan.lease));  // exists, grants nothing
  ASSERT_TRUE(write_file(dir_ / "vms/1/spec.json", encode(plan), false));
  const pid_t pid = ::fork();
  if (pid == 0) {
    const auto listener = listen_unix(dir_ / "vms/1", "guard.sock");
    const auto lock = take_lock(dir_ / "vms/1/lock");
    ::dup2(listener->get(), 13);
    ::dup2(lock->get(), 14);
    ::dup2(13, 3);
    ::dup2(14, 4);
    ::execl(VM_TEST_HELPER, VM_TEST_HELPER, "guard", (dir_ / "vms/1").c_str(), nullptr);
    ::_exit(99);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(state_on_disk(1).phase, guard_phase::exited);
  EXPECT_EQ(state_on_disk(1).by, ended_by::lease);
  EXPECT_FALSE(std::filesystem::exists(dir_ / "vms/1/started"));
}

TEST_F(vm_supervisor, the_end_of_the_lease_kills_the_vm_and_a_new_one_starts_it_again) {
  auto lease = lease_page::open(dir_ / "lease");
  ASSERT_TRUE(lease);
  lease->extend(1, boottime_ns() + 300'000'000U);
  begin(options(true));
  auto vm = shell_vm(1, forever);
  const auto pid = run(vm);
  const auto process = watch_process(pid);
  ASSERT_TRUE(ends(process));
  EXPECT_GE(boottime_ns(), lease->current().deadline_ns) << "killed before the lease was over";
  const auto at = reports_.wait_phase(pb::PHASE_SCHEDULED);
  EXPECT_EQ(state_on_disk(1).by, ended_by::lease);
  EXPECT_EQ(state_on_disk(1).reason, "the node's lease expired");
  EXPECT_EQ(supervisor_->stats().lease_kills, 1U);
  lease->extend(1, boottime_ns() + 3600'000'000'000U);
  const auto again = reports_.wait_phase(pb::PHASE_RUNNING, at);
  EXPECT_NE(reports_.at(again).pid(), pid);
  EXPECT_EQ(supervisor_->stats().crashes, 0U) << "an expired lease is not the VM's failure";
}

TEST_F(vm_supervisor, a_renewed_lease_keeps_the_vm_running_past_the_first_deadline) {
  auto lease = lease_page::open(dir_ / "lease");
  ASSERT_TRUE(lease);
  const auto first = boottime_ns() + 300'000'000U;
  lease->extend(1, first);
  begin(options(true));
  const auto pid = run(shell_vm(1, "while :; do echo tick; sleep 0.05; done"));
  lease->extend(1, first + 3600'000'000'000U);
  ASSERT_TRUE(eventually([&] { return boottime_ns() > first + 100'000'000U; }));
  EXPECT_TRUE(is_alive(pid));
}

// ---------------------------------------------------------------- a killed daemon, adoption

/// A daemon of its own process with one VM; the pid of the VM is read from its output.
class daemon_process {
 public:
  daemon_process(const std::string& data_dir, const std::string& lease_ms) {
    std::array<int, 2> fds{};
    EXPECT_EQ(::pipe(fds.data()), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(fds[1], 1);
      ::execl(VM_TEST_HELPER, VM_TEST_HELPER, "daemon", data_dir.c_str(), lease_ms.c_str(),
              nullptr);
      ::_exit(99);
    }
    ::close(fds[1]);
    std::FILE* out = ::fdopen(fds[0], "r");
    EXPECT_EQ(std::fscanf(out, "running %lu", &vm_pid_), 1);
    std::fclose(out);
  }
  ~daemon_process() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] std::uint64_t vm_pid() const { return vm_pid_; }

 private:
  pid_t pid_ = 0;
  std::uint64_t vm_pid_ = 0;
};

TEST_F(vm_supervisor, a_vm_outlives_its_killed_daemon_and_is_adopted_by_the_next) {
  daemon_process daemon{dir_.path(), "3600000"};
  daemon.kill();
  ASSERT_TRUE(is_alive(daemon.vm_pid()));
  begin(options(true));
  auto vm = shell_vm(1, forever);
  vm->mutable_spec()->clear_process();
  const auto pid = run(vm);
  EXPECT_EQ(pid, daemon.vm_pid()) << "started again instead of adopted";
  EXPECT_EQ(supervisor_->stats().adopted, 1U);
  EXPECT_EQ(supervisor_->stats().starts, 0U);
  // Adopted is as good as started: it can be stopped, and its end is noticed.
  supervisor_->set_desired(but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_STOPPED); }));
  reports_.wait_phase(pb::PHASE_STOPPED);
  EXPECT_FALSE(is_alive(pid));
}

TEST_F(vm_supervisor, the_crash_of_an_adopted_vm_is_noticed) {
  daemon_process daemon{dir_.path(), "3600000"};
  daemon.kill();
  begin(options(true));
  auto vm = shell_vm(1, forever);
  vm->mutable_spec()->clear_process();
  run(vm);
  ::kill(static_cast<pid_t>(daemon.vm_pid()), SIGKILL);
  reports_.wait_phase(pb::PHASE_FAILED);
}

TEST_F(vm_supervisor, without_a_daemon_the_lease_still_ends_the_vm) {
  daemon_process daemon{dir_.path(), "700"};
  daemon.kill();
  const auto process = watch_process(daemon.vm_pid());
  ASSERT_TRUE(ends(process));
  ASSERT_TRUE(eventually([&] { return state_on_disk(1).phase == guard_phase::exited; }));
  EXPECT_EQ(state_on_disk(1).by, ended_by::lease);
}

TEST_F(vm_supervisor, a_found_vm_that_is_not_assigned_any_more_is_killed_and_removed) {
  daemon_process daemon{dir_.path(), "3600000"};
  daemon.kill();
  begin(options(true));
  EXPECT_TRUE(is_alive(daemon.vm_pid())) << "killed before anybody said that it is not ours";
  supervisor_->retain({vm_id{5}});
  reports_.wait([](const auto& r) { return r.gone() && r.vm() == 1; });
  EXPECT_FALSE(is_alive(daemon.vm_pid()));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "vms/1"));
}

TEST_F(vm_supervisor, a_restart_asked_for_while_the_daemon_was_away_is_honoured) {
  daemon_process daemon{dir_.path(), "3600000"};
  daemon.kill();
  begin(options(true));
  auto vm = shell_vm(1, forever, 2);
  vm->set_restarts(1);
  supervisor_->set_desired(vm);
  reports_.wait(
      [&](const auto& r) { return r.phase() == pb::PHASE_RUNNING && r.pid() != daemon.vm_pid(); });
  EXPECT_FALSE(is_alive(daemon.vm_pid()));
}

TEST_F(vm_supervisor, an_orphan_of_daemon_and_guard_is_never_run_beside) {
  std::uint64_t old = 0;
  {
    daemon_process daemon{dir_.path(), "3600000"};
    old = daemon.vm_pid();
    daemon.kill();
  }
  ::kill(static_cast<pid_t>(state_on_disk(1).guard_pid), SIGKILL);
  begin(options(true));
  auto vm = shell_vm(1, forever);
  vm->mutable_spec()->mutable_restart()->set_backoff_seconds(1);
  supervisor_->set_desired(vm);
  reports_.wait([&](const auto& r) {
    EXPECT_FALSE(r.phase() == pb::PHASE_RUNNING && r.pid() == old);
    return r.phase() == pb::PHASE_RUNNING;
  });
  EXPECT_FALSE(is_alive(old));
}

// ---------------------------------------------------------------- rest

TEST_F(vm_supervisor, a_flood_of_console_output_stays_within_its_files) {
  begin();
  run(shell_vm(1,
               "yes 0123456789012345678901234567890123456789 | head -c 12000000; echo; echo done; "
               "while :; do sleep 1000 & wait $!; done"));
  ASSERT_TRUE(eventually(
      [&] { return supervisor_->console_tail(vm_id{1}, 1) == std::vector<std::string>{"done"}; }));
  std::uintmax_t total = 0;
  for (const auto& f : std::filesystem::directory_iterator{dir_ / "vms/1"})
    if (f.path().filename().string().rfind("console.log", 0) == 0) total += f.file_size();
  EXPECT_LE(total, limits::console_max_bytes * limits::console_files);
  EXPECT_GT(total, limits::console_max_bytes);
}

TEST_F(vm_supervisor, an_idle_loop_does_not_turn) {
  begin();
  for (std::uint64_t id = 1; id <= 5; ++id) run(shell_vm(id, forever));
  ASSERT_TRUE(eventually([&] {
    for (std::uint64_t id = 1; id <= 5; ++id)
      if (supervisor_->console_tail(vm_id{id}, 1) != std::vector<std::string>{"up"}) return false;
    return true;
  }));
  const auto before = supervisor_->stats().wakeups;
  ::poll(nullptr, 0, 300);
  EXPECT_LE(supervisor_->stats().wakeups - before, 1U);
}

}  // namespace
}  // namespace blixard::vm
