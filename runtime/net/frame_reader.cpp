#include "runtime/net/frame_reader.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "messages/check.hpp"

namespace blixard::net {
namespace {

/// A record of type handshake, version 3.something.
bool begins_tls(const std::byte* at) { return at[0] == std::byte{22} && at[1] == std::byte{3}; }

}  // namespace

read_arena::read_arena(routing::buffer_pool& pool, std::size_t chunk_bytes)
    : pool_(pool), chunk_bytes_(chunk_bytes) {
  CHECK_GE(chunk_bytes, min_room_bytes);
}

std::span<std::byte> read_arena::room() {
  if (chunk_ && used_ > 0 && chunk_->unique()) used_ = 0;
  if (!chunk_ || chunk_->capacity() - used_ < min_room_bytes) {
    chunk_ = pool_.acquire(chunk_bytes_);
    used_ = 0;
  }
  return {chunk_->data() + used_, chunk_->capacity() - used_};
}

void read_arena::take_until(const std::byte* end) noexcept {
  CHECK_LE(end, chunk_end());
  used_ = static_cast<std::size_t>(end - chunk_->data());
}

frame_reader::frame_reader(read_arena& arena, transport_counters& counters, bounds b,
                           routing::inbound_budget* budget) noexcept
    : arena_(arena), counters_(counters), bounds_(b), budget_(budget) {}

void frame_reader::stop_charging() noexcept {
  give_back();
  budget_ = nullptr;
}

bool frame_reader::charge(std::size_t bytes) noexcept {
  // Whose hello it is, is not known before it is whole; it is short.
  if (budget_ == nullptr || frames_ == 0) return true;
  if (!budget_->take(routing::inbound_use::half_frames, bytes)) return false;
  charged_ = bytes;
  return true;
}

void frame_reader::give_back() noexcept {
  if (const auto bytes = std::exchange(charged_, 0); bytes > 0)
    budget_->give_back(routing::inbound_use::half_frames, bytes);
}

std::size_t frame_reader::prepare(regions& out) {
  std::size_t n = 0;
  if (body_.owner) out[n++] = {body_.begin + body_.have, body_.header.length - body_.have};
  const auto room = arena_.room();
  room_begin_ = room.data();
  out[n++] = {room.data(), room.size()};
  return n;
}

std::optional<close_reason> frame_reader::consume(std::size_t bytes, std::vector<frame_ptr>& out) {
  std::byte* at = room_begin_;
  if (shed_left_ > 0) {
    const auto thrown = throw_away(bytes, out);
    at += thrown;
    bytes -= thrown;
  }
  if (body_.owner) {
    const auto taken = std::min<std::size_t>(bytes, body_.header.length - body_.have);
    body_.have += taken;
    bytes -= taken;
    if (body_.have == body_.header.length) {
      give_back();
      emit(body_.header, slice{std::move(body_.owner), body_.begin, body_.have}, out);
      body_ = {};
    }
  }
  if (bytes == 0) return std::nullopt;
  return parse(at, at + bytes, out);
}

// Of `bytes` that arrived, those that belong to a body without room.
std::size_t frame_reader::throw_away(std::size_t bytes, std::vector<frame_ptr>& out) {
  const auto thrown = std::min(bytes, shed_left_);
  shed_left_ -= thrown;
  if (shed_left_ == 0) emit(shed_, slice{}, out);
  return thrown;
}

std::optional<close_reason> frame_reader::parse(std::byte* at, std::byte* end,
                                                std::vector<frame_ptr>& out) {
  while (at != end) {
    std::optional<frame_header> h;
    const std::byte* header = at;
    if (header_have_ == 0 && static_cast<std::size_t>(end - at) >= frame_header_bytes) {
      h = decode_header({at, end});
      at += frame_header_bytes;
    } else {
      std::byte* const from = at;
      at += take_header({at, end});
      if (header_have_ < frame_header_bytes) {
        arena_.take_until(from);  // those bytes are kept in header_
        return std::nullopt;
      }
      h = decode_header(header_);
      header = header_.data();
      header_have_ = 0;
    }
    if (!h) {
      saw_tls_ = first_ && begins_tls(header);
      return close_reason::bad_frame;
    }
    if (h->length > (first_ ? bounds_.first_frame_max_bytes : bounds_.frame_max_bytes))
      return close_reason::oversized;
    first_ = false;
    if (h->length == 0) {
      emit(*h, slice{}, out);
    } else if (static_cast<std::size_t>(end - at) >= h->length) {
      emit(*h, slice{arena_.chunk(), at, h->length}, out);
      at += h->length;
    } else if (charge(h->length)) {
      arena_.take_until(begin_body(*h, at, end));
      return std::nullopt;
    } else {
      arena_.take_until(at);  // what follows may be overwritten
      shed_left_ = h->length - static_cast<std::size_t>(end - at);
      shed_ = *h;
      shed_.flags |= frame_shed;
      shed_.length = 0;
      return std::nullopt;
    }
  }
  arena_.take_until(end);
  return std::nullopt;
}

// Adds to the header that is being collected; returns how many bytes it took.
std::size_t frame_reader::take_header(std::span<const std::byte> bytes) noexcept {
  const auto n = std::min(bytes.size(), frame_header_bytes - header_have_);
  std::memcpy(header_.data() + header_have_, bytes.data(), n);
  header_have_ += n;
  return n;
}

// Finds a place for a body of which [at, end) is here. Returns up to where the chunk is taken.
std::byte* frame_reader::begin_body(const frame_header& h, std::byte* at, std::byte* end) {
  const auto have = static_cast<std::size_t>(end - at);
  if (static_cast<std::size_t>(arena_.chunk_end() - at) >= h.length) {
    body_ = {h, arena_.chunk(), at, have};
    return at + h.length;
  }
  auto own = arena_.own_buffer(h.length);
  std::memcpy(own->data(), at, have);
  counters_.copied_in_bytes.add(have);
  auto* begin = own->data();
  body_ = {h, std::move(own), begin, have};
  return at;
}

void frame_reader::emit(const frame_header& h, slice body, std::vector<frame_ptr>& out) {
  ++frames_;
  auto& c = counters_.of(h.cls);
  c.received_frames.add();
  c.received_bytes.add(frame_header_bytes + h.length);
  out.push_back(frame::make(h, std::move(body)));
}

}  // namespace blixard::net
