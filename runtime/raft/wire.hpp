// The Protobuf wire format by hand, as far as the codec needs it: varints, fixed64 and
// length-delimited fields. Internal to runtime/raft.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "messages/buffer.hpp"

namespace blixard::raft::wire {

enum class kind : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

static_assert(std::endian::native == std::endian::little, "fixed64 is copied as it is");

[[nodiscard]] constexpr std::uint64_t tag(std::uint32_t field, kind k) noexcept {
  return std::uint64_t{field} << 3 | static_cast<std::uint64_t>(k);
}

[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t v) noexcept {
  return (static_cast<std::size_t>(std::bit_width(v | 1)) + 6) / 7;
}

/// Size of a field with a varint value; nothing for zero, as proto3 has it.
[[nodiscard]] constexpr std::size_t field_size(std::uint32_t field, std::uint64_t v) noexcept {
  return v == 0 ? 0 : varint_size(tag(field, kind::varint)) + varint_size(v);
}

/// Size of tag and length of a length-delimited field.
[[nodiscard]] constexpr std::size_t prefix_size(std::uint32_t field,
                                                std::uint64_t length) noexcept {
  return varint_size(tag(field, kind::bytes)) + varint_size(length);
}

/// Writes forward into memory that is large enough.
class writer {
 public:
  explicit writer(std::byte* at) noexcept : at_(at) {}
  [[nodiscard]] std::byte* position() const noexcept { return at_; }

  void varint(std::uint64_t v) noexcept {
    for (; v >= 0x80; v >>= 7) *at_++ = static_cast<std::byte>(v | 0x80);
    *at_++ = static_cast<std::byte>(v);
  }
  void field(std::uint32_t number, std::uint64_t v) noexcept {
    if (v == 0) return;
    varint(tag(number, kind::varint));
    varint(v);
  }
  void fixed64(std::uint32_t number, std::uint64_t v) noexcept {
    if (v == 0) return;
    varint(tag(number, kind::fixed64));
    std::memcpy(at_, &v, sizeof v);
    at_ += sizeof v;
  }
  void prefix(std::uint32_t number, std::uint64_t length) noexcept {
    varint(tag(number, kind::bytes));
    varint(length);
  }
  void raw(std::span<const std::byte> bytes) noexcept {
    if (!bytes.empty()) std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }

 private:
  std::byte* at_;
};

/// Reads fields one after the other. Once something does not fit, failed() stays true and next()
/// gives false.
class reader {
 public:
  explicit reader(slice body) noexcept : body_(std::move(body)) {}

  /// The next field; false at the end or on an error. The value is then read or skipped by the
  /// caller through exactly one of the functions below.
  bool next();
  [[nodiscard]] std::uint32_t field() const noexcept { return field_; }
  [[nodiscard]] kind wire_kind() const noexcept { return kind_; }

  [[nodiscard]] std::uint64_t varint();
  [[nodiscard]] std::uint64_t fixed64();
  [[nodiscard]] slice bytes();
  void skip();
  void fail() noexcept { failed_ = true; }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

  /// A repeated uint64, packed or one by one.
  template <class Id>
  void repeated(std::vector<Id>& out) {
    if (kind_ == kind::varint) {
      out.push_back(Id{varint()});
      return;
    }
    reader packed(bytes());
    while (packed.position_ < packed.body_.size() && !packed.failed_)
      out.push_back(Id{packed.raw_varint()});
    failed_ = failed_ || packed.failed_;
  }

 private:
  [[nodiscard]] std::uint64_t raw_varint();
  bool expect(kind k) noexcept {
    if (kind_ != k) failed_ = true;
    return !failed_;
  }
  [[nodiscard]] std::size_t left() const noexcept { return body_.size() - position_; }

  slice body_;
  std::size_t position_ = 0;
  std::uint32_t field_ = 0;
  kind kind_ = kind::varint;
  bool failed_ = false;
};

}  // namespace blixard::raft::wire
