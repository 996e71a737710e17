#include "runtime/storage/packing.hpp"

#include <algorithm>

#include "messages/check.hpp"
#include "messages/limits.hpp"
#include "runtime/storage/bytes.hpp"
#include "runtime/storage/zstd_context.hpp"

namespace blixard::storage {
namespace {

constexpr std::uint64_t packed_magic = 0x314B434150584C42;  // "BLXPACK1"
constexpr std::size_t head_bytes = 16;
// Most calls take little or give nothing yet: room is cleared before it is filled.
constexpr std::size_t first_room_bytes = 4096;

}  // namespace

struct packer::stream {
  lent_compressor context;
};

packer::packer(int level) : stream_(std::make_unique<stream>()), out_(head_bytes) {
  CHECK(!ZSTD_isError(
      ZSTD_CCtx_setParameter(stream_->context.get(), ZSTD_c_compressionLevel, level)));
  CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(stream_->context.get(), ZSTD_c_checksumFlag, 1)));
}
packer::~packer() = default;

void packer::run(std::span<const std::byte> bytes, bool last) {
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  const auto mode = last ? ZSTD_e_end : ZSTD_e_continue;
  for (std::size_t room = first_room_bytes;; room = std::min(2 * room, ZSTD_CStreamOutSize())) {
    const auto filled = out_.size();
    out_.resize(filled + room);
    ZSTD_outBuffer out{out_.data() + filled, out_.size() - filled, 0};
    const auto left = ZSTD_compressStream2(stream_->context.get(), &out, &in, mode);
    CHECK(!ZSTD_isError(left));
    out_.resize(filled + out.pos);
    if (last ? left == 0 : in.pos == in.size) return;
  }
}

void packer::add(std::span<const std::byte> bytes) {
  CHECK(stream_ != nullptr);
  raw_bytes_ += bytes.size();
  run(bytes, false);
}

slice packer::finish() {
  CHECK(stream_ != nullptr);
  run({}, true);
  stream_.reset();
  put(out_.data(), packed_magic);
  put(out_.data() + 8, raw_bytes_);
  auto all = slice::copy_of(std::span<const std::byte>{out_});
  out_ = {};
  return all;
}

result<slice> unpack(const slice& data) {
  if (data.size() < head_bytes || get<std::uint64_t>(data.data()) != packed_magic) return data;
  const auto raw = get<std::uint64_t>(data.data() + 8);
  if (raw > limits::snapshot_max_bytes)
    return fail(storage_errc::corrupt, "a packed snapshot is larger than any may be");
  auto out = buffer::make(std::max<std::uint64_t>(raw, 1));
  const auto size = ZSTD_decompressDCtx(lent_decompressor{}.get(), out->data(), raw,
                                        data.data() + head_bytes, data.size() - head_bytes);
  if (ZSTD_isError(size) || size != raw)
    return fail(storage_errc::corrupt, "a packed snapshot is damaged");
  if (raw == 0) return slice{};
  const auto* begin = out->data();
  return slice{std::move(out), begin, raw};
}

}  // namespace blixard::storage
