#include "runtime/vm/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <sstream>
#include <vector>

namespace blixard::vm {
namespace {

/// Writes a control file of a cgroup. False when that is not possible.
bool write_control(const std::string& path, const std::string& text) {
  const unique_fd fd{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const auto& s : strings) result.push_back(const_cast<char*>(s.c_str()));
  result.push_back(nullptr);
  return result;
}

/// Everything the child does between fork and exec; only async-signal-safe calls.
struct exec_request {
  char* const* argv;
  char* const* envp;
  const char* program;
  const char* directory;
  child_files files;
  pid_t guard;
  int cgroup_procs;   // descriptor of cgroup.procs, or -1
  rlim_t data_limit;  // bytes, RLIM_INFINITY: none
  int error_pipe;
};

[[noreturn]] void fail_exec(int error_pipe) {
  const int code = errno;
  [[maybe_unused]] const auto n = ::write(error_pipe, &code, sizeof code);
  ::_exit(127);
}

void reset_signals() {
  for (int signal = 1; signal < 32; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void run_child(const exec_request& r) {
  ::setsid();
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail_exec(r.error_pipe);
  // The guard may have died before the line above: then nobody would kill us.
  if (::getppid() != r.guard) ::_exit(127);
  reset_signals();
  if (r.cgroup_procs >= 0 && ::write(r.cgroup_procs, "0", 1) != 1) fail_exec(r.error_pipe);
  if (r.data_limit != RLIM_INFINITY) {
    const rlimit limit{r.data_limit, r.data_limit};
    ::setrlimit(RLIMIT_DATA, &limit);
  }
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  if (::chdir(r.directory) != 0 || ::dup2(r.files.input, 0) < 0 || ::dup2(r.files.output, 1) < 0 ||
      ::dup2(r.files.errors, 2) < 0)
    fail_exec(r.error_pipe);
  const int flags = ::fcntl(r.files.lock, F_GETFD);
  if (flags >= 0) ::fcntl(r.files.lock, F_SETFD, flags & ~FD_CLOEXEC);
  ::execve(r.program, r.argv, r.envp);
  fail_exec(r.error_pipe);
}

std::string find_program(const std::string& name, const std::vector<std::string>& env) {
  if (name.find('/') != std::string::npos) return name;
  for (const auto& variable : env) {
    if (variable.rfind("PATH=", 0) != 0) continue;
    std::istringstream path{variable.substr(5)};
    for (std::string directory; std::getline(path, directory, ':');) {
      const std::string candidate = directory + "/" + name;
      if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    }
  }
  return name;
}

std::string describe_limits(const vm_cgroup& group, rlim_t data_limit) {
  std::string text;
  auto add = [&text](const char* part) { text.append(text.empty() ? "" : ", ").append(part); };
  if (group.limits_memory()) add("memory by cgroup");
  if (group.limits_cpu()) add("cpu by cgroup");
  if (data_limit != RLIM_INFINITY) add("data segment of each process by rlimit");
  return text.empty() ? "none" : text;
}

}  // namespace

vm_cgroup vm_cgroup::make(const std::string& parent, const std::string& tag,
                          std::uint64_t memory_bytes, std::uint32_t vcpus) {
  vm_cgroup result;
  if (parent.empty()) return result;
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "/blixard-%016llx",
                static_cast<unsigned long long>(hash_text(tag)));
  const std::string path = parent + name.data();
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return result;
  result.path_ = path;
  if (memory_bytes != 0)
    result.memory_ = write_control(path + "/memory.max", std::to_string(memory_bytes));
  constexpr std::uint64_t period_us = 100'000;
  if (vcpus != 0)
    result.cpu_ = write_control(
        path + "/cpu.max", std::to_string(vcpus * period_us) + " " + std::to_string(period_us));
  return result;
}

vm_cgroup::~vm_cgroup() {
  if (!path_.empty()) ::rmdir(path_.c_str());
}

void vm_cgroup::kill() const noexcept { kill_cgroup(path_); }

void kill_cgroup(const std::string& path) noexcept {
  if (!path.empty()) write_control(path + "/cgroup.kill", "1");
}

std::string own_cgroup() {
  const auto self = read_file("/proc/self/cgroup");
  const auto mounts = read_file("/proc/self/mountinfo");
  if (!self || !mounts) return {};
  std::string own;
  bool found = false;
  std::istringstream cgroups{*self};
  for (std::string line; std::getline(cgroups, line);) {
    if (line.rfind("0::", 0) != 0) continue;
    own = line.substr(3);
    found = true;
  }
  if (!found) return {};
  // mountinfo: id parent device root mount-point options... - type source options
  std::istringstream lines{*mounts};
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" - cgroup2 ") == std::string::npos) continue;
    std::istringstream fields{line};
    std::string skip;
    std::string root;
    std::string point;
    fields >> skip >> skip >> skip >> root >> point;
    if (root != "/") return {};  // a namespace we do not understand: do without
    return own == "/" ? point : point + own;
  }
  return {};
}

tl::expected<child_process, error> start_child(const launch_plan& plan,
                                               const std::string& directory,
                                               const child_files& files, const vm_cgroup& group) {
  const std::string program = find_program(plan.argv.front(), plan.env);
  const auto argv = pointers(plan.argv);
  const auto envp = pointers(plan.env);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return tl::unexpected(system_error("pipe"));
  const unique_fd read_end{pipe[0]};
  unique_fd write_end{pipe[1]};
  unique_fd procs;
  if (!group.path().empty())
    procs = unique_fd{::open((group.path() + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC)};
  const bool bound_data = plan.memory_bytes != 0 && !group.limits_memory();
  const rlim_t data_limit = bound_data ? plan.memory_bytes : RLIM_INFINITY;
  const exec_request request{argv.data(), envp.data(), program.c_str(), directory.c_str(), files,
                             ::getpid(),  procs.get(), data_limit,      write_end.get()};
  const pid_t pid = ::fork();
  if (pid < 0) return tl::unexpected(system_error("cannot fork"));
  if (pid == 0) run_child(request);
  write_end.reset();
  int code = 0;
  ssize_t n = 0;
  do n = ::read(read_end.get(), &code, sizeof code);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    ::waitpid(pid, nullptr, 0);
    return tl::unexpected(system_error("cannot run " + plan.argv.front(), code));
  }
  return child_process{pid, process_start_time(pid).value_or(0),
                       describe_limits(group, data_limit)};
}

bool kill_all_children(std::uint64_t deadline_ms) {
  constexpr int step_ms = 5;
  for (std::uint64_t waited = 0;; waited += step_ms) {
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    const auto left = children_of(::getpid());
    if (left.empty()) return true;
    if (waited > deadline_ms) return false;
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    ::poll(nullptr, 0, step_ms);
  }
}

}  // namespace blixard::vm
