// Damage to files, as the bytes of an input say: bits that rot, sectors that are zeroed, moved or
// cut off. It never repairs a checksum, so whatever is read from a damaged place has to be noticed.
#pragma once

#include <string>
#include <vector>

#include "messages/limits.hpp"
#include "runtime/storage/sim_disk.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {

/// Edits one of `files`; true if its content is another one now. `moves`: sectors of one place may
/// appear at another, which is no forgery where every place knows its own.
inline bool edit(storage::sim_disk& disk, const std::vector<std::string>& files, bool moves,
                 input& in) {
  const std::uint8_t how = in.byte();
  const std::string& path = files[in.byte() % files.size()];
  const auto now = disk.content(path);
  if (now.empty()) return false;
  const std::string before(reinterpret_cast<const char*>(now.data()), now.size());
  const std::uint64_t at = in.word() % before.size();
  const std::uint64_t sector = at - at % limits::sector_bytes;
  const std::uint64_t length =
      std::min<std::uint64_t>(limits::sector_bytes, before.size() - sector);
  switch (how % (moves ? 4 : 3)) {
    case 0:
      disk.flip_bit(path, at, how / 4 % 8);
      break;
    case 1:
      disk.zero(path, sector, length);
      break;
    case 2:
      disk.cut(path, at);
      break;
    default: {
      const std::uint64_t from = in.word() % before.size();
      const std::uint64_t there = from - from % limits::sector_bytes;
      disk.overwrite(path, sector, bytes_of(std::string_view{before}.substr(there, length)));
    }
  }
  const auto after = disk.content(path);
  return std::string_view(reinterpret_cast<const char*>(after.data()), after.size()) != before;
}

}  // namespace blixard::fuzz
