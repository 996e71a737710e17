// Timers of one loop: a binary heap that knows where each timer stands, so that cancelling is
// O(log n) and leaves nothing behind. Pure: time is an argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace blixard::net {

/// Names a timer until it fired (one-shot) or was cancelled; never names another one afterwards.
struct timer_id {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;  // 0: no timer
  [[nodiscard]] explicit operator bool() const noexcept { return generation != 0; }
  friend bool operator==(timer_id, timer_id) = default;
};

class timer_queue {
 public:
  using callback = std::function<void()>;

  /// Fires once at `due_ns`; with `period_ns` != 0 again every period, counted from `due_ns` and
  /// not from when it ran (no drift; periods that were missed altogether are skipped).
  timer_id add(std::uint64_t due_ns, std::uint64_t period_ns, callback fn);
  /// False if it already fired or was cancelled. Allowed from inside a callback, also for itself.
  bool cancel(timer_id id) noexcept;
  /// Runs what is due at `now_ns`; at most `max` callbacks. Returns how many ran.
  std::size_t run_due(std::uint64_t now_ns, std::size_t max);
  /// When the next one is due.
  [[nodiscard]] std::optional<std::uint64_t> next_due() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }

 private:
  struct slot {
    std::uint64_t due_ns = 0;
    std::uint64_t order = 0;  // timers due at the same time fire in the order they were set
    std::uint64_t period_ns = 0;
    callback fn;
    std::uint32_t generation = 1;
    std::uint32_t place = 0;  // in heap_
    bool queued = false;
  };

  [[nodiscard]] bool earlier(std::uint32_t a, std::uint32_t b) const noexcept;
  void put(std::size_t place, std::uint32_t index) noexcept;
  void sift_up(std::size_t place) noexcept;
  void sift_down(std::size_t place) noexcept;
  void enqueue(std::uint32_t index);
  void dequeue(std::uint32_t index) noexcept;
  void retire(std::uint32_t index) noexcept;

  std::vector<slot> slots_;
  std::vector<std::uint32_t> heap_;  // slot numbers
  std::vector<std::uint32_t> free_;
  std::uint64_t order_ = 0;
};

}  // namespace blixard::net
