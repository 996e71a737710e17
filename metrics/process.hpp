// What the kernel knows of this process, for the process_* metrics. Read at each scrape.
#pragma once

#include <cstdint>

namespace blixard::metrics {

/// Zero where the kernel would not say.
struct process_stats {
  double cpu_seconds = 0;  // user and system
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
  std::uint64_t threads = 0;
  double start_time_seconds = 0;  // since the Unix epoch
};

/// Any thread. Some system calls, about 20 us.
[[nodiscard]] process_stats read_process_stats();

}  // namespace blixard::metrics
