#include "runtime/storage/file_system.hpp"

namespace blixard::storage {

result<void> file::pwrite(std::span<const std::byte> bytes, std::uint64_t offset) {
  // iovec has no const variant; pwritev only reads.
  const iovec one{const_cast<std::byte*>(bytes.data()), bytes.size()};
  return pwritev({&one, 1}, offset);
}

result<std::vector<std::byte>> read_file(file_system& fs, const std::string& path) {
  auto handle = fs.open(path, open_mode::read);
  if (!handle) return tl::unexpected(handle.error());
  const auto size = (*handle)->size();
  if (!size) return tl::unexpected(size.error());
  std::vector<std::byte> bytes(*size);
  const auto got = (*handle)->pread(bytes, 0);
  if (!got) return tl::unexpected(got.error());
  bytes.resize(*got);
  return bytes;
}

result<void> replace_file(file_system& fs, const std::string& dir, const std::string& name,
                          std::span<const std::byte> content) {
  const std::string temporary = dir + "/" + name + ".tmp";
  {
    auto handle = fs.open(temporary, open_mode::create_new);
    if (!handle) return tl::unexpected(handle.error());
    if (auto done = (*handle)->pwrite(content, 0); !done) return done;
    if (auto done = (*handle)->sync(); !done) return done;
  }
  if (auto done = fs.rename(temporary, dir + "/" + name); !done) return done;
  return fs.sync_dir(dir);
}

}  // namespace blixard::storage
