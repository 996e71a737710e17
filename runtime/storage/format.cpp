#include "runtime/storage/format.hpp"

#include <charconv>
#include <cstring>

#include "runtime/storage/bytes.hpp"
#include "runtime/storage/checksum.hpp"

namespace blixard::storage {
namespace {

constexpr std::uint64_t segment_magic = 0x3130474553584C42;  // "BLXSEG01"
constexpr std::uint32_t segment_format = 1;
constexpr std::array<std::byte, record_align> zeros{};

// Offsets within a record's header.
constexpr std::size_t at_crc = 4;
constexpr std::size_t at_length = 8;
constexpr std::size_t at_type = 12;
constexpr std::size_t at_life = 16;
constexpr std::size_t at_previous = 20;
constexpr std::size_t at_index = 24;
constexpr std::size_t at_term = 32;
constexpr std::size_t at_durable = 40;

// Offsets within a segment's header.
constexpr std::size_t seg_crc = 8;
constexpr std::size_t seg_format = 12;
constexpr std::size_t seg_sequence = 16;
constexpr std::size_t seg_node = 24;
constexpr std::size_t seg_end = 32;
constexpr std::size_t seg_previous = 40;
constexpr std::size_t seg_last_index = 48;
constexpr std::size_t seg_last_term = 56;

}  // namespace

std::uint32_t encode_record(std::byte* at, const record_header& head,
                            std::span<const std::byte> payload) noexcept {
  put(at, record_magic);
  put(at + at_length, head.length);
  put(at + at_type, static_cast<std::uint32_t>(head.type));
  put(at + at_life, head.life);
  put(at + at_previous, head.previous);
  put(at + at_index, head.index.value());
  put(at + at_term, head.term.value());
  put(at + at_durable, head.durable.packed());
  std::uint32_t crc = crc32c(crc_start, at + at_length, record_header_bytes - at_length);
  crc = crc32c(crc, payload.data(), payload.size());
  crc = crc32c(crc, zeros.data(), padded(payload.size()) - payload.size());
  put(at + at_crc, crc);
  return crc;
}

std::optional<record_header> decode_record(const std::byte* at) noexcept {
  if (get<std::uint32_t>(at) != record_magic) return std::nullopt;
  const auto type = get<std::uint32_t>(at + at_type);
  if (type < 1 || type > 3) return std::nullopt;
  record_header head;
  head.length = get<std::uint32_t>(at + at_length);
  head.type = static_cast<record_type>(type);
  head.life = get<std::uint32_t>(at + at_life);
  head.previous = get<std::uint32_t>(at + at_previous);
  head.index = log_index{get<std::uint64_t>(at + at_index)};
  head.term = blixard::term{get<std::uint64_t>(at + at_term)};
  head.durable = wal_position::unpack(get<std::uint64_t>(at + at_durable));
  return head;
}

std::uint32_t stored_checksum(const std::byte* at) noexcept {
  return get<std::uint32_t>(at + at_crc);
}

std::uint32_t record_checksum(const std::byte* at, std::size_t length) noexcept {
  return crc32c(crc_start, at + at_length, record_header_bytes - at_length + padded(length));
}

segment_header_block encode_segment(const segment_header& head) noexcept {
  segment_header_block block{};
  std::byte* at = block.data();
  put(at, segment_magic);
  put(at + seg_format, segment_format);
  put(at + seg_sequence, head.sequence);
  put(at + seg_node, head.node.value());
  put(at + seg_end, head.end.packed());
  put(at + seg_previous, head.previous);
  put(at + seg_last_index, head.last_index.value());
  put(at + seg_last_term, head.last_term.value());
  put(at + seg_crc, crc32c(crc_start, at + seg_format, block.size() - seg_format));
  return block;
}

decoded_segment decode_segment(std::span<const std::byte> block,
                               std::uint64_t expected_sequence) noexcept {
  decoded_segment found;
  if (block.size() < segment_header_bytes) return found;
  const std::byte* at = block.data();
  const std::uint32_t crc = crc32c(crc_start, at + seg_format, segment_header_bytes - seg_format);
  if (get<std::uint64_t>(at) != segment_magic || get<std::uint32_t>(at + seg_crc) != crc)
    return found;
  if (get<std::uint32_t>(at + seg_format) > segment_format) {
    found.state = segment_state::too_new;
    return found;
  }
  if (get<std::uint64_t>(at + seg_sequence) != expected_sequence) return found;
  found.state = segment_state::valid;
  found.head.sequence = expected_sequence;
  found.head.node = node_id{get<std::uint64_t>(at + seg_node)};
  found.head.end = wal_position::unpack(get<std::uint64_t>(at + seg_end));
  found.head.previous = get<std::uint32_t>(at + seg_previous);
  found.head.last_index = log_index{get<std::uint64_t>(at + seg_last_index)};
  found.head.last_term = blixard::term{get<std::uint64_t>(at + seg_last_term)};
  return found;
}

std::string segment_name(std::uint64_t sequence) {
  std::array<char, 17> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + 16, sequence, 16).ptr;
  const auto size = static_cast<std::size_t>(end - digits.data());
  return std::string(16 - size, '0').append(digits.data(), size).append(".wal");
}

std::optional<std::uint64_t> segment_sequence(const std::string& name) noexcept {
  if (name.size() != 20 || !name.ends_with(".wal")) return std::nullopt;
  std::uint64_t value = 0;
  const char* end = name.data() + 16;
  const auto parsed = std::from_chars(name.data(), end, value, 16);
  if (parsed.ec != std::errc{} || parsed.ptr != end || value == 0) return std::nullopt;
  return value;
}

}  // namespace blixard::storage
