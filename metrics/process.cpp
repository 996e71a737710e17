// Reads /proc/self/stat, /proc/self/fd and /proc/stat; see proc(5) for the fields.
#include "metrics/process.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

namespace blixard::metrics {
namespace {

std::string read_file(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// When the machine booted, in seconds since the epoch: "btime" of /proc/stat.
double boot_time_seconds() {
  std::istringstream lines(read_file("/proc/stat"));
  for (std::string word; lines >> word;) {
    double value = 0;
    if (word == "btime" && lines >> value) return value;
  }
  return 0;
}

/// Fields 14 (utime), 15, 20 (threads), 22 (start), 23 (virtual), 24 (resident pages).
void read_stat(process_stats& out) {
  static const double boot = boot_time_seconds();
  const auto text = read_file("/proc/self/stat");
  const auto after_name = text.rfind(')');  // the name may hold spaces and parentheses
  if (after_name == std::string::npos) return;
  std::istringstream fields(text.substr(after_name + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0;
  double system = 0;
  double start = 0;
  std::uint64_t pages = 0;
  fields >> user >> system;
  for (int field = 16; field < 20; ++field) fields >> skipped;
  fields >> out.threads >> skipped >> start >> out.virtual_bytes >> pages;
  if (!fields) return;
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  out.cpu_seconds = (user + system) / ticks;
  out.start_time_seconds = boot + start / ticks;
  out.resident_bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t count_open_fds() {
  std::error_code failed;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", failed), end; !failed && it != end;
       it.increment(failed))
    ++count;
  return count > 0 ? count - 1 : 0;  // one of them was the listing itself
}

}  // namespace

process_stats read_process_stats() {
  process_stats out;
  read_stat(out);
  out.open_fds = count_open_fds();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) out.max_fds = limit.rlim_cur;
  return out;
}

}  // namespace blixard::metrics
