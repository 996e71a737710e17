// A snapshot on its way to a follower: what goes next, what has arrived, how fast, and what of the
// log is kept for whoever is behind. Pure; the raft actor moves the bytes.
//
//   sender                              receiver
//     chunk at 0  ------------------->    (alone, until it is answered)
//               <-------------------  received 256 KiB
//     chunks ... a window of them --->    each is answered with how much is there without a gap
//
// The receiver's answer decides where the sender goes on, so that whatever was lost on the way
// costs what was in flight, and a receiver that kept a part (also over a restart) is asked for the
// rest only. So does a restarted sender, which knows nothing: its first chunk is answered with how
// much is there already. A snapshot is known by its name; two with one name are the same bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>

#include "messages/entry.hpp"
#include "messages/limits.hpp"
#include "runtime/raft/codec.hpp"
#include "runtime/raft/types.hpp"

namespace blixard::raft {

/// Of one message. Small enough that copying it holds up nothing else on the loop.
inline constexpr std::uint64_t transfer_chunk_bytes = 256 * limits::KiB;
/// Sent and not answered.
inline constexpr std::uint64_t transfer_window_bytes = 4 * limits::MiB;
/// Without an answer for so long the oldest chunk is sent again.
inline constexpr std::uint64_t transfer_repeat_ns = 2'000'000'000;
/// Without progress for so long the transfer is given up; the core starts another one when the
/// follower shows life.
inline constexpr std::uint64_t transfer_stalled_ns = 60'000'000'000;
static_assert(transfer_chunk_bytes <= limits::snapshot_chunk_bytes);
static_assert(transfer_repeat_ns * 4 < transfer_stalled_ns);

/// The same as parameters, for who lives in smaller or quicker worlds than a node.
struct transfer_limits {
  std::uint64_t chunk_bytes = transfer_chunk_bytes;  // > 0
  std::uint64_t window_bytes = transfer_window_bytes;
  std::uint64_t repeat_ns = transfer_repeat_ns;
  std::uint64_t stalled_ns = transfer_stalled_ns;
};

/// Which snapshot, and which bytes: encodings of one state may differ between versions.
struct snapshot_name {
  log_index index;
  blixard::term term;
  std::uint64_t total = 0;    // bytes
  std::uint64_t content = 0;  // of samples all over the bytes, and of their end

  friend bool operator==(const snapshot_name&, const snapshot_name&) = default;
};
/// Looks at no more than 64 KiB of it: cheap whatever its size. What was packed (storage/packing)
/// ends with a checksum of everything, which is among the samples.
[[nodiscard]] snapshot_name name_of(const snapshot& s) noexcept;

/// A limit in bytes per second over time. A send is allowed whenever the bytes before it have had
/// their time, so that a chunk larger than a moment's share goes and is paid for afterwards.
class byte_rate {
 public:
  /// 0: no limit.
  explicit byte_rate(std::uint64_t bytes_per_second) noexcept : per_second_(bytes_per_second) {}

  [[nodiscard]] bool allows(std::uint64_t now_ns) const noexcept {
    return per_second_ == 0 || free_at_ns_ <= now_ns;
  }
  void spend(std::uint64_t bytes, std::uint64_t now_ns) noexcept;

 private:
  std::uint64_t per_second_;
  std::uint64_t free_at_ns_ = 0;
};

/// The leader's side of one transfer.
class snapshot_sender {
 public:
  /// `what` is not null.
  snapshot_sender(std::shared_ptr<const snapshot> what, std::uint64_t now_ns,
                  const transfer_limits& limits = {});

  [[nodiscard]] const snapshot_name& name() const noexcept { return name_; }
  /// The next chunk, if the window has room or the oldest one is to be repeated. It counts as sent.
  [[nodiscard]] std::optional<snapshot_chunk> next(std::uint64_t now_ns);
  /// The receiver has `received` bytes; `gap`: the chunk that it answers did not follow them.
  void answered(std::uint64_t received, bool gap, std::uint64_t now_ns);

  /// The receiver has it all.
  [[nodiscard]] bool complete() const noexcept { return complete_; }
  [[nodiscard]] bool stalled(std::uint64_t now_ns) const noexcept {
    return now_ns - std::min(now_ns, heard_ns_) > limits_.stalled_ns;
  }
  /// What the receiver is known to have.
  [[nodiscard]] std::uint64_t received() const noexcept { return acked_; }

 private:
  std::shared_ptr<const snapshot> what_;
  transfer_limits limits_;
  snapshot_name name_;
  std::uint64_t acked_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t heard_ns_;      // of the last progress
  std::uint64_t asked_ns_ = 0;  // of the last chunk
  bool asked_ = false;          // something waits for an answer
  bool open_ = false;           // the receiver's place is known: more than one chunk may be out
  bool complete_ = false;
};

/// The follower's side: one snapshot at a time, the newest that was begun.
class snapshot_receiver {
 public:
  struct answer {
    std::uint64_t received = 0;
    bool gap = false;
    slice fresh;  // what of the chunk was new; begins where `received` was before
  };

  /// Precondition: the chunk lies within name.total, which the caller has bounded.
  answer take(const snapshot_name& name, const snapshot_chunk& chunk);
  /// Goes on with what a former process received: the first `received` bytes of `data`.
  void resume(const snapshot_name& name, ref<buffer> data, std::uint64_t received);

  [[nodiscard]] bool complete() const noexcept { return data_ && received_ == name_.total; }
  /// All bytes; forgets them. Precondition: complete().
  [[nodiscard]] slice finish();

 private:
  snapshot_name name_;
  ref<buffer> data_;
  std::uint64_t received_ = 0;
};

/// Where in the log how many bytes are: marks some entries apart, so that it costs nothing per
/// entry.
class log_meter {
 public:
  /// A mark stands every so many entries, or bytes where that is less.
  explicit log_meter(std::uint64_t mark_entries = 256, std::uint64_t mark_bytes = limits::MiB)
      : mark_entries_(mark_entries), mark_bytes_(mark_bytes) {}
  /// Entries arrive in order; one that takes the place of another one is counted in addition until
  /// the next compaction, which errs on the safe side.
  void appended(log_index index, std::uint64_t bytes);
  /// The lowest index from which on the log has at most `bytes`.
  [[nodiscard]] log_index reach(std::uint64_t bytes) const noexcept;
  /// Forgets what lies below `first`.
  void compacted(log_index first);

 private:
  struct mark {
    log_index index;
    std::uint64_t before = 0;  // bytes of all entries before it
  };
  std::uint64_t mark_entries_;
  std::uint64_t mark_bytes_;
  std::deque<mark> marks_;
  std::uint64_t total_ = 0;
};

/// What the payloads of a log keep in memory. A payload is a slice, and the buffer stays whole as
/// long as one slice of it does, whatever else was read into it. So a buffer counts in full with
/// its first payload, and the others that follow in it count nothing.
class payload_meter {
 public:
  /// Of payloads in the order in which they arrive. A buffer that comes again after another one, or
  /// that is filled from its beginning again, counts again, which errs on the safe side.
  [[nodiscard]] std::uint64_t added_by(const slice& payload) noexcept;

 private:
  const buffer* last_ = nullptr;  // compared only
  const std::byte* end_ = nullptr;
};

/// How much of the log stays behind a new snapshot, in entries.
struct log_retention {
  std::uint64_t always = 0;  // who is a little late needs no snapshot
  std::uint64_t most = 0;    // for members that are being brought up
};
/// The first entry to keep when a snapshot at `taken` is there. A member that answers and is
/// behind, or that gets a snapshot, finds what it needs next, so that it does not need another
/// snapshot right after this one; but never more than `keep.most` entries.
[[nodiscard]] log_index first_to_keep(log_index taken, std::span<const peer_status> peers,
                                      const log_retention& keep) noexcept;

/// What a node keeps of its log in memory, snapshot or not.
struct log_limits {
  log_retention keep;            // behind a new snapshot
  std::uint64_t most_bytes = 0;  // whoever waits
  std::uint64_t least_bytes = 0;
};
/// Of the node whose log it is.
struct log_facts {
  node_id self;
  log_index applied;                 // by its state machine
  log_index sendable;                // the newest snapshot that its core has
  std::uint64_t snapshot_bytes = 0;  // of that one
};
/// Where the log may begin, and what that makes necessary.
struct shortened_log {
  log_index first;
  bool snapshot_needed = false;  // by somebody who answers; there is none that fits
};
/// The log in memory is for members that are late; a restart reads the one on the disk. So memory
/// does not have to wait for a snapshot: it keeps what members that answer still need, and for
/// those that may come back as many bytes as a snapshot would send them. Who needs more than that
/// gets a snapshot, which is taken then.
[[nodiscard]] shortened_log shorten(const status& s, const log_meter& bytes, const log_facts& own,
                                    const log_limits& limits);

}  // namespace blixard::raft
