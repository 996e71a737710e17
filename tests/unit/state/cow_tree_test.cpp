// Claims about the copy-on-write tree, against std::map.
#include "runtime/state/cow_tree.hpp"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
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

// --- trees that are searched by tags and heads

struct text_item {
  std::string key;
  int value = 0;
};

/// Tags out of `tags` different ones: with one, all keys collide.
template <unsigned tags>
struct text_order {
  using key_type = std::string;
  static std::string_view key_of(const text_item& i) noexcept { return i.key; }
  static std::strong_ordering compare(std::string_view a, std::string_view b) noexcept {
    return a.compare(b) <=> 0;
  }
  static std::uint8_t tag_of(std::string_view key) noexcept {
    return static_cast<std::uint8_t>(std::hash<std::string_view>{}(key) % tags);
  }
  static std::string_view text_of(std::string_view key) noexcept { return key; }
};

/// Keys that are hard to tell apart: short ones of few bytes (zero and those above 0x7F among
/// them), one of which begins another; behind nothing, a short or a very long beginning.
std::string hard_key(std::mt19937& random) {
  static constexpr std::string_view bytes{
      "\0\x01"
      "a\x80\xff",
      5};
  static const std::array<std::string, 4> beginnings{"", "k/", std::string(60, 'p'),
                                                     std::string(60, 'p') + std::string(9, '\0')};
  std::string out = beginnings[random() % beginnings.size()];
  for (auto n = random() % 11; n > 0; --n) out += bytes[random() % bytes.size()];
  return out;
}

template <class Tree>
std::map<std::string, int> texts(const Tree& t) {
  std::map<std::string, int> out;
  t.for_each([&](const text_item& i) {
    EXPECT_TRUE(out.empty() || out.rbegin()->first < i.key) << "in order";
    out.emplace(i.key, i.value);
  });
  return out;
}

/// Changes a tree and a map alike, and copies the tree on the way.
template <class Order>
void texts_as_in_a_map(unsigned seed) {
  std::mt19937 random(seed);
  cow_tree<text_item, Order> t;
  std::map<std::string, int> model;
  std::vector<std::pair<cow_tree<text_item, Order>, std::map<std::string, int>>> copies;
  for (int i = 0; i < 6000; ++i) {
    const std::string key = hard_key(random);
    text_item old;
    const auto there = model.find(key);
    if (random() % 10 < (i < 4000 ? 8U : 1U)) {
      ASSERT_EQ(t.put({key, i}, &old), there == model.end());
      model[key] = i;
    } else {
      ASSERT_EQ(t.erase(key, &old), there != model.end());
      if (there != model.end()) model.erase(there);
    }
    ASSERT_EQ(t.size(), model.size());
    const std::string probe = hard_key(random);
    const auto* found = t.find(probe);
    const auto expected = model.find(probe);
    ASSERT_EQ(found != nullptr, expected != model.end());
    if (found != nullptr) {
      ASSERT_EQ(found->value, expected->second);
    }
    const auto from = model.lower_bound(probe);
    t.for_each_from(probe, [&](const text_item& first) {
      EXPECT_TRUE(from != model.end() && first.key == from->first);
      return false;
    });
    if (i % 1000 == 500) copies.emplace_back(t, model);
  }
  EXPECT_EQ(texts(t), model);
  for (const auto& [copy, expected_of_copy] : copies) EXPECT_EQ(texts(copy), expected_of_copy);
  for (const auto& [key, value] : model) ASSERT_TRUE(t.erase(key));
  EXPECT_TRUE(t.empty());
}

TEST(cow_tree, with_tags_and_heads_does_what_a_map_does_and_copies_stay) {
  for (unsigned seed = 0; seed < 5; ++seed) texts_as_in_a_map<text_order<256>>(seed);
}

TEST(cow_tree, tags_that_collide_cost_comparisons_only) {
  for (unsigned seed = 0; seed < 5; ++seed) {
    texts_as_in_a_map<text_order<1>>(seed);
    texts_as_in_a_map<text_order<2>>(seed);
  }
}

TEST(cow_tree, a_put_in_steps_is_a_put) {
  std::mt19937 random(3);
  cow_tree<text_item, text_order<256>> t;
  std::map<std::string, int> model;
  for (int i = 0; i < 5000; ++i) {
    const std::string key = hard_key(random);
    const auto where = t.descend(std::string_view{key});
    t.look(where);
    text_item old;
    const auto there = model.find(key);
    ASSERT_EQ(t.put_at(where, {key, i}, &old), there == model.end());
    if (there != model.end()) {
      ASSERT_EQ(old.value, there->second);
    }
    model[key] = i;
  }
  EXPECT_EQ(texts(t), model);
}

TEST(cow_tree, putting_a_key_again_splits_no_leaf) {
  tree t;
  for (int k = 0; k < 32; ++k) t.put({k, k});
  for (int k = 0; k < 32; ++k) t.put({k, -k});
  int leaves = 0;
  t.let_go([&] { ++leaves; });
  EXPECT_EQ(leaves, 1) << "it is full, and nothing new came";
}

TEST(key_heads, find_what_a_comparison_with_every_text_finds) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::set<std::string> set;
    for (auto n = random() % 33; n > 0; --n) set.insert(hard_key(random));
    const std::vector<std::string> all(set.begin(), set.end());
    key_heads<32> heads;
    heads.read(all.size(), [&](std::size_t i) { return std::string_view{all[i]}; });
    for (int i = 0; i < 100; ++i) {
      const std::string key =
          i % 2 == 0 || all.empty() ? hard_key(random) : all[random() % all.size()];
      const auto [first, last] = heads.find(key);
      ASSERT_LE(first, last);
      ASSERT_LE(last, all.size());
      for (std::size_t k = 0; k < first; ++k) ASSERT_LE(all[k], key);
      for (std::size_t k = last; k < all.size(); ++k) ASSERT_GT(all[k], key);
    }
  }
}

TEST(key_heads, leave_one_text_to_compare_where_texts_differ_early) {
  const std::vector<std::string> all{"bench/10422", "bench/10835", "bench/12407"};
  key_heads<32> heads;
  heads.read(all.size(), [&](std::size_t i) { return std::string_view{all[i]}; });
  const auto at = [&](std::string_view key) {
    const auto r = heads.find(key);
    return std::pair{r.first, r.last};
  };
  EXPECT_EQ(at("bench/10835"), (std::pair<std::size_t, std::size_t>{1, 2})) << "the key itself";
  EXPECT_EQ(at("bench/11"), (std::pair<std::size_t, std::size_t>{2, 2})) << "none";
  EXPECT_EQ(at("bench/"), (std::pair<std::size_t, std::size_t>{0, 0})) << "before all";
  EXPECT_EQ(at("bench/2"), (std::pair<std::size_t, std::size_t>{3, 3})) << "behind all";
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

/// What two trees differ in, by going through all of both.
std::map<int, std::pair<int, int>> difference(const std::map<int, int>& a,
                                              const std::map<int, int>& b) {
  std::map<int, std::pair<int, int>> out;  // -1: not there
  for (const auto& [k, v] : a) out[k] = {v, -1};
  for (const auto& [k, v] : b) out.try_emplace(k, -1, -1).first->second.second = v;
  std::erase_if(out, [](const auto& one) { return one.second.first == one.second.second; });
  return out;
}

TEST(cow_tree, what_two_versions_do_not_share_contains_all_that_they_differ_in) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    const unsigned keys = seed % 3 == 0 ? 40 : 20'000;
    tree t;
    tree other;  // changed beside it: shares what neither has changed
    std::map<int, int> model;
    std::map<int, int> other_model;
    for (int round = 0; round < 60; ++round) {
      const bool shrinks = round > 40;
      for (unsigned i = 0; i < (round % 4 == 0 ? 500U : 3U); ++i) {
        const int key = static_cast<int>(random() % keys);
        if (random() % 10 < (shrinks ? 2U : 8U)) {
          t.put({key, round});
          model[key] = round;
        } else {
          t.erase(key);
          model.erase(key);
        }
      }
      std::map<int, std::pair<int, int>> found;
      int last = -1;
      EXPECT_TRUE(tree::for_each_unshared(other, t, [&](const item* before, const item* after) {
        const int key = before != nullptr ? before->key : after->key;
        EXPECT_LT(last, key) << "in order";
        last = key;
        if (before != nullptr && after != nullptr) {
          EXPECT_EQ(before->key, after->key);
        }
        const std::pair one{before == nullptr ? -1 : before->value,
                            after == nullptr ? -1 : after->value};
        if (one.first != one.second) found[key] = one;
        return true;
      }));
      ASSERT_EQ(found, difference(other_model, model)) << "seed " << seed << " round " << round;
      if (random() % 2 == 0) {
        other = t;
        other_model = model;
      }
    }
  }
}

TEST(cow_tree, of_a_large_tree_only_the_leaves_that_changed_are_looked_at) {
  tree t;
  for (int k = 0; k < 100'000; ++k) t.put({k, k});
  const tree before = t;
  t.put({500, -1});
  t.put({90'000, -1});
  for (int k = 200'000; k < 200'040; ++k) t.put({k, k});  // splits leaves and, maybe, their parents
  int looked_at = 0;
  EXPECT_TRUE(tree::for_each_unshared(before, t, [&](const item*, const item*) {
    ++looked_at;
    return true;
  }));
  EXPECT_GE(looked_at, 42);
  EXPECT_LE(looked_at, 42 + 4 * 32);
  EXPECT_TRUE(tree::for_each_unshared(t, t, [&](const item*, const item*) { return false; }));
  EXPECT_FALSE(tree::for_each_unshared(before, t, [&](const item*, const item*) { return false; }));
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
