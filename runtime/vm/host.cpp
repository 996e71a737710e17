#include "runtime/vm/host.hpp"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "runtime/vm/files.hpp"
#include "runtime/vm/qemu.hpp"

namespace blixard::vm {
namespace {

using steady = std::chrono::steady_clock;

std::string variable(const char* name) {
  const char* value = ::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here sets any
  return value == nullptr ? "" : value;
}

bool is_executable(const std::string& path) {
  return ::access(path.c_str(), X_OK) == 0 && std::filesystem::is_regular_file(path);
}

std::string find_in_path(const std::string& name) {
  std::istringstream path{variable("PATH")};
  for (std::string directory; std::getline(path, directory, ':');)
    if (is_executable(directory + "/" + name)) return directory + "/" + name;
  for (const char* directory : {"/usr/bin/", "/usr/local/bin/"})
    if (is_executable(directory + name)) return directory + name;
  return {};
}

struct command_result {
  int exit_code = -1;  // -1: killed, or ended by a signal
  std::string output;  // standard output and error, at most 64 KiB
};

/// Waits for the process until the deadline, then kills it.
int reap(pid_t pid, steady::time_point deadline) {
  const unique_fd process = open_process(pid, process_start_time(pid).value_or(0));
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady::now()).count();
  pollfd p{process.get(), POLLIN, 0};
  if (process && ::poll(&p, 1, static_cast<int>(std::max<long>(left, 0))) == 0)
    ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Runs a program to its end, to `enough` in its output, or to the deadline, whichever is first.
command_result run_command(const std::vector<std::string>& argv, std::chrono::milliseconds limit,
                           const std::string& enough = {}) {
  command_result result;
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return result;
  const unique_fd out{fds[0]};
  unique_fd in{fds[1]};
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const auto& a : argv) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, in.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, in.get(), 2);
  pid_t pid = 0;
  const int failed =
      ::posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  in.reset();
  if (failed != 0) return result;
  const auto deadline = steady::now() + limit;
  bool seen = false;
  while (!seen && result.output.size() < (std::size_t{64} << 10U)) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady::now()).count();
    pollfd p{out.get(), POLLIN, 0};
    if (left <= 0 || ::poll(&p, 1, static_cast<int>(left)) <= 0) break;
    std::array<char, 4096> block{};
    const ssize_t n = ::read(out.get(), block.data(), block.size());
    if (n <= 0) break;
    result.output.append(block.data(), static_cast<std::size_t>(n));
    seen = !enough.empty() && result.output.find(enough) != std::string::npos;
  }
  if (seen) ::kill(pid, SIGKILL);
  result.exit_code = reap(pid, deadline);
  return result;
}

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  const auto newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

/// Empty when the kernel lets us make a virtual machine.
std::string kernel_refuses_kvm() {
  const unique_fd kvm{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
  if (!kvm) return system_error("/dev/kvm").message;
  const unique_fd machine{::ioctl(kvm.get(), KVM_CREATE_VM, 0)};
  if (!machine) return system_error("KVM_CREATE_VM").message;
  return {};
}

/// A BIOS of one page: its first instruction writes 42 to QEMU's exit port, which ends QEMU with
/// the code (42 << 1) | 1. It tells whether a virtual processor runs at all, in a few milliseconds.
constexpr int probe_exit_code = 85;
std::string probe_firmware() {
  constexpr std::size_t size = 64 * 1024;
  std::string image(size, '\xf4');                    // hlt
  const std::string code{"\xb0\x2a\xe6\xf4\xf4", 5};  // mov al,42; out 0xf4,al
  image.replace(size - 16, code.size(), code);        // the reset vector
  return image;
}

/// Empty when a virtual processor under KVM executes instructions under this QEMU.
std::string qemu_refuses_kvm(const std::string& binary) {
  std::string directory = (std::filesystem::temp_directory_path() / "blixard-kvm-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) return system_error("mkdtemp").message;
  const std::string firmware = directory + "/probe.bin";
  std::string why;
  if (auto written = write_file(firmware, probe_firmware(), false); !written) {
    why = written.error().message;
  } else {
    const auto r =
        run_command({binary, "-M", "microvm", "-accel", "kvm", "-cpu", "host", "-m", "16",
                     "-nodefaults", "-no-user-config", "-display", "none", "-device",
                     "isa-debug-exit,iobase=0xf4,iosize=4", "-bios", firmware},
                    std::chrono::seconds{3});
    if (r.exit_code != probe_exit_code)
      why = "KVM does not work under QEMU: " +
            (r.output.empty() ? "a test machine does not run" : last_line(r.output));
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return why;
}

/// Empty when the default guest's kernel gets going under KVM, or there is no such guest to try.
std::string guest_refuses_kvm(const std::string& binary) {
  const auto guest = default_guest();
  if (!guest) return {};
  const auto r = run_command({binary,
                              "-M",
                              "microvm,acpi=on",
                              "-accel",
                              "kvm",
                              "-cpu",
                              "host",
                              "-m",
                              "128",
                              "-nodefaults",
                              "-no-user-config",
                              "-display",
                              "none",
                              "-no-reboot",
                              "-serial",
                              "stdio",
                              "-kernel",
                              guest->kernel,
                              "-initrd",
                              guest->initrd,
                              "-append",
                              "console=ttyS0 panic=1"},
                             std::chrono::seconds{5}, "Linux version");
  if (r.output.find("Linux version") != std::string::npos) return {};
  return "KVM runs a test machine, but no Linux";
}

std::string why_not_kvm(const std::string& binary) {
  std::string why = kernel_refuses_kvm();
  if (why.empty()) why = qemu_refuses_kvm(binary);
  if (why.empty()) why = guest_refuses_kvm(binary);
  return why;
}

qemu_info find_qemu() {
  qemu_info info;
  const std::string chosen = variable("BLIXARD_QEMU");
  const std::string binary = chosen.empty() ? find_in_path("qemu-system-x86_64") : chosen;
  if (binary.empty()) {
    info.why = "qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)";
    return info;
  }
  if (::access(binary.c_str(), X_OK) != 0) {
    info.why = binary + ": " + std::generic_category().message(errno);
    return info;
  }
  const auto version = run_command({binary, "--version"}, std::chrono::seconds{10});
  constexpr std::string_view marker = "version ";
  const auto at = version.output.find(marker);
  if (version.exit_code != 0 || at == std::string::npos) {
    info.why = binary + " does not work: " + last_line(version.output);
    return info;
  }
  const auto begin = at + marker.size();
  info.version = version.output.substr(begin, version.output.find_first_of(" (\n", begin) - begin);
  info.binary = std::filesystem::absolute(binary).string();
  const std::string forced = variable("BLIXARD_ACCEL");
  if (forced == "kvm" || forced == "tcg") {
    info.accelerator = forced;
    info.why = "BLIXARD_ACCEL=" + forced;
    return info;
  }
  info.why = why_not_kvm(info.binary);
  info.accelerator = info.why.empty() ? "kvm" : "tcg";
  return info;
}

/// The memory limit of this process's cgroup (v2, then v1), or 0.
std::uint64_t cgroup_memory_limit() {
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    const auto text = read_file(path, 64);
    if (!text) continue;
    std::uint64_t bytes = 0;
    const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), bytes);
    if (failed == std::errc{}) return bytes;
  }
  return 0;
}

}  // namespace

const char* to_string(backend_kind b) noexcept {
  return b == backend_kind::qemu ? "qemu" : "process";
}

std::uint64_t scratch_disk_bytes(const std::string& data_dir) {
  constexpr std::uint64_t block_bytes = 512;  // the unit of st_blocks, whatever the file system
  std::uint64_t bytes = 0;
  std::error_code failed;
  for (std::filesystem::directory_iterator vm{data_dir + "/vms", failed}, end; !failed && vm != end;
       vm.increment(failed)) {
    struct stat file {};
    if (::lstat((vm->path() / "disk.raw").c_str(), &file) == 0 && S_ISREG(file.st_mode))
      bytes += static_cast<std::uint64_t>(file.st_blocks) * block_bytes;
  }
  return bytes;
}

capacity host_capacity(const std::string& data_dir) {
  capacity c;
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0)
    c.vcpus = static_cast<std::uint32_t>(CPU_COUNT(&set));
  else
    c.vcpus = static_cast<std::uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  c.memory_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                   static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  if (const auto limit = cgroup_memory_limit(); limit != 0)
    c.memory_bytes = std::min(c.memory_bytes, limit);
  struct statvfs disk {};
  if (::statvfs(data_dir.c_str(), &disk) == 0)
    c.disk_bytes =
        disk_capacity(std::uint64_t{disk.f_bavail} * disk.f_frsize, scratch_disk_bytes(data_dir));
  return c;
}

const qemu_info& detect_qemu() {
  static const qemu_info info = find_qemu();
  return info;
}

std::string default_guest_dir() {
  if (const auto dir = variable("BLIXARD_GUEST_DIR"); !dir.empty()) return dir;
  const auto cache = variable("XDG_CACHE_HOME");
  return (cache.empty() ? variable("HOME") + "/.cache" : cache) + "/blixard/guest";
}

tl::expected<guest_files, error> default_guest() {
  const std::string dir = default_guest_dir();
  guest_files files{dir + "/vmlinuz", dir + "/initrd.img"};
  for (const auto* path : {&files.kernel, &files.initrd})
    if (::access(path->c_str(), R_OK) != 0)
      return tl::unexpected(make_error(
          errc::not_found, "no default guest: " + *path + " is missing", "scripts/guest makes it"));
  return files;
}

std::vector<backend_kind> available_backends() {
  std::vector<backend_kind> result;
  if (!detect_qemu().binary.empty()) result.push_back(backend_kind::qemu);
  result.push_back(backend_kind::process);
  return result;
}

}  // namespace blixard::vm
