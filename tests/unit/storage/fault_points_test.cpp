// The fault points of the store, on the real file system: this program holds the store compiled
// with them. Whatever a point does, what was acknowledged before it is found at the next start.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "runtime/base/fault.hpp"
#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

static_assert(fault::compiled_in);

class fault_points : public testing::Test {
 protected:
  fault_points() {
    GTEST_FLAG_SET(death_test_style, "fast");
    std::string pattern = (std::filesystem::temp_directory_path() / "blixard-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~fault_points() override {
    (void)fault::arm("", 0);
    std::filesystem::remove_all(path_);
  }
  [[nodiscard]] store::opened start() {
    auto opened = store::open(fs_, path_, options(64 * 1024));
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }
  /// Everything that passes a point: entries, a vote, an own snapshot, one from a peer.
  static bool busy(store& disk) {
    const auto entries = make_entries(11, 20, 2, 300);
    const persist_batch first{persist_seq{2}, nullptr, entries, hard(2, 3, 15), true};
    if (!disk.write({&first, 1}) || !disk.sync()) return false;
    if (!disk.save_snapshot(make_snapshot(15, 2))) return false;
    const auto snap = make_snapshot(100, 2);
    const persist_batch second{persist_seq{3}, &snap, {}, hard(2, 3, 100), true};
    return disk.write({&second, 1}) && disk.sync();
  }
  void seed() {
    auto opened = start();
    persist(*opened.disk, make_entries(1, 10, 1, 300), hard(1, 1, 8));
  }
  /// What seed() had synced is there, and more only as busy() wrote it.
  void expect_sound(const std::string& after) {
    (void)fault::arm("", 0);
    const auto opened = start();
    ASSERT_FALSE(opened.found.corrupt) << after << ": " << opened.found.corrupt->what;
    EXPECT_GE(opened.found.last_index, log_index{10}) << after;
    EXPECT_GE(opened.found.hard.term, blixard::term{1}) << after;
    if (opened.found.snap.empty())
      EXPECT_EQ(opened.found.entries[9], make_entry(10, 1, 300)) << after;
    else
      EXPECT_EQ(opened.found.snap, make_snapshot(opened.found.snap.index.value(), 2)) << after;
  }

  posix_file_system fs_;
  std::string path_;
};

constexpr const char* points[] = {"wal.before_write",   "wal.after_write",   "wal.sync",
                                  "wal.after_sync",     "meta.before_write", "meta.after_sync",
                                  "snap.before_rename", "snap.after_rename", "snap.write",
                                  "snap.install"};

TEST_F(fault_points, a_crash_at_each_point_loses_nothing_that_was_acknowledged) {
  for (const std::string point : points) {
    std::filesystem::remove_all(path_);
    seed();
    EXPECT_EXIT(
        {
          (void)fault::arm(point + "=crash", 1);
          auto opened = start();
          (void)busy(*opened.disk);
          ::_exit(1);
        },
        testing::ExitedWithCode(137), "")
        << point;
    expect_sound(point);
  }
}

TEST_F(fault_points, an_error_at_each_point_is_reported_and_loses_nothing) {
  for (const std::string point : points) {
    if (point == "wal.after_sync" || point == "meta.after_sync") continue;  // nothing to fail there
    std::filesystem::remove_all(path_);
    seed();
    {
      auto opened = start();
      ASSERT_TRUE(fault::arm(point + "=error:EIO", 1));
      EXPECT_FALSE(busy(*opened.disk)) << point;
    }
    expect_sound(point);
  }
}

TEST_F(fault_points, a_short_write_of_any_length_is_a_torn_tail) {
  for (std::size_t bytes = 0; bytes < 3480; bytes += 97) {
    std::filesystem::remove_all(path_);
    seed();
    {
      auto opened = start();
      ASSERT_TRUE(fault::arm("wal.before_write=short:" + std::to_string(bytes), 1));
      EXPECT_FALSE(busy(*opened.disk));
    }
    expect_sound(std::to_string(bytes) + " bytes");
  }
}

}  // namespace
}  // namespace blixard::storage::test
