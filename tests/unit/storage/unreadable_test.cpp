// Bad sectors that the disk reports (EIO): damage like any other, never the end of the log, and
// never a reason to give up what can be read.
#include <algorithm>
#include <cerrno>

#include "messages/limits.hpp"
#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

constexpr std::uint64_t sector = limits::sector_bytes;

/// A file system with one bad range in one file.
class bad_disk final : public file_system {
 public:
  explicit bad_disk(file_system& below) : below_(below) {}
  void spoil(const std::string& path, std::uint64_t offset, std::uint64_t size) {
    path_ = path;
    from_ = offset;
    to_ = offset + size;
  }

  result<std::unique_ptr<file>> open(const std::string& path, open_mode mode) override {
    auto opened = below_.open(path, mode);
    if (!opened || path != path_) return opened;
    return std::make_unique<bad_file>(std::move(*opened), from_, to_);
  }
  result<std::unique_ptr<file_lock>> lock(const std::string& path) override {
    return below_.lock(path);
  }
  result<std::vector<std::string>> list(const std::string& dir) override {
    return below_.list(dir);
  }
  result<void> rename(const std::string& from, const std::string& to) override {
    if (from == path_) path_ = to;
    return below_.rename(from, to);
  }
  result<void> unlink(const std::string& path) override { return below_.unlink(path); }
  result<bool> exists(const std::string& path) override { return below_.exists(path); }
  result<void> make_dir(const std::string& path) override { return below_.make_dir(path); }
  result<void> sync_dir(const std::string& dir) override { return below_.sync_dir(dir); }

 private:
  class bad_file final : public file {
   public:
    bad_file(std::unique_ptr<file> below, std::uint64_t from, std::uint64_t to)
        : below_(std::move(below)), from_(from), to_(to) {}
    result<std::size_t> pread(std::span<std::byte> into, std::uint64_t offset) override {
      if (offset < to_ && from_ < offset + into.size())
        return tl::unexpected(system_error(EIO, "read", "a bad sector"));
      return below_->pread(into, offset);
    }
    result<void> pwritev(std::span<const iovec> pieces, std::uint64_t offset) override {
      return below_->pwritev(pieces, offset);
    }
    result<void> sync() override { return below_->sync(); }
    result<void> truncate(std::uint64_t size) override { return below_->truncate(size); }
    result<std::uint64_t> size() override { return below_->size(); }
    void start_writeback(std::uint64_t offset, std::uint64_t size) override {
      below_->start_writeback(offset, size);
    }

   private:
    std::unique_ptr<file> below_;
    std::uint64_t from_;
    std::uint64_t to_;
  };

  file_system& below_;
  std::string path_;
  std::uint64_t from_ = 0;
  std::uint64_t to_ = 0;
};

class unreadable : public testing::Test {
 protected:
  unreadable() {
    auto [store, found] = open(disk_, with_);
    for (std::uint64_t i = 1; i <= 100; i += 4) {
      persist(*store, make_entries(i, i + 3, 1, 260), hard(1, 2, i));
      while (*store->prepare()) {
      }
      for (const std::uint64_t at : {41, 81})
        if (i == at) {
          EXPECT_TRUE(store->save_snapshot(make_snapshot(at - 1, 1)));
        }
    }
  }
  const store_options with_ = options(8 * 1024);
  sim_disk disk_;
};

TEST_F(unreadable, a_bad_sector_anywhere_in_the_log_is_damage_and_what_precedes_it_is_kept) {
  const std::string wal = std::string{dir} + "/wal/";
  const auto names = disk_.list(std::string{dir} + "/wal");
  const auto all = make_entries(1, 100, 1, 260);
  for (const auto& name : *names) {
    const std::uint64_t size = disk_.content(wal + name).size();
    for (std::uint64_t at = 0; at < size; at += sector) {
      bad_disk bad{disk_};
      bad.spoil(wal + name, at, sector);
      const auto found = store::examine(bad, dir);
      ASSERT_TRUE(found) << name << " at " << at << ": " << found.error().message;
      ASSERT_TRUE(found->corrupt) << name << " at " << at;
      ASSERT_TRUE(found->corrupt->repairable);
      const auto from = all.begin() + static_cast<std::ptrdiff_t>(found->snap.index.value());
      ASSERT_LE(found->last_index, log_index{100});
      ASSERT_TRUE(std::equal(found->entries.begin(), found->entries.end(), from)) << at;
    }
  }
}

TEST_F(unreadable, the_log_goes_on_without_writing_to_the_bad_sector_again) {
  const std::string wal = std::string{dir} + "/wal/";
  const auto names = disk_.list(std::string{dir} + "/wal");
  for (const std::uint64_t at : {0U, 2048U, 5120U}) {
    sim_disk disk = disk_;
    bad_disk bad{disk};
    bad.spoil(wal + (*names)[1], at, sector);
    std::uint64_t left = 0;
    {
      auto [store, found] = open(bad, with_);
      ASSERT_TRUE(found.corrupt);
      left = found.last_index.value();
      ASSERT_TRUE(store->accept_damage());
      persist(*store, make_entries(left + 1, 120, 2, 260), hard(2, 0, left));
      ASSERT_TRUE(store->repaired());
    }
    disk.crash_keeping_first(0);
    const auto found = open(bad, with_).found;
    ASSERT_FALSE(found.corrupt) << at << ": " << found.corrupt->what;
    EXPECT_EQ(found.last_index, log_index{120}) << at;
  }
}

TEST_F(unreadable, one_bad_sector_of_term_and_vote_costs_a_copy) {
  const std::string meta = std::string{dir} + "/meta";
  for (std::uint64_t at = 0; at < disk_.content(meta).size(); at += sector) {
    bad_disk bad{disk_};
    bad.spoil(meta, at, sector);
    const auto found = store::examine(bad, dir);
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_FALSE(found->corrupt) << at;
    EXPECT_EQ(found->hard.term, blixard::term{1});
    EXPECT_EQ(found->hard.vote, node_id{2});
    EXPECT_EQ(found->warnings.size(), at % 4096 == 0 ? 1U : 0U) << at;
  }
  bad_disk bad{disk_};
  bad.spoil(meta, 0, disk_.content(meta).size());
  const auto found = store::examine(bad, dir);
  ASSERT_TRUE(found && found->corrupt);
  EXPECT_FALSE(found->corrupt->repairable);
}

TEST_F(unreadable, a_bad_sector_of_the_newest_snapshot_falls_back_to_the_older) {
  const std::string folder = std::string{dir} + "/snap";
  const auto names = disk_.list(folder);
  ASSERT_EQ(names->size(), 2U);
  const std::string newest = folder + "/" + names->back();
  bad_disk bad{disk_};
  bad.spoil(newest, 0, disk_.content(newest).size());
  const auto found = store::examine(bad, dir);
  ASSERT_TRUE(found && !found->corrupt);
  EXPECT_EQ(found->snap.index, log_index{40});
  EXPECT_EQ(found->last_index, log_index{100});
  EXPECT_EQ(found->warnings.size(), 1U);
}

TEST_F(unreadable, an_error_that_is_none_of_a_bad_sector_is_not_taken_for_damage) {
  EXPECT_TRUE(is_unreadable(system_error(EIO, "read", "x")));
  for (const int other : {EMFILE, ENOMEM, EACCES, ENOSPC})
    EXPECT_FALSE(is_unreadable(system_error(other, "read", "x"))) << other;
}

}  // namespace
}  // namespace blixard::storage::test
