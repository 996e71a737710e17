// The window of a follower against a route with a disk at its end, in virtual microseconds.
#include "runtime/raft/window.hpp"

#include <gtest/gtest.h>

#include <deque>

#include "tests/unit/raft/cluster.hpp"

namespace blixard::raft::test {
namespace {

using amount = flight_window::amount;

constexpr amount limits{256, 16 << 20};

// What lies between a leader that always has something to send and its acknowledgements: half a
// round trip, a processor, a disk that takes everything that waits in one sync, and half a round
// trip back. An acknowledgement is for all of one sync.
struct follower {
  std::uint64_t round_trip_us = 100;
  std::uint64_t sync_us = 100;
  std::uint64_t bytes_per_us = 500;  // on top of the sync; 0: they take no time
  std::uint64_t message_us = 0;      // of its processor, for each message
  std::uint64_t message_bytes = 4096;
};

struct outcome {
  amount window;
  std::uint64_t acknowledged = 0;  // messages, in the second half of the time
  std::uint64_t mean_queue = 0;    // messages on their way then, on average
};

class link {
 public:
  link(flight_window& window, bool shows_clock) : window_(window), shows_clock_(shows_clock) {}

  outcome saturate(const follower& f, std::uint64_t duration_us) {
    outcome out;
    std::uint64_t depths = 0;
    const auto end = now_ + duration_us;
    const auto half = now_ + duration_us / 2;
    for (; now_ < end; ++now_) {
      const auto got = acknowledge(f);
      if (now_ >= half) {
        out.acknowledged += got;
        depths += in_flight_;
      }
      send(f);
      write(f);
    }
    out.window = window_.allowed();
    out.mean_queue = depths / (duration_us / 2);
    return out;
  }

 private:
  struct append {
    std::uint64_t due_us = 0;  // at the end of the present leg of its way
    flight_window::mark mark;
  };

  void send(const follower& f) {
    while (!window_.is_full({in_flight_, in_flight_ * f.message_bytes})) {
      ++in_flight_;
      busy_until_ = std::max(busy_until_, now_ + f.round_trip_us / 2) + f.message_us;
      const auto mark =
          window_.sent({in_flight_, in_flight_ * f.message_bytes}, shows_clock_ ? now_ : 0);
      going_.push_back({busy_until_, mark});
    }
  }
  void write(const follower& f) {
    if (!writing_.empty() && writing_.front().due_us <= now_) {
      for (auto& a : writing_) coming_.push_back({now_ + f.round_trip_us / 2, a.mark});
      writing_.clear();
    }
    if (!writing_.empty()) return;
    for (; !going_.empty() && going_.front().due_us <= now_; going_.pop_front())
      writing_.push_back(going_.front());
    const auto bytes = writing_.size() * f.message_bytes;
    const auto took = f.sync_us + (f.bytes_per_us == 0 ? 0 : bytes / f.bytes_per_us);
    for (auto& a : writing_) a.due_us = now_ + took;
  }
  std::uint64_t acknowledge(const follower& f) {
    std::uint64_t got = 0;
    flight_window::mark newest;
    for (; !coming_.empty() && coming_.front().due_us <= now_; coming_.pop_front(), ++got)
      newest = coming_.front().mark;
    in_flight_ -= got;
    if (got != 0) window_.acknowledged({got, got * f.message_bytes}, newest, now_);
    return got;
  }

  flight_window& window_;
  bool shows_clock_;
  std::uint64_t now_ = 1;
  std::uint64_t in_flight_ = 0;
  std::uint64_t busy_until_ = 0;
  std::deque<append> going_, writing_, coming_;
};

struct comparison {
  outcome deep;   // with the limits as windows
  outcome right;  // with the window that adapts
};

comparison compare(const follower& f, std::uint64_t duration_us) {
  flight_window fixed(limits);
  flight_window adapting(limits);
  return {link(fixed, false).saturate(f, duration_us),
          link(adapting, true).saturate(f, duration_us)};
}

void expect_no_loss(const comparison& c) {
  EXPECT_GE(c.right.acknowledged * 100, c.deep.acknowledged * 95);
}

TEST(window, that_is_shown_no_clock_stays_at_its_limits) {
  flight_window w(limits);
  EXPECT_EQ(link(w, false).saturate({}, 100'000).window.messages, limits.messages);
  EXPECT_EQ(w.shortest_us(), 0u);
}

TEST(window, without_limits_none_comes_about) {
  flight_window w({0, 0});
  for (std::uint64_t now = 1000; now < 1'000'000; now += 1000) {
    const auto mark = w.sent({50, 50'000}, now);
    w.acknowledged({50, 50'000}, mark, now + 500);
  }
  EXPECT_FALSE(w.is_full({1'000'000, std::uint64_t{1} << 40}));
}

// Limited by what the disk writes per second: 256 messages would be many times what fits.
TEST(window, of_a_follower_with_a_slow_disk_is_what_the_disk_takes) {
  const auto c = compare({.sync_us = 20, .bytes_per_us = 20}, 4'000'000);
  expect_no_loss(c);
  EXPECT_LT(c.right.mean_queue, c.deep.mean_queue / 8);
}

TEST(window, of_a_follower_whose_processor_is_the_limit_is_what_it_handles) {
  const auto c = compare({.message_us = 20}, 2'000'000);
  expect_no_loss(c);
  EXPECT_LT(c.right.mean_queue, c.deep.mean_queue / 4);
}

// Every sync is dear, and takes whatever waits: more on its way makes more arrive, without an end.
TEST(window, does_not_bind_where_a_deeper_one_helps) {
  expect_no_loss(compare({.round_trip_us = 20'000, .bytes_per_us = 0}, 4'000'000));
  expect_no_loss(compare({.round_trip_us = 50, .sync_us = 8'000, .bytes_per_us = 0}, 8'000'000));
  expect_no_loss(compare({.round_trip_us = 0, .sync_us = 200, .bytes_per_us = 0}, 1'000'000));
}

TEST(window, of_large_messages_is_bound_by_bytes) {
  const auto c = compare({.bytes_per_us = 50, .message_bytes = 1 << 20}, 20'000'000);
  expect_no_loss(c);
  EXPECT_LT(c.right.mean_queue, c.deep.mean_queue / 2);
}

TEST(window, follows_a_disk_that_becomes_slow_and_fast_again) {
  flight_window w(limits);
  link l(w, true);
  const follower fast{.round_trip_us = 5'000, .bytes_per_us = 500};
  const follower slow{.round_trip_us = 5'000, .bytes_per_us = 10};
  const auto before = l.saturate(fast, 2'000'000);
  const auto meanwhile = l.saturate(slow, 4'000'000);
  const auto after = l.saturate(fast, 4'000'000);
  EXPECT_GT(before.window.messages, 100u);
  EXPECT_LT(meanwhile.window.messages, 40u);
  EXPECT_GE(after.acknowledged * 100, before.acknowledged * 2 * 95);
}

// Ten seconds without a shorter delay: the window closes for a moment and measures anew.
TEST(window, learns_that_a_route_became_longer) {
  flight_window w(limits);
  link l(w, true);
  l.saturate({.message_us = 20}, 1'000'000);
  const follower longer{.round_trip_us = 5'000, .bytes_per_us = 0};
  const auto after = l.saturate(longer, 24'000'000);
  EXPECT_GT(w.shortest_us(), 4'000u);
  EXPECT_LT(w.shortest_us(), 8'000u);
  flight_window fixed(limits);
  const auto deep = link(fixed, false).saturate(longer, 24'000'000);
  EXPECT_GE(after.acknowledged * 100, deep.acknowledged * 95);
}

// The queue that the window keeps is not taken for the route, however long it stands.
TEST(window, does_not_grow_by_its_own_queue) {
  flight_window w(limits);
  link l(w, true);
  const follower slow{.sync_us = 20, .bytes_per_us = 20};
  const auto soon = l.saturate(slow, 2'000'000);
  const auto late = l.saturate(slow, 60'000'000);
  EXPECT_LE(late.window.messages, soon.window.messages * 2);
}

TEST(window, who_has_little_to_send_proves_nothing_by_it) {
  flight_window w(limits);
  link l(w, true);
  const auto before = l.saturate({.round_trip_us = 5'000}, 2'000'000);
  std::uint64_t now = 10'000'000;
  for (int i = 0; i < 1000; ++i, now += 6'000) {
    const auto mark = w.sent({1, 100}, now);
    w.acknowledged({1, 100}, mark, now + 5'200);
  }
  EXPECT_GE(w.allowed().messages * 2, before.window.messages);
}

TEST(window, one_pause_of_a_follower_does_not_close_it) {
  flight_window w(limits);
  link l(w, true);
  const auto before = l.saturate({.round_trip_us = 5'000}, 2'000'000);
  const auto mark = w.sent({256, 256 * 4096}, 3'000'000);
  w.acknowledged({256, 256 * 4096}, mark, 3'900'000);
  EXPECT_GE(w.allowed().messages * 2, before.window.messages);
}

// In the core: one window per follower, fed by the time that the driver shows.
TEST(window, of_each_follower_follows_its_own_delays) {
  cluster c({{1, 2, 3}, {}, [](config& k) {
               k.prevote = k.check_quorum = false;
               k.max_inflight_msgs = 64;
             }});
  c.elect(1);
  std::uint64_t us = 1;
  const auto answers = [&](std::uint64_t from) {
    c.at(1).note_time(us);
    message m{message_type::append_resp, node_id{from}, node_id{1}};
    m.term = c.at(1).current_term();
    m.match = c.at(1).status().peers[from - 1].next.prev();
    ASSERT_TRUE(c.at(1).step(std::move(m)));
  };
  for (int i = 0; i < 30; ++i) {
    c.at(1).note_time(us);
    for (int n = 0; n < 70; ++n) {  // more than the limit: both windows are full
      c.propose(1, "x");
      c.take(1);
    }
    c.network.clear();
    us += 100;
    answers(2);
    us += i == 0 ? 0 : 50'000;
    answers(3);
  }
  const auto peers = c.at(1).status().peers;
  EXPECT_EQ(peers[1].window_messages, 64u);
  EXPECT_EQ(peers[1].delay_us, 100u);
  EXPECT_EQ(peers[2].window_messages, flight_window::floor.messages);
}

}  // namespace
}  // namespace blixard::raft::test
