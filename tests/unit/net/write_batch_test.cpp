#include "runtime/net/write_batch.hpp"

#include <gtest/gtest.h>

#include "tests/unit/net/net_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

std::string gathered(const write_batch& b) {
  std::string out;
  for (const auto& r : b.regions()) out.append(static_cast<const char*>(r.iov_base), r.iov_len);
  return out;
}

TEST(write_batch, small_frames_become_one_region) {
  write_batch b;
  std::string expected;
  for (unsigned i = 0; i < 100; ++i) {
    const auto f = make_frame(frame_kind::raft, priority::high, pattern(i, i));
    EXPECT_EQ(b.add(*f, 0), f->wire_size());
    expected += wire(*f);
  }
  EXPECT_EQ(b.regions().size(), 1u);
  EXPECT_EQ(gathered(b), expected);
  EXPECT_EQ(b.bytes(), expected.size());
  EXPECT_FALSE(b.full());
}

TEST(write_batch, pieces_up_to_512_bytes_are_copied_and_larger_ones_referenced) {
  write_batch b;
  const auto small = make_frame(frame_kind::raft, priority::high, pattern(512));
  const auto large = make_frame(frame_kind::raft, priority::high, pattern(513));
  b.add(*small, 0);
  EXPECT_EQ(b.staged_bytes(), 32u + 512u);
  b.add(*large, 0);
  EXPECT_EQ(b.staged_bytes(), 32u + 512u + 32u);
  EXPECT_EQ(b.regions().back().iov_base, large->body().data());
  EXPECT_EQ(gathered(b), wire(*small) + wire(*large));
}

TEST(write_batch, any_rest_of_a_frame_can_be_added) {
  std::vector<slice> pieces = {slice::copy_of(pattern(10, 1)), slice::copy_of(pattern(700, 2)),
                               slice::copy_of(pattern(3, 3)), slice::copy_of(pattern(600, 4))};
  frame_header h;
  h.kind = frame_kind::raft;
  const auto f = frame::make(h, pieces);
  const auto whole = wire(*f);
  write_batch b;
  for (std::size_t skip = 0; skip < whole.size(); ++skip) {
    b.clear();
    EXPECT_EQ(b.add(*f, skip), whole.size() - skip);
    ASSERT_EQ(gathered(b), whole.substr(skip));
  }
}

TEST(write_batch, says_how_much_fitted_when_it_is_full) {
  std::vector<slice> pieces;
  for (unsigned i = 0; i < write_batch::regions_max + 10; ++i)
    pieces.push_back(slice::copy_of(pattern(513, i)));
  frame_header h;
  h.kind = frame_kind::raft;
  const auto f = frame::make(h, pieces);
  write_batch b;
  const auto added = b.add(*f, 0);
  EXPECT_TRUE(b.full());
  EXPECT_LT(added, f->wire_size());
  EXPECT_EQ(b.regions().size(), write_batch::regions_max);
  EXPECT_EQ(gathered(b), wire(*f).substr(0, added));
  b.clear();
  EXPECT_EQ(b.add(*f, added), f->wire_size() - added);
  EXPECT_EQ(gathered(b), wire(*f).substr(added));
}

TEST(write_batch, is_full_when_the_staging_area_is) {
  write_batch b;
  const auto f = make_frame(frame_kind::raft, priority::high, pattern(512));
  std::string expected;
  while (!b.full()) expected += wire(*f).substr(0, b.add(*f, 0));
  EXPECT_LE(b.staged_bytes(), write_batch::stage_bytes);
  EXPECT_EQ(gathered(b), expected);
}

}  // namespace
}  // namespace blixard::net
