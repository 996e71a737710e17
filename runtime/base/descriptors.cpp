#include "runtime/base/descriptors.hpp"

#include <sys/resource.h>

#include <algorithm>

#include "messages/limits.hpp"

namespace blixard {

std::uint64_t raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const auto former = limit.rlim_cur;
  limit.rlim_cur = std::max<rlim_t>(former, std::min<rlim_t>(limit.rlim_max, descriptors_max));
  if (limit.rlim_cur == former || ::setrlimit(RLIMIT_NOFILE, &limit) != 0) return former;
  return limit.rlim_cur;
}

std::size_t clients_for(std::uint64_t descriptors) noexcept {
  const auto left = descriptors - std::min(descriptors, descriptors_of_the_node);
  return std::clamp<std::size_t>(left / 2, 16, limits::connections_max);
}

std::uint64_t descriptors_for_all_clients() noexcept {
  return descriptors_of_the_node + 2 * limits::connections_max;
}

}  // namespace blixard
