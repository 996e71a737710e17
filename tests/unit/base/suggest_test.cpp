#include "runtime/base/suggest.hpp"
#include "runtime/base/flags.hpp"

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

TEST(nearest, takes_the_beginning_of_a_word_for_the_word_where_only_one_begins_so) {
  const std::vector<std::string> names{"--bootstrap", "--election-min-ms", "--election-max-ms"};
  EXPECT_EQ(nearest("--boot", names), "--bootstrap");
  EXPECT_EQ(nearest("--election", names), "");
  EXPECT_EQ(nearest("--bo", names), "") << "two letters say too little";
  EXPECT_EQ(nearest("--", names), "");
  EXPECT_EQ(nearest("", names), "");
}

TEST(nearest, does_not_take_one_letter_for_another) {
  const std::vector<std::string> names{"-o", "-n", "--output"};
  EXPECT_EQ(nearest("-x", names), "");
}

TEST(flag_problem, speaks_of_the_command_line) {
  EXPECT_EQ(flag_problem("--id: At Most 1 required but received 2"), "--id is given twice");
  EXPECT_EQ(flag_problem("--id: 1 required TEXT missing"), "--id needs a value");
  EXPECT_EQ(flag_problem("something else"), "something else");
}

}  // namespace
}  // namespace blixard
