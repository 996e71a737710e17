// Raft messages and configuration changes to and from their wire form (messages/raft.proto).
//
// Encoding assembles: the small fields of a message and the head of each entry are written by hand
// into one buffer, and between them stand the entries' data slices as they are. Concatenated, the
// pieces are a valid pb::RaftMessage. Small data (codec_inline_max_bytes) is copied into the head
// buffer, since a gather element costs more than the copy.
//
//   [type..| e1 head] [e1 data] [e2 head] [e2 data] [rest]
//    '--- one head buffer ---'--------'------'
//
// Decoding gives entries whose data are sub-slices of the received body: nothing is copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "messages/buffer.hpp"
#include "messages/entry.hpp"
#include "messages/errc.hpp"
#include "runtime/raft/message.hpp"
#include "runtime/raft/types.hpp"

namespace blixard::raft {

/// Entry data up to this size is copied into the head buffer.
inline constexpr std::size_t codec_inline_max_bytes = 512;

/// A part of a snapshot as it travels: bytes [offset, offset + data.size()) of `total`. The meta
/// data (index, term, conf) stands in the message that carries it.
struct snapshot_chunk {
  std::uint64_t offset = 0;
  std::uint64_t total = 0;
  slice data;
};

/// What was received: the message, and for message_type::snapshot the chunk it carries
/// (message.snapshot then has the meta data and empty data).
struct decoded_message {
  message msg;
  snapshot_chunk chunk;
};

/// Bytes of the head buffer that encode() needs for `m`.
[[nodiscard]] std::size_t head_size(const message& m);

/// Appends the wire form of `m` to `pieces`; returns its size in bytes. `head` is an unshared
/// buffer of at least head_size(m) bytes (from a pool, say); null: one is made. A snapshot goes
/// whole, as a single chunk. `pieces` keeps its capacity if the caller clears it.
std::size_t encode(const message& m, std::vector<slice>& pieces, ref<buffer> head = nullptr);

/// As encode(), for one chunk of a snapshot message.
std::size_t encode_chunk(const message& m, const snapshot_chunk& chunk, std::vector<slice>& pieces);

/// Encodes what a node sends at one moment to several others. Entries that one append after another
/// carries are assembled once: the later ones refer to those bytes, and only the small fields are
/// their own. That two appends carry the same entries is told by the first and last index, the term
/// of the last (log matching property, Raft section 5.3) and the bytes in all (a witness gets terms
/// without data). One thread.
class encoder {
 public:
  /// Gives an unshared buffer of at least so many bytes.
  using buffer_source = std::function<ref<buffer>(std::size_t bytes)>;

  explicit encoder(buffer_source source = &buffer::make) : source_(std::move(source)) {}

  /// As the function encode().
  std::size_t encode(const message& m, std::vector<slice>& pieces);
  /// The moment is over: lets go of the entries' bytes.
  void forget() noexcept;
  /// Entries that were assembled since this object was made.
  [[nodiscard]] std::uint64_t assembled() const noexcept { return assembled_; }

 private:
  struct run {
    log_index first, last;
    blixard::term last_term;
    std::size_t bytes = 0;  // of the heads and the data
    friend bool operator==(const run&, const run&) = default;
  };

  buffer_source source_;
  run known_;
  std::vector<slice> block_;  // of known_; empty: nothing
  std::uint64_t assembled_ = 0;
};

/// Reads one message. errc::invalid_argument for anything that is not a well-formed message with
/// known enum values and contiguous entries. Unknown fields are skipped, as Protobuf does.
[[nodiscard]] tl::expected<decoded_message, error> decode(const slice& body);
/// As decode(), into `out`, whose entry list keeps its capacity. After an error `out` is
/// unspecified.
[[nodiscard]] tl::expected<void, error> decode_into(const slice& body, decoded_message& out);

/// pb::ConfChange.
[[nodiscard]] slice encode_conf_change(const conf_change& change);
[[nodiscard]] tl::expected<conf_change, error> decode_conf_change(const slice& data);

/// pb::Entry, for the disk and for proposals: the head (fields before the data) and how long it is.
/// The data follows the head verbatim. `out` has room for entry_head_max_bytes.
inline constexpr std::size_t entry_head_max_bytes = 32;
std::size_t encode_entry_head(const entry& e, std::byte* out) noexcept;
/// Reads a pb::Entry; its data is a sub-slice of `body`.
[[nodiscard]] tl::expected<entry, error> decode_entry(const slice& body);

/// pb::ConfState.
[[nodiscard]] slice encode_conf_state(const conf_state& conf);
[[nodiscard]] tl::expected<conf_state, error> decode_conf_state(const slice& body);

}  // namespace blixard::raft
