// Which settings of CAF's scheduler a node should have: what an actor on it waits for its first
// message, against what the waiting costs an idle node.
//
// For each setting, in a process that does nothing else:
//
//   wake    one message every 10 ms to an actor that sleeps: time until its handler runs
//   cpu     processor time of the whole process meanwhile, and with no message at all
//   flood   100,000 messages wait at one actor, then one goes to another: how long that waits
//
// Read it as a table of ratios between settings; the figures are those of this machine. What was
// chosen stands in apps/node.cpp, why in tests/bench/README.md.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "apps/histogram.hpp"

namespace {

using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

struct setting {
  const char* policy;
  std::size_t threads;
  std::size_t throughput;  // messages of one actor before another has its turn; 0: no limit
};

constexpr setting settings[] = {
    {"stealing", 2, 0}, {"stealing", 1, 64}, {"sharing", 2, 0},  {"sharing", 2, 64},
    {"sharing", 1, 0},  {"sharing", 1, 16},  {"sharing", 1, 64}, {"sharing", 1, 1024},
};

class config : public caf::actor_system_config {
 public:
  explicit config(const setting& s) {
    set("scheduler.policy",
        std::string(s.policy) == "sharing" ? caf::atom("sharing") : caf::atom("stealing"));
    set("scheduler.max-threads", s.threads);
    if (s.throughput != 0) set("scheduler.max-throughput", s.throughput);
    set("logger.verbosity", caf::atom("quiet"));
  }
};

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(clock_type::now().time_since_epoch())
          .count());
}

/// Where an actor leaves how long its messages waited; the main thread reads it when told so.
struct record {
  blixard::apps::histogram waited;
  std::atomic<std::uint64_t> count{0};
};

/// Takes the time at which a message was sent, works for a while, notes how long it waited.
class sleeper : public caf::event_based_actor {
 public:
  sleeper(caf::actor_config& config, record& to, std::chrono::nanoseconds work)
      : caf::event_based_actor(config), to_(to), work_(work) {}

  caf::behavior make_behavior() override {
    return {[this](std::uint64_t sent_ns) {
      to_.waited.add(now_ns() - sent_ns);
      const auto until = clock_type::now() + work_;
      while (work_ > 0ns && clock_type::now() < until) {
      }
      to_.count.fetch_add(1, std::memory_order_release);
    }};
  }

 private:
  record& to_;
  const std::chrono::nanoseconds work_;
};

void wait_for(const record& r, std::uint64_t count) {
  while (r.count.load(std::memory_order_acquire) < count) std::this_thread::sleep_for(100us);
}

double cpu_share(auto&& during) {
  const auto used = [] {
    rusage r{};
    getrusage(RUSAGE_SELF, &r);
    return static_cast<double>(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           static_cast<double>(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
  };
  const auto began = clock_type::now();
  const double before = used();
  during();
  const std::chrono::duration<double> took = clock_type::now() - began;
  return (used() - before) / took.count();
}

/// Longest wait of a message to one actor while another has a long queue, of a few attempts.
std::uint64_t flooded_wait_ns(caf::actor_system& system, std::uint64_t queued, int attempts) {
  record flooded, other;
  const auto busy = system.spawn<sleeper>(flooded, 2us);
  const auto asked = system.spawn<sleeper>(other, 0ns);
  for (int i = 1; i <= attempts; ++i) {
    for (std::uint64_t n = 0; n < queued; ++n) caf::anon_send(busy, now_ns());
    caf::anon_send(asked, now_ns());
    wait_for(other, static_cast<std::uint64_t>(i));
    wait_for(flooded, queued * static_cast<std::uint64_t>(i));
  }
  caf::anon_send_exit(busy, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(asked, caf::exit_reason::user_shutdown);
  system.await_all_actors_done();
  return other.waited.max();
}

void measure(const setting& s, std::chrono::milliseconds time, std::uint64_t queued) {
  config c(s);
  caf::actor_system system(c);
  record lone;
  const auto one = system.spawn<sleeper>(lone, 0ns);
  const double idle = cpu_share([&] { std::this_thread::sleep_for(time / 2); });
  const double calm = cpu_share([&] {
    const auto end = clock_type::now() + time;
    for (std::uint64_t n = 1; clock_type::now() < end; ++n) {
      caf::anon_send(one, now_ns());
      std::this_thread::sleep_for(10ms);
    }
  });
  caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
  system.await_all_actors_done();
  const auto us = [](std::uint64_t ns) { return static_cast<double>(ns) / 1e3; };
  const auto limit = s.throughput == 0 ? std::string("none") : std::to_string(s.throughput);
  std::printf("%-9s %7zu %10s %11.0f %11.0f %9.1f %9.1f %12.1f\n", s.policy, s.threads,
              limit.c_str(), us(lone.waited.quantile(0.5)), us(lone.waited.quantile(0.99)),
              idle * 100, calm * 100, us(flooded_wait_ns(system, queued, 3)) / 1e3);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("scheduler_settings: CAF's scheduler, latency against idle processor time");
  bool smoke = false;
  app.add_flag("--smoke", smoke, "a moment for each: does it work?");
  CLI11_PARSE(app, argc, argv);
  std::printf("%-9s %7s %10s %11s %11s %9s %9s %12s\n", "POLICY", "THREADS", "THROUGHPUT",
              "WAKE P50 US", "WAKE P99 US", "IDLE %", "100/S %", "FLOODED MS");
  for (const auto& s : settings) measure(s, smoke ? 50ms : 3000ms, smoke ? 1'000 : 100'000);
  return 0;
}
