#include "runtime/vm/guard.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/vm/child.hpp"
#include "runtime/vm/console.hpp"
#include "runtime/vm/files.hpp"
#include "runtime/vm/lease.hpp"
#include "runtime/vm/record.hpp"

namespace blixard::vm {
namespace {

constexpr int listen_fd = 3;
constexpr int lock_fd = 4;
constexpr std::size_t controls_max = 8;
constexpr std::size_t command_max_bytes = 64;
constexpr std::uint64_t orphan_deadline_ms = 5000;
constexpr console_limits error_limits{64 * limits::KiB, 2};

void complain(const std::string& text) { std::fprintf(stderr, "guard: %s\n", text.c_str()); }

std::string describe_exit(int code, int signal) {
  if (signal == 0) return "exited with code " + std::to_string(code);
  const char* name = ::sigabbrev_np(signal);
  return "killed by signal " + std::to_string(signal) +
         (name != nullptr ? " (SIG" + std::string{name} + ")" : "");
}

unique_fd duplicate(int fd) { return unique_fd{::fcntl(fd, F_DUPFD_CLOEXEC, 10)}; }

struct channel {
  unique_fd read;
  unique_fd write;
};
std::optional<channel> make_channel() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return std::nullopt;
  return channel{unique_fd{fds[0]}, unique_fd{fds[1]}};
}

/// One VM from its start to its recorded end.
class guard {
 public:
  guard(launch_plan plan, bool use_lease) : plan_(std::move(plan)), use_lease_(use_lease) {}

  int run() {
    if (auto ready = prepare(); !ready) {
      complain(ready.error().message);
      return 1;
    }
    if (start()) {
      while (!child_ended_) turn();
      conclude();
    }
    publish(true);
    return 0;
  }

 private:
  tl::expected<void, error> prepare();
  bool start();
  void turn();
  void conclude();
  bool lease_is_valid();
  void arm_lease_timer();
  void on_lease_timer();
  void on_signal();
  void on_control(int fd);
  void obey(std::string_view command);
  void accept_control();
  void drain(unique_fd& pipe, console_writer& out, std::size_t max_bytes);
  void look_for_ready(std::string_view console);
  void kill_vm(ended_by by, const std::string& reason);
  void note_end(const siginfo_t& info);
  void publish(bool durable);
  void end_before_start(ended_by by, std::string reason);

  launch_plan plan_;
  bool use_lease_;
  guard_state state_;
  std::optional<lease_page> lease_;
  std::optional<console_writer> console_;
  std::optional<console_writer> errors_;
  vm_cgroup cgroup_;
  unique_fd listen_;
  unique_fd lock_;
  unique_fd signals_;
  unique_fd timer_;
  unique_fd output_;     // the VM's console
  unique_fd error_out_;  // QEMU's stderr
  std::string recent_;   // of the console, while the guest is not ready: less than its ready text
  unique_fd input_;      // write end of the VM's stdin: kept open, never written
  std::map<int, std::pair<unique_fd, std::string>> controls_;  // with unfinished input
  bool child_ended_ = false;
  std::optional<ended_by> killed_by_;  // set by the first kill that was ours
};

tl::expected<void, error> guard::prepare() {
  // Copies above the standard range, closed on exec; whatever else was inherited is closed.
  listen_ = duplicate(listen_fd);
  lock_ = duplicate(lock_fd);
  if (!listen_ || !lock_) return tl::unexpected(system_error("fds 3 and 4 are needed"));
  ::close(listen_fd);
  ::close(lock_fd);
  ::prctl(PR_SET_NAME, "blixard-guard");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = unique_fd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
  timer_ = unique_fd{::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)};
  if (!signals_ || !timer_) return tl::unexpected(system_error("signalfd or timerfd"));
  auto console = console_writer::open(name_of::console, {});
  if (!console) return tl::unexpected(console.error());
  console_.emplace(std::move(*console));
  auto errors = console_writer::open(name_of::errors, error_limits);
  if (!errors) return tl::unexpected(errors.error());
  errors_.emplace(std::move(*errors));
  state_.guard_pid = static_cast<std::uint64_t>(::getpid());
  state_.guard_start = process_start_time(::getpid()).value_or(0);
  state_.boot = boot_id_hash();
  publish(false);
  return {};
}

bool guard::lease_is_valid() {
  if (!use_lease_) return true;
  if (!lease_) {
    auto page = lease_page::open_readonly(plan_.lease);
    if (!page) return false;
    lease_.emplace(std::move(*page));
  }
  return lease_->valid_at(boottime_ns());
}

void guard::end_before_start(ended_by by, std::string reason) {
  state_.phase = guard_phase::exited;
  state_.by = by;
  state_.reason = std::move(reason);
  console_->note("not started: " + state_.reason);
}

bool guard::start() {
  auto input = make_channel();
  auto output = make_channel();
  auto errors = make_channel();
  if (!input || !output || !errors) {
    end_before_start(ended_by::start, system_error("pipe").message);
    return false;
  }
  std::string directory = ".";
  if (plan_.backend == backend_kind::process) {
    directory = name_of::work;
    ::mkdir(directory.c_str(), 0700);
  }
  const bool limited = plan_.backend == backend_kind::process;
  std::array<char, 4096> cwd{};
  const std::string tag = ::getcwd(cwd.data(), cwd.size()) != nullptr ? cwd.data() : plan_.uuid;
  cgroup_ = vm_cgroup::make(own_cgroup(), tag, limited ? plan_.memory_bytes : 0,
                            limited ? plan_.vcpus : 0);
  state_.cgroup = cgroup_.path();
  // The last look at the lease before anything can run; from here on the timer watches.
  if (!lease_is_valid()) {
    end_before_start(ended_by::lease, "this node holds no lease");
    return false;
  }
  arm_lease_timer();
  console_->note("start of " + plan_.name + " (" + to_string(plan_.backend) + ")");
  const bool apart = plan_.backend == backend_kind::qemu;
  const child_files files{input->read.get(), output->write.get(),
                          apart ? errors->write.get() : output->write.get(), lock_.get()};
  auto child = start_child(plan_, directory, files, cgroup_);
  if (!child) {
    end_before_start(ended_by::start, child.error().message);
    return false;
  }
  input_ = std::move(input->write);
  output_ = std::move(output->read);
  if (apart) error_out_ = std::move(errors->read);
  for (const auto* fd : {&output_, &error_out_})
    if (*fd) ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  state_.phase = guard_phase::running;
  state_.pid = static_cast<std::uint64_t>(child->pid);
  state_.pid_start = child->start_time;
  state_.limits = child->limits;
  publish(false);
  return true;
}

void guard::turn() {
  std::vector<pollfd> fds{{signals_.get(), POLLIN, 0},
                          {timer_.get(), POLLIN, 0},
                          {listen_.get(), POLLIN, 0},
                          {output_.get(), POLLIN, 0},  // -1 is skipped by poll
                          {error_out_.get(), POLLIN, 0}};
  const std::size_t fixed = fds.size();
  for (const auto& [fd, unused] : controls_) fds.push_back({fd, POLLIN, 0});
  if (::poll(fds.data(), fds.size(), -1) < 0) return;  // EINTR
  // The lease first: a VM that floods its console must not delay its own end.
  if (fds[1].revents != 0) on_lease_timer();
  if (fds[0].revents != 0) on_signal();
  if (fds[2].revents != 0) accept_control();
  if (fds[3].revents != 0) drain(output_, *console_, 256 * limits::KiB);
  if (fds[4].revents != 0) drain(error_out_, *errors_, 64 * limits::KiB);
  for (std::size_t i = fixed; i < fds.size(); ++i)
    if (fds[i].revents != 0) on_control(fds[i].fd);
}

void guard::arm_lease_timer() {
  if (!use_lease_) return;
  const std::uint64_t at = lease_->current().deadline_ns;
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(at / 1'000'000'000U);
  when.it_value.tv_nsec = static_cast<long>(at % 1'000'000'000U);
  if (at == 0) when.it_value.tv_nsec = 1;  // zero would disarm
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void guard::on_lease_timer() {
  std::uint64_t expirations = 0;
  [[maybe_unused]] const auto n = ::read(timer_.get(), &expirations, sizeof expirations);
  if (lease_is_valid()) {
    arm_lease_timer();
    return;
  }
  kill_vm(ended_by::lease, "the node's lease expired");
}

void guard::kill_vm(ended_by by, const std::string& reason) {
  if (!killed_by_) {
    killed_by_ = by;
    state_.reason = reason;
  }
  // The child is not reaped yet, so its process group is certainly still its own.
  ::kill(-static_cast<pid_t>(state_.pid), SIGKILL);
  ::kill(static_cast<pid_t>(state_.pid), SIGKILL);
  cgroup_.kill();
}

void guard::on_signal() {
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
    if (signal.ssi_signo != SIGCHLD)
      kill_vm(ended_by::command, "the guard got signal " + std::to_string(signal.ssi_signo));
  }
  // Left unreaped until its group is killed: as long as it is a zombie, pid and group are its own.
  siginfo_t info{};
  while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
    if (info.si_pid == static_cast<pid_t>(state_.pid)) {
      ::kill(-info.si_pid, SIGKILL);
      note_end(info);
      return;
    }
    ::waitpid(info.si_pid, nullptr, 0);  // an orphan that was reparented to us
    info = {};
  }
}

void guard::note_end(const siginfo_t& info) {
  child_ended_ = true;
  if (info.si_code == CLD_EXITED)
    state_.exit_code = info.si_status;
  else
    state_.signal = info.si_status;
  state_.by = killed_by_.value_or(ended_by::itself);
  const std::string how = describe_exit(state_.exit_code, state_.signal);
  state_.reason = state_.reason.empty() ? how : state_.reason;
}

void guard::conclude() {
  cgroup_.kill();
  ::waitpid(static_cast<pid_t>(state_.pid), nullptr, 0);
  if (!kill_all_children(orphan_deadline_ms)) complain("processes of the VM do not die");
  drain(output_, *console_, 64 * limits::MiB);
  drain(error_out_, *errors_, limits::MiB);
  console_->note("end: " + state_.reason);
  cgroup_ = vm_cgroup{};
  state_.phase = guard_phase::exited;
}

void guard::drain(unique_fd& pipe, console_writer& out, std::size_t max_bytes) {
  std::array<char, 16384> block{};
  while (pipe && max_bytes > 0) {
    const ssize_t n = ::read(pipe.get(), block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;  // EAGAIN: nothing more for now
    if (n == 0) {
      pipe.reset();
      return;
    }
    const std::string_view got{block.data(), static_cast<std::size_t>(n)};
    out.append(got);
    if (&pipe == &output_) look_for_ready(got);
    max_bytes -= std::min(max_bytes, static_cast<std::size_t>(n));
  }
}

void guard::look_for_ready(std::string_view console) {
  if (state_.ready || plan_.ready_text.empty()) return;
  recent_ += console;
  if (recent_.find(plan_.ready_text) != std::string::npos) {
    state_.ready = true;
    recent_ = {};
    publish(false);
  } else if (recent_.size() >= plan_.ready_text.size()) {
    recent_.erase(0, recent_.size() - plan_.ready_text.size() + 1);
  }
}

void guard::accept_control() {
  unique_fd fd{::accept4(listen_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  if (!fd || controls_.size() >= controls_max) return;
  const std::string line = encode(state_) + "\n";
  ::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  const int key = fd.get();
  controls_.emplace(key, std::pair{std::move(fd), std::string{}});
}

void guard::on_control(int fd) {
  const auto found = controls_.find(fd);
  if (found == controls_.end()) return;
  std::array<char, 256> block{};
  const ssize_t n = ::recv(fd, block.data(), block.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  auto& input = found->second.second;
  if (n > 0) input.append(block.data(), static_cast<std::size_t>(n));
  for (auto end = input.find('\n'); end != std::string::npos; end = input.find('\n')) {
    obey(std::string_view{input}.substr(0, end));
    input.erase(0, end + 1);
  }
  if (n <= 0 || input.size() > command_max_bytes) controls_.erase(found);
}

void guard::obey(std::string_view command) {
  const auto group = -static_cast<pid_t>(state_.pid);
  if (command == "kill") {
    kill_vm(ended_by::command, "");
  } else if (command == "term") {
    if (!killed_by_) killed_by_ = ended_by::command;
    ::kill(group, SIGTERM);
    ::kill(group, SIGCONT);  // a paused process would never see it
  } else if (command == "stop" || command == "cont") {
    const bool pause = command == "stop";
    if (::kill(group, pause ? SIGSTOP : SIGCONT) != 0) return;
    state_.phase = pause ? guard_phase::paused : guard_phase::running;
    publish(false);
  } else {
    complain("unknown command");
  }
}

void guard::publish(bool durable) {
  const std::string text = encode(state_) + "\n";
  if (auto written = write_file(name_of::state, text, durable); !written)
    complain(written.error().message);
  for (const auto& [fd, unused] : controls_)
    ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

int guard_main(int argc, char** argv) {
  const bool use_lease = !(argc == 2 && std::strcmp(argv[1], "--no-lease") == 0);
  if (argc < 1 || argc > 2 || (argc == 2 && use_lease)) {
    complain("usage: blixard guard DIR [--no-lease]  (started by a node, not by hand)");
    return 2;
  }
  ::syscall(SYS_close_range, lock_fd + 1, ~0U, 0);
  if (::chdir(argv[0]) != 0) {
    complain(system_error(argv[0]).message);
    return 1;
  }
  const auto text = read_file(name_of::spec);
  if (!text) {
    complain(text.error().message);
    return 1;
  }
  auto plan = decode_plan(*text);
  if (!plan) {
    complain(plan.error().message);
    return 1;
  }
  return guard{std::move(*plan), use_lease}.run();
}

}  // namespace blixard::vm
