// Work that has time, in a thread of its own, beside threads that have none.
//
// Where all processors are busy, a thread of a lower priority still gets a whole tick of the
// scheduler now and then (4 ms here), and somebody waits for so long. So it works in short turns
// with a breath between them: whoever it held up goes on at once. It does not stop making progress,
// since it asks for its next turn like any other thread; with SCHED_IDLE it could.
//
// Freeing memory is such work, too, where it is another thread's: that one has to put it in order
// (base/heap.hpp), so it comes in small amounts.
#pragma once

#include <sys/resource.h>

#include <chrono>
#include <thread>

namespace blixard {

class background {
 public:
  static constexpr std::chrono::microseconds turn{500};
  static constexpr std::chrono::microseconds breath{50};

  /// From now on the calling thread, and no other, comes behind the others of this machine.
  background() noexcept { (void)setpriority(PRIO_PROCESS, 0, 10); }

  /// Between two pieces of work, much shorter than a turn. Returns after a breath where one is due.
  void rest_when_due() {
    if (std::chrono::steady_clock::now() - since_ >= turn) rest();
  }
  void rest() {
    std::this_thread::sleep_for(breath);
    since_ = std::chrono::steady_clock::now();
  }
  /// For cow_tree::let_go(), between one leaf and the next: a longer rest every eighth time. That
  /// is at most 264 objects at once and 5,000 in 10 ms.
  void rest_from_freeing() {
    if (++freed_ % 8 == 0) std::this_thread::sleep_for(10 * breath);
  }

 private:
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
  unsigned freed_ = 0;
};

}  // namespace blixard
