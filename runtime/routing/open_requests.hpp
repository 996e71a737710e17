// Requests that wait for an answer, each until its deadline at the latest.
//
//   add ──► open ──┬─ close (the answer is here) ──► its value, once
//                  ├─ expire (its deadline is here) ──► its value, once
//                  └─ drop_if (nobody waits any more)
//
// What is held for a request (a credit, a place in a map) must come back whatever becomes of it:
// the node that works on it may hang, an actor may forget it. So whoever holds something keeps the
// request here, and gives it back when the value comes out; that happens exactly once. A ticket
// that comes later (the answer behind the deadline) finds nothing.
//
// Pure: time comes in as nanoseconds of a monotonic clock. A place is used again: no allocation
// once there were as many requests at one time. `add` and `close` are O(1); `expire` looks at all
// places, but only when the earliest deadline that was ever noted has passed. Owner thread only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "messages/check.hpp"
#include "messages/ids.hpp"

namespace blixard::routing {

/// 0: none.
using request_ticket = strong_id<struct request_ticket_tag>;

template <class T>
class open_requests {
 public:
  [[nodiscard]] request_ticket add(T value, std::uint64_t deadline_ns) {
    if (free_.empty()) {
      CHECK_LT(places_.size(), std::size_t{1} << place_bits);
      free_.push_back(places_.size());
      places_.emplace_back();
    }
    const auto index = free_.back();
    free_.pop_back();
    auto& p = places_[index];
    p.value.emplace(std::move(value));
    p.deadline_ns = deadline_ns;
    p.ticket = request_ticket{++p.uses << place_bits | index};
    earliest_ns_ = std::min(earliest_ns_, deadline_ns);
    return p.ticket;
  }

  /// Takes it out; nothing if it was closed, expired or dropped before.
  std::optional<T> close(request_ticket ticket) {
    const auto index = ticket.value() & ((std::uint64_t{1} << place_bits) - 1);
    if (!ticket || index >= places_.size() || places_[index].ticket != ticket) return {};
    return take(index);
  }

  /// Whether `expire` may have something to do.
  [[nodiscard]] bool due(std::uint64_t now_ns) const noexcept { return now_ns >= earliest_ns_; }

  /// Takes out all whose deadline is `now_ns` or earlier, and hands each to `tell(T)`, which must
  /// not touch this object.
  template <class F>
  void expire(std::uint64_t now_ns, F tell) {
    if (!due(now_ns)) return;
    earliest_ns_ = UINT64_MAX;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (!places_[i].ticket) continue;
      if (places_[i].deadline_ns <= now_ns)
        tell(*take(i));
      else
        earliest_ns_ = std::min(earliest_ns_, places_[i].deadline_ns);
    }
  }

  /// Forgets those that `gone(const T&)` is true for. Looks at all.
  template <class P>
  void drop_if(P gone) {
    for (std::size_t i = 0; i < places_.size(); ++i)
      if (places_[i].ticket && gone(*places_[i].value)) (void)take(i);
  }

  [[nodiscard]] std::size_t size() const noexcept { return places_.size() - free_.size(); }

 private:
  static constexpr unsigned place_bits = 24;  // of a ticket: which place; the rest counts its uses

  struct place {
    std::optional<T> value;
    std::uint64_t deadline_ns = 0;
    std::uint64_t uses = 0;
    request_ticket ticket;  // 0: free
  };

  std::optional<T> take(std::size_t index) {
    auto& p = places_[index];
    p.ticket = {};
    free_.push_back(index);
    return std::exchange(p.value, std::nullopt);
  }

  std::vector<place> places_;
  std::vector<std::size_t> free_;
  std::uint64_t earliest_ns_ = UINT64_MAX;  // no open request's deadline is before it
};

}  // namespace blixard::routing
