#include "runtime/vm/files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <sstream>

#include "messages/check.hpp"

namespace blixard::vm {
namespace {

tl::expected<void, error> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(system_error("cannot write " + path));
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

tl::expected<void, error> sync_directory_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  const std::string name = parent.empty() ? "." : parent.string();
  const unique_fd fd{::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd || ::fsync(fd.get()) != 0) return tl::unexpected(system_error("cannot sync " + name));
  return {};
}

struct close_dir {
  void operator()(DIR* d) const noexcept { ::closedir(d); }
};
using dir_handle = std::unique_ptr<DIR, close_dir>;

/// The number that is the whole of `text`.
std::optional<pid_t> parse_pid(std::string_view text) {
  pid_t pid = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (failed != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return pid;
}

bool has_open(pid_t pid, dev_t device, ino_t inode) {
  const std::string base = "/proc/" + std::to_string(pid) + "/fd";
  const dir_handle dir{::opendir(base.c_str())};
  if (!dir) return false;
  while (const dirent* item = ::readdir(dir.get())) {
    struct stat info {};
    if (item->d_name[0] == '.') continue;
    if (::fstatat(::dirfd(dir.get()), item->d_name, &info, 0) != 0) continue;
    if (info.st_dev == device && info.st_ino == inode) return true;
  }
  return false;
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> result;
  const dir_handle proc{::opendir("/proc")};
  if (!proc) return result;
  while (const dirent* item = ::readdir(proc.get()))
    if (const auto pid = parse_pid(item->d_name)) result.push_back(*pid);
  return result;
}

/// The fields of /proc/<pid>/stat that are used here.
struct process_stat {
  char state = 0;
  pid_t parent = 0;
  std::uint64_t start_time = 0;
};

std::optional<process_stat> read_stat(pid_t pid) {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!text) return std::nullopt;
  // The name (field 2) is in parentheses and may hold anything: count from the last one.
  const auto close = text->rfind(')');
  if (close == std::string::npos) return std::nullopt;
  std::istringstream in{text->substr(close + 1)};
  process_stat result;
  in >> result.state >> result.parent;
  std::string skipped;
  for (int field = 5; field < 22; ++field) in >> skipped;
  in >> result.start_time;
  if (!in) return std::nullopt;
  return result;
}

}  // namespace

error system_error(const std::string& what, int code) {
  errc kind = errc::internal;
  if (code == ENOENT) kind = errc::not_found;
  if (code == ENOSPC || code == EDQUOT) kind = errc::disk_full;
  if (code == EACCES || code == EPERM) kind = errc::permission_denied;
  std::array<char, 128> text{};
  return make_error(kind, what + ": " + ::strerror_r(code, text.data(), text.size()));
}

tl::expected<std::string, error> read_file(const std::string& path, std::size_t max_bytes) {
  const unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return tl::unexpected(system_error("cannot open " + path));
  std::string text;
  std::array<char, 16384> block{};
  while (text.size() < max_bytes) {
    const ssize_t n =
        ::read(fd.get(), block.data(), std::min(block.size(), max_bytes - text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(system_error("cannot read " + path));
    if (n == 0) break;
    text.append(block.data(), static_cast<std::size_t>(n));
  }
  return text;
}

tl::expected<void, error> write_file(const std::string& path, std::string_view text, bool durable) {
  const std::string temporary = path + ".tmp";
  {
    const unique_fd fd{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!fd) return tl::unexpected(system_error("cannot create " + temporary));
    if (auto written = write_all(fd.get(), text, temporary); !written) return written;
    if (durable && ::fdatasync(fd.get()) != 0)
      return tl::unexpected(system_error("cannot sync " + temporary));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    return tl::unexpected(system_error("cannot rename to " + path));
  if (durable) return sync_directory_of(path);
  return {};
}

std::optional<std::uint64_t> process_start_time(pid_t pid) {
  const auto stat = read_stat(pid);
  if (!stat || stat->state == 'Z' || stat->state == 'X') return std::nullopt;
  return stat->start_time;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> result;
  for (const pid_t pid : all_processes()) {
    const auto stat = read_stat(pid);
    if (stat && stat->parent == parent) result.push_back(pid);
  }
  return result;
}

unique_fd open_process(pid_t pid, std::uint64_t start_time) {
  if (pid <= 0) return {};
  unique_fd fd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  // Compared after opening: a pid that was reused in between has another start time.
  if (!fd || process_start_time(pid) != start_time) return {};
  return fd;
}

void kill_process(const unique_fd& pidfd) noexcept {
  if (pidfd) ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
}

tl::expected<unique_fd, error> take_lock(const std::string& path) {
  unique_fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!fd) return tl::unexpected(system_error("cannot open " + path));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) return tl::unexpected(make_error(errc::conflict, path + " is held"));
  return tl::unexpected(system_error("cannot lock " + path));
}

std::vector<pid_t> holders_of(const std::string& path) {
  std::vector<pid_t> result;
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return result;
  for (const pid_t pid : all_processes())
    if (pid != ::getpid() && has_open(pid, info.st_dev, info.st_ino)) result.push_back(pid);
  return result;
}

std::uint64_t boot_id_hash() {
  const auto id = read_file("/proc/sys/kernel/random/boot_id", 64);
  return id ? hash_text(*id) : 0;
}

std::string random_uuid() {
  std::array<unsigned char, 16> b{};
  CHECK_EQ(::getrandom(b.data(), b.size(), 0), static_cast<ssize_t>(b.size()));
  b[6] = static_cast<unsigned char>((b[6] & 0x0FU) | 0x40U);
  b[8] = static_cast<unsigned char>((b[8] & 0x3FU) | 0x80U);
  std::array<char, 37> text{};
  std::snprintf(text.data(), text.size(),
                "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
                b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
                b[15]);
  return text.data();
}

std::uint64_t hash_text(std::string_view text) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace blixard::vm
