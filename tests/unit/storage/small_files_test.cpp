// Damage of the two small kinds of files, exhaustively: every truncation of term and vote, zeroed,
// swapped and stale sectors of both. What is found is the truth, or is said to be damaged.
#include <algorithm>
#include <functional>

#include "messages/limits.hpp"
#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

constexpr std::uint64_t sector = limits::sector_bytes;
const hard_state truth = hard(7, 3, 20);

/// A snapshot of several sectors that does not shrink when it is compressed.
blixard::snapshot noise(std::uint64_t index) {
  auto snap = make_snapshot(index, 1);
  std::string bytes(6000, '\0');
  std::uint64_t x = index;
  for (char& c : bytes) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    c = static_cast<char>(x >> 56);
  }
  snap.data = slice::copy_of(bytes);
  return snap;
}

class small_files : public testing::Test {
 protected:
  small_files() {
    auto [store, found] = open(disk_);
    persist(*store, make_entries(1, 30, 1), hard(6, 2, 10));
    EXPECT_TRUE(store->save_snapshot(noise(5)));
    EXPECT_TRUE(store->save_snapshot(noise(15)));
    persist(*store, {}, truth);
    EXPECT_TRUE(store->flush_hint());
    const auto names = disk_.list(folder_);
    older_ = folder_ + "/" + names->front();
    newest_ = folder_ + "/" + names->back();
  }
  /// Empty if term and vote are the truth, or their loss is reported.
  [[nodiscard]] static std::string judge_vote(file_system& fs) {
    const auto found = store::examine(fs, dir);
    if (!found) return "error: " + found.error().message;
    if (found->corrupt) return found->corrupt->repairable ? "said to be repairable" : "";
    return found->hard.term == truth.term && found->hard.vote == truth.vote ? "" : "another vote";
  }
  [[nodiscard]] bool falls_back(file_system& fs) const {
    const auto found = store::examine(fs, dir);
    return found && !found->corrupt && found->snap == noise(5) &&
           found->last_index == log_index{30} && found->warnings.size() == 1;
  }

  const std::string meta_ = std::string{dir} + "/meta";
  const std::string folder_ = std::string{dir} + "/snap";
  std::string older_;
  std::string newest_;
  sim_disk disk_;
};

TEST_F(small_files, every_truncation_of_term_and_vote_is_seen) {
  const std::uint64_t size = disk_.content(meta_).size();
  ASSERT_EQ(size, 16384U);
  sim_disk cut = disk_;
  std::size_t lost = 0;
  for (std::uint64_t left = size; left-- > 0;) {
    cut.cut(meta_, left);
    ASSERT_EQ(judge_vote(cut), "") << left;
    lost += store::examine(cut, dir)->corrupt ? 1 : 0;
  }
  EXPECT_EQ(lost, 4096U + sector) << "as soon as neither copy of a slot is whole";
}

TEST_F(small_files, swapped_and_zeroed_pairs_of_sectors_of_term_and_vote_never_make_another_vote) {
  const std::uint64_t size = disk_.content(meta_).size();
  for (std::uint64_t a = 0; a < size; a += sector)
    for (std::uint64_t b = a + sector; b < size; b += sector) {
      sim_disk swapped = disk_;
      const auto bytes = disk_.content(meta_);
      swapped.overwrite(meta_, a, bytes.subspan(b, sector));
      swapped.overwrite(meta_, b, bytes.subspan(a, sector));
      ASSERT_EQ(judge_vote(swapped), "") << a << " and " << b;
      sim_disk zeroed = disk_;
      zeroed.zero(meta_, a, sector);
      zeroed.zero(meta_, b, sector);
      ASSERT_EQ(judge_vote(zeroed), "") << a << " and " << b;
    }
}

TEST_F(small_files, zeroed_swapped_and_stale_sectors_of_a_snapshot_are_seen) {
  const std::uint64_t size = disk_.content(newest_).size();
  ASSERT_GT(size, 8 * sector);
  ASSERT_EQ(disk_.content(older_).size(), size);
  const std::uint64_t whole = size / sector * sector;
  for (std::uint64_t a = 0; a < whole; a += sector) {
    sim_disk zeroed = disk_;
    zeroed.zero(newest_, a, sector);
    ASSERT_TRUE(falls_back(zeroed)) << a;
    sim_disk stale = disk_;
    stale.overwrite(newest_, a, disk_.content(older_).subspan(a, sector));
    ASSERT_TRUE(falls_back(stale)) << a;
    for (std::uint64_t b = a + sector; b < whole; b += sector) {
      sim_disk swapped = disk_;
      const auto bytes = disk_.content(newest_);
      swapped.overwrite(newest_, a, bytes.subspan(b, sector));
      swapped.overwrite(newest_, b, bytes.subspan(a, sector));
      ASSERT_TRUE(falls_back(swapped)) << a << " and " << b;
    }
  }
}

TEST_F(small_files, an_older_snapshot_under_the_name_of_a_newer_is_seen) {
  sim_disk disk = disk_;
  disk.overwrite(newest_, 0, disk_.content(older_));
  EXPECT_TRUE(falls_back(disk));
}

}  // namespace
}  // namespace blixard::storage::test
