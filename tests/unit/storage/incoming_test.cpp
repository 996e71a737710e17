// Claims about what is kept of a snapshot under way, and about packed snapshot data.
#include "runtime/storage/incoming.hpp"

#include "runtime/storage/packing.hpp"
#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

constexpr std::size_t chunk = 3000;
const std::string path = "data/snap/incoming";

incoming_name name_of(const blixard::snapshot& s) {
  return {s.index, s.term, s.data.size(), 0x1234567890ABCDEF};
}

/// Keeps the first `chunks` chunks.
void keep(store& disk, const blixard::snapshot& s, std::size_t chunks) {
  for (std::size_t i = 0; i < chunks; ++i) {
    const auto kept =
        disk.keep_incoming(name_of(s), i * chunk, s.data.bytes().subspan(i * chunk, chunk));
    ASSERT_TRUE(kept) << kept.error().message;
  }
}

void expect_prefix(const recovery& found, const blixard::snapshot& s, std::size_t at_least) {
  ASSERT_TRUE(found.incoming);
  EXPECT_EQ(found.incoming->name, name_of(s));
  EXPECT_GE(found.incoming->received, at_least);
  ASSERT_LE(found.incoming->received, s.data.size());
  EXPECT_EQ(std::memcmp(found.incoming->data->data(), s.data.data(), found.incoming->received), 0);
}

TEST(incoming, a_restarted_process_finds_what_had_arrived_and_adds_to_it) {
  sim_disk files;
  const auto s = make_snapshot(50, 2, 10 * chunk);
  keep(*open(files).disk, s, 4);
  {
    auto again = open(files);
    expect_prefix(again.found, s, 4 * chunk);
    const auto more =
        again.disk->keep_incoming(name_of(s), 4 * chunk, s.data.bytes().subspan(4 * chunk, chunk));
    ASSERT_TRUE(more) << more.error().message;
  }
  expect_prefix(open(files).found, s, 5 * chunk);
}

TEST(incoming, whatever_a_power_cut_leaves_is_a_prefix_of_the_snapshot) {
  sim_disk files;
  const auto s = make_snapshot(50, 2, 10 * chunk);
  auto opened = open(files);
  const auto before = files.pending();
  keep(*opened.disk, s, 4);
  for (std::size_t n = before; n <= files.pending(); ++n) {
    sim_disk after = files;
    after.crash_keeping_first(n);
    const auto found = open(after).found;
    EXPECT_FALSE(found.corrupt);
    if (found.incoming) expect_prefix(found, s, 0);
  }
}

TEST(incoming, every_flipped_bit_leaves_a_prefix_or_nothing) {
  sim_disk files;
  const auto s = make_snapshot(50, 2, 10 * chunk);
  keep(*open(files).disk, s, 2);
  const auto content = read_file(files, path);
  ASSERT_TRUE(content);
  for (std::size_t bit = 0; bit < content->size() * 8; bit += 7) {
    sim_disk damaged = files;
    auto bad = *content;
    bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    auto handle = damaged.open(path, open_mode::create_new);
    ASSERT_TRUE((*handle)->pwrite(bad, 0));
    handle->reset();
    const auto found = open(damaged).found;
    EXPECT_FALSE(found.corrupt);
    if (found.incoming) expect_prefix(found, s, 0);
  }
}

TEST(incoming, bytes_that_do_not_follow_are_passed_over_and_offset_0_begins_anew) {
  sim_disk files;
  const auto s = make_snapshot(50, 2, 10 * chunk);
  const auto t = make_snapshot(60, 2, 10 * chunk);
  auto opened = open(files);
  keep(*opened.disk, s, 2);
  ASSERT_TRUE(opened.disk->keep_incoming(name_of(s), 5 * chunk, s.data.bytes().first(chunk)));
  ASSERT_TRUE(opened.disk->keep_incoming(name_of(t), 2 * chunk, t.data.bytes().first(chunk)));
  opened.disk.reset();
  opened = open(files);
  expect_prefix(opened.found, s, 2 * chunk);
  EXPECT_EQ(opened.found.incoming->received, 2 * chunk);
  keep(*opened.disk, t, 1);
  opened.disk.reset();
  const auto found = open(files).found;
  expect_prefix(found, t, chunk);
}

TEST(incoming, it_goes_when_a_snapshot_is_installed_and_an_older_one_is_no_use) {
  sim_disk files;
  const auto s = make_snapshot(50, 2, 10 * chunk);
  auto opened = open(files);
  keep(*opened.disk, s, 2);
  persist(*opened.disk, {}, hard(2, 0, 50), &s);
  EXPECT_FALSE(*files.exists(path));
  keep(*opened.disk, s, 1);
  opened.disk.reset();
  EXPECT_FALSE(open(files).found.incoming);
}

TEST(incoming, without_space_nothing_is_kept_and_the_node_goes_on) {
  sim_disk files;
  const auto s = make_snapshot(50, 2, 10 * chunk);
  auto opened = open(files);
  keep(*opened.disk, s, 2);
  files.fail_write(1, ENOSPC);
  const auto refused =
      opened.disk->keep_incoming(name_of(s), 2 * chunk, s.data.bytes().subspan(2 * chunk, chunk));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, storage_errc::no_space);
  persist(*opened.disk, make_entries(1, 3, 1), hard(1, 0, 0));
  opened.disk.reset();
  EXPECT_FALSE(open(files).found.incoming);
}

// ---------------------------------------------------------------- packing

slice packed(const slice& raw, std::size_t piece) {
  packer p;
  for (std::size_t at = 0; at < raw.size(); at += piece)
    p.add(raw.bytes().subspan(at, std::min(piece, raw.size() - at)));
  return p.finish();
}

TEST(packing, comes_back_whatever_the_size_of_the_pieces_and_is_smaller) {
  const auto raw = make_entry(1, 1, 300'000).data;
  for (const std::size_t piece : {std::size_t{7}, std::size_t{64'000}, raw.size()}) {
    const auto small = packed(raw, piece);
    EXPECT_LT(small.size(), raw.size() / 4);
    const auto back = unpack(small);
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, raw);
  }
  const auto nothing = unpack(packed({}, 1));
  ASSERT_TRUE(nothing);
  EXPECT_TRUE(nothing->empty());
}

TEST(packing, what_is_not_packed_comes_back_as_it_is) {
  const auto raw = make_entry(1, 1, 5000).data;
  EXPECT_EQ(*unpack(raw), raw);
  EXPECT_TRUE(unpack({})->empty());
}

TEST(packing, every_flipped_bit_and_every_truncation_behind_the_mark_is_seen) {
  const auto raw = make_entry(1, 1, 20'000).data;
  const auto good = packed(raw, 1000);
  for (std::size_t bit = 8 * 8; bit < good.size() * 8; ++bit) {
    auto bad = std::string{good.text()};
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    const auto back = unpack(slice::copy_of(bad));
    EXPECT_TRUE(!back || *back == raw) << "bit " << bit;  // zstd has bits that mean nothing
  }
  for (std::size_t size = 16; size < good.size(); ++size)
    EXPECT_FALSE(unpack(good.sub(0, size))) << size;
}

TEST(packing, a_size_that_cannot_be_is_refused_before_memory_is_taken) {
  auto bad = std::string{packed(make_entry(1, 1, 500).data, 500).text()};
  bad[15] = 0x7F;
  EXPECT_FALSE(unpack(slice::copy_of(bad)));
}

}  // namespace
}  // namespace blixard::storage::test
