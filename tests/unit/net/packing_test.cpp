// Claims about compressed bodies: what is compressed, that it comes back as it was, and what
// becomes of bytes that only claim to be one.
#include "runtime/net/packing.hpp"

#include <gtest/gtest.h>
#include <zstd.h>

#include <random>

#include "tests/unit/net/net_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

constexpr std::size_t least = 64 * limits::KiB;
constexpr std::size_t bound = limits::frame_max_bytes;

std::string text(std::size_t size) {
  std::string s;
  for (std::size_t i = 0; s.size() < size; ++i) s += "key-" + std::to_string(i) + "=value;";
  s.resize(size);
  return s;
}

std::string noise(std::size_t size, unsigned seed = 1) {
  std::mt19937_64 random{seed};
  std::string s(size, '\0');
  for (auto& c : s) c = static_cast<char>(random());
  return s;
}

struct rig {
  routing::buffer_pool pool;
  transport_counters counters;
  packing p{pool, counters};

  frame_ptr pack(std::string_view body, priority cls = priority::normal) {
    return p.pack(make_frame(frame_kind::command, cls, body, request_id{7}), least);
  }
  /// A frame as it would be read from the wire.
  static frame_ptr received(const frame_ptr& f) {
    std::string all;
    for (const auto& piece : f->pieces()) all += piece.text();
    return frame::make(f->header(), slice::copy_of(all));
  }
  /// A frame with the flag and these sizes and bytes.
  static frame_ptr claimed(std::uint32_t raw, std::uint32_t packed, std::string_view bytes) {
    std::string body(packing::header_bytes, '\0');
    std::memcpy(body.data(), &raw, 4);
    std::memcpy(body.data() + 4, &packed, 4);
    body += bytes;
    auto h = make_frame(frame_kind::command, priority::normal, "")->header();
    h.flags = frame_packed;
    return frame::make(h, slice::copy_of(body));
  }
};

bool is_packed(const frame_ptr& f) { return (f->header().flags & frame_packed) != 0; }

std::string zstd(std::string_view raw) {
  std::string out(ZSTD_compressBound(raw.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), raw.data(), raw.size(), 1));
  return out;
}

TEST(packing, a_large_body_leaves_smaller_and_comes_back_as_it_was) {
  rig r;
  for (const std::size_t size : {least, least + 1, limits::MiB, limits::MiB + 77}) {
    const auto body = text(size);
    const auto f = r.pack(body);
    ASSERT_TRUE(is_packed(f));
    EXPECT_LT(f->header().length, size / 2);
    const auto back = r.p.unpack(*rig::received(f), bound);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->body().text(), body);
    auto expected = f->header();
    expected.flags = 0;
    expected.length = static_cast<std::uint32_t>(size);
    EXPECT_EQ(back->header(), expected);
  }
  EXPECT_EQ(r.counters.packed_frames.get(), 4u);
  EXPECT_EQ(r.counters.unpacked_frames.get(), 4u);
  EXPECT_GT(r.counters.packed_saved_bytes.get(), limits::MiB);
}

TEST(packing, a_body_of_many_pieces_is_one_body) {
  rig r;
  const auto whole = text(300'000);
  std::vector<slice> pieces;
  for (std::size_t at = 0; at < whole.size(); at += 1000)
    pieces.push_back(slice::copy_of(std::string_view{whole}.substr(at, 1000)));
  pieces.push_back(slice{});
  const auto f =
      r.p.pack(frame::make({.kind = frame_kind::raft, .cls = priority::low}, pieces), least);
  ASSERT_TRUE(is_packed(f));
  EXPECT_EQ(r.p.unpack(*rig::received(f), bound)->body().text(), whole);
}

TEST(packing, small_and_urgent_bodies_are_left_alone) {
  rig r;
  EXPECT_FALSE(is_packed(r.pack(text(least - 1))));
  EXPECT_FALSE(is_packed(r.pack(text(limits::MiB), priority::high)));
  EXPECT_FALSE(is_packed(r.pack(text(limits::MiB), priority::critical)));
  EXPECT_FALSE(
      is_packed(r.p.pack(make_frame(frame_kind::command, priority::normal, text(limits::MiB)), 0)));
  EXPECT_TRUE(is_packed(r.pack(text(limits::MiB), priority::low)));
}

TEST(packing, what_does_not_shrink_leaves_as_it_is_and_is_tried_less_and_less) {
  rig r;
  const auto body = noise(100'000);
  for (int i = 0; i < 1000; ++i) {
    const auto f = r.pack(body);
    ASSERT_FALSE(is_packed(f));
    ASSERT_EQ(f->body().text(), body);
  }
  EXPECT_LT(r.counters.incompressible_frames.get(), 25u);
  // It is found out again that bodies shrink, after at most 64 that were not tried.
  int tries = 0;
  while (!is_packed(r.pack(text(100'000)))) ASSERT_LT(++tries, 65);
  EXPECT_TRUE(is_packed(r.pack(text(100'000))));
}

TEST(packing, zeros_are_padded_so_that_a_body_grows_no_more_than_64_fold) {
  rig r;
  const std::string zeros(limits::MiB, '\0');
  const auto f = r.pack(zeros);
  ASSERT_TRUE(is_packed(f));
  EXPECT_GE(f->header().length, zeros.size() / packing::growth_max);
  EXPECT_EQ(r.p.unpack(*rig::received(f), bound)->body().text(), zeros);
}

TEST(packing, a_bomb_is_refused_before_memory_is_taken_for_it) {
  rig r;
  const auto bomb = zstd(std::string(64 * limits::MiB, '\0'));
  const auto size = static_cast<std::uint32_t>(bomb.size());
  // As large as it is: above the bound. Within the bound: not its size. Small enough to be
  // believed.
  EXPECT_FALSE(r.p.unpack(*rig::claimed(64 * limits::MiB, size, bomb), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(limits::MiB, size, bomb), bound));
  const auto small_bomb = zstd(std::string(limits::MiB, '\0'));
  EXPECT_FALSE(r.p.unpack(
      *rig::claimed(limits::MiB, static_cast<std::uint32_t>(small_bomb.size()), small_bomb), bound))
      << "grows more than 64-fold";
  const auto stats = r.pool.stats();
  for (const auto& c : stats.classes) EXPECT_EQ(c.hits + c.misses, 0u);
  EXPECT_EQ(stats.oversized, 0u);
}

TEST(packing, sizes_that_lie_and_anything_but_one_whole_zstd_frame_are_refused) {
  rig r;
  const auto raw = text(200'000);
  const auto good = zstd(raw);
  const auto n = static_cast<std::uint32_t>(raw.size());
  const auto p = static_cast<std::uint32_t>(good.size());
  ASSERT_TRUE(r.p.unpack(*rig::claimed(n, p, good), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(n - 1, p, good), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(n + 1, p, good), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(0, p, good), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(n, p - 1, good), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(n, p + 1, good), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(n, p * 2, good + good), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(n, 0xffffffff, good), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(n, 0, ""), bound));
  EXPECT_FALSE(r.p.unpack(*rig::claimed(n, p, good), n - 1)) << "above the bound";
  auto h = rig::claimed(n, p, good)->header();
  for (std::size_t size = 0; size < packing::header_bytes; ++size)
    EXPECT_FALSE(r.p.unpack(*frame::make(h, slice::copy_of(std::string(size, '\1'))), bound));
}

TEST(packing, survives_anything) {
  rig r;
  std::mt19937_64 random{7};
  const auto good = zstd(text(200'000));
  for (int i = 0; i < 3000; ++i) {
    auto bytes = good;
    for (auto flips = 1 + random() % 8; flips > 0; --flips)
      bytes[random() % (i % 2 == 0 ? 32 : bytes.size())] ^= static_cast<char>(1 + random() % 255);
    if (i % 3 == 0) bytes.resize(random() % bytes.size());
    const auto f =
        r.p.unpack(*rig::claimed(200'000, static_cast<std::uint32_t>(bytes.size()), bytes), bound);
    if (f) {
      EXPECT_EQ(f->body().size(), 200'000u);
    }
  }
  // It still works after all that.
  EXPECT_EQ(r.p.unpack(*rig::received(r.pack(text(least))), bound)->body().text(), text(least));
}

TEST(packing, peers_that_both_can_send_each_other_compressed_bodies) {
  loop l;
  node a{l, 1}, b{l, 2};
  a.net.set_peer(node_id{2}, b.where);
  ASSERT_TRUE(run_until(l, [&] { return a.net.connected(node_id{2}); }));
  const auto body = text(limits::MiB);
  ASSERT_TRUE(a.net.send_to(node_id{2}, channel::main,
                            make_frame(frame_kind::command, priority::normal, body)));
  ASSERT_TRUE(run_until(l, [&] { return b.seen.got.size() == 1; }));
  EXPECT_EQ(b.seen.got.front().f->body().text(), body);
  EXPECT_EQ(b.seen.got.front().f->header().flags, 0);
  EXPECT_EQ(a.net.counters().packed_frames.get(), 1u);
  EXPECT_EQ(b.net.counters().unpacked_frames.get(), 1u);
  EXPECT_LT(a.net.counters().of(priority::normal).sent_bytes.get(), body.size() / 2);
}

TEST(packing, a_peer_that_sends_garbage_as_a_compressed_body_is_closed) {
  loop l;
  node a{l, 1};
  hello h;
  h.role = peer_role::peer;
  h.node = node_id{9};
  h.packs = true;
  stranger s{a.where};
  s.say(wire(*encode_hello(h)) + wire(*rig::claimed(1'000'000, 50'000, noise(50'000))));
  ASSERT_TRUE(run_until(l, [&] { return a.closed(close_reason::bad_frame) == 1; }));
  EXPECT_TRUE(a.seen.got.empty());
}

TEST(packing, who_did_not_say_so_is_sent_plain_bodies_and_may_send_no_other) {
  loop l;
  node a{l, 1};
  const auto body = text(limits::MiB);
  stranger plain{a.where};
  plain.say(client_hello());
  ASSERT_TRUE(run_until(l, [&] { return a.seen.connected.size() == 1; }));
  ASSERT_TRUE(a.net.send(a.seen.connected.front().id,
                         make_frame(frame_kind::answer, priority::normal, body)));
  std::vector<frame_ptr> heard;
  ASSERT_TRUE(run_until(l, [&] { return (heard = plain.frames()).size() == 2; }));
  EXPECT_EQ(heard.back()->body().text(), body);
  const auto good = zstd(text(200'000));
  plain.say(wire(*rig::claimed(200'000, static_cast<std::uint32_t>(good.size()), good)));
  ASSERT_TRUE(run_until(l, [&] { return a.closed(close_reason::bad_frame) == 1; }));
  EXPECT_TRUE(a.seen.got.empty());
}

}  // namespace
}  // namespace blixard::net
