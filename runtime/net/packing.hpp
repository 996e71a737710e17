// Large bodies between nodes, compressed where that shrinks them.
//
//   body of a frame with the flag `frame_packed`:
//     0          4            8
//     | raw size | zstd bytes | one zstd frame | zeros: a body is never shorter than raw size / 64
//
// Only the classes normal and low (client commands, answers, snapshots), only from 64 KiB on, and
// only what loses at least an eighth of its size: anything else leaves as it is, and after a body
// that did not shrink the next ones of its class are not tried, twice as many each time, up to 64.
// Votes, heartbeats and appends never wait for a compressor.
//
// What comes in is not trusted: sizes are checked against the bound before memory is taken, a body
// grows at most 64-fold (hence the zeros), and it must be exactly one zstd frame of exactly the
// size that it claims.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "messages/frame.hpp"
#include "messages/limits.hpp"
#include "runtime/net/traffic.hpp"
#include "runtime/routing/buffer_pool.hpp"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace blixard::net {

class packing {
 public:
  static constexpr std::size_t header_bytes = 8;
  static constexpr std::size_t growth_max = 64;

  /// Both must outlive it. Loop thread only, as the pool.
  packing(routing::buffer_pool& pool, transport_counters& counters) noexcept
      : pool_(pool), counters_(counters) {}

  /// `f` with a compressed body, or `f` itself: too small, too urgent, or it does not shrink.
  /// `min_bytes`: bodies below that are left alone.
  [[nodiscard]] frame_ptr pack(frame_ptr f, std::size_t min_bytes);

  /// The frame that pack() was given. Null: not one, or its body is above `max_bytes`.
  /// Precondition: the flag is set.
  [[nodiscard]] frame_ptr unpack(const frame& f, std::size_t max_bytes);

 private:
  struct patience {
    std::uint32_t skip = 0;      // bodies that are not tried now
    std::uint32_t failures = 0;  // in a row
  };
  struct free_context {
    void operator()(ZSTD_CCtx_s* c) const noexcept;
    void operator()(ZSTD_DCtx_s* c) const noexcept;
  };

  [[nodiscard]] std::size_t compress(const frame& f, std::byte* to, std::size_t room);

  routing::buffer_pool& pool_;
  transport_counters& counters_;
  std::array<patience, priority_count> patience_{};
  std::unique_ptr<ZSTD_CCtx_s, free_context> compressor_;
  std::unique_ptr<ZSTD_DCtx_s, free_context> decompressor_;
};

}  // namespace blixard::net
