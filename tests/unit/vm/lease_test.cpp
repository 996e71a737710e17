// The lease page: what one process writes another reads, and everything doubtful is no lease.
#include "runtime/vm/lease.hpp"

#include <fcntl.h>
#include <isa-l/crc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/unit/vm/support.hpp"

namespace blixard::vm {
namespace {

using test::temp_dir;

/// Flips one bit of a file.
void flip(const std::string& path, off_t offset) {
  const unique_fd fd{::open(path.c_str(), O_RDWR)};
  char byte = 0;
  ASSERT_EQ(::pread(fd.get(), &byte, 1, offset), 1);
  byte = static_cast<char>(byte ^ 1);
  ASSERT_EQ(::pwrite(fd.get(), &byte, 1, offset), 1);
}

TEST(lease, a_new_page_grants_nothing) {
  const temp_dir dir;
  const auto page = lease_page::open(dir / "lease");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->current(), lease_value{});
  EXPECT_FALSE(page->valid_at(0));
}

TEST(lease, a_page_has_a_disk_of_its_own_that_stays) {
  const temp_dir dir;
  const auto drawn = lease_page::open(dir / "lease")->disk();
  EXPECT_NE(drawn, 0);
  EXPECT_EQ(lease_page::open(dir / "lease")->disk(), drawn);
  EXPECT_NE(lease_page::open(dir / "other")->disk(), drawn);
  flip(dir / "lease", 0);  // another magic: nothing in it is believed
  EXPECT_NE(lease_page::open(dir / "lease")->disk(), drawn);
}

TEST(lease, readers_see_what_was_granted_up_to_the_deadline_and_not_at_it) {
  const temp_dir dir;
  auto writer = lease_page::open(dir / "lease");
  const auto reader = lease_page::open_readonly(dir / "lease");
  ASSERT_TRUE(writer && reader);
  writer->extend(7, 1000);
  EXPECT_EQ(reader->current(), (lease_value{7, 1000}));
  EXPECT_TRUE(reader->valid_at(999));
  EXPECT_FALSE(reader->valid_at(1000));
}

TEST(lease, a_late_grant_never_shortens_it_and_an_older_incarnation_never_extends_it) {
  const temp_dir dir;
  auto page = lease_page::open(dir / "lease");
  ASSERT_TRUE(page);
  page->extend(7, 1000);
  page->extend(7, 900);
  EXPECT_EQ(page->current(), (lease_value{7, 1000}));
  page->extend(6, 2000);
  EXPECT_EQ(page->current(), (lease_value{7, 1000}));
  page->extend(8, 2000);
  EXPECT_EQ(page->current(), (lease_value{8, 2000}));
}

TEST(lease, revoke_ends_it_and_it_can_be_granted_again) {
  const temp_dir dir;
  auto page = lease_page::open(dir / "lease");
  ASSERT_TRUE(page);
  page->extend(7, 1000);
  page->revoke();
  EXPECT_FALSE(page->valid_at(1));
  page->extend(7, 500);
  EXPECT_TRUE(page->valid_at(499));
}

TEST(lease, it_survives_the_daemon) {
  const temp_dir dir;
  lease_page::open(dir / "lease")->extend(7, 1000);
  EXPECT_EQ(lease_page::open(dir / "lease")->current(), (lease_value{7, 1000}));
}

TEST(lease, every_damaged_byte_of_the_current_slot_means_no_lease) {
  const temp_dir dir;
  const std::string path = dir / "lease";
  for (off_t offset = 0; offset < 32; ++offset) {
    std::filesystem::remove(path);
    auto page = lease_page::open(path);  // the first publication went to slot 1, this one to slot 0
    ASSERT_TRUE(page);
    page->extend(7, 1000);
    ASSERT_TRUE(page->valid_at(999));
    flip(path, 16 + offset);
    EXPECT_FALSE(page->valid_at(999)) << "offset " << offset;
  }
}

/// Writes a page with one well-formed slot.
void write_page(const std::string& path, std::uint64_t boot) {
  std::uint64_t slot[4] = {7, 1000, boot, 0};
  slot[3] = crc32_iscsi(reinterpret_cast<unsigned char*>(slot), 24, 0xFFFFFFFFU);
  std::string page{"BXLEASE1\0\0\0\0\0\0\0\0", 16};
  page.append(reinterpret_cast<const char*>(slot), sizeof slot);
  page.resize(4096);
  ASSERT_TRUE(write_file(path, page, false));
}

TEST(lease, a_page_of_another_boot_is_no_lease) {
  const temp_dir dir;
  write_page(dir / "now", boot_id_hash());
  write_page(dir / "before", boot_id_hash() + 1);
  EXPECT_TRUE(lease_page::open_readonly(dir / "now")->valid_at(999));
  EXPECT_FALSE(lease_page::open_readonly(dir / "before")->valid_at(999));
  EXPECT_FALSE(lease_page::open(dir / "before")->valid_at(999));
}

TEST(lease, a_short_file_or_garbage_is_refused_or_grants_nothing) {
  const temp_dir dir;
  EXPECT_EQ(lease_page::open_readonly(dir / "none").error().code, errc::not_found);
  ASSERT_TRUE(write_file(dir / "short", "abc", false));
  EXPECT_FALSE(lease_page::open_readonly(dir / "short"));
  ASSERT_TRUE(write_file(dir / "noise", std::string(4096, '\xa5'), false));
  const auto noise = lease_page::open_readonly(dir / "noise");
  ASSERT_TRUE(noise);
  EXPECT_EQ(noise->current(), lease_value{});
  auto repaired = lease_page::open(dir / "noise");
  ASSERT_TRUE(repaired);
  repaired->extend(1, 10);
  EXPECT_EQ(noise->current(), (lease_value{1, 10}));
}

TEST(lease, a_reader_beside_a_busy_writer_sees_only_published_pairs) {
  const temp_dir dir;
  auto writer = lease_page::open(dir / "lease");
  const auto reader = lease_page::open_readonly(dir / "lease");
  ASSERT_TRUE(writer && reader);
  std::atomic<bool> stop{false};
  std::thread thread{[&] {
    for (std::uint64_t i = 1; !stop; ++i) writer->extend(i, i * 3);
  }};
  std::uint64_t seen = 0;
  // On a busy machine the writer may not have had its turn by then: read on until it has.
  for (int i = 0; i < 200'000 || (seen == 0 && i < 2'000'000'000); ++i) {
    if (i >= 200'000) std::this_thread::yield();
    const auto v = reader->current();
    if (v == lease_value{}) continue;  // the writer lapped us: the safe answer
    ASSERT_EQ(v.deadline_ns, v.incarnation * 3);
    ASSERT_GE(v.incarnation, seen);
    seen = v.incarnation;
  }
  stop = true;
  thread.join();
  EXPECT_GT(seen, 0U);
}

TEST(lease, another_process_sees_it_at_once) {
  const temp_dir dir;
  auto writer = lease_page::open(dir / "lease");
  ASSERT_TRUE(writer);
  writer->extend(7, boottime_ns() + 3600'000'000'000U);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const auto reader = lease_page::open_readonly(dir / "lease");
    ::_exit(reader && reader->valid_at(boottime_ns()) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace blixard::vm
