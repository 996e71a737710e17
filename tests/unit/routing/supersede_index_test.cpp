#include "runtime/routing/supersede_index.hpp"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>

namespace blixard::routing {
namespace {

TEST(supersede_index, finds_what_was_put_and_nothing_else) {
  supersede_index x;
  EXPECT_EQ(x.find(1), std::nullopt);
  x.remove(1);
  x.put(1, 100);
  x.put(2, 200);
  x.put(1, 101);
  EXPECT_EQ(x.find(1), 101u);
  EXPECT_EQ(x.find(2), 200u);
  EXPECT_EQ(x.size(), 2u);
  x.remove(1);
  EXPECT_EQ(x.find(1), std::nullopt);
  EXPECT_EQ(x.find(2), 200u);
  x.clear();
  EXPECT_EQ(x.size(), 0u);
}

// Few distinct keys in a small table: long probe chains, wrap-around, deletions in their middle.
TEST(supersede_index, behaves_like_a_map) {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    std::mt19937_64 random{seed};
    supersede_index x;
    std::unordered_map<std::uint64_t, std::uint64_t> model;
    for (int i = 0; i < 500; ++i) {
      const std::uint64_t key = 1 + random() % 40;
      if (random() % 2 == 0) {
        x.put(key, static_cast<std::uint64_t>(i));
        model[key] = static_cast<std::uint64_t>(i);
      } else {
        x.remove(key);
        model.erase(key);
      }
      ASSERT_EQ(x.size(), model.size()) << "seed " << seed;
      for (std::uint64_t k = 1; k <= 40; ++k) {
        const auto found = model.find(k);
        ASSERT_EQ(x.find(k), found == model.end() ? std::nullopt : std::optional{found->second})
            << "seed " << seed << " key " << k;
      }
    }
  }
}

}  // namespace
}  // namespace blixard::routing
