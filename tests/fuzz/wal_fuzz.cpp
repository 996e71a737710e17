// The log on a disk that rots: what was acknowledged is found again, or is said to be lost, never
// quietly missing or different. And a log of forged records, whose checksums are right and whose
// content is not.
#include <map>

#include "runtime/storage/bytes.hpp"
#include "runtime/storage/format.hpp"
#include "runtime/storage/log_reader.hpp"
#include "runtime/storage/store.hpp"
#include "tests/fuzz/disk_edits.hpp"

namespace blixard::fuzz {
namespace {

using namespace storage;

constexpr const char* dir = "data";
const hard_state truth{term{3}, node_id{2}, log_index{30}};

std::string text_of(std::uint64_t index) {
  return "entry " + std::to_string(index) + std::string(index * 7 % 90, 'x');
}

// Forty entries over several segments, all of them acknowledged.
const sim_disk& written() {
  static const sim_disk disk = [] {
    sim_disk d;
    auto opened = store::open(d, dir, {{node_id{1}, cluster_id{77}}, 2048, 1});
    CHECK(opened.has_value());
    for (std::uint64_t i = 1; i <= 40; ++i) {
      const entry e{term{1 + i / 20}, log_index{i}, entry_kind::normal, whole(text_of(i))};
      const persist_batch batch{persist_seq{i}, nullptr, {&e, 1}, truth, true};
      CHECK(opened->disk->write({&batch, 1}).has_value());
      CHECK(opened->disk->sync().has_value());
      (void)opened->disk->prepare();
    }
    CHECK(opened->disk->flush_hint().has_value());
    return d;
  }();
  return disk;
}

void damaged_log(input in) {
  sim_disk disk = written();
  std::vector<std::string> segments = disk.paths(std::string(dir) + "/wal");
  std::vector<std::string> meta{std::string(dir) + "/meta"};
  for (int i = 0; i < 8 && !in.empty(); ++i)
    if (in.byte() % 4 == 0)
      (void)edit(disk, meta, false, in);
    else
      (void)edit(disk, segments, true, in);
  const auto found = store::examine(disk, dir);
  if (!found) return;
  const bool lost = found->corrupt.has_value();
  for (const entry& e : found->entries) CHECK(e.data.text() == text_of(e.index.value()));
  if (lost) return;
  CHECK_EQ(found->last_index, log_index{40});
  CHECK_EQ(found->entries.size(), std::size_t{40});
  CHECK_EQ(found->hard.term, truth.term);
  CHECK_EQ(found->hard.vote, truth.vote);
}

void forged_log(input in) {
  sim_disk disk;
  CHECK(disk.make_dir("wal").has_value());
  for (std::uint64_t sequence = 1; sequence <= 2; ++sequence) {
    std::string content;
    const auto head = encode_segment({sequence, node_id{1}, wal_position::unpack(in.word()),
                                      in.byte(), log_index{in.byte()}, term{in.byte()}});
    content.append(reinterpret_cast<const char*>(head.data()), head.size());
    std::uint32_t previous = 0;
    for (int i = 0; i < 12 && !in.empty(); ++i) {
      record_header h;
      const std::string_view payload = in.text(in.byte() % 40);
      h.length = static_cast<std::uint32_t>(payload.size());
      h.type = static_cast<record_type>(1 + in.byte() % 3);
      h.life = static_cast<std::uint32_t>(in.byte() % 8 == 0 ? in.byte() : sequence);
      h.previous = in.byte() % 8 == 0 ? in.byte() : previous;
      h.index = log_index{in.byte()};
      h.term = term{in.byte()};
      h.durable = {in.byte() % 3U, in.word()};
      std::string record(record_bytes(payload.size()), '\0');
      payload.copy(record.data() + record_header_bytes, payload.size());
      previous = encode_record(reinterpret_cast<std::byte*>(record.data()), h, bytes_of(payload));
      content += record;
    }
    auto f = disk.open("wal/" + segment_name(sequence), open_mode::create);
    CHECK((*f)->pwrite(bytes_of(content), 0).has_value());
  }
  log_image image;
  const log_listener listener{[&](const segment_header& h) { return image.begin_segment(h); },
                              [&](const seen_record& r) { return image.add(r); }};
  if (!walk_log(disk, "wal", node_id{1}, {}, listener)) return;
  log_index expected = image.base_index();
  term low;
  for (const entry& e : image.entries()) {
    CHECK_EQ(e.index, expected.next());
    CHECK_GE(e.term, low);
    expected = e.index;
    low = e.term;
  }
}

}  // namespace

void one(input in) {
  if (in.byte() % 2 == 0)
    damaged_log(in);
  else
    forged_log(in);
}

std::vector<std::string> examples() {
  using namespace std::string_literals;
  // The third one: records 1 and 2 of term 1, as they should be.
  const std::string record = "\x04\1data\0\1\1"s;
  return {"\0\1\0\0\x40\2"s, "\0\1\3\1\0\2\0\1"s,
          "\1\0\0\0\0\0"s + record + "\1\1\0\0\0" + record + "\2\1\0\0\0"};
}

}  // namespace blixard::fuzz
