// Claims about blocks that are used again: on one thread, from thread to thread, and at the bound.
#include "messages/block_pool.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <set>
#include <thread>

#include "messages/frame.hpp"

namespace blixard {
namespace {

class reuse : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!block_pool::enabled) GTEST_SKIP() << "the pool is off under this sanitizer";
  }
};

TEST_F(reuse, what_was_given_back_is_handed_out_before_the_heap_is_asked) {
  for (const std::size_t bytes : {1, 64, 65, 200, 1000, 4096}) {
    block_pool::release(block_pool::allocate(bytes), bytes);
    const auto before = block_pool::heap_allocations();
    for (int i = 0; i < 1000; ++i) block_pool::release(block_pool::allocate(bytes), bytes);
    EXPECT_EQ(block_pool::heap_allocations(), before) << bytes;
  }
}

TEST_F(reuse, above_the_largest_class_each_comes_from_the_heap) {
  const auto before = block_pool::heap_allocations();
  for (int i = 0; i < 3; ++i)
    block_pool::release(block_pool::allocate(block_pool::block_max_bytes + 1),
                        block_pool::block_max_bytes + 1);
  EXPECT_EQ(block_pool::heap_allocations() - before, 3u);
}

TEST_F(reuse, no_two_blocks_that_are_out_overlap) {
  constexpr std::size_t bytes = 128;
  std::set<void*> out;
  for (int i = 0; i < 500; ++i) {
    void* b = block_pool::allocate(bytes);
    std::memset(b, i, bytes);
    EXPECT_TRUE(out.insert(b).second);
  }
  for (void* b : out) block_pool::release(b, bytes);
}

// A frame is made on one thread and let go on another: the memory must find its way back.
TEST_F(reuse, blocks_freed_by_another_thread_come_back) {
  constexpr std::size_t bytes = 256;
  constexpr int rounds = 200, at_once = 100;
  std::atomic<std::vector<void*>*> handed{nullptr};
  std::thread consumer{[&] {
    for (int i = 0; i < rounds; ++i) {
      std::vector<void*>* list = nullptr;
      while ((list = handed.exchange(nullptr)) == nullptr) std::this_thread::yield();
      for (void* b : *list) block_pool::release(b, bytes);
      delete list;
    }
  }};
  const auto before = block_pool::heap_allocations();
  for (int i = 0; i < rounds; ++i) {
    auto* list = new std::vector<void*>;
    for (int k = 0; k < at_once; ++k) list->push_back(block_pool::allocate(bytes));
    while (handed.load() != nullptr) std::this_thread::yield();
    handed = list;
  }
  consumer.join();
  // What is on the way at a time: two lists, and what both threads keep.
  EXPECT_LT(block_pool::heap_allocations() - before, 8u * at_once);
}

TEST_F(reuse, a_thread_that_ends_leaves_nothing_that_could_be_used_twice) {
  constexpr std::size_t bytes = 64;
  std::vector<void*> made;
  std::thread{[&] {
    for (int i = 0; i < 300; ++i) made.push_back(block_pool::allocate(bytes));
    for (int i = 0; i < 200; ++i) block_pool::release(made[static_cast<std::size_t>(i)], bytes);
  }}.join();
  std::set<void*> again;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(again.insert(block_pool::allocate(bytes)).second);
  for (std::size_t i = 200; i < 300; ++i) EXPECT_FALSE(again.contains(made[i]));
  for (void* b : again) block_pool::release(b, bytes);
  for (std::size_t i = 200; i < 300; ++i) block_pool::release(made[i], bytes);
}

TEST(block_pool, threads_that_pass_blocks_around_never_write_into_each_others) {
  constexpr int threads = 4, steps = 20'000;
  std::array<std::atomic<std::uint64_t*>, 16> table{};
  std::vector<std::thread> team;
  std::atomic<int> spoiled{0};
  for (int t = 0; t < threads; ++t)
    team.emplace_back([&, t] {
      for (int i = 0; i < steps; ++i) {
        const std::size_t place = static_cast<std::size_t>(i * 7 + t) % table.size();
        auto* b = static_cast<std::uint64_t*>(block_pool::allocate(64));
        const auto mark = static_cast<std::uint64_t>(t) << 32 | static_cast<std::uint64_t>(i);
        for (int k = 0; k < 8; ++k) b[k] = mark;
        auto* old = table[place].exchange(b, std::memory_order_acq_rel);
        if (old == nullptr) continue;
        for (int k = 1; k < 8; ++k)
          if (old[k] != old[0]) ++spoiled;
        block_pool::release(old, 64);
      }
    });
  for (auto& t : team) t.join();
  for (auto& b : table) block_pool::release(b.load(), 64);
  EXPECT_EQ(spoiled, 0);
}

TEST(brief_buffer, holds_its_bytes_like_any_other_at_every_size) {
  for (const std::size_t size : {0, 1, 48, 49, 4080, 4081, 100'000}) {
    auto b = buffer::make_brief(size);
    EXPECT_EQ(b->capacity(), size);
    std::memset(b->data(), 0x5a, size);
    const auto* data = b->data();
    slice other;
    {
      const slice s{std::move(b), data, size};
      other = s;
    }
    EXPECT_EQ(other.text(), std::string(size, 'Z'));
  }
}

}  // namespace
}  // namespace blixard
