#include "runtime/repl/mailbox_port.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <vector>

#include "messages/check.hpp"

namespace blixard::repl {
namespace {

/// Time the node gets beyond a request's timeout to answer it itself.
constexpr std::uint64_t grace_ms = 50;

std::uint64_t now_ms() {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(
      duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count());
}

}  // namespace

/// What the node's side reaches: lives as long as any answer may still come.
struct mailbox_port::shared {
  struct answer {
    call_id id = 0;
    tl::expected<slice, error> what;
  };

  shared() : event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { CHECK_GE(event, 0); }
  ~shared() { ::close(event); }
  shared(const shared&) = delete;
  shared& operator=(const shared&) = delete;

  void put(answer a) {
    {
      const std::lock_guard lock(mutex);
      answers.push_back(std::move(a));
    }
    const std::uint64_t one = 1;
    // Full only at 2^64 - 2 answers; then the shell wakes up anyway.
    [[maybe_unused]] const auto n = ::write(event, &one, sizeof one);
  }

  std::vector<answer> take() {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto n = ::read(event, &count, sizeof count);
    const std::lock_guard lock(mutex);
    return std::exchange(answers, {});
  }

  const int event;
  std::mutex mutex;
  std::vector<answer> answers;
};

/// What the shell's thread alone uses.
struct mailbox_port::state {
  struct call {
    reply_fn done;
    std::uint64_t deadline_ms = 0;
  };
  call_id last = 0;
  std::map<call_id, call> calls;
};

mailbox_port::mailbox_port(send_fn send)
    : send_(std::move(send)),
      shared_(std::make_shared<shared>()),
      state_(std::make_unique<state>()) {}

mailbox_port::~mailbox_port() = default;

call_id mailbox_port::submit(const request& r, reply_fn done) {
  const auto id = ++state_->last;
  state_->calls[id] = {std::move(done), now_ms() + r.timeout_ms + grace_ms};
  send_(r, [weak = std::weak_ptr(shared_), id](tl::expected<slice, error> what) {
    if (const auto alive = weak.lock()) alive->put({id, std::move(what)});
  });
  return id;
}

void mailbox_port::cancel(call_id id) { state_->calls.erase(id); }

int mailbox_port::wait_fd() const { return shared_->event; }

int mailbox_port::wait_ms() const {
  std::uint64_t earliest = UINT64_MAX;
  for (const auto& [id, c] : state_->calls) earliest = std::min(earliest, c.deadline_ms);
  if (earliest == UINT64_MAX) return -1;
  const auto now = now_ms();
  return earliest > now ? static_cast<int>(std::min<std::uint64_t>(earliest - now, 3'600'000)) : 0;
}

void mailbox_port::process() {
  for (auto& a : shared_->take()) {
    const auto at = state_->calls.find(a.id);
    if (at == state_->calls.end()) continue;  // cancelled, or too late
    const auto done = std::move(at->second.done);
    state_->calls.erase(at);
    if (a.what)
      done(a.what->bytes());
    else
      done(tl::unexpected(a.what.error()));
  }
  std::vector<reply_fn> late;
  const auto now = now_ms();
  std::erase_if(state_->calls, [&](auto& entry) {
    if (entry.second.deadline_ms > now) return false;
    late.push_back(std::move(entry.second.done));
    return true;
  });
  for (const auto& done : late)
    done(tl::unexpected(make_error(errc::timeout, "the node did not answer in time")));
}

}  // namespace blixard::repl
