#include "runtime/base/stop_signals.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "messages/check.hpp"

namespace blixard {
namespace {

sigset_t stopping() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);  // the terminal of --repl was closed
  return set;
}

}  // namespace

stop_signals::stop_signals(std::chrono::milliseconds stop_max,
                           std::function<void(const char* why)> leaving)
    : stop_max_(stop_max),
      leaving_(std::move(leaving)),
      event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  CHECK_GE(event_, 0);
  const auto set = stopping();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { run(); });
}

stop_signals::~stop_signals() {
  ended_.store(true, std::memory_order_release);
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
  ::close(event_);
}

void stop_signals::serving() { serving_.store(true, std::memory_order_release); }

void stop_signals::tell() { pthread_kill(thread_.native_handle(), SIGTERM); }

void stop_signals::wait() const {
  while (!told()) {
    pollfd fd{event_, POLLIN, 0};
    ::poll(&fd, 1, -1);
  }
}

void stop_signals::run() {
  const auto set = stopping();
  int signal = 0;
  sigwait(&set, &signal);
  if (ended_.load(std::memory_order_acquire)) return;
  if (!serving_.load(std::memory_order_acquire)) {
    leaving_("stopped before it was ready");
    ::_exit(0);
  }
  told_.store(true, std::memory_order_release);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(event_, &one, sizeof one);

  const timespec max{.tv_sec = stop_max_.count() / 1000,
                     .tv_nsec = stop_max_.count() % 1000 * 1'000'000};
  const bool late = sigtimedwait(&set, nullptr, &max) < 0;
  if (ended_.load(std::memory_order_acquire)) return;
  leaving_(late ? "the stop takes too long: leaving at once" : "told again: leaving at once");
  ::_exit(0);
}

}  // namespace blixard
