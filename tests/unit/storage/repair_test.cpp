// After damage: what is left is a prefix, the store goes on behind it, and that something is
// missing is known until the peers have brought it back, whatever crash comes in between.
#include <algorithm>

#include "messages/limits.hpp"
#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

constexpr std::uint64_t sector = limits::sector_bytes;
const hard_state voted = hard(5, 3, 200);

std::vector<std::string> files_in(sim_disk& disk, const std::string& folder) {
  std::vector<std::string> paths;
  const auto names = disk.list(dir + folder.substr(0, folder.size() - 1));
  for (const auto& name : *names) paths.push_back(dir + folder + name);
  return paths;
}

/// Five segments of a log of 100 entries, and a snapshot of the first ten.
class repair : public testing::Test {
 protected:
  repair() {
    entries_ = make_entries(1, 100, 1, 260);
    auto [store, found] = open(disk_, with);
    for (std::size_t i = 0; i < entries_.size(); i += 4) {
      persist(*store, {entries_.begin() + static_cast<std::ptrdiff_t>(i),
                       entries_.begin() + static_cast<std::ptrdiff_t>(i + 4)});
      while (*store->prepare()) {
      }
      if (i == 8) {
        EXPECT_TRUE(store->save_snapshot(make_snapshot(10, 1)));
      }
    }
    persist(*store, {}, hard(5, 3, 90));
    files_ = files_in(disk_, "/wal/");
  }

  /// Opens a damaged disk and goes on behind the damage. Returns how many entries were left.
  static std::uint64_t accept(sim_disk& disk) {
    auto [store, found] = open(disk, with);
    EXPECT_TRUE(found.corrupt);
    EXPECT_EQ(found.hard.commit, found.snap.index) << "what is left may have been replaced";
    const auto accepted = store->accept_damage();
    EXPECT_TRUE(accepted) << accepted.error().message;
    return found.last_index.value();
  }
  /// As a leader would: the entries from `first` on, in a higher term.
  static void bring_back(store& disk, std::uint64_t first, std::uint64_t last) {
    persist(disk, make_entries(first, last, 6, 100), hard(6, 0, first - 1));
  }
  /// From damage to a full member again, through two power cuts.
  void expect_repairable(sim_disk& disk, const std::string& where) const {
    const std::uint64_t left = accept(disk);
    disk.crash_keeping_first(0);
    {
      auto [store, found] = open(disk, with);
      ASSERT_FALSE(found.corrupt) << where << ": " << found.corrupt->what;
      ASSERT_GE(found.repair_to, log_index{90}) << where;
      ASSERT_EQ(found.last_index.value(), left) << where;
      ASSERT_EQ(found.hard.term, voted.term) << where;
      ASSERT_EQ(found.hard.vote, voted.vote) << where;
      bring_back(*store, left + 1, 105);
      ASSERT_TRUE(store->repaired());
    }
    disk.crash_keeping_first(0);
    const auto found = open(disk, with).found;
    ASSERT_FALSE(found.corrupt) << where << ": " << found.corrupt->what;
    ASSERT_EQ(found.repair_to, log_index{}) << where;
    ASSERT_EQ(found.last_index, log_index{105}) << where;
    const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(found.snap.index.value());
    const auto kept = static_cast<std::ptrdiff_t>(left - found.snap.index.value());
    ASSERT_TRUE(std::equal(begin, begin + kept, found.entries.begin())) << where;
  }
  [[nodiscard]] std::uint64_t used(const std::string& file) const {
    const auto bytes = disk_.content(file);
    std::uint64_t end = bytes.size();
    while (end > 0 && bytes[end - 1] == std::byte{}) --end;
    return end;
  }

  static inline const store_options with = options(8 * 1024);
  sim_disk disk_;
  std::vector<entry> entries_;
  std::vector<std::string> files_;
};

TEST_F(repair, wherever_the_log_is_damaged_it_goes_on_from_a_prefix_and_knows_that_it_does) {
  std::size_t tried = 0;
  for (const auto& file : files_)
    for (std::uint64_t at = 0; at < used(file); at += sector, ++tried) {
      sim_disk disk = disk_;
      disk.zero(file, at, sector);
      expect_repairable(disk, file + " at " + std::to_string(at));
    }
  EXPECT_GT(tried, 50U);
}

TEST_F(repair, whatever_became_of_whole_files_it_goes_on_from_a_prefix) {
  const std::string wal = std::string{dir} + "/wal/";
  for (std::size_t i = 0; i + 2 < files_.size(); ++i) {
    const std::string name = files_[i];
    sim_disk gone = disk_;
    ASSERT_TRUE(gone.unlink(name));
    expect_repairable(gone, name + " removed");
    sim_disk cut = disk_;
    cut.cut(name, 3000);
    expect_repairable(cut, name + " cut");
    sim_disk empty = disk_;
    empty.cut(name, 0);
    expect_repairable(empty, name + " emptied");
    sim_disk swapped = disk_;
    ASSERT_TRUE(swapped.rename(name, wal + "x"));
    ASSERT_TRUE(swapped.rename(files_[i + 1], name));
    ASSERT_TRUE(swapped.rename(wal + "x", files_[i + 1]));
    expect_repairable(swapped, name + " swapped with the next");
  }
}

// A segment of another log of the same node, whole in itself, in the place of ours.
TEST_F(repair, a_segment_of_another_history_is_set_aside) {
  sim_disk other;
  {
    auto [store, found] = open(other, with);
    for (std::uint64_t i = 1; i <= 100; i += 2) {
      persist(*store, make_entries(i, i + 1, 2, 400));
      while (*store->prepare()) {
      }
    }
  }
  for (std::size_t i = 1; i + 2 < files_.size(); ++i) {
    sim_disk disk = disk_;
    const auto bytes = other.content(files_[i]);
    ASSERT_EQ(bytes.size(), disk.content(files_[i]).size());
    disk.overwrite(files_[i], 0, bytes);
    expect_repairable(disk, files_[i]);
  }
}

// The power fails in each step of accepting, and of a second attempt. At no moment may the log pass
// for whole, or damage pass for what no peer can repair.
TEST_F(repair, a_crash_while_damage_is_accepted_leaves_it_known) {
  for (const std::size_t segment : {0U, 1U, 3U})
    for (const bool hints_lost : {false, true}) {
      sim_disk damaged = disk_;
      if (hints_lost) damaged.crash_keeping_first(0);
      damaged.flip_bit(files_[segment], 2000, 3);
      bool done = false;
      for (std::uint64_t n = 1; !done; ++n) {
        sim_disk disk = damaged;
        {
          auto [store, found] = open(disk, with);
          ASSERT_TRUE(found.corrupt);
          disk.lose_power_in(n);
          done = store->accept_damage().has_value();
        }
        disk.crash_keeping_first(n % 3);
        const auto again = open(disk, with).found;
        ASSERT_TRUE(again.corrupt || again.repair_to) << "segment " << segment << " step " << n;
        if (again.corrupt) {
          ASSERT_TRUE(again.corrupt->repairable) << n;
        }
        ASSERT_EQ(again.hard.term, voted.term) << n;
        ASSERT_EQ(again.hard.vote, voted.vote) << n;
        ASSERT_EQ(again.hard.commit, again.snap.index) << n;
      }
    }
}

TEST_F(repair, what_was_committed_on_the_way_is_believed_and_the_rest_is_not) {
  disk_.flip_bit(files_[2], 2000, 3);
  const std::uint64_t left = accept(disk_);
  {
    auto [store, found] = open(disk_, with);
    persist(*store, make_entries(left + 1, left + 8, 6), hard(6, 0, left + 3));
  }
  disk_.kill_process();
  const auto found = open(disk_, with).found;
  EXPECT_EQ(found.hard, hard(6, 0, left + 3));
  EXPECT_TRUE(found.repair_to);
}

TEST_F(repair, a_second_damage_is_repaired_with_the_first) {
  disk_.flip_bit(files_[3], 2000, 3);
  const std::uint64_t left = accept(disk_);
  {
    auto [store, found] = open(disk_, with);
    bring_back(*store, left + 1, left + 20);
    ASSERT_TRUE(store->flush_hint());
  }
  disk_.kill_process();
  disk_.flip_bit(files_[1], 2000, 3);
  const std::uint64_t less = accept(disk_);
  EXPECT_LT(less, left);
  const auto found = open(disk_, with).found;
  EXPECT_GE(found.repair_to, log_index{left + 20});
  EXPECT_EQ(found.hard.term, blixard::term{6});
}

TEST_F(repair, without_any_readable_snapshot_the_node_starts_from_nothing_but_its_vote) {
  {
    auto [store, found] = open(disk_, with);
    for (const std::uint64_t at : {40, 80}) ASSERT_TRUE(store->save_snapshot(make_snapshot(at, 1)));
    ASSERT_TRUE(store->compact(log_index{81}));
  }
  for (const auto& file : files_in(disk_, "/snap/")) disk_.flip_bit(file, 70, 1);
  EXPECT_EQ(accept(disk_), 0U);
  disk_.crash_keeping_first(0);
  {
    auto [store, found] = open(disk_, with);
    EXPECT_EQ(found.hard.term, voted.term);
    EXPECT_EQ(found.hard.vote, voted.vote);
    EXPECT_TRUE(found.snap.empty());
    EXPECT_TRUE(found.entries.empty());
    EXPECT_TRUE(found.repair_to);
    // A leader sends a snapshot and what follows it.
    const auto snap = make_snapshot(200, 6);
    persist(*store, make_entries(201, 205, 6), hard(6, 0, 203), &snap);
    ASSERT_TRUE(store->repaired());
  }
  disk_.crash_keeping_first(0);
  const auto found = open(disk_, with).found;
  ASSERT_FALSE(found.corrupt) << found.corrupt->what;
  EXPECT_EQ(found.snap, make_snapshot(200, 6));
  EXPECT_EQ(found.last_index, log_index{205});
  EXPECT_FALSE(found.repair_to);
}

TEST_F(repair, the_damaged_files_are_kept_aside_and_never_read_again) {
  disk_.flip_bit(files_[1], 2000, 3);
  accept(disk_);
  const auto kept = files_in(disk_, "/wal/");
  EXPECT_NE(std::ranges::find(kept, files_[2] + ".bad"), kept.end());
  for (const auto& file : files_in(disk_, "/wal/"))
    if (file.ends_with(".bad")) disk_.zero(file, 0, disk_.content(file).size());
  EXPECT_FALSE(open(disk_, with).found.corrupt);
}

TEST(start_over, an_empty_disk_of_a_known_node_remembers_the_term_and_that_all_is_missing) {
  sim_disk files;
  {
    auto opened = open(files);
    ASSERT_TRUE(opened.disk->start_over(term{7}));
  }
  files.crash();
  auto again = open(files);
  EXPECT_FALSE(again.found.corrupt);
  EXPECT_EQ(again.found.hard, hard(7, 0, 0));
  EXPECT_TRUE(again.found.repair_to);
  const auto snap = make_snapshot(50, 7);
  persist(*again.disk, make_entries(51, 55, 8), hard(8, 0, 52), &snap);
  ASSERT_TRUE(again.disk->repaired());
  again.disk.reset();
  files.crash();
  const auto found = open(files).found;
  EXPECT_FALSE(found.repair_to);
  EXPECT_EQ(found.last_index, log_index{55});
}

}  // namespace
}  // namespace blixard::storage::test
