// Claims about the copy-on-write tree, against std::map.
#include "runtime/state/cow_tree.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace blixard::state {
namespace {

struct item {
  int key = 0;
  int value = 0;
};
struct order {
  using key_type = int;
  static int key_of(const item& i) noexcept { return i.key; }
  static std::strong_ordering compare(int a, int b) noexcept { return a <=> b; }
};
using tree = cow_tree<item, order>;

std::map<int, int> content(const tree& t) {
  std::map<int, int> out;
  int last = -1;
  t.for_each([&](const item& i) {
    EXPECT_LT(last, i.key) << "in order";
    last = i.key;
    out.emplace(i.key, i.value);
  });
  return out;
}

TEST(cow_tree, does_what_a_map_does) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    const int keys = seed % 2 == 0 ? 50 : 5000;
    tree t;
    std::map<int, int> model;
    for (int i = 0; i < 5000; ++i) {
      const int key = static_cast<int>(random() % static_cast<unsigned>(keys));
      // Grows, then shrinks to nothing much.
      if (random() % 10 < (i < 2500 ? 7U : 2U)) {
        item old;
        const bool fresh = t.put({key, i}, &old);
        EXPECT_EQ(fresh, !model.contains(key));
        if (!fresh) {
          EXPECT_EQ(old.value, model[key]);
        }
        model[key] = i;
      } else {
        item old;
        const bool there = t.erase(key, &old);
        EXPECT_EQ(there, model.contains(key));
        if (there) {
          EXPECT_EQ(old.value, model[key]);
        }
        model.erase(key);
      }
      ASSERT_EQ(t.size(), model.size());
      const item* found = t.find(key);
      ASSERT_EQ(found != nullptr, model.contains(key));
    }
    EXPECT_EQ(content(t), model) << "seed " << seed;
    for (const auto& [key, value] : model) EXPECT_TRUE(t.erase(key));
    EXPECT_TRUE(t.empty());
    EXPECT_EQ(t.find(0), nullptr);
  }
}

TEST(cow_tree, copies_stay_as_they_were) {
  std::mt19937 random(7);
  tree t;
  std::map<int, int> model;
  std::vector<std::pair<tree, std::map<int, int>>> copies;
  for (int i = 0; i < 20'000; ++i) {
    const int key = static_cast<int>(random() % 2000);
    if (random() % 3 != 0) {
      t.put({key, i});
      model[key] = i;
    } else {
      t.erase(key);
      model.erase(key);
    }
    if (i % 1000 == 0) copies.emplace_back(t, model);
    if (i % 3000 == 0 && copies.size() > 2) copies.erase(copies.begin() + 1);
  }
  for (const auto& [copy, expected] : copies) EXPECT_EQ(content(copy), expected);
  EXPECT_EQ(content(t), model);
}

TEST(cow_tree, let_go_pauses_at_each_leaf_that_only_it_holds_and_leaves_copies_as_they_were) {
  tree t;
  for (int k = 0; k < 10'000; ++k) t.put({k, k});
  const auto expected = content(t);
  int pauses = 0;
  const auto count = [&] { ++pauses; };
  tree copy = t;
  copy.let_go(count);
  EXPECT_EQ(pauses, 0) << "all of it is held by the other one, too";
  EXPECT_TRUE(copy.empty());

  copy = t;
  for (int k = 0; k < 10'000; k += 100) t.put({k, -1});  // each copies a leaf
  copy.let_go(count);
  EXPECT_EQ(pauses, 100);
  auto changed = expected;
  for (int k = 0; k < 10'000; k += 100) changed[k] = -1;
  EXPECT_EQ(content(t), changed);

  pauses = 0;
  t.let_go(count);
  EXPECT_GE(pauses, 10'000 / 32) << "every leaf";
  EXPECT_TRUE(t.empty());
  t.put({1, 1});
  EXPECT_EQ(t.size(), 1U) << "and it can be used again";
}

TEST(cow_tree, for_each_from_starts_at_the_first_that_is_not_below_and_stops_on_false) {
  tree t;
  for (int k = 0; k < 1000; k += 10) t.put({k, k});
  for (int from = -5; from < 1005; ++from) {
    int seen = 0;
    int first = -1;
    t.for_each_from(from, [&](const item& i) {
      if (seen++ == 0) first = i.key;
      return seen < 3;
    });
    const int expected = from <= 0 ? 0 : (from + 9) / 10 * 10;
    EXPECT_EQ(first, expected < 1000 ? expected : -1) << from;
    EXPECT_LE(seen, 3);
  }
}

TEST(cow_tree, erasing_what_is_not_there_copies_nothing) {
  tree t;
  for (int k = 0; k < 100; ++k) t.put({k, k});
  const tree copy = t;
  EXPECT_FALSE(t.erase(1000));
  EXPECT_EQ(t.find(5), copy.find(5)) << "still the same node";
}

}  // namespace
}  // namespace blixard::state
