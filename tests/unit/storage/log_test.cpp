// The log's housekeeping and its failures: rotation, recycling, compaction, a full disk, a sync
// error.
#include <algorithm>
#include <cerrno>

#include "messages/limits.hpp"
#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

persist_batch batch_of(const std::vector<entry>& entries) {
  return {persist_seq{1}, nullptr, entries, {}, true};
}

std::size_t wal_files(sim_disk& disk) { return disk.list(std::string{dir} + "/wal")->size(); }

TEST(log, a_payload_is_written_from_where_it_is) {
  // No copy: the gathered write of 1,000 entries is one call, and nothing is sized by the payloads.
  sim_disk disk;
  auto [store, found] = open(disk, options(4 << 20));
  const auto entries = make_entries(1, 1000, 1, 999);  // with padding
  const auto batch = batch_of(entries);
  const auto writes = disk.writes();
  ASSERT_TRUE(store->write({&batch, 1}));
  EXPECT_EQ(disk.writes(), writes + 1);
  ASSERT_TRUE(store->sync());
  disk.crash_keeping_first(0);
  EXPECT_EQ(store::examine(disk, dir)->entries, entries);
}

TEST(log, segments_are_made_ahead_so_that_a_write_extends_no_file) {
  sim_disk disk;
  auto [store, found] = open(disk, options(64 * 1024));
  for (std::uint64_t i = 1; i <= 400; ++i) {
    const auto bytes = [&] {
      std::size_t total = 0;
      const auto names = disk.list(std::string{dir} + "/wal");
      for (const auto& name : *names)
        total += disk.content(std::string{dir} + "/wal/" + name).size();
      return total;
    };
    const auto before = bytes();
    persist(*store, make_entries(i, i, 1, 500));
    ASSERT_EQ(bytes(), before) << "entry " << i;
    while (*store->prepare()) {
    }
  }
  EXPECT_GT(store->stats().segments, 3U);
}

TEST(log, an_entry_larger_than_a_segment_is_kept) {
  sim_disk disk;
  const std::vector<entry> entries{make_entry(1, 1, 10), make_entry(2, 1, 100'000),
                                   make_entry(3, 1, 10)};
  {
    auto [store, found] = open(disk, options(4096));
    for (const auto& e : entries) persist(*store, {e});
  }
  disk.crash_keeping_first(0);
  EXPECT_EQ(store::examine(disk, dir)->entries, entries);
}

TEST(log, compaction_without_a_snapshot_drops_nothing) {
  sim_disk disk;
  auto [store, found] = open(disk, options(4096));
  persist(*store, make_entries(1, 100, 1, 200));
  ASSERT_TRUE(store->compact(log_index{90}));
  EXPECT_EQ(store->first_index(), log_index{1});
  EXPECT_EQ(store::examine(disk, dir)->entries.size(), 100U);
}

TEST(log, compaction_keeps_what_the_older_snapshot_needs) {
  sim_disk disk;
  auto [store, found] = open(disk, options(4096));
  for (std::uint64_t i = 1; i <= 200; ++i) persist(*store, make_entries(i, i, 1, 200));
  ASSERT_TRUE(store->save_snapshot(make_snapshot(100, 1)));
  ASSERT_TRUE(store->save_snapshot(make_snapshot(180, 1)));
  ASSERT_TRUE(store->compact(log_index{181}));
  EXPECT_LE(store->first_index(), log_index{101});
  EXPECT_GT(store->first_index(), log_index{50});
  const auto after = store::examine(disk, dir);
  EXPECT_EQ(after->snap, make_snapshot(180, 1));
  EXPECT_EQ(after->entries, make_entries(181, 200, 1, 200));
}

TEST(log, files_stay_few_over_a_long_life) {
  sim_disk disk;
  auto [store, found] = open(disk, options(8192));
  for (std::uint64_t i = 1; i <= 3000; ++i) {
    persist(*store, make_entries(i, i, 1, 200), hard(1, 0, i - 1));
    while (*store->prepare()) {
    }
    if (i % 100 != 0) continue;
    ASSERT_TRUE(store->save_snapshot(make_snapshot(i, 1, 50)));
    ASSERT_TRUE(store->compact(log_index{i + 1}));
    ASSERT_LE(wal_files(disk), 12U);
  }
  EXPECT_GT(store->stats().recycled, 30U);
  EXPECT_EQ(disk.list(std::string{dir} + "/snap")->size(), 2U);
  disk.crash_keeping_first(0);
  EXPECT_EQ(store::examine(disk, dir)->last_index, log_index{3000});
}

TEST(log, a_full_disk_refuses_the_write_and_takes_it_when_there_is_space) {
  sim_disk disk;
  auto [store, found] = open(disk, options(4096));
  const auto first = make_entries(1, 5, 1, 100);
  persist(*store, first);
  disk_faults full;
  full.capacity_bytes = 1;
  disk.set_faults(full);
  const auto large = make_entries(6, 9, 1, 3000);
  const auto batch = batch_of(large);
  const auto refused = store->write({&batch, 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, storage_errc::no_space);
  EXPECT_EQ(store->last_index(), log_index{5});
  EXPECT_FALSE(store->dirty());
  // Term and vote have their space already.
  persist(*store, {}, hard(2, 1, 3));
  disk.set_faults({});
  auto all = first;
  all.insert(all.end(), large.begin(), large.end());
  persist(*store, large);
  disk.crash_keeping_first(0);
  const auto after = store::examine(disk, dir);
  ASSERT_FALSE(after->corrupt) << after->corrupt->what;
  EXPECT_EQ(after->entries, all);
  EXPECT_EQ(after->hard, hard(2, 1, 3));
}

TEST(log, without_a_descriptor_for_the_next_segment_a_write_is_refused_and_taken_later) {
  sim_disk disk;
  auto [store, found] = open(disk, options(4096));
  const auto first = make_entries(1, 5, 1, 100);
  persist(*store, first);
  disk.fail_opens(EMFILE);
  const auto large = make_entries(6, 9, 1, 3000);
  const auto batch = batch_of(large);
  for (int n = 0; n < 2; ++n) {
    const auto refused = store->write({&batch, 1});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, storage_errc::no_files);
    EXPECT_EQ(store->last_index(), log_index{5});
  }
  disk.fail_opens(0);
  persist(*store, large);
  auto all = first;
  all.insert(all.end(), large.begin(), large.end());
  disk.crash_keeping_first(0);
  const auto after = store::examine(disk, dir);
  ASSERT_FALSE(after->corrupt) << after->corrupt->what;
  EXPECT_EQ(after->entries, all);
}

TEST(log,
     without_a_descriptor_a_segment_becomes_no_spare_and_what_follows_is_durable_all_the_same) {
  sim_disk disk;
  auto [store, found] = open(disk, options(4096));
  for (std::uint64_t i = 1; i <= 40; ++i) persist(*store, make_entries(i, i, 1, 500));
  for (const std::uint64_t index : {20, 35})
    ASSERT_TRUE(store->save_snapshot(make_snapshot(index, 1)));
  disk.fail_opens(EMFILE);
  EXPECT_TRUE(store->compact(log_index{36}));
  disk.fail_opens(0);
  for (std::uint64_t i = 41; i <= 80; ++i) persist(*store, make_entries(i, i, 1, 500));
  disk.crash_keeping_first(0);
  const auto after = store::examine(disk, dir);
  ASSERT_FALSE(after->corrupt) << after->corrupt->what;
  EXPECT_EQ(after->last_index, log_index{80});
}

TEST(log, a_refused_write_with_a_snapshot_in_it_may_be_repeated_with_more_behind_it) {
  // What is in front of the snapshot reaches the disk before the snapshot is found too large.
  for (const std::uint64_t room : {0U, 2500U, 6000U}) {
    sim_disk disk;
    auto [store, found] = open(disk, options(4096));
    persist(*store, make_entries(1, 5, 1, 100), hard(1, 2, 3));
    const auto before = make_entries(6, 8, 4, 100);
    const auto snap = make_snapshot(20, 6);
    const auto behind = make_entries(21, 24, 6, 1500);
    const auto last = make_entries(25, 25, 7, 100);
    const std::vector<persist_batch> batches{
        {.seq = persist_seq{2}, .entries = before, .hard = hard(4, 0, 5)},
        {.seq = persist_seq{3}, .hard = hard(5, 3, 5)},
        {.seq = persist_seq{4}, .snap = &snap, .entries = behind, .hard = hard(6, 0, 20)},
        {.seq = persist_seq{5}, .entries = last, .hard = hard(7, 0, 20)}};
    disk_faults full;
    full.capacity_bytes = disk.used() + room;
    disk.set_faults(full);
    for (int n = 0; n < 3; ++n) {
      const auto refused = store->write(std::span{batches}.first(3));
      ASSERT_FALSE(refused);
      ASSERT_EQ(refused.error().code, storage_errc::no_space);
    }
    disk.set_faults({});
    ASSERT_TRUE(store->write(batches));
    ASSERT_TRUE(store->sync());
    disk.crash_keeping_first(0);
    const auto after = open(disk, options(4096)).found;
    ASSERT_FALSE(after.corrupt) << after.corrupt->what;
    EXPECT_EQ(after.snap.index, log_index{20});
    EXPECT_EQ(after.last_index, log_index{25});
    EXPECT_EQ(after.hard, hard(7, 0, 20));
  }
}

TEST(log, a_power_cut_on_a_full_disk_finds_what_was_acknowledged) {
  sim_disk disk;
  auto [store, found] = open(disk, options(4096));
  const auto first = make_entries(1, 5, 1, 100);
  persist(*store, first);
  disk_faults full;
  full.capacity_bytes = 1;
  disk.set_faults(full);
  const auto large = make_entries(6, 9, 1, 3000);
  const auto batch = batch_of(large);
  for (int i = 0; i < 3; ++i) ASSERT_FALSE(store->write({&batch, 1}));
  for (std::size_t n = 0; n <= disk.pending(); ++n) {
    sim_disk after = disk;
    after.crash_keeping_first(n);
    const auto again = store::examine(after, dir);
    ASSERT_TRUE(again && !again->corrupt) << n;
    ASSERT_GE(again->entries.size(), 5U);
    ASSERT_TRUE(std::equal(first.begin(), first.end(), again->entries.begin()));
  }
}

TEST(log, a_failed_sync_is_final) {
  sim_disk disk;
  auto [store, found] = open(disk);
  const auto entries = make_entries(1, 3, 1);
  const auto batch = batch_of(entries);
  ASSERT_TRUE(store->write({&batch, 1}));
  disk.fail_sync(1, EIO);
  const auto failed = store->sync();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, storage_errc::io);
  EXPECT_EQ(exit_code(failed.error().code), 12);
  EXPECT_FALSE(store->sync()) << "a second sync must not claim what the first could not";
  EXPECT_FALSE(store->write({&batch, 1}));
}

TEST(log, what_a_failed_sync_left_in_the_page_cache_is_written_again_before_it_counts) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    sim_disk disk{seed};
    disk_faults forgetful;
    forgetful.failed_sync_forgets = true;
    disk.set_faults(forgetful);
    const auto first = make_entries(1, 3, 1, 700);
    const auto second = make_entries(4, 12, 1, 700);
    {
      auto [store, found] = open(disk, options(64 * limits::KiB));
      const auto before = batch_of(first);
      ASSERT_TRUE(store->write({&before, 1}) && store->sync());
      const auto batch = batch_of(second);
      ASSERT_TRUE(store->write({&batch, 1}));
      disk.fail_sync(1, EIO);
      ASSERT_FALSE(store->sync());
    }
    disk.kill_process();
    const auto again = open(disk, options(64 * limits::KiB)).found;
    ASSERT_FALSE(again.corrupt) << again.corrupt->what;
    disk.crash_keeping_first(0);
    const auto last = open(disk, options(64 * limits::KiB)).found;
    ASSERT_FALSE(last.corrupt) << last.corrupt->what;
    EXPECT_EQ(last.last_index, again.last_index) << "seed " << seed;
  }
}

TEST(log, no_space_at_a_sync_is_as_fatal_as_any_error_there) {
  sim_disk disk;
  auto [store, found] = open(disk);
  const auto entries = make_entries(1, 3, 1);
  const auto batch = batch_of(entries);
  ASSERT_TRUE(store->write({&batch, 1}));
  disk.fail_sync(1, ENOSPC);
  const auto failed = store->sync();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, storage_errc::io);
}

TEST(log, a_failed_write_is_final) {
  sim_disk disk;
  auto [store, found] = open(disk);
  const auto entries = make_entries(1, 3, 1);
  const auto batch = batch_of(entries);
  disk.fail_write(1, EIO);
  ASSERT_FALSE(store->write({&batch, 1}));
  EXPECT_FALSE(store->write({&batch, 1}));
}

// Entries 2 and 3 of term 1 are durable, their successors of term 2 are committed by the others'
// disks and not yet on this one: a restart must not take the old ones for committed.
TEST(log, the_commit_hint_vouches_for_no_entry_that_an_unsynced_write_replaces) {
  sim_disk disk;
  auto store = open(disk).disk;
  persist(*store, make_entries(1, 3, 1), hard(1, 1, 1));
  persist(*store, {}, hard(2, 2, 1));
  const auto successors = make_entries(2, 3, 2);
  const persist_batch unsynced{persist_seq{2}, nullptr, successors, hard(2, 2, 3), true};
  ASSERT_TRUE(store->write({&unsynced, 1}));
  ASSERT_TRUE(store->flush_hint());
  store.reset();
  disk.crash_keeping_first(0);
  const auto found = open(disk).found;
  ASSERT_FALSE(found.corrupt) << found.corrupt->what;
  EXPECT_EQ(found.last_term, blixard::term{1});
  EXPECT_EQ(found.hard.commit, log_index{1});
}

TEST(log, the_commit_hint_alone_costs_no_sync) {
  sim_disk disk;
  auto [store, found] = open(disk);
  persist(*store, make_entries(1, 3, 1), hard(1, 1, 0));
  const auto syncs = disk.syncs();
  const persist_batch hint{persist_seq{2}, nullptr, {}, hard(1, 1, 3), false};
  ASSERT_TRUE(store->write({&hint, 1}));
  EXPECT_FALSE(store->dirty());
  ASSERT_TRUE(store->sync());
  EXPECT_EQ(disk.syncs(), syncs);
  ASSERT_TRUE(store->flush_hint());
  EXPECT_EQ(disk.syncs(), syncs + 1);
  ASSERT_TRUE(store->flush_hint());
  EXPECT_EQ(disk.syncs(), syncs + 1);
  disk.crash_keeping_first(0);
  EXPECT_EQ(store::examine(disk, dir)->hard, hard(1, 1, 3));
}

TEST(log, a_committed_configuration_entry_stays_committed_after_a_power_cut) {
  sim_disk disk;
  auto [store, found] = open(disk);
  auto entries = make_entries(1, 3, 1);
  entries[1].kind = entry_kind::conf;
  persist(*store, entries, hard(1, 1, 0));
  const persist_batch commit{persist_seq{2}, nullptr, {}, hard(1, 1, 3), true};
  ASSERT_TRUE(store->write({&commit, 1}));
  EXPECT_TRUE(store->dirty());
  ASSERT_TRUE(store->sync());
  disk.crash_keeping_first(0);
  EXPECT_EQ(store::examine(disk, dir)->hard, hard(1, 1, 3));
}

TEST(log, a_commit_ahead_of_the_own_disk_is_not_claimed) {
  sim_disk disk;
  auto [store, found] = open(disk);
  const auto entries = make_entries(1, 3, 1);
  persist(*store, entries, hard(1, 1, 0));
  const auto more = make_entries(4, 6, 1);
  const persist_batch batch{persist_seq{2}, nullptr, more, hard(1, 1, 6), true};
  ASSERT_TRUE(store->write({&batch, 1}));
  ASSERT_TRUE(store->flush_hint());
  disk.crash_keeping_first(0);
  const auto after = store::examine(disk, dir);
  ASSERT_FALSE(after->corrupt) << after->corrupt->what;
  EXPECT_LE(after->hard.commit, after->last_index);
}

TEST(log, a_vote_is_durable_when_sync_returns) {
  sim_disk disk;
  auto [store, found] = open(disk);
  for (std::uint64_t term = 1; term <= 20; ++term) {
    persist(*store, {}, hard(term, term % 3 + 1, 0));
    for (std::size_t n = 0; n <= disk.pending(); ++n) {
      sim_disk after = disk;
      after.crash_keeping_first(n);
      ASSERT_EQ(store::examine(after, dir)->hard, hard(term, term % 3 + 1, 0));
    }
  }
}

TEST(log, a_vote_alone_has_to_be_synced) {
  sim_disk disk;
  auto [store, found] = open(disk);
  const persist_batch vote{persist_seq{1}, nullptr, {}, hard(1, 2, 0), true};
  ASSERT_TRUE(store->write({&vote, 1}));
  EXPECT_TRUE(store->dirty());
  ASSERT_TRUE(store->sync());
  EXPECT_FALSE(store->dirty());
}

TEST(log, the_last_durable_vote_is_not_written_over) {
  sim_disk disk;
  auto [store, found] = open(disk);
  const std::string meta = std::string{dir} + "/meta";
  std::vector<std::size_t> slots;
  for (std::uint64_t term = 1; term <= 6; ++term) {
    const std::vector<std::byte> before(disk.content(meta).begin(), disk.content(meta).end());
    persist(*store, {}, hard(term, 1, 0));
    const auto after = disk.content(meta);
    std::size_t changed = 0;
    for (std::size_t at = 0; at < before.size(); at += 4096) {
      if (std::equal(after.begin() + at, after.begin() + at + 512, before.begin() + at)) continue;
      slots.push_back(at / 4096 % 2);
      ++changed;
    }
    EXPECT_EQ(changed, 2U) << "both copies of one slot";
  }
  EXPECT_EQ(slots, (std::vector<std::size_t>{0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1}));
}

TEST(log, a_snapshot_is_streamed_in_chunks_of_any_size) {
  sim_disk disk;
  auto [store, found] = open(disk);
  auto snap = make_snapshot(50, 2, 3'000'000);
  auto writer = store->begin_snapshot(snap);
  ASSERT_TRUE(writer);
  std::size_t done = 0;
  for (std::size_t size = 1; done < snap.data.size(); size = size * 3 + 1) {
    const std::size_t n = std::min(size, snap.data.size() - done);
    ASSERT_TRUE((*writer)->append(snap.data.bytes().subspan(done, n)));
    done += n;
  }
  ASSERT_TRUE((*writer)->finish());
  EXPECT_TRUE(store->latest_snapshot()->empty()) << "not in place yet";
  ASSERT_TRUE(store->commit_snapshot(std::move(*writer)));
  disk.crash_keeping_first(0);
  EXPECT_EQ(store::examine(disk, dir)->snap, snap);
}

TEST(log, an_abandoned_snapshot_leaves_nothing) {
  sim_disk disk;
  auto [store, found] = open(disk);
  {
    auto writer = store->begin_snapshot(make_snapshot(50, 2));
    ASSERT_TRUE((*writer)->append(make_snapshot(50, 2).data.bytes()));
  }
  EXPECT_TRUE(disk.list(std::string{dir} + "/snap")->empty());
}

TEST(log, a_snapshot_without_data_is_one) {
  sim_disk disk;
  auto [store, found] = open(disk);
  ASSERT_TRUE(store->save_snapshot(make_snapshot(7, 1, 0)));
  EXPECT_EQ(*store->latest_snapshot(), make_snapshot(7, 1, 0));
}

}  // namespace
}  // namespace blixard::storage::test
