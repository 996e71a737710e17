// The I/O loop: one per node, one thread, everything that touches a socket (DESIGN 4).
//
//   one turn:  epoll ─► socket handlers ─► timers ─► posted tasks + local tasks ─► end-of-turn
//   hooks
//                        (read frames)                (hosted actors: router, raft)   (flush once)
//
// A frame that is read in a turn goes through the hosted actors in the same turn, and what they
// send leaves in one gathered write at its end: no thread hop, few system calls.
//
// Waking: other threads post tasks to a lock-free stack; only a loop that sleeps in epoll costs an
// eventfd write, and only one per batch. Spinning: while work came at short intervals lately the
// loop polls for up to `spin_ns` before it sleeps (a wake-up through the kernel costs 25–50 µs); a
// loop that is idle does not spin at all, because its recent gaps are long.
//
// The loop knows nothing of actors: an actor is hosted by wrapping it in a `loop_task`.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/net/timer_queue.hpp"

namespace blixard::net {

/// One unit of work for the loop thread. Intrusive: queued without an allocation, in one queue at a
/// time, not owned by the loop (it may delete itself in `run` or `drop`).
class loop_task {
 public:
  /// Loop thread. May post or run_later itself again.
  virtual void run() noexcept = 0;
  /// Called instead of `run` when the loop is destroyed first, on the destroying thread.
  virtual void drop() noexcept {}

  loop_task() = default;
  loop_task(const loop_task&) = delete;
  loop_task& operator=(const loop_task&) = delete;

  /// The link of the queue it waits in. The loop's alone.
  loop_task* next_in_queue = nullptr;

 protected:
  ~loop_task() = default;
};

/// Gets the readiness events (EPOLLIN, EPOLLOUT, ...) of a watched descriptor. Loop thread.
class io_handler {
 public:
  virtual void on_io(std::uint32_t events) noexcept = 0;

 protected:
  ~io_handler() = default;
};

/// Called once at the end of every turn. Loop thread.
class turn_hook {
 public:
  virtual void end_of_turn() noexcept = 0;

 protected:
  ~turn_hook() = default;
};

struct loop_config {
  // Longest time to poll before sleeping, while work comes at shorter intervals than this; 0:
  // never. Pays only where a core is free for the loop (README "Figures"), so it has to be asked
  // for.
  std::uint64_t spin_ns = 0;
  // Tasks run in one turn before sockets are looked at again.
  std::size_t tasks_per_turn = 1024;
};

/// What the loop did. One writer (the loop), readable by any thread.
struct loop_stats {
  std::uint64_t turns = 0;
  std::uint64_t tasks = 0;   // posted and local
  std::uint64_t sleeps = 0;  // times it blocked in epoll
  std::uint64_t wakes = 0;   // eventfd writes by other threads
};

class loop {
 public:
  explicit loop(loop_config config = {});
  /// Precondition: not running. Tasks that never ran are dropped.
  ~loop();
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  /// Runs on the calling thread until `stop`. Before it returns, tasks that are queued by then are
  /// run once and the hooks are called, so that what was sent is flushed. May be called again.
  void run();
  /// Any thread; also before `run` (which then returns after one turn).
  void stop() noexcept;

  /// Any thread: runs `t` in the loop, in order of posting per thread. Never blocks, no allocation.
  void post(loop_task& t) noexcept;
  /// Any thread: like above, for a callable (one allocation). Destroyed unrun if the loop goes
  /// first.
  template <class F>
  requires std::is_invocable_v < std::decay_t<F>
  & > void post(F&& fn) { post(*new closure<std::decay_t<F>>(std::forward<F>(fn))); }

  /// Loop thread: runs `t` later in this turn (or in the next one when this turn's share is used
  /// up), before the end-of-turn hooks.
  void run_later(loop_task& t) noexcept;
  template <class F>
  requires std::is_invocable_v < std::decay_t<F>
  & > void run_later(F&& fn) { run_later(*new closure<std::decay_t<F>>(std::forward<F>(fn))); }

  /// True on the thread that is inside `run`.
  [[nodiscard]] bool in_loop() const noexcept;
  /// True while some thread is inside `run`. Any thread.
  [[nodiscard]] bool running() const noexcept;

  // The rest: loop thread, or any one thread while the loop does not run.

  /// Level-triggered readiness of `fd` (EPOLL* bits). The handler must stay until `unwatch`; after
  /// that it gets no event any more, also none that this turn already fetched. Returns 0 or errno.
  int watch(int fd, std::uint32_t events, io_handler& handler);
  void change(int fd, std::uint32_t events) noexcept;
  /// Before the descriptor is closed.
  void unwatch(int fd) noexcept;

  /// Runs `fn` once, `delay_ns` after now.
  timer_id after(std::uint64_t delay_ns, std::function<void()> fn);
  /// Runs `fn` every `period_ns` against absolute time, first after one period. Precondition: > 0.
  timer_id every(std::uint64_t period_ns, std::function<void()> fn);
  /// False if it already fired or was cancelled.
  bool cancel(timer_id id) noexcept;

  /// Hooks run in the order they were added.
  void add_hook(turn_hook& hook);
  void remove_hook(turn_hook& hook) noexcept;

  /// CLOCK_MONOTONIC, read once per turn (and afresh while the loop does not run).
  [[nodiscard]] std::uint64_t now_ns() const noexcept;

  /// Any thread.
  [[nodiscard]] loop_stats stats() const noexcept;

 private:
  template <class F>
  class closure final : public loop_task {
   public:
    explicit closure(F fn) : fn_(std::move(fn)) {}
    void run() noexcept override {
      std::unique_ptr<closure> self{this};
      fn_();
    }
    void drop() noexcept override { delete this; }

   private:
    F fn_;
  };

  struct impl;
  std::unique_ptr<impl> impl_;
};

/// CLOCK_MONOTONIC in nanoseconds.
[[nodiscard]] std::uint64_t monotonic_ns() noexcept;
/// The same, counting the time that the machine slept. Any thread.
[[nodiscard]] std::uint64_t boottime_ns() noexcept;

}  // namespace blixard::net
