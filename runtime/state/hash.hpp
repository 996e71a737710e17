// The rolling digest: one 128-bit number that stands for a whole set of objects.
//
// Each object (a key, a VM, a node, a remembered answer) is hashed with what kind it is and which
// one; the digest is the sum of these hashes modulo 2^128. Addition does not care about order, so
// that a change costs one subtraction and one addition, whatever the size of the state, and two
// nodes agree exactly if their sets do. It detects divergence, not attack: XXH3 is not a
// cryptographic hash.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace blixard::state {

/// A 128-bit number under addition modulo 2^128.
struct hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  hash128& operator+=(hash128 o) noexcept {
    low += o.low;
    high += o.high + (low < o.low ? 1U : 0U);
    return *this;
  }
  hash128& operator-=(hash128 o) noexcept {
    high -= o.high + (low < o.low ? 1U : 0U);
    low -= o.low;
    return *this;
  }
  friend bool operator==(hash128, hash128) noexcept = default;
};

/// What an object is; part of its hash, so that equal bytes of two kinds do not cancel.
enum class object_kind : std::uint8_t {
  kv = 1,
  vm = 2,
  node = 3,
  session = 4,
  result = 5,
  counters = 6
};

/// The hash of one object: its kind, a number (version, id) and its bytes.
[[nodiscard]] hash128 hash_of(object_kind kind, std::uint64_t number, std::string_view bytes);
/// The same over two strings, unambiguous about where the first ends.
[[nodiscard]] hash128 hash_of(object_kind kind, std::uint64_t number, std::string_view a,
                              std::string_view b);

/// A byte that stands for a key where keys are searched for. Not part of any format.
[[nodiscard]] std::uint8_t tag_of(std::string_view key) noexcept;

/// 32 lower-case hex digits, most significant first.
[[nodiscard]] std::string to_hex(hash128 h);

}  // namespace blixard::state
