// Damage: whatever happens to the bytes behind the store's back, nothing wrong is silently accepted
// and nothing acknowledged silently dropped.
//
// Every single-bit flip and every truncation of a log of several segments, lost, swapped and stale
// sectors, and the same for term and vote and for snapshots.
#include <algorithm>
#include <functional>

#include "messages/limits.hpp"
#include "runtime/storage/meta.hpp"
#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

#ifdef __has_feature  // clang
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BLIXARD_SLOW_BUILD
#endif
#endif
#if defined(BLIXARD_SLOW_BUILD) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t stride = 101;  // of the exhaustive loops: sanitizers are slow
#else
constexpr std::uint64_t stride = 1;
#endif

constexpr std::uint64_t sector = limits::sector_bytes;

/// Three segments with 260 entries in about 80 KiB, term and vote, all durable.
class damage : public testing::Test {
 protected:
  damage() {
    entries_ = make_entries(1, 260, 1, 260);
    auto [store, found] = open(disk_, with_);
    for (std::size_t i = 0; i < entries_.size(); i += 4) {
      persist(*store, {entries_.begin() + static_cast<std::ptrdiff_t>(i),
                       entries_.begin() + static_cast<std::ptrdiff_t>(i + 4)});
      while (*store->prepare()) {
      }
    }
    persist(*store, {}, hard(5, 3, 255));
    const auto names = disk_.list(wal_);
    for (const auto& name : *names)
      if (used(wal_ + "/" + name) != 0) files_.push_back(wal_ + "/" + name);
  }

  /// Found as it was written.
  [[nodiscard]] bool is_whole(const recovery& found) const {
    return !found.corrupt && found.entries == entries_ && found.hard == hard(5, 3, 255) &&
           found.truncated_bytes == 0;
  }
  /// Either whole, or said to be damaged, with nothing but a prefix of the truth.
  [[nodiscard]] std::string judge(file_system& fs) const {
    const auto found = store::examine(fs, dir);
    if (!found) return "error: " + found.error().message;
    if (is_whole(*found)) return {};
    if (!found->corrupt) return "silently accepted";
    if (found->entries.size() > entries_.size()) return "entries out of nothing";
    if (!std::equal(found->entries.begin(), found->entries.end(), entries_.begin()))
      return "wrong entries";
    return {};
  }
  /// Where the log's own bytes end in each file.
  [[nodiscard]] std::uint64_t used(const std::string& file) const {
    const auto bytes = disk_.content(file);
    std::uint64_t end = bytes.size();
    while (end > 0 && bytes[end - 1] == std::byte{}) --end;
    return (end + 7) / 8 * 8;
  }
  [[nodiscard]] bool is_reported(file_system& fs) const {
    const auto found = store::examine(fs, dir);
    return found && found->corrupt;
  }

  const std::string wal_ = std::string{dir} + "/wal";
  const store_options with_ = options(32 * 1024);
  sim_disk disk_;
  std::vector<entry> entries_;
  std::vector<std::string> files_;
};

TEST_F(damage, the_log_under_test_is_large_enough) {
  std::uint64_t total = 0;
  for (const auto& file : files_) total += used(file);
  EXPECT_GE(total, 64U * 1024);
  EXPECT_GE(files_.size(), 3U);
  EXPECT_TRUE(is_whole(*store::examine(disk_, dir)));
}

TEST_F(damage, every_flipped_bit_of_the_log_is_reported) {
  for (const auto& file : files_) {
    const std::uint64_t end = used(file) * 8;
    for (std::uint64_t bit = 0; bit < end; bit += stride) {
      disk_.flip_bit(file, bit / 8, bit % 8);
      const auto found = store::examine(disk_, dir);
      disk_.flip_bit(file, bit / 8, bit % 8);
      ASSERT_TRUE(found) << found.error().message;
      ASSERT_TRUE(found->corrupt) << file << " bit " << bit;
      ASSERT_LT(found->entries.size(), entries_.size()) << file << " bit " << bit;
      ASSERT_TRUE(std::equal(found->entries.begin(), found->entries.end(), entries_.begin()))
          << file << " bit " << bit;
    }
  }
}

TEST_F(damage, a_flipped_bit_behind_the_log_changes_nothing) {
  const auto& file = files_.back();
  for (std::uint64_t at = used(file); at < disk_.content(file).size(); at += 61) {
    disk_.flip_bit(file, at, at % 8);
    ASSERT_TRUE(is_whole(*store::examine(disk_, dir))) << at;
    disk_.flip_bit(file, at, at % 8);
  }
}

TEST_F(damage, every_truncation_of_the_log_is_reported) {
  for (const auto& file : files_) {
    sim_disk damaged = disk_;
    for (std::uint64_t size = used(file); size-- > 0;) {
      damaged.cut(file, size);
      if (size % stride != 0) continue;
      ASSERT_TRUE(is_reported(damaged)) << file << " cut to " << size;
    }
    ASSERT_TRUE(damaged.unlink(file));
    ASSERT_TRUE(is_reported(damaged)) << file << " removed";
  }
}

TEST_F(damage, zeroed_sectors_are_reported) {
  for (const auto& file : files_)
    for (std::uint64_t at = 0; at < used(file); at += sector) {
      sim_disk damaged = disk_;
      damaged.zero(file, at, sector);
      ASSERT_TRUE(is_reported(damaged)) << file << " at " << at;
    }
}

TEST_F(damage, swapped_sectors_are_reported) {
  struct place {
    std::string file;
    std::uint64_t at;
  };
  std::vector<place> all;
  for (const auto& file : files_)
    for (std::uint64_t at = 0; at + sector <= used(file); at += sector) all.push_back({file, at});
  ASSERT_GT(all.size(), 128U);
  std::uint64_t pairs = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t k = i + 1; k < all.size(); ++k) {
      if (++pairs % stride != 0) continue;
      const auto& [file_a, a] = all[i];
      const auto& [file_b, b] = all[k];
      sim_disk damaged = disk_;
      damaged.overwrite(file_a, a, disk_.content(file_b).subspan(b, sector));
      damaged.overwrite(file_b, b, disk_.content(file_a).subspan(a, sector));
      ASSERT_EQ(judge(damaged), "") << file_a << " at " << a << ", " << file_b << " at " << b;
      ASSERT_TRUE(is_reported(damaged)) << file_a << " at " << a << ", " << file_b << " at " << b;
    }
}

TEST_F(damage, swapped_segments_are_reported) {
  sim_disk damaged = disk_;
  ASSERT_TRUE(damaged.rename(files_[0], wal_ + "/x"));
  ASSERT_TRUE(damaged.rename(files_[1], files_[0]));
  ASSERT_TRUE(damaged.rename(wal_ + "/x", files_[1]));
  EXPECT_TRUE(is_reported(damaged));
}

TEST_F(damage, a_sector_that_went_back_in_time_is_reported) {
  // The last segment as it was before 40 more entries were written over its zeros.
  const auto& file = files_.back();
  const std::uint64_t end = used(file);
  const std::vector<std::byte> before(disk_.content(file).begin(), disk_.content(file).end());
  {
    auto [store, found] = open(disk_, with_);
    const auto more = make_entries(261, 300, 5, 200);
    persist(*store, more, hard(5, 3, 300));
    ASSERT_TRUE(store->prepare());  // marks what is durable
    entries_.insert(entries_.end(), more.begin(), more.end());
  }
  ASSERT_GT(used(file), end + 4 * sector);
  for (std::uint64_t at = end / sector * sector; at < used(file); at += sector) {
    sim_disk damaged = disk_;
    damaged.overwrite(file, at, std::span{before}.subspan(at, sector));
    ASSERT_TRUE(is_reported(damaged)) << "at " << at;
  }
}

TEST_F(damage, lost_sectors_of_acknowledged_writes_are_reported) {
  // The disk says yes and does nothing; the power cut shows it.
  std::size_t lost = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    sim_disk liar{seed};
    auto [store, found] = open(liar, with_);
    ASSERT_TRUE(store->flush_hint());
    disk_faults faults;
    faults.lost_write_ppm = 20'000;
    faults.misdirected_write_ppm = seed % 2 == 0 ? 20'000 : 0;
    const auto all = make_entries(1, 60, 1, 260);
    for (std::size_t i = 0; i < all.size(); i += 4) {
      liar.set_faults(i + 4 < all.size() ? faults : disk_faults{});
      persist(*store, {all.begin() + static_cast<std::ptrdiff_t>(i),
                       all.begin() + static_cast<std::ptrdiff_t>(i + 4)});
    }
    persist(*store, {}, hard(2, 1, 60));
    liar.crash_keeping_first(0);
    const auto after = store::examine(liar, dir);
    ASSERT_TRUE(after) << after.error().message;
    if (after->corrupt) {
      ++lost;
      ASSERT_TRUE(std::equal(after->entries.begin(), after->entries.end(), all.begin()));
    } else {
      ASSERT_EQ(after->entries, all) << "seed " << seed;
    }
  }
  EXPECT_GT(lost, 50U);
}

TEST_F(damage, a_bit_flip_in_the_last_record_is_damage_also_right_after_a_power_cut) {
  {
    auto [store, found] = open(disk_, with_);
    ASSERT_TRUE(store->flush_hint());
  }
  disk_.crash_keeping_first(0);
  disk_.flip_bit(files_.back(), used(files_.back()) - 20, 3);
  EXPECT_TRUE(is_reported(disk_));
}

/// The same log after a power cut that took every hint of how far it was durable.
class damage_without_mark : public damage {
 protected:
  damage_without_mark() {
    sim_disk disk;
    {
      auto [store, found] = open(disk, with_);
      for (std::size_t i = 0; i < entries_.size(); i += 4) {
        persist(*store, {entries_.begin() + static_cast<std::ptrdiff_t>(i),
                         entries_.begin() + static_cast<std::ptrdiff_t>(i + 4)});
        while (*store->prepare()) {
        }
      }
    }
    disk.crash_keeping_first(0);
    for (const auto& file : files_) disk_.overwrite(file, 0, disk.content(file));
    const std::string meta = std::string{dir} + "/meta";
    disk_.overwrite(meta, 0, disk.content(meta));
  }
  const std::size_t acknowledged_before_last_ = 256;
};

TEST_F(damage_without_mark, every_bit_of_all_but_the_last_write_is_still_reported) {
  const std::uint64_t last_write = used(files_.back()) - 4 * record_bytes(260);
  for (const auto& file : files_) {
    const std::uint64_t end = file == files_.back() ? last_write : used(file);
    // Every bit of the headers, and one in seven of the rest.
    for (std::uint64_t bit = 0; bit < end * 8; bit += bit < 8 * sector ? stride : 6 + stride) {
      disk_.flip_bit(file, bit / 8, bit % 8);
      const auto found = store::examine(disk_, dir);
      disk_.flip_bit(file, bit / 8, bit % 8);
      ASSERT_TRUE(found && found->corrupt) << file << " bit " << bit;
      ASSERT_TRUE(std::equal(found->entries.begin(), found->entries.end(), entries_.begin()));
    }
    for (std::uint64_t at = 0; at < end; at += sector) {
      sim_disk damaged = disk_;
      damaged.zero(file, at, std::min(sector, end - at));
      ASSERT_TRUE(is_reported(damaged)) << file << " at " << at;
    }
  }
}

TEST_F(damage_without_mark, only_the_last_write_can_pass_for_torn) {
  const auto& file = files_.back();
  for (std::uint64_t at = used(file) - 4 * record_bytes(260); at < used(file); ++at) {
    disk_.flip_bit(file, at, at % 8);
    const auto found = store::examine(disk_, dir);
    disk_.flip_bit(file, at, at % 8);
    ASSERT_TRUE(found);
    ASSERT_GE(found->entries.size(), acknowledged_before_last_) << at;
    ASSERT_LT(found->entries.size(), entries_.size()) << at;
    ASSERT_TRUE(std::equal(found->entries.begin(), found->entries.end(), entries_.begin()));
  }
}

TEST_F(damage_without_mark, a_segment_is_missed_even_if_only_the_header_of_the_next_is_left) {
  ASSERT_GE(files_.size(), 3U);
  ASSERT_TRUE(disk_.unlink(files_[files_.size() - 2]));
  disk_.zero(files_.back(), sector, disk_.content(files_.back()).size() - sector);
  EXPECT_TRUE(is_reported(disk_));
}

/// Two logs that are the same up to a point and then hold other payloads at the same places.
class damage_by_a_fork : public testing::Test {
 protected:
  damage_by_a_fork() {
    for (sim_disk* disk : {&one_, &two_}) {
      auto [store, found] = open(*disk);
      for (std::uint64_t i = 1; i <= 60; ++i) {
        auto e = make_entry(i, 1, 200);
        if (disk == &two_ && i >= 20) e.data = slice::copy_of(std::string(200, 'z'));
        persist(*store, {e});
      }
    }
  }
  sim_disk one_;
  sim_disk two_;
};

TEST_F(damage_by_a_fork, a_sound_record_in_the_wrong_log_is_reported) {
  const std::string file = std::string{dir} + "/wal/0000000000000001.wal";
  const std::uint64_t record = record_bytes(200);
  const auto other = two_.content(file);
  std::size_t tried = 0;
  for (std::uint64_t i = 19; segment_header_bytes + (i + 1) * record <= other.size();
       ++i, ++tried) {
    sim_disk damaged = one_;
    const std::uint64_t at = segment_header_bytes + i * record;
    damaged.overwrite(file, at, other.subspan(at, record));
    ASSERT_TRUE(store::examine(damaged, dir)->corrupt) << "entry " << i + 1;
  }
  EXPECT_GT(tried, 10U);
}

TEST_F(damage_by_a_fork, a_sound_segment_in_the_wrong_log_is_reported) {
  const std::string file = std::string{dir} + "/wal/0000000000000001.wal";
  const auto other = two_.content(file);
  ASSERT_EQ(other.size(), one_.content(file).size());
  one_.overwrite(file, 0, other);
  EXPECT_TRUE(store::examine(one_, dir)->corrupt);
}

TEST_F(damage, a_log_that_ends_below_the_commit_hint_is_reported) {
  meta_state more;
  more.hard = hard(5, 3, 261);
  ASSERT_TRUE(meta_file::make(disk_, dir, node_id{1}, more, 1000));
  const auto found = store::examine(disk_, dir);
  ASSERT_TRUE(found->corrupt);
  EXPECT_LE(found->hard.commit, found->last_index);
}

TEST_F(damage, an_unsynced_tail_that_is_cut_short_is_cut_off_and_counted) {
  const auto& file = files_.back();
  const std::uint64_t durable = used(file);
  sim_disk disk = disk_;
  auto [store, found] = open(disk, with_);
  const auto more = make_entries(261, 264, 5, 200);
  const persist_batch batch{persist_seq{9}, nullptr, more, {}, true};
  ASSERT_TRUE(store->write({&batch, 1}));
  disk.kill_process();
  const std::uint64_t record = record_bytes(200);
  for (std::uint64_t size = durable + 4 * record; size-- > durable;) {
    sim_disk torn = disk;
    torn.cut(file, size);
    const auto after = store::open(torn, dir, with_);
    ASSERT_TRUE(after);
    ASSERT_FALSE(after->found.corrupt) << size << ": " << after->found.corrupt->what;
    const std::uint64_t kept = (size - durable) / record;
    ASSERT_EQ(after->found.entries.size(), entries_.size() + kept) << size;
    ASSERT_EQ(after->found.truncated_bytes, (size - durable) % record) << size;
    // And the log goes on behind the cut.
    persist(*after->disk, make_entries(261 + kept, 262 + kept, 6));
    torn.crash_keeping_first(0);
    const auto again = store::examine(torn, dir);
    ASSERT_TRUE(again && !again->corrupt) << size;
    ASSERT_EQ(again->entries.size(), entries_.size() + kept + 2) << size;
    ASSERT_EQ(again->truncated_bytes, 0U) << size;
  }
}

TEST_F(damage, no_single_bad_sector_takes_term_or_vote_away) {
  const std::string meta = std::string{dir} + "/meta";
  const std::uint64_t bits = disk_.content(meta).size() * 8;
  ASSERT_EQ(bits, 4U * 4096 * 8);
  for (std::uint64_t bit = 0; bit < bits; bit += stride) {
    if (bit / 8 % 4096 >= sector) continue;  // between the copies
    disk_.flip_bit(meta, bit / 8, bit % 8);
    const auto found = store::examine(disk_, dir);
    disk_.flip_bit(meta, bit / 8, bit % 8);
    ASSERT_TRUE(found);
    ASSERT_TRUE(is_whole(*found)) << bit;
    ASSERT_EQ(found->warnings.size(), 1U) << bit;
  }
  for (std::uint64_t at = 0; at < bits / 8; at += sector) {
    sim_disk damaged = disk_;
    damaged.zero(meta, at, sector);
    ASSERT_TRUE(is_whole(*store::examine(damaged, dir))) << at;
  }
}

TEST_F(damage, a_lost_slot_of_term_and_vote_is_reported_and_not_repairable) {
  const std::string meta = std::string{dir} + "/meta";
  const auto check = [&](const std::function<void(sim_disk&)>& break_it, const char* what) {
    sim_disk damaged = disk_;
    break_it(damaged);
    auto opened = store::open(damaged, dir, with_);
    ASSERT_TRUE(opened) << what;
    ASSERT_TRUE(opened->found.corrupt) << what;
    EXPECT_FALSE(opened->found.corrupt->repairable) << what;
    EXPECT_FALSE(opened->disk->write({})) << what;
    EXPECT_FALSE(opened->disk->accept_damage()) << what;
  };
  for (const std::uint64_t slot : {0U, 4096U})
    check(
        [&](sim_disk& d) {
          d.flip_bit(meta, slot + 33, 0);
          d.flip_bit(meta, slot + 8192 + 33, 0);
        },
        "both copies of one slot");
  check([&](sim_disk& d) { d.zero(meta, 0, 16384); }, "zeroed");
  check([&](sim_disk& d) { d.cut(meta, 100); }, "cut");
  check([&](sim_disk& d) { ASSERT_TRUE(d.unlink(meta)); }, "removed");
  check(
      [&](sim_disk& d) {
        d.flip_bit(files_[1], 5000, 2);
        d.zero(meta, 0, 16384);
      },
      "with a damaged log, which peers could repair");
}

TEST_F(damage, an_older_copy_of_term_and_vote_does_not_win) {
  const std::string meta = std::string{dir} + "/meta";
  const std::vector<std::byte> old(disk_.content(meta).begin(), disk_.content(meta).end());
  {
    auto [store, found] = open(disk_, with_);
    persist(*store, {}, hard(8, 2, 255));
  }
  for (std::uint64_t at = 0; at < old.size(); at += 4096) {
    sim_disk damaged = disk_;
    damaged.overwrite(meta, at, std::span{old}.subspan(at, sector));
    const auto found = store::examine(damaged, dir);
    ASSERT_TRUE(found && !found->corrupt);
    EXPECT_EQ(found->hard, hard(8, 2, 255)) << at;
  }
}

TEST_F(damage, every_flipped_bit_and_truncation_of_the_newest_snapshot_falls_back) {
  {
    auto [store, found] = open(disk_, with_);
    ASSERT_TRUE(store->save_snapshot(make_snapshot(100, 1, 300)));
    ASSERT_TRUE(store->save_snapshot(make_snapshot(200, 1, 700)));
    ASSERT_TRUE(store->compact(log_index{201}));
  }
  const std::string file = std::string{dir} + "/snap/00000000000000c8-0000000000000001.snap";
  const auto falls_back = [&](sim_disk& d) {
    const auto found = store::examine(d, dir);
    return found && !found->corrupt && found->snap == make_snapshot(100, 1, 300) &&
           found->entries.size() == 160 && found->entries.back() == entries_.back() &&
           found->warnings.size() == 1;
  };
  const std::uint64_t bytes = disk_.content(file).size();
  ASSERT_GT(bytes, 100U);
  ASSERT_EQ(store::examine(disk_, dir)->snap, make_snapshot(200, 1, 700));
  for (std::uint64_t bit = 0; bit < bytes * 8; bit += stride) {
    disk_.flip_bit(file, bit / 8, bit % 8);
    ASSERT_TRUE(falls_back(disk_)) << bit;
    disk_.flip_bit(file, bit / 8, bit % 8);
  }
  sim_disk cut = disk_;
  for (std::uint64_t size = bytes; size-- > 0;) {
    cut.cut(file, size);
    ASSERT_TRUE(falls_back(cut)) << size;
  }
}

TEST_F(damage, a_snapshot_that_nothing_replaces_is_reported) {
  {
    auto [store, found] = open(disk_, with_);
    const auto snap = make_snapshot(1000, 5);
    persist(*store, make_entries(1001, 1003, 5), hard(5, 3, 1000), &snap);
  }
  const std::string file = std::string{dir} + "/snap/00000000000003e8-0000000000000005.snap";
  disk_.flip_bit(file, 70, 1);
  auto opened = open(disk_, with_);
  ASSERT_TRUE(opened.found.corrupt);
  EXPECT_TRUE(opened.found.corrupt->repairable);
  EXPECT_TRUE(opened.found.entries.empty());
}

TEST_F(damage, an_accepted_damage_is_remembered_until_repaired) {
  disk_.flip_bit(files_[1], 5000, 2);
  std::size_t kept = 0;
  {
    auto [store, found] = open(disk_, with_);
    ASSERT_TRUE(found.corrupt);
    EXPECT_EQ(found.corrupt->file, files_[1].substr(5));
    kept = found.entries.size();
    ASSERT_GT(kept, 0U);
    EXPECT_FALSE(store->write({}));
    EXPECT_FALSE(store->sync());
    ASSERT_TRUE(store->accept_damage());
    persist(*store, make_entries(kept + 1, kept + 5, 6), hard(6, 0, kept));
  }
  disk_.crash_keeping_first(0);
  {
    auto [store, found] = open(disk_, with_);
    ASSERT_FALSE(found.corrupt) << found.corrupt->what;
    EXPECT_EQ(found.repair_to, log_index{260});
    EXPECT_EQ(found.entries.size(), kept + 5);
    persist(*store, make_entries(kept + 6, 270, 6));
    ASSERT_TRUE(store->repaired());
  }
  disk_.crash_keeping_first(0);
  const auto [store, found] = open(disk_, with_);
  EXPECT_EQ(found.repair_to, log_index{});
  EXPECT_EQ(found.last_index, log_index{270});
}

TEST_F(damage, records_of_a_recycled_segment_are_never_taken_for_new_ones) {
  sim_disk disk;
  std::vector<entry> expected;
  auto opened = open(disk, options(4096));
  std::uint64_t next = 1;
  while (opened.disk->stats().recycled < 6) {
    // Records of one size: old and new ones begin at the same offsets.
    persist(*opened.disk, make_entries(next, next + 2, 1, 200), hard(1, 1, next));
    next += 3;
    if (next % 30 != 1) continue;
    ASSERT_TRUE(opened.disk->save_snapshot(make_snapshot(next - 1, 1)));
    ASSERT_TRUE(opened.disk->compact(log_index{next}));
  }
  for (int i = 0; i < 12; ++i, next += 1) {
    persist(*opened.disk, make_entries(next, next, 1, 200));
    sim_disk after = disk;
    after.crash_keeping_first(0);
    const auto found = store::examine(after, dir);
    ASSERT_TRUE(found && !found->corrupt) << found->corrupt->what;
    ASSERT_EQ(found->last_index, log_index{next});
    ASSERT_EQ(found->truncated_bytes, 0U);
  }
}

}  // namespace
}  // namespace blixard::storage::test
