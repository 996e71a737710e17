#include "runtime/routing/admission.hpp"

#include <algorithm>

#include "messages/check.hpp"

namespace blixard::routing {
namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;

}  // namespace

admission::admission(const admission_config& config) : config_(config) {
  CHECK_LE(config.retry_after_min_ms, config.retry_after_max_ms);
}

admission_result admission::admit(connection_id from, priority cls, std::uint64_t now_ns) {
  auto& c = state(cls);
  const auto class_max = config_.per_class_max[static_cast<std::size_t>(cls)];
  if (c.outstanding >= class_max) return {false, retry_after(c, c.outstanding)};
  auto& a = accounts_[from];
  if (a.total >= config_.per_connection_max) return {false, retry_after(c, a.total)};
  // The rate is measured only while there is work: a quiet hour must not look like a slow one.
  if (c.outstanding == 0) c.last_release_ns = now_ns;
  ++a.total;
  ++a.by_class[static_cast<std::size_t>(cls)];
  ++c.outstanding;
  return {true, 0};
}

void admission::release(connection_id from, priority cls, std::uint64_t now_ns) noexcept {
  const auto found = accounts_.find(from);
  if (found == accounts_.end()) return;
  auto& a = found->second;
  auto& held = a.by_class[static_cast<std::size_t>(cls)];
  if (held == 0) return;
  --held;
  --a.total;
  give_back(state(cls), 1, now_ns);
}

void admission::drop(connection_id from, std::uint64_t now_ns) noexcept {
  const auto found = accounts_.find(from);
  if (found == accounts_.end()) return;
  for (std::size_t i = 0; i < priority_count; ++i)
    if (const auto n = found->second.by_class[i]; n > 0) give_back(classes_[i], n, now_ns);
  accounts_.erase(found);
}

std::size_t admission::outstanding(connection_id from) const noexcept {
  const auto found = accounts_.find(from);
  return found == accounts_.end() ? 0 : found->second.total;
}

std::size_t admission::outstanding(priority cls) const noexcept {
  return classes_[static_cast<std::size_t>(cls)].outstanding;
}

// The backlog halves the time in which it is finished at the present rate: a caller that comes back
// then finds room, and not all callers come back at the moment the last request is done.
std::uint32_t admission::retry_after(const class_state& c, std::size_t backlog) const noexcept {
  const std::uint64_t drain_ms = c.release_gap_ns * backlog / (2 * ns_per_ms);
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(drain_ms, config_.retry_after_min_ms, config_.retry_after_max_ms));
}

void admission::give_back(class_state& c, std::size_t n, std::uint64_t now_ns) noexcept {
  CHECK_GE(c.outstanding, n);
  c.outstanding -= n;
  const std::uint64_t gap = now_ns > c.last_release_ns ? (now_ns - c.last_release_ns) / n : 0;
  c.last_release_ns = now_ns;
  // Smoothed over about eight releases.
  c.release_gap_ns = c.release_gap_ns == 0 ? gap : (c.release_gap_ns * 7 + gap) / 8;
}

}  // namespace blixard::routing
