// Counts operator new: in the steady state no entry costs the leader or a follower an allocation.
#include <gtest/gtest.h>

#include "tests/bench/allocations.hpp"
#include "tests/bench/raft/three_nodes.hpp"

namespace blixard::raft {
namespace {

constexpr std::size_t entry_bytes = 256;
constexpr std::uint64_t warm_up_entries = 60'000;  // the log reaches the size that it keeps

class steady_state : public testing::TestWithParam<std::uint64_t> {};

TEST_P(steady_state, a_batch_is_replicated_committed_and_applied_without_an_allocation) {
  const std::uint64_t batch = GetParam();
  const slice body = slice::copy_of(std::string(entry_bytes, 'x'));
  three_nodes cluster;
  const auto round = [&] {
    for (std::uint64_t i = 0; i < batch; ++i)
      ASSERT_TRUE(cluster.leader().propose(body.sub(0, entry_bytes)));
    cluster.settle();
    cluster.compact();
  };
  while (cluster.leader().commit().value() < warm_up_entries) round();
  ASSERT_GT(bench::allocations(), 0U) << "nothing is counted";

  const log_index from = cluster.leader().commit();
  const auto before = bench::allocations();
  for (int i = 0; i < 200; ++i) round();
  EXPECT_EQ(bench::allocations() - before, 0U);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(cluster.at(i).applied(), from.plus(200 * batch)) << "node " << i + 1;
}

INSTANTIATE_TEST_SUITE_P(batches, steady_state, testing::Values(1, 16, 256));

TEST(steady_state, a_round_of_reads_is_confirmed_without_an_allocation) {
  three_nodes cluster;
  std::uint64_t context = 0;
  const auto round = [&] {
    for (int i = 0; i < 16; ++i) ASSERT_TRUE(cluster.leader().read_index(++context));
    cluster.settle();
  };
  for (int i = 0; i < 1000; ++i) round();
  const auto before = bench::allocations();
  for (int i = 0; i < 200; ++i) round();
  EXPECT_EQ(bench::allocations() - before, 0U);
}

}  // namespace
}  // namespace blixard::raft
