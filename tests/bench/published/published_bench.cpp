// Reading the node's status: the published page against a struct behind a shared_mutex.
//
// One or two readers; with one more thread that writes a million times a second (writes_per_s says
// how often it did) in the *_while_written runs; that one has a core for itself, because a writer
// that waits for a core disturbs nobody and makes up for it later. items_per_second is reads of all
// readers together; allocs, locks and lock_waits are per read. The ordinary way lives here only.
//
// never_torn reads and checks every word. A billion checks, with a control that shows that the
// check finds a torn read where there is no sequence number:
//   published_bench --benchmark_filter=torn --benchmark_min_time=20
#include <benchmark/benchmark.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <utility>

#include "runtime/base/published.hpp"
#include "runtime/base/replaced.hpp"
#include "tests/bench/counted.hpp"

namespace {

using namespace blixard;
using bench::counted;

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

/// A value all of whose words tell the same number.
published_raft raft_of(std::uint64_t n) {
  return {.term = term{n},
          .leader = node_id{n},
          .commit = log_index{n},
          .last = log_index{n},
          .role = static_cast<published_role>(n % 4),
          .cluster_size = n,
          .leader_contact_ns = n};
}

/// Where readers and the writer run, for as long as it lives: the writer on the last core that the
/// process may use, the readers on the others. With a single core there is nothing to choose.
class placed {
 public:
  enum class who : std::uint8_t { reader, writer };

  explicit placed(who w) {
    ::sched_getaffinity(0, sizeof before_, &before_);
    if (CPU_COUNT(&before_) < 2) return;
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &before_)) --last;
    cpu_set_t mine = before_;
    if (w == who::writer) CPU_ZERO(&mine);
    w == who::writer ? CPU_SET(last, &mine) : CPU_CLR(last, &mine);
    ::sched_setaffinity(0, sizeof mine, &mine);
  }
  placed(const placed&) = delete;
  placed& operator=(const placed&) = delete;
  ~placed() { ::sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
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
  [[nodiscard]] double writes_per_s() const {
    const std::chrono::duration<double> passed = clock::now() - began_;
    return static_cast<double>(writes_.load(std::memory_order_relaxed)) / passed.count();
  }

 private:
  using clock = std::chrono::steady_clock;
  void run(T& target) {
    const placed place(placed::who::writer);
    std::uint64_t n = 0;
    auto next = clock::now();
    while (!stop_.load(std::memory_order_relaxed)) {
      target.write(raft_of(++n));
      writes_.store(n, std::memory_order_relaxed);
      next += std::chrono::microseconds(1);
      while (clock::now() < next) {
      }
    }
  }
  const clock::time_point began_ = clock::now();
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<std::uint64_t> writes_{0};
  std::thread thread_;
};

/// Has a writer for as long as the readers of a run read; the first of them owns it.
template <class T>
class written {
 public:
  written(benchmark::State& state, T& target)
      : state_(state),
        writer_(state.thread_index() == 0 ? std::make_unique<writer<T>>(target) : nullptr) {}
  ~written() {
    state_.SetItemsProcessed(state_.iterations());
    if (writer_) state_.counters["writes_per_s"] = writer_->writes_per_s();
  }

 private:
  benchmark::State& state_;
  std::unique_ptr<writer<T>> writer_;  // before place_: it may use all cores
  placed place_{placed::who::reader};
};

template <class T>
T& shared() {
  static T one;
  return one;
}

template <class T>
void flag(benchmark::State& state) {
  const auto& target = shared<T>();
  const counted costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(target.is_leader());
}
BENCHMARK(flag<ordinary>)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(flag<hot>)->Threads(1)->Threads(2)->UseRealTime();

template <class T>
void flag_while_written(benchmark::State& state) {
  auto& target = shared<T>();
  const written<T> running(state, target);
  const counted costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(target.is_leader());
}
BENCHMARK(flag_while_written<ordinary>)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(flag_while_written<hot>)->Threads(1)->Threads(2)->UseRealTime();

template <class T>
void status(benchmark::State& state) {
  const auto& target = shared<T>();
  const counted costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(target.read());
}
BENCHMARK(status<ordinary>)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(status<hot>)->Threads(1)->Threads(2)->UseRealTime();

template <class T>
void status_while_written(benchmark::State& state) {
  auto& target = shared<T>();
  const written<T> running(state, target);
  const counted costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(target.read());
}
BENCHMARK(status_while_written<ordinary>)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(status_while_written<hot>)->Threads(1)->Threads(2)->UseRealTime();

template <class T>
void write(benchmark::State& state) {
  T target;
  published_raft value;
  const counted costs(state);
  for (auto _ : state) {
    value.commit = value.commit.next();
    target.write(value);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(write<ordinary>);
BENCHMARK(write<hot>);

// ---------------------------------------------------------------- torn reads

/// The control: the words of the group, each an atomic, without a sequence number.
struct unguarded {
  static constexpr std::size_t word_count = sizeof(published_raft) / sizeof(std::uint64_t);
  std::array<std::atomic<std::uint64_t>, word_count> words{};

  [[nodiscard]] published_status read() const {
    std::array<std::uint64_t, word_count> copy{};
    for (std::size_t i = 0; i < word_count; ++i) copy[i] = words[i].load(std::memory_order_acquire);
    return {.state = {}, .raft = std::bit_cast<published_raft>(copy)};
  }
  void write(const published_raft& value) {
    const auto copy = std::bit_cast<std::array<std::uint64_t, word_count>>(value);
    for (std::size_t i = 0; i < word_count; ++i) words[i].store(copy[i], std::memory_order_release);
  }
};

/// Reads whose words are not all of one write.
template <class T>
std::uint64_t count_torn(benchmark::State& state) {
  auto& target = shared<T>();
  target.write(raft_of(0));
  const written<T> running(state, target);
  std::uint64_t torn = 0;
  for (auto _ : state) {
    const auto raft = target.read().raft;
    torn += raft == raft_of(raft.commit.value()) ? 0U : 1U;
  }
  state.counters["torn"] = static_cast<double>(torn);
  return torn;
}
void never_torn(benchmark::State& state) {
  if (count_torn<hot>(state) != 0) state.SkipWithError("a torn read");
}
BENCHMARK(never_torn)->UseRealTime();
void torn_control(benchmark::State& state) { count_torn<unguarded>(state); }
BENCHMARK(torn_control)->UseRealTime();

// ---------------------------------------------------------------- values replaced whole

struct members {
  std::array<std::uint64_t, 32> words{};
};
struct ordinary_members {
  mutable std::mutex mutex;
  std::shared_ptr<const members> value;

  [[nodiscard]] std::shared_ptr<const members> load() const {
    const std::lock_guard lock(mutex);
    return value;
  }
  void write(const published_raft& /*unused*/) {
    auto next = std::make_shared<const members>();
    const std::lock_guard lock(mutex);
    value = std::move(next);
  }
};
struct hot_members {
  replaced<members> value;

  [[nodiscard]] std::shared_ptr<const members> load() const { return value.load(); }
  void write(const published_raft& /*unused*/) { value.store(std::make_shared<const members>()); }
};

template <class T>
void members_while_written(benchmark::State& state) {
  auto& target = shared<T>();
  const written<T> running(state, target);
  const counted costs(state);
  for (auto _ : state) benchmark::DoNotOptimize(target.load());
}
BENCHMARK(members_while_written<ordinary_members>)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(members_while_written<hot_members>)->Threads(1)->Threads(2)->UseRealTime();

}  // namespace
