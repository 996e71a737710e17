#include "runtime/storage/meta.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "runtime/storage/bytes.hpp"
#include "runtime/storage/checksum.hpp"

namespace blixard::storage {
namespace {

constexpr std::uint64_t meta_magic = 0x314154454D584C42;  // "BLXMETA1"
constexpr std::uint32_t meta_format = 1;
constexpr std::size_t copy_bytes = limits::sector_bytes;
constexpr std::uint64_t copy_distance = 4096;
constexpr std::size_t copies = 4;  // slot A, slot B, slot A, slot B
constexpr std::size_t file_bytes = copies * copy_distance;

using block = std::array<std::byte, copy_bytes>;

block encode(const meta_state& s, std::uint64_t version, node_id node) {
  block b{};
  std::byte* at = b.data();
  put(at, meta_magic);
  put(at + 12, meta_format);
  put(at + 16, version);
  put(at + 24, node.value());
  put(at + 32, s.hard.term.value());
  put(at + 40, s.hard.vote.value());
  put(at + 48, s.hard.commit.value());
  put(at + 56, s.durable.packed());
  put(at + 64, s.last_index.value());
  put(at + 72, s.repair_to.value());
  put(at + 8, crc32c(crc_start, at + 12, b.size() - 12));
  return b;
}

struct copy {
  meta_state state;
  std::uint64_t version = 0;
  std::uint32_t format = 0;
};

std::optional<copy> decode(const std::byte* at, node_id node) {
  const std::uint32_t crc = crc32c(crc_start, at + 12, copy_bytes - 12);
  if (get<std::uint64_t>(at) != meta_magic || get<std::uint32_t>(at + 8) != crc)
    return std::nullopt;
  if (get<std::uint64_t>(at + 24) != node.value()) return std::nullopt;
  copy c;
  c.format = get<std::uint32_t>(at + 12);
  c.version = get<std::uint64_t>(at + 16);
  c.state.hard.term = blixard::term{get<std::uint64_t>(at + 32)};
  c.state.hard.vote = node_id{get<std::uint64_t>(at + 40)};
  c.state.hard.commit = log_index{get<std::uint64_t>(at + 48)};
  c.state.durable = wal_position::unpack(get<std::uint64_t>(at + 56));
  c.state.last_index = log_index{get<std::uint64_t>(at + 64)};
  c.state.repair_to = log_index{get<std::uint64_t>(at + 72)};
  return c;
}

}  // namespace

result<loaded_meta> meta_file::load(file_system& fs, const std::string& dir, node_id node) {
  loaded_meta found;
  const auto handle = fs.open(dir + "/" + std::string{name}, open_mode::read);
  if (!handle && handle.error().code == storage_errc::not_found) {
    found.missing = true;
    return found;
  }
  if (!handle) return tl::unexpected(handle.error());
  std::array<unsigned, 2> bad_of_slot{};
  for (std::size_t i = 0; i < copies; ++i) {
    // A sector that cannot be read is a bad copy like any other.
    block bytes{};
    std::optional<copy> c;
    const auto got = (*handle)->pread(bytes, i * copy_distance);
    if (!got && !is_unreadable(got.error())) return tl::unexpected(got.error());
    if (got && *got == copy_bytes) c = decode(bytes.data(), node);
    if (!c) {
      ++bad_of_slot[i % 2];
      ++found.bad_copies;
      continue;
    }
    if (c->format > meta_format)
      return fail(storage_errc::too_new, dir + "/meta has a newer format than this program knows");
    if (c->version < found.version) continue;
    found.version = c->version;
    found.state = c->state;
  }
  found.damaged = bad_of_slot[0] == 2 || bad_of_slot[1] == 2;
  return found;
}

result<meta_file> meta_file::make(file_system& fs, const std::string& dir, node_id node,
                                  const meta_state& state, std::uint64_t version) {
  // Versions go on from the file before: a block of that one must not look newer.
  std::vector<std::byte> content(file_bytes);
  for (std::size_t i = 0; i < copies; ++i)
    std::ranges::copy(encode(state, version + 1 + i % 2, node),
                      content.begin() + static_cast<std::ptrdiff_t>(i * copy_distance));
  if (auto done = replace_file(fs, dir, std::string{name}, content); !done)
    return tl::unexpected(done.error());
  auto handle = fs.open(dir + "/" + std::string{name}, open_mode::write);
  if (!handle) return tl::unexpected(handle.error());
  meta_file made{std::move(*handle), node};
  made.written_ = state;
  made.version_ = version + versions_made;
  return made;
}

result<void> meta_file::write(const meta_state& state) {
  const block b = encode(state, version_ + 1, node_);
  dirty_ = true;
  for (const std::uint64_t half : {0U, 1U}) {
    const std::uint64_t at = (slot_ + 2 * half) * copy_distance;
    if (auto done = file_->pwrite(b, at); !done) return done;
  }
  ++version_;
  written_ = state;
  return {};
}

result<void> meta_file::sync() {
  if (!dirty_) return {};
  if (auto done = file_->sync(); !done) return done;
  dirty_ = false;
  slot_ = 1 - slot_;
  return {};
}

}  // namespace blixard::storage
