// Claims about how a node is told to stop. Each runs in a process of its own: signals are per
// process.
#include "runtime/base/stop_signals.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>

namespace blixard {
namespace {

using namespace std::chrono_literals;

void say(const char* why) { std::fprintf(stderr, "%s\n", why); }

/// Never comes back; the process has to end by other means.
[[noreturn]] void hang() {
  while (true) ::pause();
}

[[noreturn]] void starts_and_gets(int signal) {
  const stop_signals s(1h, say);
  ::kill(::getpid(), signal);
  hang();
}

TEST(stop_signals, end_a_node_that_is_not_ready_at_once) {
  for (const int signal : {SIGTERM, SIGINT})
    EXPECT_EXIT(starts_and_gets(signal), testing::ExitedWithCode(0), "stopped before it was ready");
}

[[noreturn]] void serves_and_is_told() {
  stop_signals s(1h, say);
  s.serving();
  pollfd fd{s.fd(), POLLIN, 0};
  const bool early = s.told() || ::poll(&fd, 1, 0) != 0;
  ::kill(::getpid(), SIGINT);
  s.wait();
  ::_exit(!early && s.told() && ::poll(&fd, 1, -1) == 1 ? 42 : 1);
}

TEST(stop_signals, tell_a_node_that_serves_and_leave_the_rest_to_it) {
  EXPECT_EXIT(serves_and_is_told(), testing::ExitedWithCode(42), "");
}

[[noreturn]] void is_told_twice() {
  stop_signals s(1h, say);
  s.serving();
  s.tell();
  s.wait();
  ::kill(::getpid(), SIGTERM);
  hang();
}

TEST(stop_signals, a_second_one_ends_the_stop_at_once) {
  EXPECT_EXIT(is_told_twice(), testing::ExitedWithCode(0), "told again");
}

[[noreturn]] void stops_for_ever() {
  stop_signals s(1ms, say);
  s.serving();
  s.tell();
  hang();
}

TEST(stop_signals, a_stop_that_hangs_ends_when_its_time_is_up) {
  EXPECT_EXIT(stops_for_ever(), testing::ExitedWithCode(0), "takes too long");
}

[[noreturn]] void ends_in_order() {
  { const stop_signals never_told(1h, say); }
  {
    stop_signals s(1h, say);
    s.serving();
    s.tell();
    s.wait();
  }
  ::_exit(42);
}

TEST(stop_signals, are_over_with_the_object_told_or_not) {
  EXPECT_EXIT(ends_in_order(), testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace blixard
