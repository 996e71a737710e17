#include "runtime/base/descriptors.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>

#include "messages/limits.hpp"

namespace blixard {
namespace {

TEST(descriptors, clients_get_half_of_what_the_node_does_not_need_itself) {
  EXPECT_EQ(clients_for(0), 16u);
  EXPECT_EQ(clients_for(descriptors_of_the_node), 16u);
  EXPECT_EQ(clients_for(1'024), 448u);
  EXPECT_EQ(clients_for(descriptors_for_all_clients() - 2), limits::connections_max - 1);
  EXPECT_EQ(clients_for(descriptors_for_all_clients()), limits::connections_max);
  EXPECT_EQ(clients_for(descriptors_max), limits::connections_max);
}

// In a process of its own: a limit that was lowered cannot be raised again.
int raised_from(rlim_t soft, rlim_t hard) {
  const rlimit limit{soft, hard};
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
  const auto now = raise_descriptor_limit();
  rlimit seen{};
  if (::getrlimit(RLIMIT_NOFILE, &seen) != 0 || seen.rlim_cur != now) return 2;
  return now == hard && seen.rlim_max == hard ? 0 : 3;
}

TEST(descriptors, the_soft_limit_is_raised_to_the_hard_one) {
  EXPECT_EXIT(std::_Exit(raised_from(64, 200)), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(std::_Exit(raised_from(200, 200)), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace blixard
