// One connection over a socket pair; the other end is a plain descriptor that the test reads.
#include "runtime/net/connection.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/unit/net/net_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

struct rig final : connection_owner {
  explicit rig(std::size_t queue_max = 64 * limits::MiB, int socket_buffer = 64 * 1024)
      : shared(l, pool) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    ::setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &socket_buffer, sizeof socket_buffer);
    far = unique_fd{fds[1]};
    connection_bounds bounds{.frames = {limits::frame_max_bytes, limits::frame_max_bytes},
                             .queue_max_bytes = queue_max};
    c = std::make_unique<connection>(shared, *this, make_socket_stream(unique_fd{fds[0]}), bounds,
                                     true);
    EXPECT_TRUE(c->start());
    c->set_open();
  }

  void on_open(connection&) override {}
  void on_frames(connection&, std::vector<frame_ptr>& frames) override {
    ++calls;
    for (auto& f : frames) got.push_back(std::move(f));
  }
  void on_half_closed(connection&) override { ++half_closes; }
  void on_tls_spoken(connection& at) override { at.close(close_reason::bad_handshake); }
  void on_dirty(connection&) override { dirty = true; }
  void on_closed(connection&, close_reason r) override {
    ++closes;
    reason = r;
  }

  void flush_if_dirty() {
    if (std::exchange(dirty, false)) c->flush();
  }
  /// Reads what arrived at the far end, up to `most` bytes.
  void drain(std::size_t most = SIZE_MAX) {
    std::vector<char> chunk(std::min<std::size_t>(most, 1 << 20));
    while (most > 0) {
      const auto n = ::read(far.get(), chunk.data(), std::min(most, chunk.size()));
      if (n <= 0) return;
      arrived.append(chunk.data(), static_cast<std::size_t>(n));
      most -= static_cast<std::size_t>(n);
    }
  }
  /// Frames that arrived completely.
  std::vector<frame_ptr> parsed() {
    routing::buffer_pool p;
    read_arena arena{p};
    transport_counters unused;
    frame_reader reader{arena, unused, {limits::frame_max_bytes, limits::frame_max_bytes}};
    std::vector<frame_ptr> out;
    std::string_view rest = arrived;
    while (!rest.empty()) {
      frame_reader::regions regions;
      const auto n = reader.prepare(regions);
      const auto take = std::min(rest.size(), regions[0].iov_len);
      (void)n;
      std::memcpy(regions[0].iov_base, rest.data(), take);
      rest.remove_prefix(take);
      EXPECT_EQ(reader.consume(take, out), std::nullopt);
    }
    return out;
  }
  [[nodiscard]] std::uint64_t counted_queue() const {
    std::uint64_t sum = 0;
    for (const auto& t : shared.counters.by_class) sum += t.queued_bytes.get();
    return sum;
  }

  loop l;
  routing::buffer_pool pool;
  connection_shared shared;
  unique_fd far;
  std::unique_ptr<connection> c;
  std::vector<frame_ptr> got;
  std::string arrived;
  close_reason reason = close_reason::local;
  int calls = 0, half_closes = 0, closes = 0;
  bool dirty = false;
};

TEST(connection, a_critical_frame_overtakes_100000_queued_low_frames) {
  rig r;
  const auto low = make_frame(frame_kind::raft, priority::low, pattern(100));
  for (int i = 0; i < 100'000; ++i) ASSERT_TRUE(r.c->send(low));
  r.flush_if_dirty();  // as much as the socket takes
  r.drain();
  const auto before = r.arrived.size();
  ASSERT_LT(before, 100'000 * low->wire_size() / 2);
  ASSERT_TRUE(r.c->send(make_frame(frame_kind::raft, priority::critical, "vote")));
  r.c->flush();
  r.drain();
  const auto frames = r.parsed();
  const auto vote = std::ranges::find_if(
      frames, [](const auto& f) { return f->header().cls == priority::critical; });
  ASSERT_NE(vote, frames.end());
  // Only the frame that was half sent is in front of it.
  const auto position = static_cast<std::size_t>(vote - frames.begin());
  EXPECT_LE(position * low->wire_size(), before + low->wire_size());
}

TEST(connection, between_classes_strict_within_a_class_in_order) {
  rig r;
  std::map<priority, std::uint64_t> next;
  for (int i = 0; i < 20; ++i)
    for (const auto cls : {priority::low, priority::normal, priority::high, priority::critical})
      ASSERT_TRUE(r.c->send(make_frame(frame_kind::raft, cls, "x", request_id{++next[cls]})));
  r.flush_if_dirty();
  r.drain();
  std::map<priority, std::uint64_t> seen;
  for (const auto& f : r.parsed())
    EXPECT_EQ(f->header().request, request_id{++seen[f->header().cls]});
  EXPECT_EQ(seen, next);
}

// The far end reads in odd amounts, frames of many shapes are sent in between: what arrives is
// exactly what was accepted, and the number of queued bytes is exact at every step.
TEST(connection, partial_writes_lose_and_repeat_nothing_and_are_accounted_exactly) {
  rig r{64 * limits::MiB, 8 * 1024};
  std::mt19937 random{42};
  std::map<priority, std::string> accepted;
  std::size_t in_flight = 0;
  for (int i = 0; i < 3'000; ++i) {
    for (auto n = random() % 4; n > 0; --n) {
      const auto cls = static_cast<priority>(random() % priority_count);
      std::vector<slice> pieces;
      for (auto k = random() % 4; k > 0; --k)
        pieces.push_back(slice::copy_of(pattern(random() % 3000, static_cast<unsigned>(i))));
      frame_header h;
      h.kind = frame_kind::raft;
      h.cls = cls;
      const auto f = frame::make(h, pieces.empty() ? std::vector{slice{}} : pieces);
      ASSERT_TRUE(r.c->send(f));
      in_flight += f->wire_size();
      accepted[cls] += wire(*f);
    }
    r.c->flush();
    const auto before = r.arrived.size();
    r.drain(random() % 9000);
    in_flight -= r.arrived.size() - before;
    ASSERT_EQ(r.c->queued_bytes(), r.counted_queue());
    ASSERT_LE(r.c->queued_bytes(), in_flight);  // the rest is in the kernel
  }
  while (r.c->queued_bytes() > 0) {
    r.c->flush();
    r.drain();
  }
  r.drain();
  EXPECT_EQ(r.counted_queue(), 0u);
  std::map<priority, std::string> arrived;
  for (const auto& f : r.parsed()) arrived[f->header().cls] += wire(*f);
  EXPECT_TRUE(arrived == accepted);
}

TEST(connection, a_far_end_that_never_reads_costs_no_more_than_the_bound) {
  constexpr std::size_t bound = 1 * limits::MiB;
  rig r{bound};
  const std::pair<priority, std::size_t> table[] = {{priority::low, bound / 16 * 8},
                                                    {priority::normal, bound / 16 * 14},
                                                    {priority::high, bound / 16 * 15},
                                                    {priority::critical, bound}};
  for (const auto& [cls, share] : table) {
    const auto f = make_frame(frame_kind::raft, cls, pattern(1000));
    int accepted = 0;
    while (r.c->send(f)) {
      ++accepted;
      r.flush_if_dirty();
    }
    EXPECT_GT(accepted, 0) << "a less urgent class took its place";
    EXPECT_LE(r.c->queued_bytes(), share);
    EXPECT_GT(r.c->queued_bytes() + f->wire_size(), share);
    EXPECT_EQ(r.shared.counters.of(cls).dropped_frames.get(), 1u);
  }
  r.c->close(close_reason::local);
  EXPECT_EQ(r.counted_queue(), 0u);
}

TEST(connection, a_newer_frame_with_the_same_key_replaces_the_waiting_one) {
  rig r;
  const auto low = make_frame(frame_kind::raft, priority::low, pattern(1'000'000));
  ASSERT_TRUE(r.c->send(low));
  r.c->flush();  // the socket is full now
  for (int i = 1; i <= 1000; ++i)
    ASSERT_TRUE(r.c->send(make_frame(frame_kind::raft, priority::critical, pattern(10 + i % 7),
                                     request_id{static_cast<std::uint64_t>(i)}),
                          7));
  EXPECT_EQ(r.c->queued_bytes(), r.counted_queue());
  while (r.c->queued_bytes() > 0) {
    r.drain();
    r.c->flush();
  }
  r.drain();
  const auto frames = r.parsed();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[1]->header().request, request_id{1000});
  EXPECT_EQ(r.shared.counters.of(priority::critical).superseded_frames.get(), 999u);
  EXPECT_EQ(r.counted_queue(), 0u);
}

TEST(connection, many_small_frames_leave_in_one_write) {
  rig r;
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(r.c->send(make_frame(frame_kind::raft, priority::high, pattern(64))));
  r.flush_if_dirty();
  EXPECT_EQ(r.shared.counters.writes.get(), 1u);
}

TEST(connection, byte_by_byte_delivery_gives_whole_frames) {
  rig r;
  const auto f = make_frame(frame_kind::query, priority::normal, pattern(50));
  const auto bytes = wire(*f) + wire(*f);
  for (const char b : bytes) {
    ASSERT_EQ(::write(r.far.get(), &b, 1), 1);
    r.c->on_io(1 /* EPOLLIN */);
  }
  ASSERT_EQ(r.got.size(), 2u);
  EXPECT_EQ(r.got[1]->body().text(), pattern(50));
}

TEST(connection, half_closed_it_still_sends) {
  rig r;
  const auto request = wire(*make_frame(frame_kind::query, priority::normal, "q"));
  ASSERT_EQ(::write(r.far.get(), request.data(), request.size()),
            static_cast<ssize_t>(request.size()));
  ::shutdown(r.far.get(), SHUT_WR);
  ASSERT_TRUE(run_until(r.l, [&] { return r.half_closes == 1; }));
  EXPECT_EQ(r.got.size(), 1u);
  EXPECT_EQ(r.closes, 0);
  ASSERT_TRUE(r.c->send(make_frame(frame_kind::answer, priority::normal, "a")));
  r.c->finish(close_reason::peer_closed);
  r.flush_if_dirty();
  r.drain();
  EXPECT_EQ(r.parsed().at(0)->body().text(), "a");
  EXPECT_EQ(r.closes, 1);
  EXPECT_EQ(r.reason, close_reason::peer_closed);
}

TEST(connection, an_idle_half_closed_connection_does_not_turn_the_loop) {
  rig r;
  ::shutdown(r.far.get(), SHUT_WR);
  ASSERT_TRUE(run_until(r.l, [&] { return r.half_closes == 1; }));
  const auto before = r.l.stats().turns;
  run_for(r.l, 20 * ms);
  EXPECT_LE(r.l.stats().turns - before, 10u);
}

TEST(connection, finish_sends_everything_then_ends_the_stream) {
  rig r;
  const auto body = pattern(2'000'000);
  ASSERT_TRUE(r.c->send(make_frame(frame_kind::raft, priority::high, body)));
  r.c->finish(close_reason::local);
  EXPECT_FALSE(r.c->send(make_frame(frame_kind::raft, priority::high, "late")));
  r.flush_if_dirty();
  ASSERT_TRUE(run_until(r.l, [&] {
    r.drain();
    return r.arrived.size() == body.size() + frame_header_bytes;
  }));
  EXPECT_EQ(r.closes, 0);
  r.far.reset();
  ASSERT_TRUE(run_until(r.l, [&] { return r.closes == 1; }));
  EXPECT_EQ(r.reason, close_reason::local);
}

TEST(connection, a_far_end_that_vanishes_is_an_error_that_is_counted_once) {
  rig r;
  r.far.reset();
  ASSERT_TRUE(r.c->send(make_frame(frame_kind::raft, priority::high, "x")));
  r.c->flush();
  EXPECT_EQ(r.closes, 1);
  EXPECT_EQ(r.reason, close_reason::io_error);
  EXPECT_EQ(r.shared.counters.of(priority::high).dropped_frames.get(), 1u);
  EXPECT_EQ(r.counted_queue(), 0u);
  r.c->close(close_reason::local);
  EXPECT_EQ(r.closes, 1);
}

}  // namespace
}  // namespace blixard::net
