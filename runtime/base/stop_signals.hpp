// SIGTERM, SIGINT and SIGHUP of a node: always heard, from the first moment to the last.
//
//     while it starts      the process ends at once: nothing was promised to anybody yet
//     while it serves      told: fd() is readable, and the node stops in an orderly way
//     while it stops       a second signal, or a stop that takes too long, ends it at once
//
// At once means _exit(0): what was acknowledged is on the disk, and a node must survive worse than
// this.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace blixard {

class stop_signals {
 public:
  /// Blocks them in this thread and in all that it starts from now on: construct it before
  /// any other thread. `stop_max`: how long an orderly stop may take. `leaving` is called, in a
  /// thread of this object, before the process ends at once, with the reason (for the log).
  stop_signals(std::chrono::milliseconds stop_max, std::function<void(const char* why)> leaving);
  /// Ends the thread. The signals stay blocked.
  ~stop_signals();
  stop_signals(const stop_signals&) = delete;
  stop_signals& operator=(const stop_signals&) = delete;

  /// From now on a signal asks for an orderly stop. Called once, by the constructing thread.
  void serving();
  /// Readable from the moment on that the node is told to stop; never read it.
  [[nodiscard]] int fd() const noexcept { return event_; }
  [[nodiscard]] bool told() const noexcept { return told_.load(std::memory_order_acquire); }
  /// As if a signal had come. Any thread.
  void tell();
  /// Returns when told.
  void wait() const;

 private:
  void run();

  const std::chrono::milliseconds stop_max_;
  const std::function<void(const char*)> leaving_;
  const int event_;
  // Writers: the constructing thread (serving_, ended_) and the signal thread (told_).
  std::atomic<bool> serving_{false};
  std::atomic<bool> told_{false};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace blixard
