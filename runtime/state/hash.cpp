// XXH3 with 128 bits; see hash.hpp.
#include "runtime/state/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstring>

namespace blixard::state {
namespace {

/// Kind and number mixed into a seed: distinct pairs give unrelated hash functions.
std::uint64_t seed_of(object_kind kind, std::uint64_t number) noexcept {
  return (number + (static_cast<std::uint64_t>(kind) << 56)) * 0x9E3779B97F4A7C15ULL;
}

hash128 from_xxh(XXH128_hash_t h) noexcept { return {h.low64, h.high64}; }

}  // namespace

hash128 hash_of(object_kind kind, std::uint64_t number, std::string_view bytes) {
  return from_xxh(XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed_of(kind, number)));
}

hash128 hash_of(object_kind kind, std::uint64_t number, std::string_view a, std::string_view b) {
  const hash128 first = hash_of(kind, number, a);
  const hash128 second = hash_of(kind, number, b);
  // Hashed again together: where the first string ends is fixed by its own hash.
  std::array<std::uint64_t, 4> both{first.low, first.high, second.low, second.high};
  return from_xxh(XXH3_128bits_withSeed(both.data(), sizeof both, seed_of(kind, a.size())));
}

std::uint8_t tag_of(std::string_view key) noexcept {
  return static_cast<std::uint8_t>(XXH3_64bits(key.data(), key.size()) >> 56U);
}

std::string to_hex(hash128 h) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string out(32, '0');
  for (int i = 0; i < 16; ++i) {
    out[static_cast<std::size_t>(15 - i)] = digits[(h.high >> (4 * i)) & 15];
    out[static_cast<std::size_t>(31 - i)] = digits[(h.low >> (4 * i)) & 15];
  }
  return out;
}

}  // namespace blixard::state
