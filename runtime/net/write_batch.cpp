#include "runtime/net/write_batch.hpp"

#include <cstring>

namespace blixard::net {

write_batch::write_batch() : stage_(stage_bytes) { regions_.reserve(regions_max); }

void write_batch::clear() noexcept {
  regions_.clear();
  staged_ = 0;
  bytes_ = 0;
  full_ = false;
}

std::size_t write_batch::add(const frame& f, std::size_t skip) {
  std::size_t added = 0;
  const auto put = [&](std::span<const std::byte> piece) {
    if (skip >= piece.size()) {
      skip -= piece.size();
      return true;
    }
    piece = piece.subspan(skip);
    skip = 0;
    if (!add_piece(piece)) return false;
    added += piece.size();
    return true;
  };
  const auto header = encode(f.header());
  bool fits = put(header);
  for (std::size_t i = 0; fits && i < f.pieces().size(); ++i) fits = put(f.pieces()[i].bytes());
  bytes_ += added;
  full_ = !fits || bytes_ >= batch_max_bytes;
  return added;
}

bool write_batch::add_piece(std::span<const std::byte> piece) {
  if (piece.size() <= copy_max_bytes) return stage(piece);
  if (regions_.size() == regions_max) return false;
  regions_.push_back({const_cast<std::byte*>(piece.data()), piece.size()});  // only read
  return true;
}

bool write_batch::stage(std::span<const std::byte> piece) {
  if (staged_ + piece.size() > stage_.size()) return false;
  std::byte* to = stage_.data() + staged_;
  const bool extends =
      !regions_.empty() &&
      static_cast<std::byte*>(regions_.back().iov_base) + regions_.back().iov_len == to;
  if (!extends && regions_.size() == regions_max) return false;
  std::memcpy(to, piece.data(), piece.size());
  staged_ += piece.size();
  if (extends)
    regions_.back().iov_len += piece.size();
  else
    regions_.push_back({to, piece.size()});
  return true;
}

}  // namespace blixard::net
