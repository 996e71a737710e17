// A snapshot file on a disk that rots is what was written, or is refused; so is a file of any
// content.
#include "runtime/storage/snapshots.hpp"
#include "tests/fuzz/disk_edits.hpp"

namespace blixard::fuzz {
namespace {

using namespace storage;

const blixard::snapshot& truth() {
  static const blixard::snapshot snap = [] {
    std::string data(5000, 'a');  // some of it shrinks, some does not
    std::uint64_t x = 7;
    for (std::size_t i = 2000; i < data.size(); ++i) {
      x = x * 6364136223846793005ULL + 1442695040888963407ULL;
      data[i] = static_cast<char>(x >> 56U);
    }
    return blixard::snapshot{
        log_index{9}, term{2}, {{node_id{1}}, {}, {node_id{4}}, {}, false}, whole(data)};
  }();
  return snap;
}

const std::string path = "d/" + snapshot_name(log_index{9}, term{2});

const sim_disk& written() {
  static const sim_disk disk = [] {
    sim_disk d;
    CHECK(d.make_dir("d").has_value());
    CHECK(snapshots(d, "d", 1).save(truth()).has_value());
    return d;
  }();
  return disk;
}

}  // namespace

void one(input in) {
  sim_disk disk = written();
  if (in.byte() % 4 == 0) {
    disk.cut(path, 0);
    auto f = disk.open(path, open_mode::write);
    CHECK((*f)->pwrite(bytes_of(in.rest()), 0).has_value());
  } else {
    const std::vector<std::string> files{path};
    for (int i = 0; i < 8 && !in.empty(); ++i) (void)edit(disk, files, true, in);
  }
  const auto found = read_snapshot(disk, path);
  CHECK(!found || *found == truth());
}

std::vector<std::string> examples() {
  using namespace std::string_literals;
  const auto content = written().content(path);
  const std::string file(reinterpret_cast<const char*>(content.data()), content.size());
  return {"\1\0\0\x20\0"s, "\1\3\0\0\2\0\4"s, "\1\2\0\x40\x10"s, '\0' + file.substr(0, 3000)};
}

}  // namespace blixard::fuzz
