// Frames: what travels on a connection.
//
//   0        4        5      6       7       8        12         16            24            32
//   | magic  | version| kind | class | flags | length | deadline | request id  | target node | body
//   ...
//
// All little-endian. The router decides by these 32 bytes alone; the body (usually Protobuf) is
// decoded where it is consumed. `length` is checked against the receiver's bound before anything is
// allocated.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "messages/block_pool.hpp"
#include "messages/buffer.hpp"
#include "messages/ids.hpp"

namespace blixard {

inline constexpr std::uint32_t frame_magic = 0x31584C42;  // "BLX1"
inline constexpr std::uint8_t protocol_version = 1;
inline constexpr std::size_t frame_header_bytes = 32;

/// Strict-priority classes of the router (DOMAIN "Message priorities"); lower is more urgent.
enum class priority : std::uint8_t { critical = 0, high = 1, normal = 2, low = 3 };
inline constexpr std::size_t priority_count = 4;

/// What a body is, and with that, who consumes it. On the wire: append only.
enum class frame_kind : std::uint8_t {
  hello = 1,  // pb::Hello, first frame in both directions of a connection
  raft = 2,   // pb::RaftMessage (critical: votes, heartbeats, acks; high: appends; low: snapshots)
  command = 3,  // pb::Command: body is proposed verbatim (kv and everything that needs no plan)
  planned = 4,  // pb::Command that the leader's planner completes before it is proposed (vm create)
  query = 5,    // pb::Query: linearizable, evaluated at the leader after ReadIndex
  local = 6,    // pb::Query: answered by the node that `target` names (0: the node that reads it)
  answer = 7,   // pb::Answer to command | planned | query | local, same request id
  lease = 8,    // pb::LeaseRenewal, node to leader
  lease_grant = 9,  // pb::LeaseGrant, leader to node
  admin =
      10,  // pb::AdminRequest: membership, transfer, snapshot; handled by the leader's raft actor
  removed = 11,  // no body, member to a node that it knows to have left the cluster
};

/// Frames of these kinds ask, and are answered under their request id.
[[nodiscard]] constexpr bool is_request(frame_kind k) noexcept {
  switch (k) {
    case frame_kind::command:
    case frame_kind::planned:
    case frame_kind::query:
    case frame_kind::local:
    case frame_kind::admin:
      return true;
    case frame_kind::hello:
    case frame_kind::raft:
    case frame_kind::answer:
    case frame_kind::lease:
    case frame_kind::lease_grant:
    case frame_kind::removed:
      return false;
  }
  return false;
}

/// Flag: the body is compressed (runtime/net/packing.hpp). Only between transports that have told
/// each other in their hellos; whoever handles a frame never sees it.
inline constexpr std::uint8_t frame_packed = 1;

/// The fixed part of a frame. Host representation; see `encode` / `decode` for the layout.
struct frame_header {
  frame_kind kind = frame_kind::hello;
  priority cls = priority::normal;
  std::uint8_t flags = 0;    // frame_packed; every other bit must be zero
  std::uint32_t length = 0;  // bytes of the body
  std::uint32_t deadline_ms =
      0;               // time the sender still waits for an answer; 0: no answer expected
  request_id request;  // unique per sender and connection; echoed in the answer
  node_id target;      // 0: whoever is responsible

  friend bool operator==(const frame_header&, const frame_header&) = default;
};

using encoded_header = std::array<std::byte, frame_header_bytes>;

[[nodiscard]] encoded_header encode(const frame_header& h) noexcept;
/// The header in `bytes` (at least frame_header_bytes), or nothing if magic, version, kind, class
/// or flags are not ones of this version. The length is not judged here: bounds are the receiver's.
[[nodiscard]] std::optional<frame_header> decode_header(std::span<const std::byte> bytes) noexcept;

/// An immutable frame: header and body. The body of a received frame is one slice; a frame to be
/// sent may consist of several, which the transport gathers. Shared by reference count; never
/// changed.
class frame {
 public:
  [[nodiscard]] static ref<const frame> make(frame_header header, slice body);
  /// Takes the pieces out of a list that keeps its memory, or out of one of its own.
  [[nodiscard]] static ref<const frame> make(frame_header header, std::span<slice> pieces);
  [[nodiscard]] static ref<const frame> make(frame_header header, std::vector<slice> pieces);

  frame(const frame&) = delete;
  frame& operator=(const frame&) = delete;

  [[nodiscard]] const frame_header& header() const noexcept { return header_; }
  [[nodiscard]] std::span<const slice> pieces() const noexcept {
    return many_.empty() ? std::span<const slice>{&one_, 1}
                         : std::span<const slice>{many_.data(), many_.size()};
  }
  /// The body of a received frame. Precondition: it has one piece.
  [[nodiscard]] const slice& body() const noexcept { return one_; }
  /// Header and body, in bytes: what it costs on the wire and in a queue.
  [[nodiscard]] std::size_t wire_size() const noexcept {
    return frame_header_bytes + header_.length;
  }
  /// The same body under another header (a forwarded request): the pieces are shared, not copied.
  [[nodiscard]] ref<const frame> with_header(frame_header header) const;

  void add_ref() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void release() const noexcept {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  frame(frame_header header, slice one, pooled_vector<slice> many) noexcept;

  // One frame per message and hop: its memory is used again.
  static void* operator new(std::size_t bytes) { return block_pool::allocate(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept {
    block_pool::release(memory, bytes);
  }
  ~frame() = default;

  mutable std::atomic<std::uint32_t> count_{1};
  frame_header header_;
  slice one_;
  pooled_vector<slice> many_;
};

using frame_ptr = ref<const frame>;

}  // namespace blixard
