#include "runtime/base/nesting.hpp"

#include <string>

namespace blixard {
namespace {

std::string nested(int depth) {
  const auto n = static_cast<std::size_t>(depth);
  return std::string(n, '[') + std::string(n, ']');
}

TEST(nests_too_deeply, counts_what_is_open_at_once) {
  EXPECT_FALSE(nests_too_deeply(""));
  EXPECT_FALSE(nests_too_deeply(nested(json_depth_max)));
  EXPECT_TRUE(nests_too_deeply(nested(json_depth_max + 1)));
  EXPECT_TRUE(nests_too_deeply(std::string(1'000'000, '{')));
  std::string wide;
  for (int i = 0; i < 1000; ++i) wide += "[{}],";
  EXPECT_FALSE(nests_too_deeply(wide));
}

TEST(nests_too_deeply, does_not_count_what_stands_in_a_text) {
  EXPECT_FALSE(nests_too_deeply("\"" + nested(1000) + "\""));
  EXPECT_FALSE(nests_too_deeply(R"("a\"[[" )" + nested(10)));
  EXPECT_TRUE(nests_too_deeply(R"("a\\" )" + nested(1000)));
}

}  // namespace
}  // namespace blixard
