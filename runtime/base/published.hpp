// The published page: the node's vital facts, readable by any thread without a message and by any
// process through a read-only mapping, also while the node hangs.
//
//   line 0   header     magic, version, pid, start time of the process, node and cluster id
//   line 1   flags      is_leader, initialized, leader_id, term, cluster_size: single atomics
//   line 2   raft       sequence, then the untorn group that the raft actor writes
//   line 3   state      sequence, then the untorn group that the node-state actor writes
//
// Each group has ONE writer at a time; the two writers never write the same word. The flags line is
// apart because it changes with elections only: readers that spin on `is_leader` keep it in their
// cache while `commit` moves a million times a second.
//
// A group is a sequence lock: odd while it is being written. Every word of it is an atomic, so
// there is no data race in the language's sense (and none for the thread sanitizer):
//   writer: seq = odd (relaxed); words (release); seq = even (release)
//   reader: seq (acquire); words (acquire); seq again (relaxed); same and even, or once more
// A reader that sees one word of a write synchronises with that word's release store, therefore
// sees the odd number stored before it, and retries. On x86-64 all of these are plain moves. This
// is the fence-free variant of Boehm, "Can seqlocks get along with programming language memory
// models?", 2012.
//
// `read()` takes the state group first and the raft group second: since `commit` is published
// before the state machine gets the entries, a reader never sees applied > commit.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "messages/errc.hpp"
#include "messages/ids.hpp"

namespace blixard {

enum class published_role : std::uint64_t { follower = 0, candidate = 1, leader = 2, learner = 3 };

inline constexpr std::size_t published_phases = 9;  // pb::Phase

/// What the raft actor knows. Written as a whole.
struct published_raft {
  blixard::term term;
  node_id leader;  // 0: none known
  log_index commit;
  log_index last;  // last index in the log
  published_role role = published_role::follower;
  std::uint64_t cluster_size = 0;       // voters of the current configuration
  std::uint64_t leader_contact_ns = 0;  // CLOCK_MONOTONIC of the last word from the leader (or,
                                        // on the leader, from a quorum); 0: never

  friend bool operator==(const published_raft&, const published_raft&) = default;
};

/// What the node-state actor knows. Written as a whole.
struct published_state {
  log_index applied;
  std::uint64_t keys = 0;                             // in the key-value store
  std::array<std::uint32_t, published_phases> vms{};  // of the cluster, by pb::Phase
  std::uint32_t initialized = 0;  // 1: this process has applied up to a commit index of its leader

  friend bool operator==(const published_state&, const published_state&) = default;
};

/// Both groups, each untorn; state.applied <= raft.commit. In the order in which they are read.
struct published_status {
  published_state state;
  published_raft raft;
};

namespace detail {

/// Sequence lock over a trivially copyable value of whole words. See the top of the file.
template <class T>
class alignas(64) seqlocked {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0 &&
                std::has_unique_object_representations_v<T>);

 public:
  /// The one writer.
  void write(const T& value) noexcept {
    // A writer that was killed in the middle left an odd number: | 1 keeps it odd.
    const auto odd = sequence_.load(std::memory_order_relaxed) | 1;
    sequence_.store(odd, std::memory_order_relaxed);
    for_each_word([this, source = reinterpret_cast<const std::byte*>(&value)](std::size_t i) {
      std::uint64_t word;
      std::memcpy(&word, source + i * sizeof word, sizeof word);
      words_[i].store(word, std::memory_order_release);
    });
    sequence_.store(odd + 1, std::memory_order_release);
  }
  /// Any thread. One attempt: true if `out` is the value of one write; else a write was in progress
  /// and `out` holds anything.
  [[nodiscard]] bool try_read(T& out) const noexcept {
    const auto before = sequence_.load(std::memory_order_acquire);
    for_each_word([this, target = reinterpret_cast<std::byte*>(&out)](std::size_t i) {
      const auto word = words_[i].load(std::memory_order_acquire);
      std::memcpy(target + i * sizeof word, &word, sizeof word);
    });
    return (before & 1) == 0 && sequence_.load(std::memory_order_relaxed) == before;
  }
  /// Writes since the group was made.
  [[nodiscard]] std::uint64_t writes() const noexcept {
    return sequence_.load(std::memory_order_relaxed) / 2;
  }

 private:
  static constexpr std::size_t word_count = sizeof(T) / sizeof(std::uint64_t);
  /// Unrolled, and each word straight to where it belongs: gathering the words in an array and
  /// copying that costs a store-forwarding stall (22 ns a read of both groups instead of 7).
  template <class F>
  [[gnu::always_inline]] static void for_each_word(F&& f) noexcept {
    [&f]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
      (f(I), ...);
    }
    (std::make_index_sequence<word_count>{});
  }

  std::atomic<std::uint64_t> sequence_{0};
  std::array<std::atomic<std::uint64_t>, word_count> words_{};
};

struct alignas(64) published_header {
  std::atomic<std::uint64_t> magic{0};  // stored last (release) when the page is made
  std::atomic<std::uint32_t> version{0};
  std::atomic<std::uint32_t> pid{0};
  std::atomic<std::uint64_t> start_ticks{
      0};  // of that pid, /proc/PID/stat field 22: tells a reused pid apart
  std::atomic<std::uint64_t> node{0};
  std::atomic<std::uint64_t> cluster{0};
};
struct alignas(64) published_flags {
  std::atomic<std::uint64_t> is_leader{0};
  std::atomic<std::uint64_t> initialized{0};
  std::atomic<std::uint64_t> leader{0};
  std::atomic<std::uint64_t> term{0};
  std::atomic<std::uint64_t> cluster_size{0};
};
struct published_page {
  published_header header;
  published_flags flags;
  seqlocked<published_raft> raft;
  seqlocked<published_state> state;
};
// The layout of README.md, which other programs may rely on.
static_assert(sizeof(published_page) == 256 && offsetof(published_page, flags) == 64 &&
              offsetof(published_page, raft) == 128 && offsetof(published_page, state) == 192);
static_assert(offsetof(published_header, pid) == 12 && offsetof(published_header, cluster) == 32 &&
              offsetof(published_flags, initialized) == 8 && offsetof(published_flags, term) == 24);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");

/// Reads both groups; nothing after `attempts` failed ones (a writer that was killed in the
/// middle).
[[nodiscard]] std::optional<published_status> read_status(const published_page& page,
                                                          std::uint64_t attempts) noexcept;

}  // namespace detail

/// The page in this process. Not movable: readers hold references to it for the node's life.
class published {
 public:
  /// In memory alone (tests, simulator, nodes without a data directory).
  published();
  /// In the file `path` (made or taken over; 4 KiB, mode 0644), mapped shared. A monitor that has
  /// the file mapped goes on seeing the truth after a restart: the file is never replaced. Errors:
  /// disk_full, internal with the path and the reason.
  [[nodiscard]] static tl::expected<std::unique_ptr<published>, error> create(
      const std::string& path, node_id node, cluster_id cluster);
  ~published();
  published(const published&) = delete;
  published& operator=(const published&) = delete;

  // --- writers

  /// By the raft actor only.
  void set_raft(const published_raft& value) noexcept;
  /// By the node-state actor only.
  void set_state(const published_state& value) noexcept;

  // --- single facts; any thread, one load. Relaxed: a flag is true of some recent moment and
  // carries nothing else with it; who needs two facts of one moment takes read().

  [[nodiscard]] bool is_leader() const noexcept {
    return page_->flags.is_leader.load(std::memory_order_relaxed) != 0;
  }
  [[nodiscard]] bool initialized() const noexcept {
    return page_->flags.initialized.load(std::memory_order_relaxed) != 0;
  }
  [[nodiscard]] node_id leader() const noexcept {
    return node_id{page_->flags.leader.load(std::memory_order_relaxed)};
  }
  [[nodiscard]] blixard::term term() const noexcept {
    return blixard::term{page_->flags.term.load(std::memory_order_relaxed)};
  }
  [[nodiscard]] std::uint64_t cluster_size() const noexcept {
    return page_->flags.cluster_size.load(std::memory_order_relaxed);
  }

  // --- groups; any thread. Waits (spinning, then yielding) only while a write is in progress.

  [[nodiscard]] published_raft raft() const noexcept;
  [[nodiscard]] published_state state() const noexcept;
  [[nodiscard]] published_status read() const noexcept;

  // --- what the page did, in the metrics; any thread

  /// Groups written by this process.
  [[nodiscard]] std::uint64_t writes() const noexcept {
    return page_->raft.writes() + page_->state.writes() - writes_before_;
  }
  /// Reads through this object that met a write and were made again.
  [[nodiscard]] std::uint64_t rereads() const noexcept {
    return rereads_.load(std::memory_order_relaxed);
  }

 private:
  explicit published(detail::published_page* mapped) noexcept;
  std::unique_ptr<detail::published_page> own_;  // in memory, or
  detail::published_page* mapped_ = nullptr;     // a mapping to undo
  detail::published_page* page_;
  std::uint64_t writes_before_ = 0;  // by earlier processes
  // Counted on the slow path alone, away from the pointer that every reader needs.
  alignas(64) mutable std::atomic<std::uint64_t> rereads_{0};
};

/// The page of another process, read-only.
class published_reader {
 public:
  /// Errors: not_found (no such file), unsupported (another version of the page), invalid_argument
  /// (not a status page).
  [[nodiscard]] static tl::expected<published_reader, error> open(const std::string& path);
  published_reader(published_reader&& o) noexcept;
  published_reader& operator=(published_reader&& o) noexcept;
  ~published_reader();

  /// Nothing if the writer was stopped or killed in the middle of a write.
  [[nodiscard]] std::optional<published_status> read() const noexcept;
  [[nodiscard]] bool is_leader() const noexcept;
  [[nodiscard]] bool initialized() const noexcept;
  [[nodiscard]] std::uint32_t pid() const noexcept;
  [[nodiscard]] node_id node() const noexcept;
  [[nodiscard]] blixard::cluster_id cluster() const noexcept;
  /// Whether the process that wrote the page is still there (same pid, same start time). A page
  /// whose writer is gone tells what was true when it went.
  [[nodiscard]] bool is_writer_alive() const;

 private:
  explicit published_reader(const detail::published_page* page) noexcept : page_(page) {}
  const detail::published_page* page_;
};

}  // namespace blixard
