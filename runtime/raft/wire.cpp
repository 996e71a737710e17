#include "runtime/raft/wire.hpp"

namespace blixard::raft::wire {

bool reader::next() {
  if (failed_ || left() == 0) return false;
  const std::uint64_t t = raw_varint();
  const std::uint64_t k = t & 7;
  const std::uint64_t number = t >> 3;
  const bool known_kind = k == 0 || k == 1 || k == 2 || k == 5;
  if (failed_ || !known_kind || number == 0 || number > 0x1FFFFFFF) {
    failed_ = true;
    return false;
  }
  field_ = static_cast<std::uint32_t>(number);
  kind_ = static_cast<kind>(k);
  return true;
}

std::uint64_t reader::raw_varint() {
  std::uint64_t v = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (left() == 0) break;
    const auto b = static_cast<std::uint64_t>(body_.data()[position_++]);
    // The tenth byte has room for one bit.
    if (shift == 63 && b > 1) break;
    v |= (b & 0x7F) << shift;
    if (b < 0x80) return v;
  }
  failed_ = true;
  return 0;
}

std::uint64_t reader::varint() { return expect(kind::varint) ? raw_varint() : 0; }

std::uint64_t reader::fixed64() {
  std::uint64_t v = 0;
  if (!expect(kind::fixed64)) return 0;
  if (left() < sizeof v) {
    failed_ = true;
    return 0;
  }
  std::memcpy(&v, body_.data() + position_, sizeof v);
  position_ += sizeof v;
  return v;
}

slice reader::bytes() {
  if (!expect(kind::bytes)) return {};
  const std::uint64_t length = raw_varint();
  if (failed_ || length > left()) {
    failed_ = true;
    return {};
  }
  slice part = body_.sub(position_, length);
  position_ += length;
  return part;
}

void reader::skip() {
  switch (kind_) {
    case kind::varint:
      (void)varint();
      return;
    case kind::fixed64:
      (void)fixed64();
      return;
    case kind::bytes:
      (void)bytes();
      return;
    case kind::fixed32:
      if (left() < 4)
        failed_ = true;
      else
        position_ += 4;
      return;
  }
}

}  // namespace blixard::raft::wire
