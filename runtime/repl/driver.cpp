#include "runtime/repl/driver.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>

namespace blixard::repl {
namespace {

/// Keeps what a port delivers until the driver looks at it.
class driver {
 public:
  driver(port& p, task t, const driver_hooks& hooks)
      : port_(p), task_(std::move(t)), hooks_(hooks) {}

  command_result run() {
    take(task_.start(system_clock()));
    while (!end_) {
      if (!wait()) {
        port_.cancel(call_);
        return result_of(make_error(errc::cancelled, "interrupted",
                                    call_ != 0 ? "what was sent may still happen" : ""));
      }
      port_.process();
      if (!end_ && timer_ms_ && system_clock().mono_ms >= *timer_ms_) {
        timer_ms_.reset();
        take(task_.on_timer(system_clock()));
      }
    }
    return std::move(*end_);
  }

 private:
  void take(task::step s) {
    switch (s.what) {
      case task::step::kind::send:
        call_ = port_.submit(*s.send, [this](const reply& r) {
          call_ = 0;
          take(task_.on_reply(r, system_clock()));
        });
        return;
      case task::step::kind::wait:
        if (s.result && hooks_.partial) hooks_.partial(*s.result);
        timer_ms_ = system_clock().mono_ms + s.wait_ms;
        return;
      case task::step::kind::finish:
        end_ = std::move(s.result);
        return;
    }
  }

  /// Until something is to be done; false: the person wants out.
  bool wait() {
    int timeout = port_.wait_ms();
    if (timer_ms_) {
      const auto now = system_clock().mono_ms;
      const int own = now < *timer_ms_ ? static_cast<int>(*timer_ms_ - now) : 0;
      timeout = timeout < 0 ? own : std::min(timeout, own);
    }
    std::array<pollfd, 3> fds{pollfd{port_.wait_fd(), POLLIN, 0},
                              pollfd{hooks_.interrupt_fd, POLLIN, 0},
                              pollfd{hooks_.stop_fd, POLLIN, 0}};
    ::poll(fds.data(), fds.size(), timeout);
    if (fds[2].revents != 0) return false;
    return fds[1].revents == 0 || !hooks_.interrupted();
  }

  port& port_;
  task task_;
  const driver_hooks& hooks_;
  call_id call_ = 0;
  std::optional<std::uint64_t> timer_ms_;
  std::optional<command_result> end_;
};

}  // namespace

task_clock system_clock() {
  using namespace std::chrono;
  return {
      .mono_ms = static_cast<std::uint64_t>(
          duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count()),
      .wall_ms =
          duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

command_result run_task(port& p, task t, const driver_hooks& hooks) {
  return driver(p, std::move(t), hooks).run();
}

command_result ask_once(port& p, const request& r) {
  std::optional<command_result> out;
  const auto id = p.submit(r, [&out](const reply& answer) { out = result_of(answer); });
  const auto deadline = system_clock().mono_ms + r.timeout_ms + 100;
  while (!out) {
    const auto now = system_clock().mono_ms;
    if (now >= deadline) {
      p.cancel(id);
      return result_of(make_error(errc::timeout, "no answer"));
    }
    const int left = static_cast<int>(deadline - now);
    const int own = p.wait_ms();
    pollfd fd{p.wait_fd(), POLLIN, 0};
    ::poll(&fd, 1, own < 0 ? left : std::min(own, left));
    p.process();
  }
  return std::move(*out);
}

}  // namespace blixard::repl
