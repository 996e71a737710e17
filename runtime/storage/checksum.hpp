// CRC32C (Castagnoli) over the pieces of a record, by the CPU's own instruction where it has one.
#pragma once

#include <isa-l/crc.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace blixard::storage {

inline constexpr std::uint32_t crc_start = 0xFFFFFFFF;

/// Continues a checksum: crc32c(crc32c(crc_start, a), b) is the one over a and b together. The
/// value is stored as it is, without the final inversion of RFC 3720.
[[nodiscard]] inline std::uint32_t crc32c(std::uint32_t so_far, const void* data,
                                          std::size_t size) noexcept {
  if (size == 0) return so_far;
  // isa-l takes a pointer to non-const; it only reads.
  auto* bytes = static_cast<unsigned char*>(const_cast<void*>(data));
  return crc32_iscsi(bytes, static_cast<int>(size), so_far);
}

}  // namespace blixard::storage
