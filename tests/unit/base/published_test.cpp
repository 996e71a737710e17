// The published page: what is written is read, never torn, in this process and in another, also
// while the writer's process does nothing, and across a restart.
#include "runtime/base/published.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace blixard {
namespace {

// So many writes that readers which do not check the sequence fail every time (tried; 300,000 were
// not enough). The thread sanitizer looks for races, not for tears, and needs fewer.
#if defined(__SANITIZE_THREAD__)
constexpr std::uint64_t writes = 50'000;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr std::uint64_t writes = 50'000;
#else
constexpr std::uint64_t writes = 5'000'000;
#endif
#else
constexpr std::uint64_t writes = 5'000'000;
#endif

/// A value all of whose words tell the same number.
published_raft raft_of(std::uint64_t n) {
  published_raft out;
  out.term = term{n};
  out.leader = node_id{n};
  out.commit = log_index{n};
  out.last = log_index{n};
  out.role = static_cast<published_role>(n % 4);
  out.cluster_size = n;
  out.leader_contact_ns = n;
  return out;
}
published_state state_of(std::uint64_t n) {
  published_state out;
  out.applied = log_index{n};
  out.keys = n;
  out.vms.fill(static_cast<std::uint32_t>(n));
  out.initialized = n > 0 ? 1 : 0;
  return out;
}
bool is_whole(const published_raft& v) { return v == raft_of(v.commit.value()); }
bool is_whole(const published_state& v) { return v == state_of(v.applied.value()); }

/// Runs `child` in a new process and returns its exit code. Called while this process has one
/// thread.
template <class F>
pid_t fork_running(F&& child) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(child());
  return pid;
}
int exit_code_of(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct published_file : ::testing::Test {
  std::string folder = [] {
    const char* base = std::getenv("TMPDIR");
    std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/published.XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    return pattern;
  }();
  std::string path = folder + "/status";
  ~published_file() override { std::filesystem::remove_all(folder); }
};

TEST(published, starts_with_nothing_known) {
  const published page;
  EXPECT_EQ(page.raft(), published_raft{});
  EXPECT_EQ(page.state(), published_state{});
  EXPECT_FALSE(page.is_leader());
  EXPECT_FALSE(page.initialized());
  EXPECT_EQ(page.leader(), node_id{0});
}

TEST(published, groups_are_read_as_written) {
  published page;
  page.set_raft(raft_of(7));
  page.set_state(state_of(6));
  const auto all = page.read();
  EXPECT_EQ(all.raft, raft_of(7));
  EXPECT_EQ(all.state, state_of(6));
}

TEST(published, counts_the_groups_it_wrote) {
  published page;
  EXPECT_EQ(page.writes(), 0U);
  page.set_raft(raft_of(7));
  page.set_state(state_of(6));
  page.set_raft(raft_of(8));
  EXPECT_EQ(page.writes(), 3U);
  EXPECT_EQ(page.rereads(), 0U) << "nobody wrote while nobody read";
}

TEST(published, flags_follow_the_groups) {
  published page;
  published_raft raft;
  raft.role = published_role::leader;
  raft.leader = node_id{3};
  raft.term = term{9};
  raft.cluster_size = 5;
  page.set_raft(raft);
  EXPECT_TRUE(page.is_leader());
  EXPECT_EQ(page.leader(), node_id{3});
  EXPECT_EQ(page.term(), term{9});
  EXPECT_EQ(page.cluster_size(), 5U);
  EXPECT_FALSE(page.initialized());
  page.set_state(state_of(1));
  EXPECT_TRUE(page.initialized());
  raft.role = published_role::follower;
  page.set_raft(raft);
  EXPECT_FALSE(page.is_leader());
}

TEST(published, no_reader_ever_sees_a_torn_group_or_applied_beyond_commit) {
  published page;
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> committed{0};
  std::thread raft([&] {
    for (std::uint64_t n = 1; n <= writes; ++n) {
      page.set_raft(raft_of(n));
      committed.store(n, std::memory_order_release);
    }
    done = true;
  });
  std::thread state([&] {  // applies what is committed, as the node-state actor does
    while (!done) page.set_state(state_of(committed.load(std::memory_order_acquire)));
  });
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      std::uint64_t last_commit = 0;
      std::uint64_t last_applied = 0;
      while (!done) {
        const auto all = page.read();
        ASSERT_TRUE(is_whole(all.raft));
        ASSERT_TRUE(is_whole(all.state));
        ASSERT_LE(all.state.applied, all.raft.commit);
        ASSERT_GE(all.raft.commit.value(), last_commit) << "went back";
        ASSERT_GE(all.state.applied.value(), last_applied) << "went back";
        last_commit = all.raft.commit.value();
        last_applied = all.state.applied.value();
      }
    });
  }
  raft.join();
  state.join();
  for (auto& r : readers) r.join();
  EXPECT_EQ(page.raft(), raft_of(writes));
}

TEST(published, a_group_is_whole_after_a_writer_that_died_in_the_middle) {
  // The page as a killed process leaves it: the sequence odd, the words half written.
  detail::published_page page;
  auto* words = reinterpret_cast<std::atomic<std::uint64_t>*>(&page.raft);
  words[0] = 41;
  words[3] = 999;
  EXPECT_FALSE(detail::read_status(page, 1'000));
  page.raft.write(raft_of(5));
  const auto read = detail::read_status(page, 1);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->raft, raft_of(5));
}

TEST_F(published_file, another_process_reads_while_the_writers_only_thread_is_blocked) {
  const auto page = published::create(path, node_id{3}, cluster_id{77});
  ASSERT_TRUE(page) << page.error().message;
  published_raft raft = raft_of(12);
  raft.role = published_role::leader;
  (*page)->set_raft(raft);
  (*page)->set_state(state_of(11));
  const auto writer = static_cast<std::uint32_t>(::getpid());
  const pid_t monitor = fork_running([&] {
    const auto reader = published_reader::open(path);
    if (!reader) return 1;
    const auto all = reader->read();
    if (!all || all->raft != raft || all->state != state_of(11)) return 2;
    if (!reader->is_leader() || !reader->initialized()) return 3;
    if (reader->pid() != writer || reader->node() != node_id{3}) return 4;
    if (reader->cluster() != cluster_id{77} || !reader->is_writer_alive()) return 5;
    return 0;
  });
  EXPECT_EQ(exit_code_of(monitor), 0);  // this thread is blocked here meanwhile
}

TEST_F(published_file, another_process_never_sees_a_torn_group) {
  const auto page = published::create(path, node_id{1}, cluster_id{1});
  ASSERT_TRUE(page);
  (*page)->set_raft(raft_of(1));
  (*page)->set_state(state_of(1));
  const pid_t monitor = fork_running([&] {
    const auto reader = published_reader::open(path);
    if (!reader) return 1;
    std::uint64_t last = 0;
    while (last < writes) {
      const auto all = reader->read();
      if (!all) continue;  // the writer's thread lost its core in the middle of a write
      if (!is_whole(all->raft) || !is_whole(all->state)) return 2;
      if (all->raft.commit.value() < last) return 3;
      last = all->raft.commit.value();
    }
    return 0;
  });
  std::atomic<bool> done{false};
  std::thread writer([&] {
    std::uint64_t n = 1;
    while (!done) {
      if (n < writes) ++n;
      (*page)->set_raft(raft_of(n));
      (*page)->set_state(state_of(n));
    }
  });
  EXPECT_EQ(exit_code_of(monitor), 0);
  done = true;
  writer.join();
}

TEST_F(published_file, a_reader_stays_mapped_over_a_restart_of_the_node) {
  auto page = published::create(path, node_id{1}, cluster_id{1});
  ASSERT_TRUE(page);
  (*page)->set_raft(raft_of(50));
  EXPECT_EQ((*page)->writes(), 3U) << "both groups are cleared at the start";
  const auto reader = published_reader::open(path);
  ASSERT_TRUE(reader);
  page->reset();
  EXPECT_EQ(reader->read()->raft, raft_of(50)) << "the last word of the node that went";
  auto again = published::create(path, node_id{1}, cluster_id{1});
  ASSERT_TRUE(again);
  EXPECT_EQ(reader->read()->raft, published_raft{}) << "nothing is known yet";
  EXPECT_FALSE(reader->is_leader());
  (*again)->set_raft(raft_of(51));
  EXPECT_EQ((*again)->writes(), 3U) << "those of this process";
  EXPECT_EQ(reader->read()->raft, raft_of(51));
}

TEST_F(published_file, a_writer_that_is_gone_is_known_to_be_gone) {
  const pid_t node = fork_running([&] {
    const auto page = published::create(path, node_id{1}, cluster_id{1});
    if (!page) return 1;
    (*page)->set_raft(raft_of(4));
    return 0;
  });
  ASSERT_EQ(exit_code_of(node), 0);
  const auto reader = published_reader::open(path);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->pid(), static_cast<std::uint32_t>(node));
  EXPECT_FALSE(reader->is_writer_alive());
  EXPECT_EQ(reader->read()->raft, raft_of(4));
}

TEST_F(published_file, what_is_no_page_is_refused) {
  EXPECT_EQ(published_reader::open(path).error().code, errc::not_found);
  { const std::ofstream empty(path); }
  EXPECT_EQ(published_reader::open(path).error().code, errc::invalid_argument);
  { std::ofstream(path) << std::string(4096, 'x'); }
  EXPECT_EQ(published_reader::open(path).error().code, errc::invalid_argument);
  EXPECT_EQ(published_reader::open(folder).error().code, errc::invalid_argument);
  // What stood in the file is no page: it is made anew.
  ASSERT_TRUE(published::create(path, node_id{1}, cluster_id{1}));
  EXPECT_TRUE(published_reader::open(path));
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(8);
    file.put(99);  // the version
  }
  EXPECT_EQ(published_reader::open(path).error().code, errc::unsupported);
}

TEST_F(published_file, a_folder_that_is_not_there_is_an_error_with_its_path) {
  const auto page = published::create(folder + "/no/status", node_id{1}, cluster_id{1});
  ASSERT_FALSE(page);
  EXPECT_NE(page.error().message.find(folder + "/no/status"), std::string::npos);
}

}  // namespace
}  // namespace blixard
