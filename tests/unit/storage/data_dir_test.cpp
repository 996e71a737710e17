// Whose data it is, on the real file system: each kind of wrong directory has its own error and
// exit code.
#include "runtime/storage/data_dir.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "runtime/storage/wal_command.hpp"
#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

class real_disk : public testing::Test {
 protected:
  real_disk() {
    std::string pattern = (std::filesystem::temp_directory_path() / "blixard-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    path_ = root_ / "a" / "node1";
  }
  ~real_disk() override { std::filesystem::remove_all(root_); }

  [[nodiscard]] int open_exit_code(const identity& who) {
    store_options with = options(64 * 1024);
    with.owner = who;
    const auto opened = store::open(fs_, path_.string(), with);
    if (opened) return 0;
    EXPECT_NE(opened.error().message.find(root_.string()), std::string::npos)
        << "names no path: " << opened.error().message;
    return exit_code(opened.error().code);
  }
  void write_json(const std::string& text) { std::ofstream{path_ / "node.json"} << text; }

  static constexpr identity me{node_id{1}, cluster_id{77}};
  posix_file_system fs_;
  std::filesystem::path root_;
  std::filesystem::path path_;
};

TEST_F(real_disk, what_was_synced_is_found_again) {
  const auto entries = make_entries(1, 3000, 2, 301);  // more pieces than one call takes
  const store_options with = options(64 * 1024);
  {
    auto opened = store::open(fs_, path_.string(), with);
    ASSERT_TRUE(opened) << opened.error().message;
    persist(*opened->disk, entries, hard(2, 1, 2999));
    while (*opened->disk->prepare()) {
    }
    ASSERT_TRUE(opened->disk->save_snapshot(make_snapshot(1000, 2)));
    ASSERT_TRUE(opened->disk->flush_hint());
  }
  const auto again = store::open(fs_, path_.string(), with);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_FALSE(again->found.corrupt);
  EXPECT_EQ(again->found.hard, hard(2, 1, 2999));
  EXPECT_EQ(again->found.snap, make_snapshot(1000, 2));
  ASSERT_EQ(again->found.entries.size(), 2000U);
  EXPECT_EQ(again->found.entries, std::vector<entry>(entries.begin() + 1000, entries.end()));
}

/// How many of this process's descriptors are of removed files below `dir`.
std::size_t open_and_removed(const std::filesystem::path& dir) {
  std::size_t count = 0;
  for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the iterator's own
    const auto target = std::filesystem::read_symlink(fd, gone).string();
    if (target.starts_with(dir.string()) && target.ends_with("(deleted)")) ++count;
  }
  return count;
}

TEST_F(real_disk, a_large_file_is_gone_at_once_and_freed_before_its_file_system_ends) {
  std::filesystem::create_directories(path_);
  const std::string file = (path_ / "large").string();
  {
    posix_file_system fs;
    for (int i = 0; i < 20; ++i) {
      std::ofstream{file} << std::string(2 << 20, 'x');
      ASSERT_TRUE(fs.unlink(file));
      EXPECT_FALSE(*fs.exists(file));
    }
    std::ofstream{file} << "small";
    ASSERT_TRUE(fs.unlink(file));
    EXPECT_FALSE(*fs.exists(file));
    EXPECT_FALSE(fs.unlink(file)) << "it is not there any more";
  }
  EXPECT_EQ(open_and_removed(root_), 0U);
}

TEST_F(real_disk, a_second_node_on_the_same_directory_is_refused) {
  const auto first = store::open(fs_, path_.string(), options());
  ASSERT_TRUE(first);
  EXPECT_EQ(open_exit_code(me), 5);
}

TEST_F(real_disk, the_lock_is_free_after_the_node) {
  EXPECT_EQ(open_exit_code(me), 0);
  EXPECT_EQ(open_exit_code(me), 0);
}

TEST_F(real_disk, data_of_another_node_or_cluster_is_refused) {
  ASSERT_EQ(open_exit_code(me), 0);
  EXPECT_EQ(open_exit_code({node_id{2}, cluster_id{77}}), 6);
  EXPECT_EQ(open_exit_code({node_id{1}, cluster_id{78}}), 6);
  EXPECT_EQ(open_exit_code({node_id{1}, {}}), 0) << "a node that does not know its cluster";
}

TEST_F(real_disk, a_cluster_id_is_learned_once) {
  store_options with = options();
  with.owner.cluster = {};
  {
    const auto opened = store::open(fs_, path_.string(), with);
    ASSERT_TRUE(opened->disk->set_cluster(cluster_id{0xABCDEF0123456789}));
    EXPECT_FALSE(opened->disk->set_cluster(cluster_id{5}));
  }
  const auto again = store::open(fs_, path_.string(), with);
  EXPECT_EQ(again->found.owner.cluster, cluster_id{0xABCDEF0123456789});
}

TEST_F(real_disk, a_newer_format_is_refused) {
  ASSERT_EQ(open_exit_code(me), 0);
  write_json(R"({"format":2,"something":"else"})");
  EXPECT_EQ(open_exit_code(me), 7);
}

TEST_F(real_disk, a_node_json_that_says_nothing_is_corruption) {
  ASSERT_EQ(open_exit_code(me), 0);
  for (const char* text :
       {"", "{", "[]", "{}", R"({"format":1})", R"({"format":1,"node_id":-1,"cluster_id":"1"})",
        R"({"format":1,"node_id":1,"cluster_id":"xyz"})", R"({"format":"1"})"}) {
    write_json(text);
    EXPECT_EQ(open_exit_code(me), 10) << text;
  }
}

TEST_F(real_disk, data_without_a_node_json_is_not_overwritten) {
  {
    auto opened = store::open(fs_, path_.string(), options());
    persist(*opened->disk, make_entries(1, 3, 1));
  }
  std::filesystem::remove(path_ / "node.json");
  EXPECT_EQ(open_exit_code(me), 10);
}

TEST_F(real_disk, a_file_in_the_way_is_a_clear_error) {
  std::filesystem::create_directories(path_.parent_path());
  std::ofstream{path_} << "not a directory";
  EXPECT_EQ(open_exit_code(me), 3);
}

TEST_F(real_disk, a_directory_that_cannot_be_written_is_a_clear_error) {
  // /sys takes no new directories from anybody, root included.
  const auto opened = store::open(fs_, "/sys/blixard-test", options());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, storage_errc::read_only);
  EXPECT_NE(opened.error().message.find("/sys/blixard-test"), std::string::npos);
}

TEST_F(real_disk, errors_are_told_apart) {
  EXPECT_EQ(system_error(ENOSPC, "write", "x").code, storage_errc::no_space);
  EXPECT_EQ(system_error(EDQUOT, "write", "x").code, storage_errc::no_space);
  EXPECT_EQ(system_error(EMFILE, "open", "x").code, storage_errc::no_files);
  EXPECT_EQ(system_error(ENFILE, "open", "x").code, storage_errc::no_files);
  EXPECT_EQ(system_error(EROFS, "write", "x").code, storage_errc::read_only);
  EXPECT_EQ(system_error(EIO, "write", "x").code, storage_errc::io);
  EXPECT_EQ(exit_code(storage_errc::no_space), 11);
}

TEST_F(real_disk, a_write_to_a_full_device_says_so) {
  auto full = fs_.open("/dev/full", open_mode::write);
  ASSERT_TRUE(full);
  const auto bytes = std::as_bytes(std::span{"x", 1});
  EXPECT_EQ((*full)->pwrite(bytes, 0).error().code, storage_errc::no_space);
}

// ---------------------------------------------------------------- blixard wal dump | verify

class wal_tool : public real_disk {
 protected:
  struct answer {
    int code = 0;
    std::string out;
    std::string err;
  };
  answer run(bool verify, bool json) {
    answer a;
    char* out = nullptr;
    char* err = nullptr;
    std::size_t out_size = 0;
    std::size_t err_size = 0;
    std::FILE* out_file = ::open_memstream(&out, &out_size);
    std::FILE* err_file = ::open_memstream(&err, &err_size);
    a.code = wal_command(verify, json, path_.string(), out_file, err_file);
    std::fclose(out_file);
    std::fclose(err_file);
    a.out.assign(out, out_size);
    a.err.assign(err, err_size);
    std::free(out);
    std::free(err);
    return a;
  }
  void make_log() {
    auto opened = store::open(fs_, path_.string(), options(64 * 1024));
    persist(*opened->disk, make_entries(1, 3, 7), hard(7, 1, 2));
  }
  /// Changes one byte of the log file.
  void spoil(std::uint64_t offset) {
    std::fstream f{path_ / "wal" / "0000000000000001.wal",
                   std::ios::in | std::ios::out | std::ios::binary};
    f.seekp(static_cast<std::streamoff>(offset));
    f.put('!');
  }
};

TEST_F(wal_tool, dump_lists_every_record_as_json) {
  make_log();
  const auto a = run(false, true);
  EXPECT_EQ(a.code, 0) << a.err;
  EXPECT_NE(a.out.find(R"({"file":"wal/0000000000000001.wal","offset":512,"length":72,"index":1,)"
                       R"("term":7,"type":"normal","ok":true})"),
            std::string::npos)
      << a.out;
  EXPECT_NE(a.out.find(R"("offset":656,"length":72,"index":3,)"), std::string::npos) << a.out;
  EXPECT_NE(a.out.find(R"("type":"meta","ok":true)"), std::string::npos) << a.out;
}

TEST_F(wal_tool, verify_of_a_sound_log_succeeds) {
  make_log();
  EXPECT_EQ(run(true, false).code, 0);
  EXPECT_NE(run(true, false).out.find(": ok"), std::string::npos);
  EXPECT_EQ(run(true, true).out, R"({"records":5,"damaged":0,"tail_bytes":0,"ok":true})"
                                 "\n");
}

TEST_F(wal_tool, verify_names_the_damaged_place) {
  make_log();
  spoil(600);
  const auto a = run(true, true);
  EXPECT_EQ(a.code, 1);
  EXPECT_NE(a.out.find(R"("file":"wal/0000000000000001.wal","offset":584,)"), std::string::npos)
      << a.out;
  EXPECT_NE(a.out.find(R"("ok":false)"), std::string::npos);
  EXPECT_NE(run(false, false).out.find("DAMAGED"), std::string::npos);
}

TEST_F(wal_tool, verify_changes_nothing_and_works_beside_a_node) {
  make_log();
  auto opened = store::open(fs_, path_.string(), options(64 * 1024));
  ASSERT_TRUE(opened);
  EXPECT_EQ(run(true, false).code, 0);
  persist(*opened->disk, make_entries(4, 4, 7));
}

/// A node beside the reader removes a segment: its name goes, and whoever has it open sees it
/// shrink.
class removing_file_system : public file_system {
 public:
  removing_file_system(file_system& real, std::string segment, bool before_open)
      : real_(real), segment_(std::move(segment)), before_open_(before_open) {}

  result<std::unique_ptr<file>> open(const std::string& path, open_mode mode) override {
    const bool now = path.ends_with(segment_) && !removed_;
    removed_ = removed_ || now;
    if (now && before_open_) remove(path);
    auto opened = real_.open(path, mode);
    if (now && !before_open_) remove(path);
    return opened;
  }
  result<std::unique_ptr<file_lock>> lock(const std::string& p) override { return real_.lock(p); }
  result<std::vector<std::string>> list(const std::string& d) override { return real_.list(d); }
  result<void> rename(const std::string& a, const std::string& b) override {
    return real_.rename(a, b);
  }
  result<void> unlink(const std::string& p) override { return real_.unlink(p); }
  result<bool> exists(const std::string& p) override { return real_.exists(p); }
  result<void> make_dir(const std::string& p) override { return real_.make_dir(p); }
  result<void> sync_dir(const std::string& d) override { return real_.sync_dir(d); }

  [[nodiscard]] bool removed() const noexcept { return removed_; }

 private:
  void remove(const std::string& path) {
    std::filesystem::resize_file(path, 1024);
    std::filesystem::remove(path);
  }

  file_system& real_;
  std::string segment_;
  bool before_open_;
  bool removed_ = false;
};

TEST_F(wal_tool, a_segment_that_is_removed_while_it_is_read_is_no_damage) {
  for (const bool before_open : {true, false}) {
    std::filesystem::remove_all(path_);
    {
      auto opened = store::open(fs_, path_.string(), options(8192));
      for (std::uint64_t i = 1; i <= 60; ++i)
        persist(*opened->disk, {make_entry(i, 7, 500)}, hard(7, 1, i));
    }
    removing_file_system beside{fs_, "0000000000000001.wal", before_open};
    std::vector<std::uint64_t> indexes;
    const auto found = inspect(beside, path_.string(), [&](const record_info& r) {
      EXPECT_TRUE(r.ok) << r.file << " " << r.offset << " " << r.note;
      if (r.type == "normal") indexes.push_back(r.index.value());
    });
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(beside.removed());
    EXPECT_EQ(found->damaged, 0U);
    EXPECT_TRUE(std::ranges::is_sorted(indexes));
    EXPECT_EQ(std::ranges::adjacent_find(indexes), indexes.end()) << "told twice";
    EXPECT_EQ(indexes.back(), 60U);
  }
}

TEST_F(wal_tool, damage_beside_a_segment_that_is_removed_is_still_damage) {
  {
    auto opened = store::open(fs_, path_.string(), options(8192));
    for (std::uint64_t i = 1; i <= 60; ++i)
      persist(*opened->disk, {make_entry(i, 7, 500)}, hard(7, 1, i));
  }
  std::fstream f{path_ / "wal" / "0000000000000003.wal",
                 std::ios::in | std::ios::out | std::ios::binary};
  f.seekp(1500);
  f.put('!');
  f.close();
  removing_file_system beside{fs_, "0000000000000001.wal", false};
  const auto found = inspect(beside, path_.string(), {});
  ASSERT_TRUE(found);
  EXPECT_TRUE(beside.removed());
  EXPECT_EQ(found->damaged, 1U);
}

TEST_F(wal_tool, a_directory_that_is_not_there_is_an_error) {
  const auto a = run(true, false);
  EXPECT_EQ(a.code, 3);
  EXPECT_NE(a.err.find("node.json"), std::string::npos) << a.err;
}

}  // namespace
}  // namespace blixard::storage::test
