#include "runtime/net/loop.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <thread>

#include "tests/unit/net/net_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

struct pair_of_sockets {
  pair_of_sockets() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    a = unique_fd{fds[0]};
    b = unique_fd{fds[1]};
  }
  unique_fd a, b;
};

struct on_ready final : io_handler {
  explicit on_ready(std::function<void(std::uint32_t)> f) : fn(std::move(f)) {}
  void on_io(std::uint32_t events) noexcept override { fn(events); }
  std::function<void(std::uint32_t)> fn;
};

struct on_turn_end final : turn_hook {
  explicit on_turn_end(std::function<void()> f) : fn(std::move(f)) {}
  void end_of_turn() noexcept override { fn(); }
  std::function<void()> fn;
};

TEST(loop, runs_what_was_posted_before_it_started) {
  loop l;
  std::string order;
  l.post([&] { order += 'a'; });
  l.post([&] { order += 'b'; });
  l.post([&] { l.stop(); });
  EXPECT_FALSE(l.in_loop());
  l.run();
  EXPECT_EQ(order, "ab");
}

TEST(loop, stop_before_run_returns_after_the_queued_tasks) {
  loop l;
  bool ran = false;
  l.post([&] { ran = true; });
  l.stop();
  l.run();
  EXPECT_TRUE(ran);
}

// Every task of every thread runs exactly once, in its thread's order, whether the loop sleeps,
// spins or is busy. The sleep-wake race is the point: a lost wake-up would hang this test.
class posts_from_threads : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(posts_from_threads, arrive_once_and_in_each_threads_order) {
  constexpr int threads = 3, per_thread = 20'000;
  loop l{{.spin_ns = GetParam()}};
  std::array<std::vector<int>, threads> seen;
  int total = 0;
  std::thread runner{[&] { l.run(); }};
  std::vector<std::thread> posters;
  std::atomic<int> pace{0};
  for (int t = 0; t < threads; ++t)
    posters.emplace_back([&, t] {
      for (int i = 0; i < per_thread; ++i) {
        l.post([&, t, i] {
          seen[static_cast<std::size_t>(t)].push_back(i);
          pace.store(++total, std::memory_order_relaxed);
          if (total == threads * per_thread) l.stop();
        });
        // Every now and then let the loop fall asleep: wait until it caught up.
        if (i % 512 == 0)
          while (pace.load(std::memory_order_relaxed) < i) std::this_thread::yield();
      }
    });
  for (auto& p : posters) p.join();
  runner.join();
  for (const auto& s : seen) {
    ASSERT_EQ(s.size(), static_cast<std::size_t>(per_thread));
    EXPECT_TRUE(std::ranges::is_sorted(s));
  }
}

INSTANTIATE_TEST_SUITE_P(loop, posts_from_threads, ::testing::Values(0, 50'000));

TEST(loop, one_ping_at_a_time_between_two_threads_never_gets_lost) {
  loop a{{.spin_ns = 0}}, b{{.spin_ns = 0}};
  constexpr int rounds = 5'000;
  int left = rounds;
  struct ping final : loop_task {
    ping(loop& to, loop_task*& other, int& n) : home(to), next(other), rounds_left(n) {}
    void run() noexcept override {
      const int now = --rounds_left;  // from the post on, it is the other thread's
      if (now >= 0) other_loop->post(*next);
      if (now <= 0) home.stop();  // at 0 this side ends, at -1 the other
    }
    loop& home;
    loop* other_loop = nullptr;
    loop_task*& next;
    int& rounds_left;
  };
  loop_task* to_b = nullptr;
  loop_task* to_a = nullptr;
  ping pa{a, to_b, left}, pb{b, to_a, left};
  to_a = &pa;
  to_b = &pb;
  pa.other_loop = &b;
  pb.other_loop = &a;
  std::thread runner{[&] { b.run(); }};
  a.post(pa);
  a.run();
  runner.join();
  EXPECT_EQ(left, -1);
  EXPECT_GT(a.stats().wakes + b.stats().wakes, 0u);
}

TEST(loop, a_batch_of_posts_wakes_a_sleeping_loop_once) {
  loop l{{.spin_ns = 0}};
  // Posts come from the loop itself, which is not asleep: no wake at all is needed.
  int ran = 0;
  l.post([&] {
    for (int i = 0; i < 100; ++i) l.post([&] { ++ran; });
    l.after(0, [&] { l.stop(); });
  });
  l.run();
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(l.stats().wakes, 0u);
}

TEST(loop, tasks_run_before_the_end_of_the_turn_in_which_they_were_queued) {
  loop l;
  std::string order;
  on_turn_end hook{[&] {
    if (order.empty()) return;
    order += '|';
    l.stop();
  }};
  l.add_hook(hook);
  l.post([&] {
    order += 'a';
    l.run_later([&] {
      order += 'b';
      l.run_later([&] { order += 'c'; });
    });
  });
  l.run();
  EXPECT_EQ(order.substr(0, 4), "abc|");
}

TEST(loop, tasks_that_never_end_do_not_keep_sockets_waiting) {
  loop l{{.tasks_per_turn = 16}};
  pair_of_sockets s;
  int spins = 0;
  struct again final : loop_task {
    again(loop& io, int& n) : l(io), count(n) {}
    void run() noexcept override {
      ++count;
      if (!done) l.run_later(*this);
    }
    loop& l;
    int& count;
    bool done = false;
  } endless{l, spins};
  on_ready handler{[&](std::uint32_t) {
    endless.done = true;
    l.stop();
  }};
  ASSERT_EQ(l.watch(s.a.get(), EPOLLIN, handler), 0);
  l.post(endless);
  l.post([&] { EXPECT_EQ(::write(s.b.get(), "x", 1), 1); });
  l.run();
  EXPECT_LE(spins, 16 * 4);
  l.unwatch(s.a.get());
}

TEST(loop, an_unwatched_descriptor_gets_no_event_that_was_already_fetched) {
  loop l;
  pair_of_sockets x, y;
  int events = 0;
  std::array<unique_fd*, 2> mine = {&x.a, &y.a};
  std::array<std::unique_ptr<on_ready>, 2> handlers;
  for (std::size_t i = 0; i < 2; ++i) {
    handlers[i] = std::make_unique<on_ready>([&, i](std::uint32_t) {
      ++events;
      char byte = 0;
      EXPECT_EQ(::read(mine[i]->get(), &byte, 1), 1);
      const auto other = 1 - i;
      l.unwatch(mine[other]->get());
      handlers[other].reset();  // a stale event would touch freed memory
      l.stop();
    });
    ASSERT_EQ(l.watch(mine[i]->get(), EPOLLIN, *handlers[i]), 0);
  }
  ASSERT_EQ(::write(x.b.get(), "x", 1), 1);
  ASSERT_EQ(::write(y.b.get(), "y", 1), 1);
  l.run();
  EXPECT_EQ(events, 1);
  for (std::size_t i = 0; i < 2; ++i)
    if (handlers[i]) l.unwatch(mine[i]->get());
}

TEST(loop, timers_fire_in_order_and_time_stands_still_within_a_turn) {
  loop l;
  std::string order;
  l.after(2 * ms, [&] {
    order += 'b';
    l.stop();
  });
  l.after(1 * ms, [&] { order += 'a'; });
  const auto cancelled = l.after(1 * ms, [&] { order += 'x'; });
  EXPECT_TRUE(l.cancel(cancelled));
  std::uint64_t first = 0;
  l.post([&] {
    first = l.now_ns();
    while (monotonic_ns() < first + 1000) {
    }
    EXPECT_EQ(l.now_ns(), first);
  });
  l.run();
  EXPECT_EQ(order, "ab");
}

TEST(loop, a_periodic_timer_goes_on_until_it_is_cancelled) {
  loop l;
  int fired = 0;
  timer_id id;
  id = l.every(1 * ms, [&] {
    if (++fired == 3) {
      l.cancel(id);
      l.after(5 * ms, [&] { l.stop(); });
    }
  });
  l.run();
  EXPECT_EQ(fired, 3);
}

TEST(loop, tasks_that_never_ran_are_dropped_with_the_loop) {
  auto counted = std::make_shared<int>(0);
  {
    loop l;
    l.post([counted] { ++*counted; });
    l.run_later([counted] { ++*counted; });
    EXPECT_EQ(counted.use_count(), 3);
  }
  EXPECT_EQ(counted.use_count(), 1);
  EXPECT_EQ(*counted, 0);
}

TEST(loop, hooks_run_in_order_and_may_leave) {
  loop l;
  std::string order;
  on_turn_end second{[&] { order += '2'; }};
  on_turn_end first{[&] {
    order += '1';
    l.remove_hook(second);
    l.stop();
  }};
  l.add_hook(first);
  l.add_hook(second);
  l.run();
  EXPECT_EQ(order[0], '1');
  EXPECT_EQ(order.find('2'), std::string::npos);
  l.remove_hook(first);
}

// Idle means asleep: counted, not timed.
TEST(loop, an_idle_loop_sleeps_instead_of_spinning) {
  loop l{{.spin_ns = 100'000}};
  run_for(l, 50 * ms);
  EXPECT_LE(l.stats().turns, 10u);
}

TEST(loop, knows_its_own_thread) {
  loop l, other;
  bool inside = false, inside_other = true;
  l.post([&] {
    inside = l.in_loop();
    inside_other = other.in_loop();
    l.stop();
  });
  EXPECT_FALSE(l.running());
  l.run();
  EXPECT_TRUE(inside);
  EXPECT_FALSE(inside_other);
  EXPECT_FALSE(l.in_loop());
}

}  // namespace
}  // namespace blixard::net
