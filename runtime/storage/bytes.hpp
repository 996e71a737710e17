// Little-endian integers in byte arrays: what every format of this folder is made of.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace blixard::storage {

static_assert(std::endian::native == std::endian::little, "the formats are little-endian");

template <class T>
void put(std::byte* at, T value) noexcept {
  static_assert(std::is_unsigned_v<T>);
  std::memcpy(at, &value, sizeof value);
}

template <class T>
[[nodiscard]] T get(const std::byte* at) noexcept {
  static_assert(std::is_unsigned_v<T>);
  T value{};
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace blixard::storage
