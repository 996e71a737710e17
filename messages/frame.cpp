#include "messages/frame.hpp"

#include <bit>
#include <cstring>
#include <iterator>

namespace blixard {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the wire is little-endian; so is every host");

template <class T>
void put(encoded_header& out, std::size_t at, T value) noexcept {
  std::memcpy(out.data() + at, &value, sizeof value);
}

template <class T>
T get(std::span<const std::byte> in, std::size_t at) noexcept {
  T value;
  std::memcpy(&value, in.data() + at, sizeof value);
  return value;
}

std::uint32_t total(std::span<const slice> pieces) noexcept {
  std::size_t n = 0;
  for (const auto& p : pieces) n += p.size();
  return static_cast<std::uint32_t>(n);
}

}  // namespace

encoded_header encode(const frame_header& h) noexcept {
  encoded_header out{};
  put(out, 0, frame_magic);
  put(out, 4, protocol_version);
  put(out, 5, static_cast<std::uint8_t>(h.kind));
  put(out, 6, static_cast<std::uint8_t>(h.cls));
  put(out, 7, h.flags);
  put(out, 8, h.length);
  put(out, 12, h.deadline_ms);
  put(out, 16, h.request.value());
  put(out, 24, h.target.value());
  return out;
}

std::optional<frame_header> decode_header(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < frame_header_bytes) return std::nullopt;
  if (get<std::uint32_t>(bytes, 0) != frame_magic) return std::nullopt;
  if (get<std::uint8_t>(bytes, 4) != protocol_version) return std::nullopt;
  const auto kind = get<std::uint8_t>(bytes, 5);
  const auto cls = get<std::uint8_t>(bytes, 6);
  const auto flags = get<std::uint8_t>(bytes, 7);
  if (kind < static_cast<std::uint8_t>(frame_kind::hello) ||
      kind > static_cast<std::uint8_t>(frame_kind::removed) || cls >= priority_count ||
      (flags & ~frame_packed) != 0)
    return std::nullopt;
  return frame_header{.kind = static_cast<frame_kind>(kind),
                      .cls = static_cast<priority>(cls),
                      .flags = flags,
                      .length = get<std::uint32_t>(bytes, 8),
                      .deadline_ms = get<std::uint32_t>(bytes, 12),
                      .request = request_id{get<std::uint64_t>(bytes, 16)},
                      .target = node_id{get<std::uint64_t>(bytes, 24)}};
}

frame::frame(frame_header header, slice one, pooled_vector<slice> many) noexcept
    : header_(header), one_(std::move(one)), many_(std::move(many)) {}

ref<const frame> frame::make(frame_header header, slice body) {
  header.length = static_cast<std::uint32_t>(body.size());
  return ref<const frame>::adopt(new frame(header, std::move(body), {}));
}

ref<const frame> frame::make(frame_header header, std::span<slice> pieces) {
  header.length = total(pieces);
  if (pieces.size() == 1) return make(header, std::move(pieces.front()));
  pooled_vector<slice> many(std::make_move_iterator(pieces.begin()),
                            std::make_move_iterator(pieces.end()));
  return ref<const frame>::adopt(new frame(header, slice{}, std::move(many)));
}

ref<const frame> frame::make(frame_header header, std::vector<slice> pieces) {
  return make(header, std::span<slice>{pieces});
}

ref<const frame> frame::with_header(frame_header header) const {
  header.length = header_.length;
  return ref<const frame>::adopt(new frame(header, one_, many_));
}

}  // namespace blixard
