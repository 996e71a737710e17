#include "runtime/base/suggest.hpp"

namespace blixard {
namespace {

TEST(edit_distance, counts_single_changes_and_swaps_of_neighbours) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("list", "list"), 0u);
  EXPECT_EQ(edit_distance("lsit", "list"), 1u);
  EXPECT_EQ(edit_distance("lst", "list"), 1u);
  EXPECT_EQ(edit_distance("lisst", "list"), 1u);
  EXPECT_EQ(edit_distance("last", "list"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
}

TEST(nearest, finds_what_was_meant_and_nothing_else) {
  const std::vector<std::string> names{"create", "delete", "list", "logs", "stop", "start"};
  EXPECT_EQ(nearest("craete", names), "create");
  EXPECT_EQ(nearest("delte", names), "delete");
  EXPECT_EQ(nearest("lost", names), "list");  // as near as logs would be: the first wins
  EXPECT_EQ(nearest("banana", names), "");
  EXPECT_EQ(nearest(std::string(100'000, 'x'), names), "");
  EXPECT_EQ(did_you_mean("strat", names), "did you mean start?");
  EXPECT_EQ(did_you_mean("banana", names), "");
}

}  // namespace
}  // namespace blixard
