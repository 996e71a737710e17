// The store: what was synced is found again, in the right order, whatever happened to the rest.
#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

TEST(store, a_fresh_directory_is_empty_and_usable) {
  sim_disk disk;
  {
    auto [store, found] = open(disk);
    EXPECT_TRUE(found.fresh);
    EXPECT_TRUE(found.entries.empty());
    EXPECT_TRUE(found.snap.empty());
    EXPECT_EQ(found.hard, hard_state{});
    EXPECT_FALSE(found.corrupt);
  }
  const auto [store, found] = open(disk);
  EXPECT_FALSE(found.fresh);
  EXPECT_EQ(found.owner.node, node_id{1});
  EXPECT_EQ(found.owner.cluster, cluster_id{77});
}

TEST(store, what_was_synced_is_found_after_a_power_cut) {
  sim_disk disk;
  const auto entries = make_entries(1, 50, 3, 100);
  {
    auto [store, found] = open(disk);
    persist(*store, entries, hard(3, 2, 40));
  }
  disk.crash_keeping_first(0);
  const auto [store, found] = open(disk);
  EXPECT_FALSE(found.corrupt);
  EXPECT_EQ(found.entries, entries);
  EXPECT_EQ(found.hard, hard(3, 2, 40));
  EXPECT_EQ(found.last_index, log_index{50});
  EXPECT_EQ(found.last_term, blixard::term{3});
  EXPECT_EQ(found.truncated_bytes, 0U);
}

TEST(store, later_entries_with_lower_index_replace_the_tail) {
  sim_disk disk;
  {
    auto [store, found] = open(disk);
    persist(*store, make_entries(1, 10, 1));
    persist(*store, make_entries(6, 7, 2), hard(2, 0, 5));
    persist(*store, make_entries(8, 8, 2));
  }
  disk.crash_keeping_first(0);
  const auto [store, found] = open(disk);
  auto expected = make_entries(1, 5, 1);
  const auto tail = make_entries(6, 8, 2);
  expected.insert(expected.end(), tail.begin(), tail.end());
  EXPECT_EQ(found.entries, expected);
  EXPECT_EQ(found.last_term, blixard::term{2});
}

TEST(store, one_write_and_one_sync_for_many_batches) {
  sim_disk disk;
  auto [store, found] = open(disk, options(1 << 20));
  const auto first = make_entries(1, 64, 1);
  const auto second = make_entries(65, 200, 1);
  const std::vector<persist_batch> batches{{persist_seq{1}, nullptr, first, {}, true},
                                           {persist_seq{2}, nullptr, second, {}, true}};
  const auto writes = disk.writes();
  const auto syncs = disk.syncs();
  ASSERT_TRUE(store->write(batches));
  EXPECT_EQ(disk.writes(), writes + 1);
  EXPECT_EQ(disk.syncs(), syncs);
  ASSERT_TRUE(store->sync());
  EXPECT_EQ(disk.syncs(), syncs + 1);
  EXPECT_EQ(store->stats().entries, 200U);
}

}  // namespace
}  // namespace blixard::storage::test
