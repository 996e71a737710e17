#include "runtime/routing/buffer_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <random>
#include <set>
#include <thread>

namespace blixard::routing {
namespace {

buffer_classes tiny() { return {{{64, 2, 3}, {256, 1, 1}, {1024, 0, 1}}}; }

TEST(buffer_pool, starts_with_the_documented_classes) {
  const auto c = default_buffer_classes();
  EXPECT_EQ(c[0].capacity_bytes, 1024u);
  EXPECT_EQ(c[0].made, 100u);
  EXPECT_EQ(c[1].capacity_bytes, 64 * 1024u);
  EXPECT_EQ(c[1].made, 50u);
  EXPECT_EQ(c[2].capacity_bytes, 1024 * 1024u);
  EXPECT_EQ(c[2].made, 10u);
  buffer_pool pool;
  for (std::size_t i = 0; i < buffer_class_count; ++i)
    EXPECT_EQ(pool.stats().classes[i].owned, c[i].made);
}

TEST(buffer_pool, gives_the_smallest_class_that_fits) {
  buffer_pool pool{tiny()};
  const std::pair<std::size_t, std::size_t> table[] = {
      {0, 64}, {1, 64}, {64, 64}, {65, 256}, {256, 256}, {257, 1024}, {1024, 1024}, {1025, 1025}};
  for (const auto& [asked, capacity] : table) EXPECT_EQ(pool.acquire(asked)->capacity(), capacity);
  EXPECT_EQ(pool.stats().oversized, 1u);
}

TEST(buffer_pool, a_returned_buffer_is_used_again) {
  buffer_pool pool{tiny()};
  const auto* first = pool.acquire(100).get();
  EXPECT_EQ(pool.acquire(100).get(), first);
  EXPECT_EQ(pool.stats().classes[1].hits, 2u);
  EXPECT_EQ(pool.stats().classes[1].owned, 1u);
}

TEST(buffer_pool, the_large_one_that_came_back_last_goes_out_before_those_that_were_never_used) {
  constexpr auto large = limits::medium_buffer_bytes;
  buffer_pool pool{{{{64, 8, 8}, {large, 8, 8}, {2 * large, 0, 1}}}};
  std::set<const buffer*> used;
  for (int i = 0; i < 20; ++i) {
    const auto one = pool.acquire(large);
    const auto other = pool.acquire(large);
    used.insert({one.get(), other.get()});
  }
  EXPECT_EQ(used.size(), 2u);
}

TEST(buffer_pool, what_was_never_used_is_still_there_when_more_is_needed) {
  constexpr auto large = limits::medium_buffer_bytes;
  buffer_pool pool{{{{64, 0, 1}, {large, 4, 4}, {2 * large, 0, 1}}}};
  { const auto once = pool.acquire(large); }
  std::vector<ref<buffer>> out;
  std::set<const buffer*> used;
  for (int i = 0; i < 4; ++i) used.insert(out.emplace_back(pool.acquire(large)).get());
  EXPECT_EQ(used.size(), 4u);
  EXPECT_EQ(pool.stats().classes[1].misses, 0u);
}

TEST(buffer_pool, grows_to_its_bound_and_serves_from_the_heap_above_it) {
  buffer_pool pool{tiny()};
  std::vector<ref<buffer>> out;
  for (int i = 0; i < 5; ++i) out.push_back(pool.acquire(10));
  auto s = pool.stats().classes[0];
  EXPECT_EQ(s.hits, 3u);
  EXPECT_EQ(s.misses, 2u);
  EXPECT_EQ(s.in_use, 3u);
  EXPECT_EQ(s.owned, 3u);
  out.clear();
  s = pool.stats().classes[0];
  EXPECT_EQ(s.in_use, 0u);
  EXPECT_EQ(s.owned, 3u);
  std::set<const buffer*> again;
  for (int i = 0; i < 3; ++i) out.push_back(pool.acquire(10));
  for (const auto& b : out) again.insert(b.get());
  EXPECT_EQ(again.size(), 3u);
  EXPECT_EQ(pool.stats().classes[0].misses, 2u);
}

TEST(buffer_pool, a_buffer_comes_back_with_the_last_slice) {
  buffer_pool pool{tiny()};
  std::optional<slice> kept;
  {
    auto b = pool.acquire(64);
    const auto* data = b->data();
    const slice whole{std::move(b), data, 64};
    kept = whole.sub(10, 5);
  }
  EXPECT_EQ(pool.stats().classes[0].in_use, 1u);
  kept.reset();
  EXPECT_EQ(pool.stats().classes[0].in_use, 0u);
}

TEST(buffer_pool, buffers_may_outlive_the_pool) {
  auto pool = std::make_unique<buffer_pool>(tiny());
  auto pooled = pool->acquire(64);
  auto extra = pool->acquire(2000);
  pool.reset();
  std::memset(pooled->data(), 1, pooled->capacity());
  std::memset(extra->data(), 2, extra->capacity());
}

// The owner acquires and hands out, three threads drop what they get: every buffer that is acquired
// is nobody else's at that time, and in the end all of them are home.
TEST(buffer_pool, takes_buffers_back_from_any_thread) {
  constexpr int rounds = 30'000;
  buffer_pool pool{{{{64, 4, 16}, {256, 1, 1}, {1024, 0, 1}}}};
  std::array<std::atomic<buffer*>, 3> inbox{};
  std::atomic<bool> done{false};
  std::atomic<int> damaged{0};
  std::vector<std::thread> droppers;
  for (auto& slot : inbox)
    droppers.emplace_back([&] {
      for (;;) {
        const bool last = done.load(std::memory_order_acquire);
        buffer* b = slot.exchange(nullptr, std::memory_order_acquire);
        if (b != nullptr) {
          const auto mine = ref<buffer>::adopt(b);
          for (std::size_t i = 1; i < 64; ++i)
            if (mine->data()[i] != mine->data()[0]) damaged.fetch_add(1);
        } else if (last) {
          return;
        } else {
          std::this_thread::yield();
        }
      }
    });
  for (int i = 0; i < rounds; ++i) {
    auto b = pool.acquire(64);
    ASSERT_TRUE(b->unique());
    std::memset(b->data(), i & 0xff, 64);
    buffer* expected = nullptr;
    auto& slot = inbox[static_cast<std::size_t>(i) % inbox.size()];
    if (slot.compare_exchange_strong(expected, b.get(), std::memory_order_release))
      (void)b.detach();
  }
  done.store(true, std::memory_order_release);
  for (auto& t : droppers) t.join();
  EXPECT_EQ(damaged.load(), 0);
  EXPECT_EQ(pool.stats().classes[0].in_use, 0u);
  EXPECT_LE(pool.stats().classes[0].owned, 16u);
}

TEST(buffer_pool, random_use_conserves_buffers) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937 random{seed};
    buffer_pool pool{{{{64, 2, 8}, {256, 1, 4}, {1024, 0, 2}}}};
    std::vector<ref<buffer>> out;
    std::uint64_t asked = 0;
    for (int i = 0; i < 1'000; ++i) {
      if (random() % 2 == 0 || out.empty()) {
        out.push_back(pool.acquire(random() % 1025));
        ++asked;
      } else {
        out.erase(out.begin() + random() % static_cast<long>(out.size()));
      }
      const auto s = pool.stats();
      std::uint64_t served = 0, in_use = 0;
      for (const auto& c : s.classes) {
        served += c.hits + c.misses;
        in_use += c.in_use;
        ASSERT_LE(c.in_use, c.owned) << "seed " << seed;
      }
      ASSERT_EQ(served, asked) << "seed " << seed;
      ASSERT_LE(in_use, out.size()) << "seed " << seed;
    }
    out.clear();
    for (const auto& c : pool.stats().classes) ASSERT_EQ(c.in_use, 0u) << "seed " << seed;
  }
}

}  // namespace
}  // namespace blixard::routing
