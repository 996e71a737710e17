// All snapshots that one node sends and receives, on top of transfer.hpp. Pure: what owns the
// connections and the disk (the raft actor, the simulation) moves the bytes.
//
//   core's snapshot message -> start() -> pump(): chunks, in turns, within one limit of bytes
//   a chunk                 -> take()  -> what to answer, what to keep for a restart, and at last
//                                         the whole
//   its answer              -> answered(), then pump() again
//
// An answer is a snapshot message with `reject`: its offset is what the receiver has, `notice` says
// that the chunk did not follow it.
#pragma once

#include <map>
#include <optional>

#include "runtime/raft/core.hpp"
#include "runtime/raft/transfer.hpp"

namespace blixard::raft {

/// The leader's side: one snapshot per follower at a time.
class snapshots_out {
 public:
  /// `bytes_per_second` of all together; 0: no limit.
  explicit snapshots_out(std::uint64_t bytes_per_second, const transfer_limits& limits = {})
      : limits_(limits), rate_(bytes_per_second) {}

  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }
  /// A snapshot message of the core; another one to the same follower is forgotten. False: this
  /// very one is on its way already. Precondition: m.snapshot is not null.
  bool start(message m, std::uint64_t now_ns);
  /// Calls send(const message&, const snapshot_chunk&) for each chunk that may go now: in turns, as
  /// long as anybody may have one and the limit allows it.
  template <class Send>
  void pump(std::uint64_t now_ns, const Send& send) {
    for (bool any = !all_.empty(); any;) {
      any = false;
      for (auto& [to, out] : all_) {
        if (!rate_.allows(now_ns)) continue;
        const auto chunk = out.sender.next(now_ns);
        if (!chunk) continue;
        send(out.head, *chunk);
        rate_.spend(chunk->data.size(), now_ns);
        any = true;
      }
    }
  }
  /// An answer to a chunk. The transfer that it is about, if that goes on at another place than it
  /// would have: before a gap, or behind what a former process received; else null.
  const snapshot_sender* answered(const decoded_message& d, std::uint64_t now_ns);
  /// Forgets those that are over, and calls tell(node_id, report_kind) for each. Returns whether
  /// there was one.
  template <class Tell>
  bool finish(std::uint64_t now_ns, const Tell& tell) {
    return std::erase_if(all_, [&](const auto& item) {
             const auto& sender = item.second.sender;
             if (!sender.complete() && !sender.stalled(now_ns)) return false;
             tell(item.first,
                  sender.complete() ? report_kind::snapshot_ok : report_kind::snapshot_failed);
             return true;
           }) != 0;
  }
  /// Who leads no more sends none.
  void clear() noexcept { all_.clear(); }

 private:
  struct one {
    message head;  // of each chunk
    snapshot_sender sender;
  };
  transfer_limits limits_;
  byte_rate rate_;
  std::map<node_id, one> all_;
};

/// The follower's side.
class snapshots_in {
 public:
  struct taken {
    message answer;        // to be sent back as a chunk: encode_chunk(answer, state)
    snapshot_chunk state;  // without data
    /// What of it was new, to be kept for a restart; empty: nothing. Begins at `offset`.
    snapshot_name name;
    std::uint64_t offset = 0;
    slice fresh;
    /// Everything, once: for the core, as one message.
    std::optional<slice> whole;
  };

  /// Whether memory is taken for a chunk of this message: what the core would refuse is not worth
  /// it, nor is a stranger. A member that was away while others came and went does not know its
  /// leader, except that it follows it; a damaged log may have forgotten who the members are.
  /// `known`: something else than the configuration says that there is such a node.
  [[nodiscard]] static bool is_believable(const core& self, const message& m, bool known);
  /// A chunk. Preconditions: d.msg is a snapshot message without `reject`, it is believable, and
  /// its total is one that memory can be taken for.
  [[nodiscard]] taken take(const core& self, const decoded_message& d);
  /// Goes on with what a former process received.
  void resume(const snapshot_name& name, ref<buffer> data, std::uint64_t received) {
    receiver_.resume(name, std::move(data), received);
  }

 private:
  snapshot_receiver receiver_;
};

}  // namespace blixard::raft
