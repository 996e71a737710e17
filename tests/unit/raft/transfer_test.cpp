// Claims about a snapshot on its way: what is lost costs what was in flight, whoever restarts goes
// on from what is there, the limit holds, and the log behind a snapshot is kept and bounded.
#include "runtime/raft/transfer.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <string>

namespace blixard::raft {
namespace {

constexpr std::uint64_t ms = 1'000'000;
constexpr auto chunk_bytes = transfer_chunk_bytes;

std::shared_ptr<const snapshot> make(std::size_t bytes, std::uint64_t index = 7, char salt = 'a') {
  std::string text;
  while (text.size() < bytes) text += std::to_string(text.size()) + salt;
  text.resize(bytes);
  return std::make_shared<const snapshot>(
      snapshot{log_index{index}, term{2}, {}, slice::copy_of(text)});
}

/// Both ends and the connection between them; the test says what it carries.
struct transfer {
  std::shared_ptr<const snapshot> what;
  snapshot_sender sender;
  snapshot_receiver receiver;
  std::deque<snapshot_chunk> wire;
  std::uint64_t now = 0;
  std::uint64_t bytes_sent = 0;

  explicit transfer(std::size_t bytes) : what(make(bytes)), sender(what, 0) {}

  std::size_t send() {
    std::size_t n = 0;
    for (; const auto c = sender.next(now); ++n) {
      bytes_sent += c->data.size();
      wire.push_back(*c);
    }
    return n;
  }
  void deliver_one() {
    const auto c = wire.front();
    wire.pop_front();
    const auto a = receiver.take(sender.name(), c);
    sender.answered(a.received, a.gap, now);
  }
  void deliver_all() {
    while (!wire.empty()) deliver_one();
  }
  void run() {
    for (int i = 0; i < 10'000 && !sender.complete(); ++i) {
      now += ms;
      send();
      deliver_all();
    }
  }
  void expect_whole() {
    ASSERT_TRUE(sender.complete());
    ASSERT_TRUE(receiver.complete());
    EXPECT_EQ(receiver.finish(), what->data);
  }
};

TEST(transfer, any_size_arrives_whole_and_each_byte_travels_once) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, chunk_bytes - 1, chunk_bytes,
                                  chunk_bytes + 1, 40 * chunk_bytes + 5}) {
    transfer t(bytes);
    t.run();
    t.expect_whole();
    EXPECT_EQ(t.bytes_sent, bytes);
  }
}

TEST(transfer, one_chunk_is_out_until_the_receiver_has_said_where_it_is_then_a_window) {
  transfer t(100 * chunk_bytes);
  EXPECT_EQ(t.send(), 1u);
  t.deliver_all();
  EXPECT_EQ(t.send(), transfer_window_bytes / chunk_bytes);
  EXPECT_EQ(t.send(), 0u);
  t.deliver_one();
  EXPECT_EQ(t.send(), 1u);
}

TEST(transfer, after_a_cut_it_goes_on_from_what_has_arrived) {
  transfer t(100 * chunk_bytes);
  for (int i = 0; i < 5; ++i) {
    t.send();
    t.deliver_all();
  }
  const auto there = t.sender.received();
  ASSERT_GT(there, 50 * chunk_bytes);
  t.send();
  const auto lost = t.wire.size() * chunk_bytes;
  t.wire.clear();
  EXPECT_EQ(t.send(), 0u) << "it may still arrive";
  t.now += transfer_repeat_ns + ms;
  EXPECT_EQ(t.send(), 1u) << "one chunk asks whether anybody is there";
  EXPECT_EQ(t.wire.front().offset, there);
  t.run();
  t.expect_whole();
  EXPECT_EQ(t.bytes_sent, t.what->data.size() + lost);
}

TEST(transfer, a_lost_chunk_in_the_middle_is_asked_for_once) {
  transfer t(100 * chunk_bytes);
  t.send();
  t.deliver_all();
  t.send();
  t.wire.pop_front();  // the others follow a gap
  t.deliver_all();
  t.run();
  t.expect_whole();
  EXPECT_LE(t.bytes_sent, t.what->data.size() + transfer_window_bytes);
}

TEST(transfer, answers_that_were_lost_cost_one_chunk) {
  transfer t(10 * chunk_bytes);
  t.send();
  t.deliver_all();
  t.send();
  while (!t.wire.empty()) {
    (void)t.receiver.take(t.sender.name(), t.wire.front());
    t.wire.pop_front();
  }
  t.now += transfer_repeat_ns + ms;
  t.run();
  t.expect_whole();
  EXPECT_EQ(t.bytes_sent, t.what->data.size() + chunk_bytes);
}

TEST(transfer, a_restarted_sender_goes_on_from_what_the_receiver_has) {
  transfer t(20 * chunk_bytes);
  t.send();
  t.deliver_all();
  t.send();
  for (int i = 0; i < 10; ++i) t.deliver_one();
  t.wire.clear();
  t.sender = snapshot_sender(make(20 * chunk_bytes), t.now);  // the same bytes, read from a disk
  t.run();
  t.expect_whole();
  EXPECT_EQ(t.bytes_sent, (1 + 16 + 1 + 9) * chunk_bytes) << "its first chunk is the only extra";
}

TEST(transfer, a_restarted_receiver_goes_on_from_what_it_kept) {
  transfer t(20 * chunk_bytes);
  t.send();
  t.deliver_all();
  t.send();
  for (int i = 0; i < 10; ++i) t.deliver_one();
  auto data = buffer::make(20 * chunk_bytes);
  const auto kept = 8 * chunk_bytes + 17;  // less than what it had acknowledged
  std::memcpy(data->data(), t.what->data.data(), kept);
  t.receiver = snapshot_receiver();
  t.receiver.resume(t.sender.name(), std::move(data), kept);
  t.wire.clear();
  t.now += transfer_repeat_ns + ms;
  t.run();
  t.expect_whole();
}

TEST(transfer, a_receiver_that_lost_everything_gets_everything) {
  transfer t(20 * chunk_bytes);
  t.send();
  t.deliver_all();
  t.send();
  t.deliver_one();
  t.receiver = snapshot_receiver();
  t.run();
  t.expect_whole();
}

TEST(transfer, what_is_kept_of_another_snapshot_is_not_continued) {
  const auto first = make(4 * chunk_bytes, 7, 'a');
  const auto second = make(4 * chunk_bytes, 7, 'b');  // other bytes under the same index and term
  ASSERT_NE(name_of(*first), name_of(*second));
  snapshot_receiver r;
  (void)r.take(name_of(*first), {0, first->data.size(), first->data.sub(0, 2 * chunk_bytes)});
  const auto gap = r.take(name_of(*second), {2 * chunk_bytes, second->data.size(),
                                             second->data.sub(2 * chunk_bytes, chunk_bytes)});
  EXPECT_TRUE(gap.gap);
  EXPECT_EQ(gap.received, 0u);
  (void)r.take(name_of(*second), {0, second->data.size(), second->data});
  ASSERT_TRUE(r.complete());
  EXPECT_EQ(r.finish(), second->data);
}

TEST(transfer, a_name_sees_the_end_and_samples_of_large_data) {
  const auto data = make(30 * chunk_bytes);
  auto other = std::string{data->data.text()};
  other.back() ^= 1;
  EXPECT_NE(name_of(*data), name_of({data->index, data->term, {}, slice::copy_of(other)}));
  EXPECT_EQ(name_of(*data), name_of(*make(30 * chunk_bytes)));
}

TEST(transfer, without_progress_for_long_it_is_given_up_and_with_progress_never) {
  transfer t(2000 * chunk_bytes);
  t.send();
  t.deliver_all();
  for (int i = 0; i < 30; ++i) {
    t.now += transfer_stalled_ns / 2;
    t.send();
    EXPECT_FALSE(t.sender.stalled(t.now));
    t.deliver_all();
  }
  t.now += transfer_stalled_ns + ms;
  EXPECT_TRUE(t.sender.stalled(t.now));
}

TEST(transfer, an_answer_beyond_the_end_is_ignored) {
  transfer t(chunk_bytes);
  t.sender.answered(5 * chunk_bytes, false, 0);
  EXPECT_FALSE(t.sender.complete());
  t.run();
  t.expect_whole();
}

// ---------------------------------------------------------------- the limit

TEST(byte_rate, over_a_second_no_more_than_the_limit_and_a_chunk_is_sent) {
  for (const std::uint64_t rate :
       {std::uint64_t{100'000}, std::uint64_t{8} << 20, std::uint64_t{64} << 20}) {
    byte_rate limit(rate);
    std::uint64_t sent = 0;
    for (std::uint64_t now = 0; now < 1000 * ms; now += 10 * ms)
      while (limit.allows(now)) {
        limit.spend(chunk_bytes, now);
        sent += chunk_bytes;
      }
    EXPECT_LE(sent, rate + rate / 50 + chunk_bytes) << rate;
    EXPECT_GE(sent + chunk_bytes + rate / 50, rate) << rate << ": it starves nobody";
  }
}

TEST(byte_rate, a_pause_is_not_caught_up_with_in_a_burst) {
  byte_rate limit(std::uint64_t{64} << 20);
  limit.spend(chunk_bytes, 0);
  std::uint64_t burst = 0;
  const std::uint64_t later = 60'000 * ms;
  while (limit.allows(later)) {
    limit.spend(chunk_bytes, later);
    burst += chunk_bytes;
  }
  EXPECT_LE(burst, (std::uint64_t{64} << 20) / 50 + chunk_bytes);
}

TEST(byte_rate, zero_is_no_limit) {
  byte_rate limit(0);
  for (int i = 0; i < 1000; ++i) limit.spend(chunk_bytes, 5);
  EXPECT_TRUE(limit.allows(5));
}

// ---------------------------------------------------------------- what is kept of the log

peer_status peer(std::uint64_t id, progress_state state, std::uint64_t match, bool active = true,
                 std::uint64_t pending = 0) {
  peer_status p;
  p.id = node_id{id};
  p.state = state;
  p.match = log_index{match};
  p.recent_active = active;
  p.pending_snapshot = log_index{pending};
  return p;
}

TEST(log_retention, who_gets_a_snapshot_or_catches_up_finds_what_follows_and_nobody_else_counts) {
  constexpr log_retention keep{.always = 100, .most = 5000};
  const auto first = [&](std::vector<peer_status> peers) {
    return first_to_keep(log_index{10'000}, peers, keep).value();
  };
  using enum progress_state;
  EXPECT_EQ(first({}), 9901u);
  EXPECT_EQ(first({peer(2, replicate, 9990)}), 9901u);
  EXPECT_EQ(first({peer(2, replicate, 8000)}), 8001u);
  EXPECT_EQ(first({peer(2, snapshot, 0, true, 7000)}), 7001u);
  EXPECT_EQ(first({peer(2, snapshot, 0, false, 7000)}), 7001u) << "it may be restarting";
  EXPECT_EQ(first({peer(2, replicate, 8000, false)}), 9901u) << "nobody knows when it is back";
  EXPECT_EQ(first({peer(2, probe, 0)}), 9901u) << "nothing is known about its log";
  EXPECT_EQ(first({peer(2, probe, 8000)}), 8001u);
  EXPECT_EQ(first({peer(2, replicate, 10)}), 5001u) << "bounded";
  EXPECT_EQ(first({peer(2, snapshot, 0, true, 10)}), 5001u) << "bounded";
  EXPECT_EQ(first_to_keep(log_index{50}, {}, keep).value(), 1u);
}

TEST(log_meter, knows_from_where_on_the_log_fits_a_number_of_bytes) {
  log_meter m;
  EXPECT_EQ(m.reach(1), log_index{});
  for (std::uint64_t i = 1; i <= 10'000; ++i) m.appended(log_index{i}, 100);
  const auto from = m.reach(100'000).value();
  EXPECT_GE(from, 9001u);
  EXPECT_LE(from, 9001u + 256);
  EXPECT_EQ(m.reach(10'000'000), log_index{1});
  m.compacted(log_index{5000});
  EXPECT_LE(m.reach(10'000'000).value(), 5000u);
  EXPECT_GT(m.reach(10'000'000).value(), 4000u);
  EXPECT_GT(m.reach(0), log_index{10'000}) << "the last entry alone is too large";
}

TEST(log_meter, entries_that_take_the_place_of_others_do_not_lose_its_order) {
  log_meter m;
  for (std::uint64_t i = 1; i <= 1000; ++i) m.appended(log_index{i}, 100);
  for (std::uint64_t i = 500; i <= 2000; ++i) m.appended(log_index{i}, 100);
  const auto from = m.reach(50'000).value();
  EXPECT_GE(from, 1501u);
  EXPECT_LE(from, 1501u + 512);
}

slice part(const ref<buffer>& b, std::size_t from, std::size_t size) {
  return {b, b->data() + from, size};
}

TEST(payload_meter, a_buffer_counts_in_full_with_its_first_payload_and_then_no_more) {
  payload_meter m;
  const auto a = buffer::make(1000);
  const auto b = buffer::make(5000);
  EXPECT_EQ(m.added_by(part(a, 0, 10)), 1000u);
  EXPECT_EQ(m.added_by(part(a, 10, 10)), 0u);
  EXPECT_EQ(m.added_by(part(a, 900, 100)), 0u) << "whatever lies between them";
  EXPECT_EQ(m.added_by(part(b, 4000, 1)), 5000u);
  EXPECT_EQ(m.added_by(part(b, 4001, 1)), 0u);
}

TEST(payload_meter, a_payload_in_a_buffer_of_its_own_counts_what_it_is) {
  payload_meter m;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(m.added_by(slice::copy_of("twelve bytes")), 12u);
  EXPECT_EQ(m.added_by(slice{}), 0u);
}

TEST(payload_meter, a_buffer_that_is_filled_anew_counts_anew) {
  payload_meter m;
  const auto a = buffer::make(1000);
  EXPECT_EQ(m.added_by(part(a, 500, 10)), 1000u);
  EXPECT_EQ(m.added_by(part(a, 0, 10)), 1000u);
}

}  // namespace
}  // namespace blixard::raft
