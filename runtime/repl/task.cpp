#include "runtime/repl/task.hpp"

#include <algorithm>

#include "runtime/base/units.hpp"

namespace blixard::repl {
namespace {

constexpr std::uint32_t wait_poll_ms = 100;    // between two looks of `wait vm`
constexpr std::uint32_t follow_poll_ms = 300;  // between two of `vm logs --follow`
constexpr std::uint32_t default_wait_ms = 60'000;
constexpr std::uint32_t one_look_ms = 5'000;  // of a task that looks again

/// A look that failed this way changes nothing and may simply be repeated.
bool may_look_again(errc code) {
  return code == errc::no_leader || code == errc::not_leader || code == errc::unavailable ||
         code == errc::overloaded || code == errc::leadership_lost ||
         code == errc::connection_lost || code == errc::timeout;
}

tl::expected<std::uint32_t, error> duration_flag(const invocation& i, std::string_view flag,
                                                 std::uint32_t absent) {
  const auto text = i.value(flag);
  if (!text) return absent;
  const auto ms = parse_duration_ms(*text);
  if (!ms || *ms == 0)
    return tl::unexpected(make_error(errc::invalid_argument,
                                     std::string(flag) + ": \"" + *text + "\" is not a duration",
                                     "seconds, such as 2 or 0.5"));
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(*ms, UINT32_MAX));
}

}  // namespace

task::task(invocation inv, operation_id op, std::uint32_t timeout_ms)
    : outer_(std::move(inv)), inner_(outer_), act_(outer_.spec->act), op_(std::move(op)) {
  const auto keep = [this](auto&& value, std::uint32_t& to) {
    if (value)
      to = *value;
    else
      broken_ = value.error();
  };
  const bool waits = act_ == action::wait_vm;
  keep(duration_flag(outer_, "--timeout",
                     waits ? std::max(timeout_ms, default_wait_ms) : timeout_ms),
       timeout_ms_);
  if (act_ == action::follow) endless_ = outer_.has("--follow");
  if (act_ != action::watch) return;
  endless_ = true;
  keep(duration_flag(outer_, "-n", 2000), pause_ms_);
  auto inner = parse_command(outer_.args);
  if (!inner)
    broken_ = inner.error();
  else if (inner->spec->build == nullptr || inner->spec->act == action::wait_vm)
    broken_ = make_error(errc::invalid_argument, inner->spec->name() + " cannot be watched");
  else
    inner_ = std::move(*inner);
}

task::step task::start(task_clock now) {
  deadline_ms_ = now.mono_ms + timeout_ms_;
  if (broken_) return finish(result_of(*broken_));
  if (act_ == action::help) {
    auto text = help_text(outer_.args);
    return finish(text ? result_of_text(std::move(*text)) : result_of(text.error()));
  }
  return ask(now);
}

task::step task::ask(task_clock now) {
  request_context c;
  c.now_ms = now.wall_ms;
  c.client = op_.client;
  c.seq = op_.seq;
  c.timeout_ms = act_ == action::wait_vm ? std::min(left_ms(now), one_look_ms)
                 : endless_              ? timeout_ms_
                                         : left_ms(now);
  auto r = inner_.spec->build(inner_, c);
  if (!r) return finish(result_of(r.error()));
  // Not a command of the log, so there is no first answer to repeat; doing it twice unasked is
  // worse.
  if (!op_.client.empty() && r->kind == frame_kind::admin)
    return finish(result_of(make_error(
        errc::unsupported,
        outer_.spec->name() + " takes no client and seq: repeated, it would be done twice",
        "leave them out, and look at `cluster status` before you repeat it")));
  return {.what = step::kind::send, .send = std::move(*r), .wait_ms = 0, .result = {}};
}

task::step task::on_reply(const reply& r, task_clock now) {
  auto result = result_of(r);
  switch (act_) {
    case action::wait_vm:
      return on_wait_reply(std::move(result), now);
    case action::follow:
      if (endless_) return on_follow_reply(std::move(result));
      return finish(std::move(result));
    case action::watch: {
      auto next = again_after(pause_ms_);
      next.result = std::move(result);
      return next;
    }
    case action::request:
    case action::help:
    case action::timing:
    case action::source:
    case action::quit:
      return finish(std::move(result));
  }
  return finish(std::move(result));
}

task::step task::on_timer(task_clock now) { return ask(now); }

task::step task::on_wait_reply(command_result r, task_clock now) {
  const auto wanted = outer_.value("--for").value_or("running");
  const auto phase = phase_of(r);
  if (!phase.empty() && phase == wanted) {
    r.failure = {errc::ok, {}, {}, 0};
    return finish(std::move(r));
  }
  if (!r.ok() && !may_look_again(r.failure.code)) return finish(std::move(r));
  // The last look may get no answer in the time that is left: then the one before it tells.
  if (!phase.empty()) {
    seen_phase_ = phase;
    seen_reason_ = reason_of(r);
  }
  const auto left = left_ms(now);
  if (left > 1) return again_after(std::min(wait_poll_ms, left - 1));
  auto text = outer_.args[0] + " is not " + wanted + " after " +
              format_duration_ns(std::uint64_t{timeout_ms_} * 1'000'000);
  if (!seen_phase_.empty()) text += ", it is " + seen_phase_;
  if (!seen_reason_.empty()) text += ": " + seen_reason_;
  if (seen_phase_.empty()) text += ": " + r.failure.message;
  return finish(result_of(
      make_error(errc::timeout, std::move(text), "vm show " + outer_.args[0] + " says more")));
}

task::step task::on_follow_reply(command_result r) {
  if (!r.ok() && !may_look_again(r.failure.code)) return finish(std::move(r));
  auto next = again_after(follow_poll_ms);
  if (!r.ok()) return next;
  auto lines = lines_of(r);
  auto fresh = first_answer_ ? lines : new_lines(seen_, lines);
  first_answer_ = false;
  seen_ = std::move(lines);
  if (!fresh.empty()) next.result = result_of_lines(r, fresh);
  return next;
}

task::step task::again_after(std::uint32_t ms) {
  return {.what = step::kind::wait, .send = {}, .wait_ms = ms, .result = {}};
}

task::step task::finish(command_result r) {
  return {.what = step::kind::finish, .send = {}, .wait_ms = 0, .result = std::move(r)};
}

std::uint32_t task::left_ms(task_clock now) const {
  return now.mono_ms < deadline_ms_ ? static_cast<std::uint32_t>(deadline_ms_ - now.mono_ms) : 1;
}

std::vector<std::string> new_lines(const std::vector<std::string>& before,
                                   const std::vector<std::string>& now) {
  for (std::size_t n = std::min(before.size(), now.size()); n > 0; --n)
    if (std::equal(before.end() - static_cast<std::ptrdiff_t>(n), before.end(), now.begin()))
      return {now.begin() + static_cast<std::ptrdiff_t>(n), now.end()};
  return now;
}

}  // namespace blixard::repl
