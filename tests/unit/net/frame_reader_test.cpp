#include "runtime/net/frame_reader.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/unit/net/net_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

constexpr frame_reader::bounds wide{limits::frame_max_bytes, limits::frame_max_bytes};

struct rig {
  routing::buffer_pool pool;
  transport_counters counters;
  read_arena arena{pool};
  frame_reader reader{arena, counters, wide};
  std::vector<frame_ptr> out;
};

// Delivers bytes as a socket would: at most `most` of them per read.
std::optional<close_reason> feed(frame_reader& reader, std::string_view bytes, std::size_t most,
                                 std::vector<frame_ptr>& out) {
  while (!bytes.empty()) {
    frame_reader::regions regions;
    const auto n = reader.prepare(regions);
    std::size_t given = 0;
    for (std::size_t i = 0; i < n && given < most; ++i) {
      const auto take = std::min({regions[i].iov_len, bytes.size(), most - given});
      std::memcpy(regions[i].iov_base, bytes.data(), take);
      bytes.remove_prefix(take);
      given += take;
      if (take < regions[i].iov_len) break;
    }
    if (const auto broken = reader.consume(given, out)) return broken;
  }
  return std::nullopt;
}

std::vector<std::string> mixed_bodies() {
  return {"",
          "a",
          pattern(31),
          pattern(32),
          pattern(511, 2),
          pattern(513),
          "",
          pattern(4096),
          pattern(70'000),
          pattern(5, 9),
          "",
          pattern(1024),
          pattern(65'536),
          pattern(300'000),
          "end"};
}

class delivered : public ::testing::TestWithParam<std::size_t> {};

TEST_P(delivered, in_pieces_of_that_size_frames_arrive_whole_and_in_order) {
  rig r;
  std::string stream;
  std::uint64_t serial = 0;
  const auto bodies = mixed_bodies();
  for (const auto& b : bodies)
    stream += wire(*make_frame(frame_kind::raft, priority::high, b, request_id{++serial}));
  ASSERT_EQ(feed(r.reader, stream, GetParam(), r.out), std::nullopt);
  ASSERT_EQ(r.out.size(), bodies.size());
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    EXPECT_EQ(r.out[i]->header().request, request_id{i + 1});
    EXPECT_TRUE(r.out[i]->body().text() == bodies[i]) << "frame " << i;
  }
  EXPECT_FALSE(r.reader.mid_frame());
  EXPECT_EQ(r.counters.of(priority::high).received_frames.get(), bodies.size());
  EXPECT_EQ(r.counters.of(priority::high).received_bytes.get(), stream.size());
}

INSTANTIATE_TEST_SUITE_P(frame_reader, delivered,
                         ::testing::Values(1, 2, 3, 7, 31, 32, 33, 64, 1000, 65'536, 10'000'000));

TEST(frame_reader, bodies_are_slices_of_the_read_buffer_and_nothing_is_copied) {
  rig r;
  std::string stream;
  for (int i = 0; i < 100; ++i)
    stream += wire(*make_frame(frame_kind::raft, priority::high, pattern(300)));
  ASSERT_EQ(feed(r.reader, stream, 1000, r.out), std::nullopt);
  for (const auto& f : r.out) EXPECT_EQ(f->body().owner(), r.out[0]->body().owner());
  EXPECT_EQ(r.counters.copied_in_bytes.get(), 0u);
}

TEST(frame_reader, a_frame_larger_than_a_chunk_moves_only_its_first_part) {
  rig r;
  const auto body = pattern(3 * limits::MiB);
  const auto stream = wire(*make_frame(frame_kind::raft, priority::low, body));
  ASSERT_EQ(feed(r.reader, stream, 50'000, r.out), std::nullopt);
  ASSERT_EQ(r.out.size(), 1u);
  EXPECT_TRUE(r.out[0]->body().text() == body);
  EXPECT_EQ(r.counters.copied_in_bytes.get(), 50'000u - frame_header_bytes);
}

TEST(frame_reader, connections_that_share_an_arena_do_not_disturb_each_other) {
  rig r;
  frame_reader other{r.arena, r.counters, wide};
  std::mt19937 random{7};
  std::string a, b;
  std::vector<std::string> bodies;
  for (unsigned i = 0; i < 300; ++i) {
    bodies.push_back(pattern(random() % 9000, i));
    a += wire(*make_frame(frame_kind::raft, priority::high, bodies.back()));
    b += wire(*make_frame(frame_kind::query, priority::normal, bodies.back()));
  }
  std::vector<frame_ptr> from_a, from_b;
  std::string_view rest_a = a, rest_b = b;
  while (!rest_a.empty() || !rest_b.empty()) {
    auto& rest = random() % 2 == 0 ? rest_a : rest_b;
    const auto n = std::min<std::size_t>(rest.size(), random() % 5000);
    const bool is_a = &rest == &rest_a;
    ASSERT_EQ(feed(is_a ? r.reader : other, rest.substr(0, n), 4000, is_a ? from_a : from_b),
              std::nullopt);
    rest.remove_prefix(n);
  }
  ASSERT_EQ(from_a.size(), bodies.size());
  ASSERT_EQ(from_b.size(), bodies.size());
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    EXPECT_TRUE(from_a[i]->body().text() == bodies[i]) << i;
    EXPECT_TRUE(from_b[i]->body().text() == bodies[i]) << i;
  }
}

TEST(frame_reader, a_chunk_is_used_again_once_its_frames_are_gone) {
  rig r;
  const auto stream = wire(*make_frame(frame_kind::raft, priority::high, pattern(200'000)));
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(feed(r.reader, stream, 1 << 20, r.out), std::nullopt);
    r.out.clear();
  }
  EXPECT_EQ(r.pool.stats().classes[2].hits, 1u);
}

TEST(frame_reader, frames_that_are_kept_keep_their_bytes_when_the_arena_moves_on) {
  rig r;
  std::vector<std::string> bodies;
  for (unsigned i = 0; i < 60; ++i) {
    bodies.push_back(pattern(100'000, i));
    const auto stream = wire(*make_frame(frame_kind::raft, priority::high, bodies.back()));
    ASSERT_EQ(feed(r.reader, stream, 60'000, r.out), std::nullopt);
  }
  for (std::size_t i = 0; i < bodies.size(); ++i)
    EXPECT_TRUE(r.out[i]->body().text() == bodies[i]) << i;
}

TEST(frame_reader, a_length_above_the_bound_is_refused_before_anything_is_allocated) {
  rig r;
  frame_reader narrow{r.arena, r.counters, {.first_frame_max_bytes = 10, .frame_max_bytes = 100}};
  const auto first = wire(*make_frame(frame_kind::hello, priority::critical, pattern(10)));
  const auto largest = wire(*make_frame(frame_kind::raft, priority::high, pattern(100)));
  const auto above = wire(*make_frame(frame_kind::raft, priority::high, pattern(101)));
  EXPECT_EQ(feed(narrow, first + largest, 1000, r.out), std::nullopt);
  const auto before = r.pool.stats();
  EXPECT_EQ(feed(narrow, std::string_view{above}.substr(0, frame_header_bytes), 1000, r.out),
            close_reason::oversized);
  EXPECT_EQ(r.pool.stats().oversized, before.oversized);
  EXPECT_EQ(r.out.size(), 2u);
  frame_reader fresh{r.arena, r.counters, {.first_frame_max_bytes = 10, .frame_max_bytes = 100}};
  EXPECT_EQ(feed(fresh, largest, 1000, r.out), close_reason::oversized);
}

TEST(frame_reader, frames_before_garbage_are_still_delivered) {
  rig r;
  const auto good = wire(*make_frame(frame_kind::raft, priority::high, "good"));
  EXPECT_EQ(feed(r.reader, good + std::string(40, '?'), 1000, r.out), close_reason::bad_frame);
  ASSERT_EQ(r.out.size(), 1u);
  EXPECT_EQ(r.out[0]->body().text(), "good");
}

TEST(frame_reader, knows_when_it_is_inside_a_frame) {
  rig r;
  const auto bytes = wire(*make_frame(frame_kind::raft, priority::high, "body"));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(r.reader.mid_frame(), i > 0) << i;
    ASSERT_EQ(feed(r.reader, std::string_view{bytes}.substr(i, 1), 1, r.out), std::nullopt);
  }
  EXPECT_FALSE(r.reader.mid_frame());
}

// Random bytes, and valid streams with random damage: never a crash, never a frame above the bound.
TEST(frame_reader, survives_anything) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    std::mt19937 random{seed};
    rig r;
    frame_reader reader{r.arena, r.counters, {1000, 2000}};
    std::string stream;
    for (int i = 0; i < 20; ++i)
      stream += wire(*make_frame(frame_kind::raft, priority::high, pattern(random() % 1000)));
    for (auto hits = random() % 4; hits > 0; --hits)
      stream[random() % stream.size()] = static_cast<char>(random());
    (void)feed(reader, stream, 1 + random() % 3000, r.out);
    for (const auto& f : r.out) ASSERT_LE(f->header().length, 2000u) << "seed " << seed;
  }
}

struct budgeted : rig {
  routing::inbound_budget budget{100'000};  // half of it for half frames
  frame_reader of_client{arena, counters, wide, &budget};
  budgeted() {
    EXPECT_FALSE(feed(of_client, client_hello(), 1000, out));
    out.clear();
  }
  [[nodiscard]] std::uint64_t charged() const {
    return budget.bytes(routing::inbound_use::half_frames).get();
  }
};

std::string request(std::size_t size, std::uint64_t id) {
  return wire(*make_frame(frame_kind::command, priority::normal, pattern(size), request_id{id}));
}

TEST(frame_reader, half_a_body_is_charged_in_full_until_it_is_whole) {
  budgeted r;
  const auto bytes = request(40'000, 1);
  ASSERT_FALSE(feed(r.of_client, std::string_view{bytes}.substr(0, 100), 100, r.out));
  EXPECT_EQ(r.charged(), 40'000u);
  ASSERT_FALSE(feed(r.of_client, std::string_view{bytes}.substr(100), 4096, r.out));
  EXPECT_EQ(r.charged(), 0u);
  ASSERT_EQ(r.out.size(), 1u);
  EXPECT_EQ(r.out[0]->body().text(), pattern(40'000));
}

TEST(frame_reader, a_frame_that_comes_whole_is_charged_nothing) {
  budgeted r;
  ASSERT_TRUE(r.budget.take(routing::inbound_use::half_frames, 50'000));
  ASSERT_FALSE(feed(r.of_client, request(60'000, 1), 100'000, r.out));
  EXPECT_EQ(r.out.size(), 1u);
  EXPECT_EQ(r.charged(), 50'000u);
}

TEST(frame_reader, a_body_without_room_is_thrown_away_and_the_stream_goes_on_behind_it) {
  for (const std::size_t most : {1u, 31u, 1000u, 70'000u}) {
    budgeted r;
    ASSERT_TRUE(r.budget.take(routing::inbound_use::half_frames, 50'000));
    const auto bytes = request(10, 1) + request(60'000, 2) + request(0, 3) + request(5, 4);
    ASSERT_FALSE(feed(r.of_client, std::string_view{bytes}.substr(0, 200), most, r.out));
    EXPECT_EQ(r.of_client.half_frame(), 3u);
    ASSERT_FALSE(feed(r.of_client, std::string_view{bytes}.substr(200), most, r.out));
    ASSERT_EQ(r.out.size(), 4u) << most;
    EXPECT_EQ(r.out[1]->header().flags, frame_shed);
    EXPECT_EQ(r.out[1]->header().request, request_id{2});
    EXPECT_TRUE(r.out[1]->body().empty());
    EXPECT_EQ(r.out[3]->header().request, request_id{4});
    if (most >= 70'000) {
      EXPECT_EQ(r.out[3]->body().text(), pattern(5));
    }
    EXPECT_EQ(r.of_client.half_frame(), 0u);
    EXPECT_EQ(r.charged(), 50'000u);
  }
}

TEST(frame_reader, one_that_goes_or_is_no_client_gives_back_what_it_took) {
  budgeted r;
  {
    frame_reader gone{r.arena, r.counters, wide, &r.budget};
    ASSERT_FALSE(feed(gone, client_hello(), 1000, r.out));
    ASSERT_FALSE(feed(gone, std::string_view{request(30'000, 1)}.substr(0, 100), 100, r.out));
    EXPECT_EQ(r.charged(), 30'000u);
  }
  EXPECT_EQ(r.charged(), 0u);
  ASSERT_FALSE(feed(r.of_client, std::string_view{request(30'000, 1)}.substr(0, 100), 100, r.out));
  r.of_client.stop_charging();
  EXPECT_EQ(r.charged(), 0u);
  ASSERT_TRUE(r.budget.take(routing::inbound_use::half_frames, 50'000));
  r.out.clear();
  const auto rest = request(30'000, 1).substr(100) + request(90'000, 2);
  ASSERT_FALSE(feed(r.of_client, rest, 5'000, r.out));
  EXPECT_EQ(r.out.size(), 2u);
}

}  // namespace
}  // namespace blixard::net
