#include "runtime/vm/lifecycle.hpp"

#include <algorithm>
#include <utility>

#include "messages/check.hpp"

namespace blixard::vm {
namespace {

std::uint64_t backoff(const restart_policy& policy, std::uint32_t failures) {
  std::uint64_t wait = policy.backoff_ms;
  for (std::uint32_t i = 1; i < failures && wait < policy.backoff_max_ms; ++i) wait *= 2;
  return std::min(wait, policy.backoff_max_ms);
}

/// "1.5", "20" of milliseconds.
std::string seconds_text(std::uint64_t ms) {
  std::string text = std::to_string(ms / 1000);
  if (ms % 1000 != 0) text += "." + std::to_string(ms % 1000 / 100);
  return text;
}

}  // namespace

void lifecycle::desire(const desired_state& d, std::uint64_t now_ms) {
  if (desired_ && d.generation < desired_->generation) return;
  const bool fresh = !desired_ || d.generation > desired_->generation;
  const bool first = !desired_;
  desired_ = d;
  if (fresh) asked_ = false;
  const bool idle = condition_ == condition::waiting || condition_ == condition::gave_up;
  if (fresh && !first && idle) {
    // A person or the cluster asked again: begin anew.
    enter(condition::absent);
    failures_ = 0;
    reason_.clear();
    deadline_.reset();
  }
  settle(now_ms);
}

void lifecycle::lease(bool valid, std::uint64_t now_ms) {
  lease_valid_ = valid;
  settle(now_ms);
}

void lifecycle::adopt(const found_state& found, std::uint64_t now_ms) {
  CHECK(condition_ == condition::absent);
  enter(found.now);
  honoured_ = found.restarts;
  failures_ = found.failures;
  up_since_ms_ = now_ms;
  if (found.now == condition::starting) deadline_ = now_ms + limits_.start_deadline_ms;
  settle(now_ms);
}

void lifecycle::boots(std::uint64_t now_ms) {
  if (condition_ != condition::starting || std::exchange(booting_, true)) return;
  deadline_ = now_ms + limits_.boot_deadline_ms;
}

void lifecycle::started(std::uint64_t now_ms) {
  if (condition_ != condition::starting) return;
  enter(condition::running);
  up_since_ms_ = now_ms;
  reason_.clear();
  deadline_.reset();
  settle(now_ms);
}

void lifecycle::paused(std::uint64_t now_ms) {
  if (condition_ != condition::running) return;
  enter(condition::paused);
  asked_ = false;
  reason_.clear();
  settle(now_ms);
}

void lifecycle::resumed(std::uint64_t now_ms) {
  if (condition_ != condition::paused) return;
  enter(condition::running);
  asked_ = false;
  reason_.clear();
  settle(now_ms);
}

void lifecycle::remark(const std::string& reason, std::uint64_t now_ms) {
  if (condition_ == condition::running || condition_ == condition::paused) reason_ = reason;
  settle(now_ms);
}

void lifecycle::exited(const exit_info& info, std::uint64_t now_ms) {
  const condition before = condition_;
  deadline_.reset();
  asked_ = false;
  enter(condition::absent);
  reason_ = info.reason;
  if (before == condition::stopping && failing_.empty()) {
    failures_ = 0;
    reason_ = overdue_ ? "did not shut down within " + seconds_text(limits_.stop_deadline_ms) +
                             " s and was killed"
                       : std::string();
  } else if (before == condition::stopping) {
    fail({info.by, std::exchange(failing_, {}), info.tail, false}, now_ms);
  } else if (info.by != ended_by::lease) {
    fail(info, now_ms);
  }
  settle(now_ms);
}

void lifecycle::fail(const exit_info& info, std::uint64_t now_ms) {
  const restart_policy policy = desired_ ? desired_->policy : restart_policy{};
  ++crashes_;
  const bool stable = up_since_ms_ != 0 && now_ms - up_since_ms_ >= policy.backoff_max_ms;
  failures_ = stable ? 1 : failures_ + 1;
  up_since_ms_ = 0;
  reason_ = info.reason;
  if (!info.tail.empty()) reason_ += ": " + info.tail;
  if (info.hopeless || failures_ > policy.max_restarts) {
    enter(condition::gave_up);
    if (!info.hopeless && policy.max_restarts > 0)
      reason_ += " (gave up after " + std::to_string(policy.max_restarts) + " restarts)";
    return;
  }
  const std::uint64_t wait = backoff(policy, failures_);
  enter(condition::waiting);
  deadline_ = now_ms + wait;
  reason_ += " (restart " + std::to_string(failures_) + " of " +
             std::to_string(policy.max_restarts) + " in " + seconds_text(wait) + " s)";
}

void lifecycle::tick(std::uint64_t now_ms) { settle(now_ms); }

bool lifecycle::waits_for_lease() const {
  return condition_ == condition::absent && desired_ && wants_up() && !lease_valid_;
}

std::vector<action> lifecycle::take_actions() { return std::exchange(actions_, {}); }

void lifecycle::settle(std::uint64_t now_ms) {
  if (!desired_) return;  // found at the start, nobody has said yet what it is to be
  while (step(now_ms)) {
  }
}

bool lifecycle::step(std::uint64_t now_ms) {
  switch (condition_) {
    case condition::absent:
      return step_absent(now_ms);
    case condition::starting:
    case condition::running:
    case condition::paused:
      return step_up(now_ms);
    case condition::stopping:
      return step_stopping(now_ms);
    case condition::waiting:
      if (wants_up() && now_ms < *deadline_) return false;
      deadline_.reset();
      enter(condition::absent);
      return true;
    case condition::gave_up:
      if (wants_up()) return false;
      enter(condition::absent);
      return true;
    case condition::gone:
      return false;
  }
  return false;
}

bool lifecycle::step_absent(std::uint64_t now_ms) {
  if (desired_->state == want::deleted) {
    act(action::remove);
    enter(condition::gone);
    return true;
  }
  if (desired_->state == want::stopped) {
    if (!overdue_) reason_.clear();
    return false;
  }
  overdue_ = false;
  if (!lease_valid_) {
    reason_ = "waiting for this node's lease";
    return false;
  }
  honoured_ = desired_->restarts;
  deadline_ = now_ms + limits_.start_deadline_ms;
  booting_ = false;
  enter(condition::starting);
  act(action::start);
  return true;
}

bool lifecycle::step_up(std::uint64_t now_ms) {
  const bool restart = desired_->restarts > honoured_;
  const bool is_starting = condition_ == condition::starting;
  if (!wants_up() || restart) {
    const bool at_once = desired_->force || desired_->state == want::deleted || is_starting;
    begin_stop(at_once ? action::kill : action::power_down, now_ms);
    return true;
  }
  if (is_starting) {
    if (now_ms < *deadline_) return false;
    failing_ =
        booting_
            ? "the guest did not come up within " + seconds_text(limits_.boot_deadline_ms) + " s"
            : "did not come up within " + seconds_text(limits_.start_deadline_ms) + " s";
    begin_stop(action::kill, now_ms);
    return true;
  }
  const bool should_pause = desired_->state == want::paused;
  const bool is_paused = condition_ == condition::paused;
  if (should_pause != is_paused && !asked_) {
    asked_ = true;
    act(should_pause ? action::pause : action::resume);
  }
  return false;
}

void lifecycle::begin_stop(action how, std::uint64_t now_ms) {
  // A paused guest cannot hear the power button.
  if (how == action::power_down && condition_ == condition::paused) act(action::resume);
  act(how);
  killed_ = how == action::kill;
  overdue_ = false;
  deadline_ = now_ms + (killed_ ? limits_.kill_again_ms : limits_.stop_deadline_ms);
  enter(condition::stopping);
}

bool lifecycle::step_stopping(std::uint64_t now_ms) {
  const bool hurry = !killed_ && (desired_->force || desired_->state == want::deleted);
  if (!hurry && now_ms < *deadline_) return false;
  overdue_ = overdue_ || (!killed_ && !hurry);
  if (killed_) reason_ = "does not die though it was killed; trying again";
  killed_ = true;
  act(action::kill);
  deadline_ = now_ms + limits_.kill_again_ms;
  return true;
}

}  // namespace blixard::vm
