// What a durable append costs, and which part of it is ours.
//
// append_sync_* measures the disk alone: 4 KiB and an fdatasync, on space that is zero-filled, only
// allocated, or not there yet. This is why segments are filled with zeros ahead of the writes.
// encode_* measures the CPU alone: records with their checksums, no disk (a file system that takes
// everything). store_* is the whole path with a real disk; allocations per entry are counted.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "messages/limits.hpp"
#include "runtime/storage/file_system.hpp"
#include "runtime/storage/format.hpp"
#include "runtime/storage/store.hpp"
#include "tests/bench/allocations.hpp"

namespace blixard::storage {
namespace {

constexpr std::size_t block = 4096;
constexpr std::size_t space = 16 * limits::MiB;

/// A directory that goes with the benchmark. TMPDIR should be on the disk that is measured.
class scratch {
 public:
  scratch() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "blixard-bench-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~scratch() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string path(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

enum class layout { zero_filled, allocated, extended };

void append_sync(benchmark::State& state, layout how) {
  const scratch dir;
  const int fd = ::open(dir.path("f").c_str(), O_RDWR | O_CREAT, 0600);
  const std::vector<char> zeros(space);
  const std::vector<char> data(block, 'x');
  off_t at = 0;
  const auto begin_file = [&] {
    at = 0;
    bool ok = ::ftruncate(fd, 0) == 0;
    if (how == layout::zero_filled) ok &= ::pwrite(fd, zeros.data(), space, 0) == off_t{space};
    if (how == layout::allocated) ok &= ::posix_fallocate(fd, 0, space) == 0;
    ok &= ::fsync(fd) == 0;
    if (!ok) state.SkipWithError("cannot prepare the file");
  };
  begin_file();
  for (auto _ : state) {
    if (at + off_t{block} > off_t{space}) {
      state.PauseTiming();
      begin_file();
      state.ResumeTiming();
    }
    if (::pwrite(fd, data.data(), block, at) != off_t{block} || ::fdatasync(fd) != 0)
      state.SkipWithError("cannot write");
    at += block;
  }
  ::close(fd);
}
BENCHMARK_CAPTURE(append_sync, zero_filled, layout::zero_filled)->UseRealTime();
BENCHMARK_CAPTURE(append_sync, allocated, layout::allocated)->UseRealTime();
BENCHMARK_CAPTURE(append_sync, extended, layout::extended)->UseRealTime();

std::vector<entry> make_entries(std::size_t count, std::size_t bytes) {
  std::vector<entry> all;
  for (std::size_t i = 1; i <= count; ++i)
    all.push_back({blixard::term{1}, log_index{i}, entry_kind::normal,
                   slice::copy_of(std::string(bytes, static_cast<char>('a' + i % 26)))});
  return all;
}

/// Header and checksum of records, as the log makes them.
void encode(benchmark::State& state) {
  const auto entries = make_entries(512, static_cast<std::size_t>(state.range(0)));
  std::vector<std::byte> heads(entries.size() * record_header_bytes);
  std::uint32_t previous = 0;
  for (auto _ : state) {
    std::byte* at = heads.data();
    for (const entry& e : entries) {
      const record_header head{static_cast<std::uint32_t>(e.data.size()),
                               record_type::normal,
                               1,
                               previous,
                               e.index,
                               e.term,
                               {1, 512}};
      previous = encode_record(at, head, e.data.bytes());
      at += record_header_bytes;
    }
    benchmark::DoNotOptimize(previous);
  }
  const auto bytes = record_bytes(static_cast<std::size_t>(state.range(0))) * entries.size();
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
}
BENCHMARK(encode)->Arg(256)->Arg(4096);

/// One write and one sync of `range` entries of 256 bytes through the store, on a real disk.
void store_append(benchmark::State& state) {
  const scratch dir;
  posix_file_system fs;
  store_options options;
  options.owner.node = node_id{1};
  auto opened = store::open(fs, dir.path("node"), options);
  if (!opened) return state.SkipWithError(opened.error().message.c_str());
  auto entries = make_entries(static_cast<std::size_t>(state.range(0)), 256);
  const auto once = [&] {
    const persist_batch batch{persist_seq{1}, nullptr, entries, {}, true};
    const bool ok = opened->disk->write({&batch, 1}) && opened->disk->sync();
    for (entry& e : entries) e.index = e.index.plus(entries.size());
    return ok;
  };
  bool ok = once();
  ok = once() && ok;
  std::uint64_t allocations = 0;
  for (auto _ : state) {
    const auto before = bench::allocations();
    ok &= once();
    allocations += bench::allocations() - before;
    state.PauseTiming();  // what an idle moment does
    ok &= opened->disk->prepare().has_value();
    state.ResumeTiming();
  }
  if (!ok) state.SkipWithError("cannot write");
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["allocations_per_entry"] =
      static_cast<double>(allocations) / static_cast<double>(state.iterations() * state.range(0));
}
BENCHMARK(store_append)->Arg(1)->Arg(64)->Arg(512)->UseRealTime();

}  // namespace
}  // namespace blixard::storage
