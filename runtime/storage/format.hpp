// The bytes of a log segment: one header, then records. README.md is the normative description.
//
// A record is checked on its own (its checksum covers all of it) and in its place: it names the
// segment life that it was written in (a recycled file keeps older records), the checksum of the
// record before it, and how far the log was known to be durable when it was written. The last one
// tells, for something unreadable in front of a good record, whether it was lost with a power cut
// (never acknowledged) or damaged later.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "messages/check.hpp"
#include "messages/ids.hpp"
#include "messages/limits.hpp"

namespace blixard::storage {

/// A place in the log: bytes into a segment. Grows with every write, whatever the index does.
struct wal_position {
  std::uint64_t segment = 0;  // sequence number, from 1
  std::uint64_t offset = 0;   // below 4 GiB

  [[nodiscard]] constexpr std::uint64_t packed() const noexcept { return segment << 32 | offset; }
  [[nodiscard]] static constexpr wal_position unpack(std::uint64_t v) noexcept {
    return {v >> 32, v & 0xFFFFFFFF};
  }
  friend constexpr auto operator<=>(const wal_position&, const wal_position&) noexcept = default;
};

inline constexpr std::size_t segment_header_bytes = limits::sector_bytes;
inline constexpr std::size_t record_header_bytes = 48;
inline constexpr std::size_t record_align = 8;
inline constexpr std::uint32_t record_magic = 0x52584C42;  // "BLXR"
inline constexpr std::uint64_t segment_max_bytes = std::uint64_t{2} << 30;
/// Payload of one record. Far above any command; keeps a damaged length from being believed.
inline constexpr std::size_t record_max_payload = 64 * limits::MiB;
static_assert(limits::command_max_bytes < record_max_payload);
static_assert(segment_header_bytes % record_align == 0 && record_header_bytes % record_align == 0);

enum class record_type : std::uint8_t {
  normal = 1,    // an entry of the Raft log
  conf = 2,      // an entry that changes the configuration
  snapshot = 3,  // a snapshot was installed: the log starts again behind (index, term); no payload
};

/// The fixed part of a record, in host representation.
struct record_header {
  std::uint32_t length = 0;  // of the payload, without padding
  record_type type = record_type::normal;
  std::uint32_t life = 0;      // low half of the segment's sequence number
  std::uint32_t previous = 0;  // checksum of the record before, across segments
  log_index index;
  blixard::term term;
  wal_position durable;  // everything before this was durable when the record was written
};

/// The fixed part of a segment, in host representation.
struct segment_header {
  std::uint64_t sequence = 0;
  node_id node;
  wal_position end;            // where the segment before ends: what is behind that is not log
  std::uint32_t previous = 0;  // checksum of the last record before
  log_index last_index;        // tail of the log before this segment
  blixard::term last_term;
};

[[nodiscard]] constexpr std::size_t padded(std::size_t payload) noexcept {
  return (payload + record_align - 1) & ~(record_align - 1);
}
[[nodiscard]] constexpr std::uint64_t record_bytes(std::size_t payload) noexcept {
  return record_header_bytes + padded(payload);
}

/// Writes the header of a record whose payload is `payload` to `at`; returns the checksum, which
/// the next record carries as `previous`.
std::uint32_t encode_record(std::byte* at, const record_header& head,
                            std::span<const std::byte> payload) noexcept;

/// A header as it stands at `at` (record_header_bytes), unchecked but for magic and type.
[[nodiscard]] std::optional<record_header> decode_record(const std::byte* at) noexcept;
/// The checksum stored in a header.
[[nodiscard]] std::uint32_t stored_checksum(const std::byte* at) noexcept;
/// The checksum that a header, its payload and the padding ought to have; `at` is followed by
/// record_bytes(length) in all.
[[nodiscard]] std::uint32_t record_checksum(const std::byte* at, std::size_t length) noexcept;

using segment_header_block = std::array<std::byte, segment_header_bytes>;
[[nodiscard]] segment_header_block encode_segment(const segment_header& head) noexcept;

enum class segment_state : std::uint8_t {
  valid,
  foreign,  // not a header of this sequence number: a spare or recycled file, or damage
  too_new,
};
struct decoded_segment {
  segment_state state = segment_state::foreign;
  segment_header head;
};
[[nodiscard]] decoded_segment decode_segment(std::span<const std::byte> block,
                                             std::uint64_t expected_sequence) noexcept;

/// "000000000000002a.wal" for 42, and back.
[[nodiscard]] std::string segment_name(std::uint64_t sequence);
[[nodiscard]] std::optional<std::uint64_t> segment_sequence(const std::string& name) noexcept;

}  // namespace blixard::storage
