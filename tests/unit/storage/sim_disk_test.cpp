// The simulated disk itself: what its callers believe about crashes must be true of it.
#include "runtime/storage/sim_disk.hpp"

#include <cerrno>
#include <set>

#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}
std::string text_of(const sim_disk& disk, const std::string& path) {
  const auto bytes = disk.content(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::unique_ptr<file> make(sim_disk& disk, const std::string& path) {
  (void)disk.make_dir("d");
  auto handle = disk.open(path, open_mode::create_new);
  return std::move(*handle);
}

TEST(sim_disk, unsynced_data_is_read_and_lost) {
  sim_disk disk;
  auto f = make(disk, "d/f");
  ASSERT_TRUE(f->pwrite(bytes_of("old"), 0));
  ASSERT_TRUE(f->sync());
  ASSERT_TRUE(disk.sync_dir("d"));
  ASSERT_TRUE(f->pwrite(bytes_of("new"), 0));
  EXPECT_EQ(text_of(disk, "d/f"), "new");
  disk.crash_keeping_first(0);
  EXPECT_EQ(text_of(disk, "d/f"), "old");
}

TEST(sim_disk, a_write_tears_between_sectors_only) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    sim_disk disk{seed};
    auto f = make(disk, "d/f");
    ASSERT_TRUE(f->pwrite(bytes_of(std::string(1536, 'a')), 0));
    ASSERT_TRUE(f->sync());
    ASSERT_TRUE(disk.sync_dir("d"));
    ASSERT_TRUE(f->pwrite(bytes_of(std::string(1536, 'b')), 0));
    EXPECT_EQ(disk.pending(), 3U);
    disk.crash();
    const auto text = text_of(disk, "d/f");
    for (std::size_t sector = 0; sector < 3; ++sector)
      EXPECT_EQ(text.substr(sector * 512, 512), std::string(512, text[sector * 512]));
    seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 8U) << "every combination of three sectors happens";
}

TEST(sim_disk, a_file_without_a_directory_sync_is_gone) {
  sim_disk disk;
  auto f = make(disk, "d/f");
  ASSERT_TRUE(f->pwrite(bytes_of("x"), 0));
  ASSERT_TRUE(f->sync());
  disk.crash_keeping_first(0);
  EXPECT_FALSE(*disk.exists("d/f"));
}

TEST(sim_disk, a_rename_is_atomic_and_durable_with_the_directory) {
  sim_disk disk;
  ASSERT_TRUE(disk.make_dir("d"));
  ASSERT_TRUE(replace_file(disk, "d", "f", bytes_of("one")));
  auto f = make(disk, "d/t");
  ASSERT_TRUE(f->pwrite(bytes_of("two"), 0));
  ASSERT_TRUE(f->sync());
  ASSERT_TRUE(disk.rename("d/t", "d/f"));
  EXPECT_EQ(text_of(disk, "d/f"), "two");
  sim_disk before = disk;
  before.crash_keeping_first(0);
  EXPECT_EQ(text_of(before, "d/f"), "one");
  ASSERT_TRUE(disk.sync_dir("d"));
  disk.crash_keeping_first(0);
  EXPECT_EQ(text_of(disk, "d/f"), "two");
  EXPECT_FALSE(*disk.exists("d/t"));
}

TEST(sim_disk, copies_are_independent) {
  sim_disk disk;
  auto f = make(disk, "d/f");
  ASSERT_TRUE(f->pwrite(bytes_of("x"), 0));
  sim_disk copy = disk;
  ASSERT_TRUE(f->pwrite(bytes_of("y"), 0));
  EXPECT_EQ(text_of(copy, "d/f"), "x");
  copy.crash_keeping_first(0);
  EXPECT_EQ(text_of(disk, "d/f"), "y");
}

TEST(sim_disk, a_dead_process_has_no_files_and_no_locks) {
  sim_disk disk;
  auto f = make(disk, "d/f");
  auto lock = disk.lock("d/LOCK");
  ASSERT_TRUE(lock);
  EXPECT_EQ(disk.lock("d/LOCK").error().code, storage_errc::locked);
  ASSERT_TRUE(f->pwrite(bytes_of("x"), 0));
  disk.kill_process();
  EXPECT_EQ(text_of(disk, "d/f"), "x");
  EXPECT_FALSE(f->sync());
  auto second = disk.lock("d/LOCK");
  ASSERT_TRUE(second);
  lock->reset();
  EXPECT_FALSE(disk.lock("d/LOCK")) << "the dead one gave back what it no longer had";
}

TEST(sim_disk, a_failed_sync_leaves_data_unsynced) {
  sim_disk disk;
  auto f = make(disk, "d/f");
  ASSERT_TRUE(disk.sync_dir("d"));
  ASSERT_TRUE(f->pwrite(bytes_of("x"), 0));
  disk.fail_sync(1, EIO);
  EXPECT_EQ(f->sync().error().code, storage_errc::io);
  sim_disk after = disk;
  after.crash_keeping_first(0);
  EXPECT_EQ(text_of(after, "d/f"), "");
  EXPECT_TRUE(f->sync());
}

TEST(sim_disk, a_failed_sync_may_forget_what_reads_still_see) {
  sim_disk disk;
  disk_faults forgetful;
  forgetful.failed_sync_forgets = true;
  disk.set_faults(forgetful);
  auto f = make(disk, "d/f");
  ASSERT_TRUE(f->pwrite(bytes_of(std::string(512, 'x')), 0));
  ASSERT_TRUE(f->sync());
  ASSERT_TRUE(disk.sync_dir("d"));
  ASSERT_TRUE(f->pwrite(bytes_of(std::string(512UL * 64, 'y')), 0));
  disk.fail_sync(1, EIO);
  EXPECT_FALSE(f->sync());
  EXPECT_TRUE(f->sync()) << "nothing is left to write";
  EXPECT_EQ(text_of(disk, "d/f"), std::string(512UL * 64, 'y'));
  EXPECT_GT(disk.lies(), 0U);
  disk.crash_keeping_first(0);
  EXPECT_NE(text_of(disk, "d/f"), std::string(512UL * 64, 'y'));
}

TEST(sim_disk, power_is_lost_in_the_middle_of_the_nth_call) {
  for (std::uint64_t nth = 1; nth <= 4; ++nth) {
    sim_disk disk;
    ASSERT_TRUE(disk.make_dir("d"));
    ASSERT_TRUE(replace_file(disk, "d", "f", bytes_of("old")));
    disk.lose_power_in(nth + 1);  // 1: the making of the temporary file
    EXPECT_FALSE(replace_file(disk, "d", "f", bytes_of("new"))) << nth;
    EXPECT_FALSE(disk.has_power());
    EXPECT_FALSE(disk.sync_dir("d")) << "nothing works any more";
    disk.crash();
    EXPECT_TRUE(disk.has_power());
    const auto text = text_of(disk, "d/f");
    EXPECT_TRUE(text == "old" || text == "new") << nth << ": " << text;
  }
}

TEST(sim_disk, a_lost_and_a_misdirected_write_show_after_the_power_is_gone) {
  sim_disk lost;
  auto f = make(lost, "d/f");
  ASSERT_TRUE(lost.sync_dir("d"));
  ASSERT_TRUE(f->pwrite(bytes_of(std::string(1024, 'a')), 0));
  ASSERT_TRUE(f->sync());
  sim_disk astray = lost;
  lost.lose_write(2);
  ASSERT_TRUE(f->pwrite(bytes_of(std::string(1024, 'b')), 0));
  ASSERT_TRUE(f->sync());
  EXPECT_EQ(text_of(lost, "d/f"), std::string(1024, 'b'));
  EXPECT_EQ(lost.lies(), 1U);
  lost.crash();
  EXPECT_EQ(text_of(lost, "d/f"), std::string(512, 'b') + std::string(512, 'a'));

  auto g = *astray.open("d/f", open_mode::write);
  astray.misdirect_write(1);
  ASSERT_TRUE(g->pwrite(bytes_of(std::string(512, 'c')), 0));
  ASSERT_TRUE(g->sync());
  EXPECT_EQ(astray.lies(), 1U);
  astray.crash();
  EXPECT_EQ(text_of(astray, "d/f").find('c') % 512, 0U) << "a sector, wherever it went";
}

TEST(sim_disk, capacity_is_enforced) {
  sim_disk disk;
  disk_faults small;
  small.capacity_bytes = 1000;
  disk.set_faults(small);
  auto f = make(disk, "d/f");
  ASSERT_TRUE(f->pwrite(bytes_of(std::string(1000, 'x')), 0));
  EXPECT_TRUE(f->pwrite(bytes_of(std::string(1000, 'y')), 0)) << "within what is there";
  EXPECT_EQ(f->pwrite(bytes_of("z"), 1000).error().code, storage_errc::no_space);
}

TEST(sim_disk, the_same_seed_gives_the_same_disk) {
  const auto run = [](std::uint64_t seed) {
    sim_disk disk{seed};
    disk_faults faults;
    faults.lost_write_ppm = 100'000;
    faults.misdirected_write_ppm = 100'000;
    disk.set_faults(faults);
    auto f = make(disk, "d/f");
    for (int i = 0; i < 50; ++i)
      (void)f->pwrite(bytes_of(std::string(700, static_cast<char>('a' + i % 26))), i * 300ULL);
    (void)f->sync();
    (void)disk.sync_dir("d");
    disk.rot("d");
    disk.crash();
    return text_of(disk, "d/f");
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

}  // namespace
}  // namespace blixard::storage::test
