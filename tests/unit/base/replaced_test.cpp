// A value that is replaced whole: what is taken is one of those stored, lives as long as it is
// held, and goes when nobody holds it.
#include "runtime/base/replaced.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace blixard {
namespace {

/// All words tell the same number; counts those that live.
struct sample {
  explicit sample(std::uint64_t n) {
    words.fill(n);
    ++alive;
  }
  sample(const sample&) = delete;
  sample& operator=(const sample&) = delete;
  ~sample() {
    words.fill(0);
    --alive;
  }
  std::array<std::uint64_t, 16> words{};
  static inline std::atomic<int> alive{0};
};

TEST(replaced, is_null_before_the_first_store) {
  const replaced<sample> none;
  EXPECT_EQ(none.load(), nullptr);
  EXPECT_EQ(none.load(), nullptr);
}

TEST(replaced, gives_what_was_stored_last_and_keeps_nothing_else) {
  {
    replaced<sample> members;
    members.store(std::make_shared<sample>(1));
    EXPECT_EQ(members.load()->words[0], 1U);
    const auto taken = members.load();
    members.store(std::make_shared<sample>(2));
    EXPECT_EQ(taken->words[0], 1U) << "what was taken does not change";
    EXPECT_EQ(members.load()->words[0], 2U);
    EXPECT_EQ(sample::alive, 2);
    members.store(nullptr);
    EXPECT_EQ(members.load(), nullptr);
    EXPECT_EQ(sample::alive, 1);
  }
  EXPECT_EQ(sample::alive, 0);
}

TEST(replaced, no_reader_sees_a_mixture_or_goes_back_and_nothing_is_left_behind) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::uint64_t stores = 20'000;
#else
  constexpr std::uint64_t stores = 300'000;
#endif
  {
    replaced<sample> members;
    members.store(std::make_shared<sample>(1));
    std::atomic<bool> done{false};
    std::vector<std::thread> readers;
    for (int r = 0; r < 3; ++r) {
      readers.emplace_back([&] {
        std::uint64_t last = 0;
        while (!done) {
          const auto taken = members.load();
          for (const auto word : taken->words) ASSERT_EQ(word, taken->words[0]);
          ASSERT_GE(taken->words[0], last) << "went back";
          last = taken->words[0];
        }
      });
    }
    for (std::uint64_t n = 2; n <= stores; ++n) members.store(std::make_shared<sample>(n));
    done = true;
    for (auto& r : readers) r.join();
    EXPECT_EQ(members.load()->words[0], stores);
    EXPECT_EQ(sample::alive, 1);
  }
  EXPECT_EQ(sample::alive, 0);
}

}  // namespace
}  // namespace blixard
