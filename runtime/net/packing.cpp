#include "runtime/net/packing.hpp"

#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "messages/check.hpp"

namespace blixard::net {
namespace {

// The fastest level that is not one of the negative ones: see README.md for what each costs.
constexpr int level = 1;
constexpr std::uint32_t failures_max = 6;  // then 64 bodies are not tried
constexpr std::size_t gain_part = 8;       // at least one eighth

void put(std::byte* at, std::uint32_t value) noexcept { std::memcpy(at, &value, sizeof value); }

std::uint32_t get(const std::byte* at) noexcept {
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

void packing::free_context::operator()(ZSTD_CCtx_s* c) const noexcept { ZSTD_freeCCtx(c); }
void packing::free_context::operator()(ZSTD_DCtx_s* c) const noexcept { ZSTD_freeDCtx(c); }

frame_ptr packing::pack(frame_ptr f, std::size_t min_bytes) {
  const auto& h = f->header();
  const bool urgent = h.cls == priority::critical || h.cls == priority::high;
  if (urgent || min_bytes == 0 || h.length < min_bytes) return f;
  auto& p = patience_[static_cast<std::size_t>(h.cls)];
  if (p.skip > 0) {
    --p.skip;
    return f;
  }
  const std::size_t room = h.length - h.length / gain_part;
  if (room <= header_bytes) return f;
  auto b = pool_.acquire(room);
  const auto packed = compress(*f, b->data() + header_bytes, room - header_bytes);
  if (packed == 0) {
    p.failures = std::min(p.failures + 1, failures_max);
    p.skip = 1U << p.failures;
    counters_.incompressible_frames.add();
    return f;
  }
  p.failures = 0;
  put(b->data(), h.length);
  put(b->data() + 4, static_cast<std::uint32_t>(packed));
  auto size = header_bytes + packed;
  if (const auto least = h.length / growth_max + 1; size < least) {
    std::memset(b->data() + size, 0, least - size);
    size = least;
  }
  counters_.packed_frames.add();
  counters_.packed_saved_bytes.add(h.length - size);
  auto header = h;
  header.flags |= frame_packed;
  const auto* data = b->data();
  return frame::make(header, slice{std::move(b), data, size});
}

// Returns 0 if it does not fit.
std::size_t packing::compress(const frame& f, std::byte* to, std::size_t room) {
  if (!compressor_) compressor_.reset(ZSTD_createCCtx());
  auto* c = compressor_.get();
  if (c == nullptr) return 0;
  ZSTD_CCtx_reset(c, ZSTD_reset_session_only);
  ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setPledgedSrcSize(c, f.header().length);
  ZSTD_outBuffer out{to, room, 0};
  const auto pieces = f.pieces();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto mode = i + 1 == pieces.size() ? ZSTD_e_end : ZSTD_e_continue;
    ZSTD_inBuffer in{pieces[i].data(), pieces[i].size(), 0};
    for (;;) {
      const auto left = ZSTD_compressStream2(c, &out, &in, mode);
      if (ZSTD_isError(left) != 0) return 0;
      if (mode == ZSTD_e_end ? left == 0 : in.pos == in.size) break;
      if (out.pos == out.size) return 0;
    }
  }
  return out.pos;
}

frame_ptr packing::unpack(const frame& f, std::size_t max_bytes) {
  CHECK((f.header().flags & frame_packed) != 0);
  const auto body = f.body().bytes();
  if (body.size() < header_bytes) return {};
  const std::size_t raw = get(body.data());
  const std::size_t packed = get(body.data() + 4);
  if (raw > max_bytes || raw / growth_max > body.size() || raw == 0) return {};
  if (packed > body.size() - header_bytes) return {};
  const auto* from = body.data() + header_bytes;
  if (ZSTD_getFrameContentSize(from, packed) != raw) return {};
  if (ZSTD_findFrameCompressedSize(from, packed) != packed) return {};
  if (!decompressor_) decompressor_.reset(ZSTD_createDCtx());
  if (!decompressor_) return {};
  auto b = pool_.acquire(raw);
  // Into one buffer of the size that was claimed: never a byte more, and no window of its own.
  if (ZSTD_decompressDCtx(decompressor_.get(), b->data(), raw, from, packed) != raw) return {};
  counters_.unpacked_frames.add();
  auto header = f.header();
  header.flags &= static_cast<std::uint8_t>(~frame_packed);
  const auto* data = b->data();
  return frame::make(header, slice{std::move(b), data, raw});
}

}  // namespace blixard::net
