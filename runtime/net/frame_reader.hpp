// From bytes to frames without copying the bodies.
//
//   arena (one per transport, a pooled 1 MiB chunk at a time):
//     [ frame of A | frame of B | frame of A | A's frame, half here .... reserved | room ------- ]
//                                                                                  next read
//
// All connections of a loop read into the same chunk, one after the other; the bodies are slices of
// it. A frame that is only half there keeps a reserved place behind its first half, and the next
// read of that connection goes there (and on into the arena's room, in one readv). Only a frame
// that does not fit into the rest of the chunk is moved into a buffer of its own size; the bytes
// that had to be moved are counted. So an idle connection holds no buffer, and small frames of many
// clients share one.
//
// The length of a frame is checked before anything is reserved for it. Where the budget of a
// client's connection has no room for a body that is only half there, its bytes are thrown away as
// they come, and the frame is reported without them (frame_shed): the stream goes on behind it.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "messages/frame.hpp"
#include "runtime/net/traffic.hpp"
#include "runtime/routing/buffer_pool.hpp"
#include "runtime/routing/inbound_budget.hpp"

namespace blixard::net {

/// The chunk that reads go to. Used by one thread.
class read_arena {
 public:
  /// `chunk_bytes`: at most the pool's largest class, at least `min_room_bytes`.
  explicit read_arena(routing::buffer_pool& pool, std::size_t chunk_bytes = limits::MiB);

  static constexpr std::size_t min_room_bytes = 64 * limits::KiB;

  /// Where the next bytes may go, at least min_room_bytes. Starts a new chunk when the present one
  /// is nearly full, or the same one over where nobody refers to it any more.
  [[nodiscard]] std::span<std::byte> room();
  /// The bytes of the chunk up to `end` (a pointer into it) are taken.
  void take_until(const std::byte* end) noexcept;
  [[nodiscard]] const ref<buffer>& chunk() const noexcept { return chunk_; }
  [[nodiscard]] const std::byte* chunk_end() const noexcept {
    return chunk_->data() + chunk_->capacity();
  }
  /// A buffer of its own for one frame's body.
  [[nodiscard]] ref<buffer> own_buffer(std::size_t bytes) { return pool_.acquire(bytes); }

 private:
  routing::buffer_pool& pool_;
  const std::size_t chunk_bytes_;
  ref<buffer> chunk_;
  std::size_t used_ = 0;
};

/// The framing state of one connection.
class frame_reader {
 public:
  struct bounds {
    std::size_t first_frame_max_bytes = 0;  // body of the hello
    std::size_t frame_max_bytes = 0;        // body of every other frame
  };
  /// `budget`: what half frames are charged to; null: to nothing.
  frame_reader(read_arena& arena, transport_counters& counters, bounds b,
               routing::inbound_budget* budget = nullptr) noexcept;
  ~frame_reader() { stop_charging(); }
  frame_reader(const frame_reader&) = delete;
  frame_reader& operator=(const frame_reader&) = delete;

  /// From now on nothing is charged: the other side is no client, or gone.
  void stop_charging() noexcept;

  using regions = std::array<iovec, 2>;
  /// Where the next read goes; returns how many regions are used.
  [[nodiscard]] std::size_t prepare(regions& out);

  /// `bytes` arrived in the regions of the last prepare(). Appends the frames that are complete.
  /// A reason means that the stream is not usable any more (frames before that are valid).
  [[nodiscard]] std::optional<close_reason> consume(std::size_t bytes, std::vector<frame_ptr>& out);

  /// True between the first byte of a frame and its last.
  [[nodiscard]] bool mid_frame() const noexcept {
    return header_have_ > 0 || body_.owner || shed_left_ > 0;
  }
  /// Which frame of the stream that is (1: the first); 0: none.
  [[nodiscard]] std::uint64_t half_frame() const noexcept { return mid_frame() ? frames_ + 1 : 0; }

  /// The first bytes were the beginning of a TLS handshake, not of a frame.
  [[nodiscard]] bool saw_tls() const noexcept { return saw_tls_; }

 private:
  struct partial_body {
    frame_header header;
    ref<buffer> owner;
    std::byte* begin = nullptr;
    std::size_t have = 0;
  };

  [[nodiscard]] std::optional<close_reason> parse(std::byte* at, std::byte* end,
                                                  std::vector<frame_ptr>& out);
  [[nodiscard]] std::size_t take_header(std::span<const std::byte> bytes) noexcept;
  [[nodiscard]] std::byte* begin_body(const frame_header& h, std::byte* at, std::byte* end);
  void emit(const frame_header& h, slice body, std::vector<frame_ptr>& out);
  [[nodiscard]] bool charge(std::size_t bytes) noexcept;
  void give_back() noexcept;
  [[nodiscard]] std::size_t throw_away(std::size_t bytes, std::vector<frame_ptr>& out);

  read_arena& arena_;
  transport_counters& counters_;
  const bounds bounds_;
  bool first_ = true;
  bool saw_tls_ = false;
  encoded_header header_{};  // collects a header that came in parts
  std::size_t header_have_ = 0;
  partial_body body_;
  routing::inbound_budget* budget_;
  std::size_t charged_ = 0;    // for body_
  frame_header shed_;          // of the body that is thrown away
  std::size_t shed_left_ = 0;  // bytes of it that have not come yet
  std::uint64_t frames_ = 0;   // complete ones
  std::byte* room_begin_ = nullptr;
};

}  // namespace blixard::net
