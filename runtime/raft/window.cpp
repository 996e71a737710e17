#include "runtime/raft/window.hpp"

#include <utility>

namespace blixard::raft {
namespace {

constexpr std::uint64_t gain = 2;
// Rates are per microsecond, times this. A window is at most 2^34 bytes, a delay that counts 2^24
// microseconds: products stay below 2^60.
constexpr std::uint64_t scale = 1 << 16;
constexpr std::uint64_t rate_max = std::uint64_t{1} << 36;
constexpr std::uint64_t delay_max_us = 1 << 24;

std::uint64_t rate_of(std::uint64_t delivered, std::uint64_t elapsed_us) noexcept {
  constexpr std::uint64_t most = std::uint64_t{1} << 40;
  return std::min(rate_max, std::min(delivered, most) * scale / elapsed_us);
}

std::uint64_t fitted(std::uint64_t rate, std::uint64_t delay_us, std::uint64_t more,
                     std::uint64_t limit) noexcept {
  return std::min(limit, gain * (rate * delay_us / scale) + more);
}

}  // namespace

void flight_window::recent_max::renew(std::uint64_t round) noexcept {
  if (round >= round_ + rounds_kept) best_.fill(0);
  for (; round_ < round; ++round_) best_[(round_ + 1) % rounds_kept] = 0;
}

void flight_window::recent_max::add(std::uint64_t value, std::uint64_t round) noexcept {
  renew(round);
  auto& best = best_[round % rounds_kept];
  best = std::max(best, value);
}

// The first burst must not fill the limits: its acknowledgements would tell the delay of a queue.
flight_window::mark flight_window::sent(amount on_its_way, std::uint64_t now_us) noexcept {
  if (now_us == 0) return {};
  if (++sent_ == 1) allowed_ = lowest();
  if (is_full(on_its_way)) full_at_ = sent_;
  return {now_us, delivered_, sent_};
}

void flight_window::acknowledged(amount arrived, const mark& newest,
                                 std::uint64_t now_us) noexcept {
  delivered_.messages += arrived.messages;
  delivered_.bytes += arrived.bytes;
  if (newest.sent_us == 0 || now_us < newest.sent_us || arrived.messages == 0) return;
  const auto delay_us = std::clamp<std::uint64_t>(now_us - newest.sent_us, 1, delay_max_us);
  const bool turns = learn_delay(delay_us, now_us);
  const bool filled = full_at_ >= newest.number;  // by it, or behind it while it was on its way
  if (filled) learn_rate(newest, newest.sent_us + delay_us);
  if (filled || turns) settle();
}

bool flight_window::learn_delay(std::uint64_t delay_us, std::uint64_t now_us) noexcept {
  if (shortest_us_ == 0 || delay_us <= shortest_us_) {
    shortest_us_ = delay_us;
    shortest_at_us_ = now_us;
    return std::exchange(closed_since_us_, 0) != 0;
  }
  if (closed_since_us_ == 0) {
    if (now_us - shortest_at_us_ < delay_kept_us) return false;
    closed_since_us_ = now_us;
    measured_us_ = 0;
    return true;
  }
  // What was sent before the window closed tells about the queue, not about the route.
  if (now_us - delay_us < closed_since_us_) return false;
  measured_us_ = measured_us_ == 0 ? delay_us : std::min(measured_us_, delay_us);
  if (now_us < closed_since_us_ + 2 * measured_us_) return false;
  shortest_us_ = measured_us_;
  shortest_at_us_ = now_us;
  closed_since_us_ = 0;
  return true;
}

void flight_window::learn_rate(const mark& newest, std::uint64_t now_us) noexcept {
  if (newest.delivered.messages >= round_ends_at_) {
    // It left after the last round had ended: this one ends, too.
    ++round_;
    round_ends_at_ = delivered_.messages;
  }
  const auto elapsed_us = now_us - newest.sent_us;
  const auto messages = rate_of(delivered_.messages - newest.delivered.messages, elapsed_us);
  const auto bytes = rate_of(delivered_.bytes - newest.delivered.bytes, elapsed_us);
  messages_rate_.add(messages, round_);
  bytes_rate_.add(bytes, round_);
}

void flight_window::settle() noexcept {
  if (closed_since_us_ != 0) {
    allowed_ = lowest();
    return;
  }
  allowed_ = {fitted(messages_rate_.get(), shortest_us_, floor.messages, limits_.messages),
              fitted(bytes_rate_.get(), shortest_us_, floor.bytes, limits_.bytes)};
}

}  // namespace blixard::raft
