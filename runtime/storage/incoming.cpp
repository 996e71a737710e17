#include "runtime/storage/incoming.hpp"

#include <array>

#include "messages/limits.hpp"
#include "runtime/base/planted.hpp"
#include "runtime/storage/bytes.hpp"
#include "runtime/storage/checksum.hpp"

namespace blixard::storage {
namespace {

constexpr std::uint64_t incoming_magic = 0x3154524150584C42;  // "BLXPART1"
constexpr std::uint32_t incoming_format = 1;
constexpr std::size_t head_bytes = 48;
constexpr std::size_t chunk_head_bytes = 8;

std::array<std::byte, head_bytes> encode_head(const incoming_name& n) {
  std::array<std::byte, head_bytes> out{};
  put(out.data(), incoming_magic);
  put(out.data() + 12, incoming_format);
  put(out.data() + 16, n.index.value());
  put(out.data() + 24, n.term.value());
  put(out.data() + 32, n.total);
  put(out.data() + 40, n.content);
  put(out.data() + 8, crc32c(crc_start, out.data() + 12, out.size() - 12));
  return out;
}

std::optional<incoming_name> decode_head(std::span<const std::byte> in) {
  if (in.size() < head_bytes || get<std::uint64_t>(in.data()) != incoming_magic ||
      get<std::uint32_t>(in.data() + 12) != incoming_format ||
      get<std::uint32_t>(in.data() + 8) != crc32c(crc_start, in.data() + 12, head_bytes - 12))
    return std::nullopt;
  const incoming_name n{log_index{get<std::uint64_t>(in.data() + 16)},
                        blixard::term{get<std::uint64_t>(in.data() + 24)},
                        get<std::uint64_t>(in.data() + 32), get<std::uint64_t>(in.data() + 40)};
  if (!n.index || n.total > limits::snapshot_max_bytes) return std::nullopt;
  return n;
}

}  // namespace

std::optional<incoming_snapshot> incoming_file::load() {
  auto content = read_file(fs_, path_);
  if (!content) return std::nullopt;
  const auto name = decode_head(*content);
  if (!name) return std::nullopt;
  incoming_snapshot found{*name, buffer::make(std::max<std::uint64_t>(name->total, 1)), 0};
  auto crc = get<std::uint32_t>(content->data() + 8);
  std::size_t at = head_bytes;
  while (content->size() - at >= chunk_head_bytes) {
    const std::byte* head = content->data() + at;
    const auto size = get<std::uint32_t>(head + 4);
    if (size == 0 || size > content->size() - at - chunk_head_bytes ||
        size > name->total - found.received)
      break;
    const auto sum = crc32c(crc, head + 4, chunk_head_bytes - 4 + size);
    if (sum != get<std::uint32_t>(head) && !planted(bug::incoming_unchecked)) break;
    std::memcpy(found.data->data() + found.received, head + chunk_head_bytes, size);
    found.received += size;
    crc = sum;
    at += chunk_head_bytes + size;
  }
  auto handle = fs_.open(path_, open_mode::write);
  if (!handle) return std::nullopt;
  file_ = std::move(*handle);
  name_ = *name;
  received_ = found.received;
  end_ = at;
  crc_ = crc;
  return found;
}

result<void> incoming_file::begin(const incoming_name& name) {
  file_.reset();
  auto handle = fs_.open(path_, open_mode::create_new);
  if (!handle) return tl::unexpected(handle.error());
  file_ = std::move(*handle);
  name_ = name;
  received_ = 0;
  const auto head = encode_head(name);
  crc_ = get<std::uint32_t>(head.data() + 8);
  end_ = head.size();
  return file_->pwrite(head, 0);
}

result<void> incoming_file::append(std::span<const std::byte> bytes) {
  std::array<std::byte, chunk_head_bytes> head{};
  put(head.data() + 4, static_cast<std::uint32_t>(bytes.size()));
  auto crc = crc32c(crc_, head.data() + 4, head.size() - 4);
  crc = crc32c(crc, bytes.data(), bytes.size());
  put(head.data(), crc);
  if (auto done = file_->pwrite(head, end_); !done) return done;
  if (auto done = file_->pwrite(bytes, end_ + head.size()); !done) return done;
  end_ += head.size() + bytes.size();
  received_ += bytes.size();
  crc_ = crc;
  return {};
}

result<void> incoming_file::add(const incoming_name& name, std::uint64_t offset,
                                std::span<const std::byte> bytes) {
  if (offset == 0) {
    if (auto begun = begin(name); !begun) {
      drop();
      return begun;
    }
  }
  if (!file_ || name != name_ || offset != received_ || bytes.empty()) return {};
  auto done = append(bytes);
  if (!done) drop();
  return done;
}

void incoming_file::drop() {
  if (!file_ && !name_.index) return;
  file_.reset();
  name_ = {};
  (void)fs_.unlink(path_);  // one that stays is replaced by the next
}

}  // namespace blixard::storage
