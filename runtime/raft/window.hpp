// How much may be on its way to one follower: bandwidth times delay, as its acknowledgements show
// (after Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016).
//
// Two numbers say all about a route with a disk at its end: the greatest rate at which it has
// delivered lately, and the shortest delay that an acknowledgement has taken lately (the network
// both ways and one sync). Their product fills the pipe. Twice that may be on its way: a disk that
// syncs in groups lets an entry wait for the group that is running, and then for its own. And a
// little more, so that a route that gets better is found out: as long as more on its way makes more
// arrive, the window grows. What is beyond it would wait in a queue at the follower, where it costs
// memory and a message each; at the leader it waits just as long and joins a larger append.
//
//   sent           |--a--|--b--|--c--|            a was sent with 0 delivered, acknowledged with 3:
//   acknowledged            |--a--|--b--|--c--|   rate = 3 in the time between, delay = that time
//
// A rate counts for ten round trips, a delay for ten seconds. When no shorter one has come for so
// long, the window closes to its floor for one round trip, so that the queue that this window
// itself keeps is not taken for the route. A sender that has less to send than it may proves
// nothing by it: its rates do not count.
//
// Pure: moments come in as numbers. Who names none keeps the limits.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace blixard::raft {

class flight_window {
 public:
  struct amount {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
  };
  /// The window begins with these, and is never below them, or the limits where those are lower.
  /// Also what is allowed beyond twice the pipe.
  static constexpr amount floor{4, 64 << 10};
  static constexpr std::uint64_t rounds_kept = 10;
  static constexpr std::uint64_t delay_kept_us = 10'000'000;

  /// What is remembered of a message while it is on its way.
  struct mark {
    std::uint64_t sent_us = 0;  // 0: no clock
    amount delivered;           // in all, when it left
    std::uint64_t number = 0;   // of the message
  };

  /// 0 in `limits`: no limit, and none comes about.
  explicit flight_window(amount limits) noexcept : limits_(limits), allowed_(limits) {}

  /// What may be on its way; 0: no limit.
  [[nodiscard]] amount allowed() const noexcept { return allowed_; }
  /// Nothing more may be sent with so much on its way. One message may pass the limit of bytes.
  [[nodiscard]] bool is_full(amount on_its_way) const noexcept {
    return (allowed_.messages != 0 && on_its_way.messages >= allowed_.messages) ||
           (allowed_.bytes != 0 && on_its_way.bytes >= allowed_.bytes);
  }
  /// A message leaves; with it, so much is on its way. `now_us` 0: no clock.
  [[nodiscard]] mark sent(amount on_its_way, std::uint64_t now_us) noexcept;
  /// So much has arrived, as one answer says; `newest` is the mark of the last message of it.
  void acknowledged(amount arrived, const mark& newest, std::uint64_t now_us) noexcept;
  /// The shortest delay of an acknowledgement lately; 0: none known.
  [[nodiscard]] std::uint64_t shortest_us() const noexcept { return shortest_us_; }

 private:
  // The greatest of what came in each of the last rounds.
  class recent_max {
   public:
    void add(std::uint64_t value, std::uint64_t round) noexcept;
    void renew(std::uint64_t round) noexcept;
    [[nodiscard]] std::uint64_t get() const noexcept { return *std::ranges::max_element(best_); }

   private:
    std::array<std::uint64_t, rounds_kept> best_{};
    std::uint64_t round_ = 0;
  };

  [[nodiscard]] amount lowest() const noexcept {
    return {std::min(floor.messages, limits_.messages), std::min(floor.bytes, limits_.bytes)};
  }
  /// True: the window opens or closes by it.
  bool learn_delay(std::uint64_t delay_us, std::uint64_t now_us) noexcept;
  void learn_rate(const mark& newest, std::uint64_t now_us) noexcept;
  void settle() noexcept;

  amount limits_;
  amount allowed_;
  amount delivered_;
  recent_max messages_rate_;
  recent_max bytes_rate_;
  std::uint64_t sent_ = 0;     // messages, since a clock was shown
  std::uint64_t full_at_ = 0;  // the message that filled the window last
  std::uint64_t round_ = 0;
  std::uint64_t round_ends_at_ = 0;  // when so many messages in all have been delivered
  std::uint64_t shortest_us_ = 0;
  std::uint64_t shortest_at_us_ = 0;
  std::uint64_t closed_since_us_ = 0;  // measures the delay anew; 0: does not
  std::uint64_t measured_us_ = 0;      // while closed: the shortest so far; 0: none
};

}  // namespace blixard::raft
