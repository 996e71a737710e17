// Four queues, served most urgent first, with a floor for the rest (DOMAIN "Message priorities").
//
//   critical  ####           strict order between classes: a critical item overtakes everything
//   high      #########      that is queued below it, at once.
//   normal    ############   Floor: a class that waits while `floor - 1` items of more urgent
//   low       ##########...  classes pass it gets the next turn, so nothing starves.
//
// Every lane has a bound in items and in bytes. What happens at the bound is the caller's affair
// (back-pressure, `overloaded`, drop): `push` only says `refused` and when to try again. Lanes do
// not share their bounds, so a full lower lane never costs a critical item its place.
//
// Superseding: a critical item may carry a key (kind and peer). While an item with the same key
// waits, a newer one takes its place in the queue and the older is dropped: a peer that does not
// read for a while finds the newest heartbeat, not a thousand old ones, and the critical lane stays
// as short as the number of keys.
//
// All operations are O(1) (amortised where a ring grows). Not thread-safe; counters are readable by
// any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "messages/check.hpp"
#include "messages/frame.hpp"
#include "runtime/routing/ring.hpp"
#include "runtime/routing/supersede_index.hpp"
#include "runtime/routing/tally.hpp"

namespace blixard::routing {

/// Bounds of one lane. An empty lane accepts one item of any size, so that a single item larger
/// than `max_bytes` is not refused for ever.
struct lane_limits {
  std::size_t max_items = 0;
  std::size_t max_bytes = 0;
  std::uint32_t retry_after_ms = 0;  // what a refused sender is told
};

struct lanes_config {
  std::array<lane_limits, priority_count> lane;
  // A class that waits is passed over at most floor - 1 times before its turn comes; where several
  // wait for that, they take their turns one after the other. 0: strict order without a floor.
  std::uint32_t floor = 16;
};

enum class push_result : std::uint8_t { accepted, superseded, refused };

struct push_outcome {
  push_result result = push_result::accepted;
  std::uint32_t retry_after_ms = 0;  // only with refused
};

/// Counters of one lane. One writer (the owner of the lanes), readers on any thread.
struct lane_counters {
  tally queued_items;
  tally queued_bytes;
  tally sent;        // items popped
  tally dropped;     // items refused, or cleared unsent
  tally superseded;  // items replaced by a newer one of the same key
};

template <class T>
class lanes {
 public:
  /// What `pop` hands out; `restore` takes it back unchanged.
  struct item {
    T value{};
    std::uint64_t key = 0;
    std::size_t bytes = 0;
    priority cls = priority::normal;
    std::uint32_t passed = 0;  // turns that its class had waited for this one
  };

  explicit lanes(const lanes_config& config) : config_(config) {}

  /// Queues `value`. `key` != 0 and class critical: replaces a waiting item with the same key, in
  /// its place (result `superseded`). Refused at the bound; `value` is then destroyed.
  [[nodiscard]] push_outcome push(priority cls, T value, std::size_t bytes, std::uint64_t key = 0);

  /// The next item by class and floor, or nothing.
  [[nodiscard]] std::optional<item> pop();

  /// Puts back an item that was popped last and not used, as if it had not been: it is the first of
  /// its class again, and its turn is not counted. Bounds do not apply. Several items go back in
  /// the reverse order of their pops.
  void restore(item i);

  /// Drops everything (counted as dropped).
  void clear() noexcept;

  [[nodiscard]] bool empty() const noexcept { return items_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return items_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t size(priority cls) const noexcept { return lane(cls).queue.size(); }
  /// Any thread.
  [[nodiscard]] const lane_counters& counters(priority cls) const noexcept {
    return lane(cls).counters;
  }

 private:
  struct slot {
    T value{};
    std::uint64_t key = 0;
    std::size_t bytes = 0;
  };
  struct one_lane {
    ring<slot> queue;
    std::size_t bytes = 0;
    std::uint32_t passed = 0;  // turns given to more urgent classes while this one waited
    lane_counters counters;
  };

  [[nodiscard]] one_lane& lane(priority cls) noexcept {
    return lanes_[static_cast<std::size_t>(cls)];
  }
  [[nodiscard]] const one_lane& lane(priority cls) const noexcept {
    return lanes_[static_cast<std::size_t>(cls)];
  }
  [[nodiscard]] bool supersede(one_lane& l, T& value, std::size_t bytes, std::uint64_t key);
  void account(one_lane& l, std::size_t added, std::size_t removed) noexcept;
  [[nodiscard]] std::optional<std::size_t> next_lane() noexcept;

  lanes_config config_;
  std::array<one_lane, priority_count> lanes_;
  supersede_index index_;  // key of a waiting critical item -> its position in the ring
  std::size_t items_ = 0;
  std::size_t bytes_ = 0;
};

template <class T>
push_outcome lanes<T>::push(priority cls, T value, std::size_t bytes, std::uint64_t key) {
  auto& l = lane(cls);
  const bool keyed = key != 0 && cls == priority::critical;
  if (keyed && supersede(l, value, bytes, key)) return {push_result::superseded, 0};
  const auto& limit = config_.lane[static_cast<std::size_t>(cls)];
  const bool full =
      l.queue.size() >= limit.max_items || (!l.queue.empty() && l.bytes + bytes > limit.max_bytes);
  if (full) {
    l.counters.dropped.add();
    return {push_result::refused, limit.retry_after_ms};
  }
  const auto position = l.queue.push_back(slot{std::move(value), keyed ? key : 0, bytes});
  if (keyed) index_.put(key, position);
  ++items_;
  account(l, bytes, 0);
  return {push_result::accepted, 0};
}

template <class T>
std::optional<typename lanes<T>::item> lanes<T>::pop() {
  const auto chosen = next_lane();
  if (!chosen) return std::nullopt;
  auto& l = lanes_[*chosen];
  const auto passed = std::exchange(l.passed, 0);
  slot s = l.queue.pop_front();
  if (s.key != 0) index_.remove(s.key);
  --items_;
  account(l, 0, s.bytes);
  l.counters.sent.add();
  return item{std::move(s.value), s.key, s.bytes, static_cast<priority>(*chosen), passed};
}

template <class T>
void lanes<T>::restore(item i) {
  auto& l = lane(i.cls);
  const auto bytes = i.bytes;
  const auto key = i.key;
  const auto position = l.queue.push_front(slot{std::move(i.value), key, bytes});
  if (key != 0) index_.put(key, position);
  ++items_;
  account(l, bytes, 0);
  l.counters.sent.sub(1);
  l.passed = i.passed;
  for (auto c = static_cast<std::size_t>(i.cls) + 1; c < priority_count; ++c)
    if (lanes_[c].passed != 0) --lanes_[c].passed;
}

template <class T>
void lanes<T>::clear() noexcept {
  for (auto& l : lanes_) {
    l.counters.dropped.add(l.queue.size());
    l.queue.clear();
    l.passed = 0;
    account(l, 0, l.bytes);
  }
  index_.clear();
  items_ = 0;
}

template <class T>
bool lanes<T>::supersede(one_lane& l, T& value, std::size_t bytes, std::uint64_t key) {
  const auto position = index_.find(key);
  if (!position) return false;
  slot& s = l.queue.at(*position);
  CHECK_EQ(s.key, key);
  const auto before = s.bytes;
  s.value = std::move(value);
  s.bytes = bytes;
  account(l, bytes, before);
  l.counters.superseded.add();
  return true;
}

template <class T>
void lanes<T>::account(one_lane& l, std::size_t added, std::size_t removed) noexcept {
  l.bytes = l.bytes + added - removed;
  bytes_ = bytes_ + added - removed;
  l.counters.queued_bytes.set(l.bytes);
  l.counters.queued_items.set(l.queue.size());
}

// The most urgent waiting class, unless one below it has been passed over floor - 1 times. Of
// several such the more urgent goes first; the other follows at the next turn.
template <class T>
std::optional<std::size_t> lanes<T>::next_lane() noexcept {
  std::optional<std::size_t> chosen;
  for (std::size_t c = 0; c < priority_count; ++c) {
    if (lanes_[c].queue.empty()) continue;
    if (!chosen) chosen = c;
    if (config_.floor != 0 && lanes_[c].passed + 1 >= config_.floor) {
      chosen = c;
      break;
    }
  }
  if (!chosen) return chosen;
  for (std::size_t c = *chosen + 1; c < priority_count; ++c)
    if (!lanes_[c].queue.empty()) ++lanes_[c].passed;
  return chosen;
}

}  // namespace blixard::routing
