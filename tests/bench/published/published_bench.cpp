// Reading the node's status: the published page against a struct behind a shared_mutex.
//
// Two readers; with one more thread that writes about a million times a second in the
// *_while_written runs. The ordinary way lives here only.
#include <benchmark/benchmark.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "runtime/base/published.hpp"

namespace {

using namespace blixard;

struct ordinary {
  mutable std::shared_mutex mutex;
  published_status status;

  [[nodiscard]] published_status read() const {
    const std::shared_lock lock(mutex);
    return status;
  }
  [[nodiscard]] bool is_leader() const {
    const std::shared_lock lock(mutex);
    return status.raft.role == published_role::leader;
  }
  void write(const published_raft& value) {
    const std::unique_lock lock(mutex);
    status.raft = value;
  }
};
struct hot {
  published page;

  [[nodiscard]] published_status read() const { return page.read(); }
  [[nodiscard]] bool is_leader() const { return page.is_leader(); }
  void write(const published_raft& value) { page.set_raft(value); }
};

/// Writes every microsecond until it goes out of scope.
template <class T>
class writer {
 public:
  explicit writer(T& target) : thread_([this, &target] { run(target); }) {}
  ~writer() {
    stop_.store(true);
    thread_.join();
  }

 private:
  void run(T& target) {
    using clock = std::chrono::steady_clock;
    published_raft value;
    auto next = clock::now();
    while (!stop_.load(std::memory_order_relaxed)) {
      value.commit = value.commit.next();
      target.write(value);
      next += std::chrono::microseconds(1);
      while (clock::now() < next) {
      }
    }
  }
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

template <class T>
T& shared() {
  static T one;
  return one;
}

template <class T>
void flag(benchmark::State& state) {
  const auto& target = shared<T>();
  for (auto _ : state) benchmark::DoNotOptimize(target.is_leader());
}
BENCHMARK(flag<ordinary>)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(flag<hot>)->Threads(1)->Threads(2)->UseRealTime();

template <class T>
void status(benchmark::State& state) {
  const auto& target = shared<T>();
  for (auto _ : state) benchmark::DoNotOptimize(target.read());
}
BENCHMARK(status<ordinary>)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(status<hot>)->Threads(1)->Threads(2)->UseRealTime();

template <class T>
void status_while_written(benchmark::State& state) {
  auto& target = shared<T>();
  std::unique_ptr<writer<T>> w;
  if (state.thread_index() == 0) w = std::make_unique<writer<T>>(target);
  for (auto _ : state) benchmark::DoNotOptimize(target.read());
}
BENCHMARK(status_while_written<ordinary>)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(status_while_written<hot>)->Threads(1)->Threads(2)->UseRealTime();

template <class T>
void write(benchmark::State& state) {
  T target;
  published_raft value;
  for (auto _ : state) {
    value.commit = value.commit.next();
    target.write(value);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(write<ordinary>);
BENCHMARK(write<hot>);

}  // namespace
