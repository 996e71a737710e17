#include "runtime/net/loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "messages/check.hpp"
#include "runtime/routing/tally.hpp"

namespace blixard::net {
namespace {

constexpr std::size_t events_per_turn = 128;
constexpr std::size_t timers_per_turn = 256;
constexpr std::uint64_t ns_per_s = 1'000'000'000;

// The loop that this thread is inside, if any.
thread_local const loop* current_loop = nullptr;

}  // namespace

std::uint64_t monotonic_ns() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * ns_per_s + static_cast<std::uint64_t>(t.tv_nsec);
}

std::uint64_t boottime_ns() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * ns_per_s + static_cast<std::uint64_t>(t.tv_nsec);
}

struct loop::impl {
  explicit impl(loop_config c) : config(c) {
    epoll_fd = ::epoll_create1(EPOLL_CLOEXEC);
    CHECK_GE(epoll_fd, 0);
    wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK_GE(wake_fd, 0);
    timer_fd = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    CHECK_GE(timer_fd, 0);
    watch_own(wake_fd, wake_token);
    watch_own(timer_fd, timer_token);
  }
  ~impl() {
    take_posted();
    while (auto* t = pop_local()) t->drop();
    ::close(timer_fd);
    ::close(wake_fd);
    ::close(epoll_fd);
  }

  // Edge-triggered: every write to the one and every expiry of the other is an event of its own, so
  // that neither has to be read.
  void watch_own(int fd, std::uint64_t token) const {
    epoll_event e{};
    e.events = EPOLLIN | EPOLLET;
    e.data.u64 = token;
    CHECK_EQ(::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e), 0);
  }

  // A descriptor's place in the table. `generation` tells a stale event (fetched before unwatch)
  // from one of whoever got the same descriptor number since.
  struct watched {
    io_handler* handler = nullptr;
    std::uint32_t generation = 0;
  };
  static constexpr std::uint64_t wake_token = ~std::uint64_t{0};
  static constexpr std::uint64_t timer_token = wake_token - 1;
  static constexpr std::uint64_t never = ~std::uint64_t{0};

  // --- queues
  void push_posted(loop_task& t) noexcept;
  void wake_if_asleep() noexcept;
  void take_posted() noexcept;
  void push_local(loop_task& t) noexcept;
  loop_task* pop_local() noexcept;

  // --- one turn
  void turn(bool may_sleep);
  int wait(bool may_sleep);
  int sleep();
  int poll_events(int timeout_ms);
  void arm_timer() noexcept;
  std::uint64_t time_to_next_timer() const noexcept;
  void dispatch(int count) noexcept;
  void run_tasks() noexcept;
  void run_hooks() noexcept;
  void note_idle(std::uint64_t gap_ns) noexcept;
  [[nodiscard]] bool worth_spinning() const noexcept {
    return config.spin_ns != 0 && idle_gap_ns < config.spin_ns;
  }

  const loop_config config;
  int epoll_fd = -1;
  int wake_fd = -1;
  int timer_fd = -1;

  // Any thread writes these two; sequentially consistent, see sleep().
  alignas(64) std::atomic<loop_task*> posted{nullptr};  // newest first
  std::atomic<bool> asleep{false};
  std::atomic<bool> stopping{false};
  std::atomic<bool> running{false};
  std::atomic<std::uint64_t> wakes{0};

  // Loop thread only from here on.
  alignas(64) loop_task* local_head = nullptr;
  loop_task* local_tail = nullptr;
  std::array<epoll_event, events_per_turn> events{};
  std::vector<watched> table;  // by descriptor
  std::vector<turn_hook*> hooks;
  timer_queue timers;
  std::uint64_t now = 0;
  std::uint64_t armed_ns = never;        // when timer_fd wakes us
  std::uint64_t idle_gap_ns = ns_per_s;  // smoothed; starts as "idle for long"
  routing::tally turns, tasks, sleeps;
};

void loop::impl::push_posted(loop_task& t) noexcept {
  loop_task* head = posted.load(std::memory_order_relaxed);
  do {
    t.next_in_queue = head;
  } while (!posted.compare_exchange_weak(head, &t, std::memory_order_seq_cst,
                                         std::memory_order_relaxed));
}

void loop::impl::wake_if_asleep() noexcept {
  if (!asleep.load(std::memory_order_seq_cst)) return;
  if (!asleep.exchange(false, std::memory_order_seq_cst)) return;
  wakes.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  // Fails only if the counter is full, and then the loop is woken anyway.
  [[maybe_unused]] const auto n = ::write(wake_fd, &one, sizeof one);
}

// Moves what other threads posted behind the local tasks, oldest first.
void loop::impl::take_posted() noexcept {
  if (posted.load(std::memory_order_relaxed) == nullptr) return;
  loop_task* newest = posted.exchange(nullptr, std::memory_order_acquire);
  loop_task* oldest = nullptr;
  while (newest != nullptr) {
    loop_task* next = newest->next_in_queue;
    newest->next_in_queue = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    loop_task* next = oldest->next_in_queue;
    push_local(*oldest);
    oldest = next;
  }
}

void loop::impl::push_local(loop_task& t) noexcept {
  t.next_in_queue = nullptr;
  if (local_tail == nullptr)
    local_head = &t;
  else
    local_tail->next_in_queue = &t;
  local_tail = &t;
}

loop_task* loop::impl::pop_local() noexcept {
  loop_task* t = local_head;
  if (t == nullptr) return nullptr;
  local_head = t->next_in_queue;
  if (local_head == nullptr) local_tail = nullptr;
  t->next_in_queue = nullptr;
  return t;
}

void loop::impl::turn(bool may_sleep) {
  dispatch(wait(may_sleep));
  timers.run_due(now, timers_per_turn);
  run_tasks();
  run_hooks();
  turns.add();
}

// Fetches events: at once if there is work, else after spinning for a while if that pays, else
// asleep.
int loop::impl::wait(bool may_sleep) {
  const std::uint64_t began = monotonic_ns();
  now = began;
  const std::uint64_t limit = time_to_next_timer();
  const bool work = !may_sleep || local_head != nullptr || limit == 0 ||
                    posted.load(std::memory_order_relaxed) != nullptr;
  if (work) return poll_events(0);
  int count = 0;
  if (worth_spinning()) {
    const std::uint64_t until = began + std::min(config.spin_ns, limit);
    do {
      count = poll_events(0);
      now = monotonic_ns();
    } while (count == 0 && posted.load(std::memory_order_relaxed) == nullptr && now < until &&
             !stopping.load(std::memory_order_relaxed));
    if (count != 0 || posted.load(std::memory_order_relaxed) != nullptr) {
      note_idle(now - began);
      return count;
    }
    if (limit <= config.spin_ns) return 0;  // the timer is due
  }
  count = sleep();
  now = monotonic_ns();
  note_idle(now - began);
  return count;
}

// Announces the sleep first and looks for work after that. A poster pushes first and looks for a
// sleeper after that. With all four accesses sequentially consistent, at least one of the two sees
// the other, so that no task is left behind in the stack while the loop sleeps.
int loop::impl::sleep() {
  arm_timer();
  asleep.store(true, std::memory_order_seq_cst);
  int count = 0;
  if (posted.load(std::memory_order_seq_cst) == nullptr &&
      !stopping.load(std::memory_order_seq_cst)) {
    sleeps.add();
    count = poll_events(-1);
  }
  asleep.store(false, std::memory_order_seq_cst);
  return count;
}

int loop::impl::poll_events(int timeout_ms) {
  const int count = ::epoll_wait(epoll_fd, events.data(), events_per_turn, timeout_ms);
  return std::max(count, 0);  // EINTR: nothing happened
}

// A timer descriptor instead of a timeout: setting up a timeout for every sleep costs the kernel
// more than the rest of the wait, and the next due time rarely changes. A timer that became later
// or was cancelled leaves a wake-up that finds nothing to do.
void loop::impl::arm_timer() noexcept {
  const auto due = timers.next_due();
  if (!due || *due >= armed_ns) return;
  armed_ns = *due;
  itimerspec t{};
  t.it_value = {static_cast<time_t>(*due / ns_per_s), static_cast<long>(*due % ns_per_s)};
  CHECK_EQ(::timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, nullptr), 0);
}

std::uint64_t loop::impl::time_to_next_timer() const noexcept {
  const auto due = timers.next_due();
  if (!due) return ~std::uint64_t{0};
  return *due > now ? *due - now : 0;
}

void loop::impl::dispatch(int count) noexcept {
  for (int i = 0; i < count; ++i) {
    const auto& e = events[static_cast<std::size_t>(i)];
    if (e.data.u64 == wake_token || e.data.u64 == timer_token) {
      if (e.data.u64 == timer_token) armed_ns = never;
      continue;
    }
    const auto fd = static_cast<std::uint32_t>(e.data.u64);
    const auto generation = static_cast<std::uint32_t>(e.data.u64 >> 32);
    const watched w = table[fd];
    if (w.handler != nullptr && w.generation == generation) w.handler->on_io(e.events);
  }
}

// Bounded, so that tasks that post each other for ever do not keep sockets waiting.
void loop::impl::run_tasks() noexcept {
  std::size_t ran = 0;
  take_posted();
  while (ran < config.tasks_per_turn) {
    loop_task* t = pop_local();
    if (t == nullptr) break;
    t->run();
    ++ran;
    if (local_head == nullptr) take_posted();
  }
  tasks.add(ran);
}

// By index: a hook may add or remove hooks.
void loop::impl::run_hooks() noexcept {
  for (std::size_t i = 0; i < hooks.size(); ++i)
    if (hooks[i] != nullptr) hooks[i]->end_of_turn();
  std::erase(hooks, nullptr);
}

// How long work lets itself be waited for lately. One long pause ends the spinning at once; short
// ones must come several times before it starts again.
void loop::impl::note_idle(std::uint64_t gap_ns) noexcept {
  idle_gap_ns = (idle_gap_ns * 7 + std::min(gap_ns, ns_per_s)) / 8;
}

loop::loop(loop_config config) : impl_(std::make_unique<impl>(config)) {}

loop::~loop() { CHECK(!running()); }

void loop::run() {
  CHECK(!impl_->running.exchange(true));
  CHECK(current_loop == nullptr);
  current_loop = this;
  // First what was queued before: hooks may have something to flush.
  impl_->turn(false);
  while (!impl_->stopping.load(std::memory_order_acquire)) impl_->turn(true);
  impl_->turn(false);
  impl_->stopping.store(false, std::memory_order_relaxed);
  current_loop = nullptr;
  impl_->running.store(false, std::memory_order_release);
}

void loop::stop() noexcept {
  impl_->stopping.store(true, std::memory_order_seq_cst);
  impl_->wake_if_asleep();
}

void loop::post(loop_task& t) noexcept {
  impl_->push_posted(t);
  impl_->wake_if_asleep();
}

void loop::run_later(loop_task& t) noexcept { impl_->push_local(t); }

bool loop::in_loop() const noexcept { return current_loop == this; }

bool loop::running() const noexcept { return impl_->running.load(std::memory_order_acquire); }

int loop::watch(int fd, std::uint32_t events, io_handler& handler) {
  CHECK_GE(fd, 0);
  const auto at = static_cast<std::size_t>(fd);
  if (at >= impl_->table.size()) impl_->table.resize(std::max<std::size_t>(64, at * 2));
  auto& w = impl_->table[at];
  CHECK(w.handler == nullptr);
  epoll_event e{};
  e.events = events;
  e.data.u64 = std::uint64_t{w.generation} << 32 | static_cast<std::uint32_t>(fd);
  if (::epoll_ctl(impl_->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) return errno;
  w.handler = &handler;
  return 0;
}

void loop::change(int fd, std::uint32_t events) noexcept {
  const auto& w = impl_->table[static_cast<std::size_t>(fd)];
  CHECK(w.handler != nullptr);
  epoll_event e{};
  e.events = events;
  e.data.u64 = std::uint64_t{w.generation} << 32 | static_cast<std::uint32_t>(fd);
  CHECK_EQ(::epoll_ctl(impl_->epoll_fd, EPOLL_CTL_MOD, fd, &e), 0);
}

void loop::unwatch(int fd) noexcept {
  auto& w = impl_->table[static_cast<std::size_t>(fd)];
  CHECK(w.handler != nullptr);
  w.handler = nullptr;
  ++w.generation;
  CHECK_EQ(::epoll_ctl(impl_->epoll_fd, EPOLL_CTL_DEL, fd, nullptr), 0);
}

timer_id loop::after(std::uint64_t delay_ns, std::function<void()> fn) {
  return impl_->timers.add(now_ns() + delay_ns, 0, std::move(fn));
}

timer_id loop::every(std::uint64_t period_ns, std::function<void()> fn) {
  CHECK_GT(period_ns, 0u);
  return impl_->timers.add(now_ns() + period_ns, period_ns, std::move(fn));
}

bool loop::cancel(timer_id id) noexcept { return impl_->timers.cancel(id); }

void loop::add_hook(turn_hook& hook) { impl_->hooks.push_back(&hook); }

void loop::remove_hook(turn_hook& hook) noexcept {
  std::ranges::replace(impl_->hooks, &hook, static_cast<turn_hook*>(nullptr));
}

std::uint64_t loop::now_ns() const noexcept { return in_loop() ? impl_->now : monotonic_ns(); }

loop_stats loop::stats() const noexcept {
  return {.turns = impl_->turns.get(),
          .tasks = impl_->tasks.get(),
          .sleeps = impl_->sleeps.get(),
          .wakes = impl_->wakes.load(std::memory_order_relaxed)};
}

}  // namespace blixard::net
