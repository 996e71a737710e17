// Random histories of a cluster that is driven through the lab's JSON, judged from outside: the
// five properties of Raft figure 3 and the rules R1 to R8 of the protocol page.
//
//   LAB_SEEDS=first:count   other seeds than the few that run as a test; a single one tells all
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/scenarios/lab_world.hpp"

namespace blixard::raft::lab {
namespace {

struct seeds {
  std::uint64_t first = 1;
  std::uint64_t count = 80;
};

seeds chosen() {
  const char* text = std::getenv("LAB_SEEDS");
  if (text == nullptr) return {};
  const std::string s = text;
  return {std::stoull(s), std::stoull(s.substr(s.find(':') + 1))};
}

TEST(lab_world, keeps_the_properties_and_the_rules_over_random_histories) {
  const seeds range = chosen();
  std::uint64_t reads = 0;
  std::uint64_t leaders = 0;
  std::uint64_t confs = 0;
  std::uint64_t committed = 0;
  for (std::uint64_t seed = range.first; seed < range.first + range.count; ++seed) {
    lab_world world(seed);
    try {
      world.run(4000);
      world.finish();
      if (seed % 10 == 0) world.expect_reproducible();
    } catch (const std::exception& e) {
      FAIL() << world.transcript(range.count == 1 ? 1'000'000 : 20) << e.what()
             << "\nLAB_SEEDS=" << seed << ":1";
    }
    reads += world.oracle().reads_answered();
    leaders += world.oracle().leaders_seen();
    confs += world.oracle().confs_seen();
    committed += world.oracle().committed();
  }
  // The histories were eventful: otherwise nothing was tested.
  EXPECT_GT(reads, range.count);
  EXPECT_GT(leaders, 2 * range.count);
  EXPECT_GT(confs, range.count / 2);
  EXPECT_GT(committed, 20 * range.count);
  std::cout << range.count << " histories: " << leaders << " leaders, " << committed
            << " entries committed, " << confs << " configurations, " << reads << " reads\n";
}

}  // namespace
}  // namespace blixard::raft::lab
