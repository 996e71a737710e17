// Term and vote on a disk that rots: what is read is the newest that was written, or something is
// said to be damaged.
#include "runtime/storage/meta.hpp"
#include "tests/fuzz/disk_edits.hpp"

namespace blixard::fuzz {
namespace {

using namespace storage;

meta_state state_of(std::uint64_t n) {
  return {{term{n}, node_id{n % 3 + 1}, log_index{n * 10}}, {1, 512 + n}, log_index{n}, {}};
}

const sim_disk& written() {
  static const sim_disk disk = [] {
    sim_disk d;
    CHECK(d.make_dir("d").has_value());
    auto made = meta_file::make(d, "d", node_id{1}, state_of(1), 0);
    CHECK(made.has_value());
    for (std::uint64_t n = 2; n <= 5; ++n) {
      CHECK(made->write(state_of(n)).has_value());
      CHECK(made->sync().has_value());
    }
    return d;
  }();
  return disk;
}

}  // namespace

void one(input in) {
  sim_disk disk = written();
  const std::vector<std::string> files{"d/meta"};
  if (in.byte() % 4 == 0) {
    // Any content at all.
    disk.cut("d/meta", 0);
    auto f = disk.open("d/meta", open_mode::write);
    CHECK((*f)->pwrite(bytes_of(in.rest()), 0).has_value());
    const auto found = meta_file::load(disk, "d", node_id{1});
    CHECK(!found || found->damaged);
    return;
  }
  bool changed = false;
  for (int i = 0; i < 8 && !in.empty(); ++i) changed |= edit(disk, files, false, in);
  const auto found = meta_file::load(disk, "d", node_id{1});
  CHECK(found.has_value());
  CHECK(found->damaged || found->state == state_of(5));
  if (!changed) CHECK_EQ(found->bad_copies, 0U);
}

std::vector<std::string> examples() {
  using namespace std::string_literals;
  return {"\1\0\0\x20\x10\0\0\x20\x30"s, "\1\1\0\0\0\1\0\0\x20"s, "\1\2\0\x40\x2f"s};
}

}  // namespace blixard::fuzz
