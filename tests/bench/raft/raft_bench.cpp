// A leader and two followers in one thread, no I/O. Entries are proposed in batches, replicated,
// acknowledged as durable, committed and applied on all three nodes, and compacted away.
//
//   replicate_and_commit  the core alone: messages are handed over as objects
//   replicated_hot        with all the bytes that a node makes: messages encoded, "received" and
//                         decoded, records of all three logs with their checksums (wire.hpp)
//   replicated_ordinary   the same as one writes it first: Protobuf objects, made and serialised
//   for
//                         each receiver, copied out where they arrive, serialised again for the log
//
// "entries/s" counts entries that are committed and applied on all three; "allocs/entry" every
// operator new of all three nodes and of this driver.
#include <benchmark/benchmark.h>

#include "tests/bench/allocations.hpp"
#include "tests/bench/raft/three_nodes.hpp"
#include "tests/bench/raft/wire.hpp"

namespace blixard::raft {
namespace {

template <class Cluster>
void replicate(benchmark::State& state) {
  const auto batch = static_cast<std::uint64_t>(state.range(0));
  Cluster cluster;
  // Commands lie in the buffers that a socket read filled: several in one.
  constexpr std::size_t size = 256;
  const slice body = slice::copy_of(std::string(size * 64, 'x'));
  const auto round = [&] {
    for (std::uint64_t i = 0; i < batch; ++i)
      benchmark::DoNotOptimize(cluster.leader().propose(body.sub(i % 64 * size, size)));
    cluster.settle();
    cluster.compact();
  };
  for (int i = 0; i < 3000; ++i) round();
  const auto before = bench::allocations();
  for (auto _ : state) round();
  const auto entries = static_cast<double>(state.iterations()) * static_cast<double>(batch);
  state.counters["entries/s"] = benchmark::Counter(entries, benchmark::Counter::kIsRate);
  state.counters["allocs/entry"] = static_cast<double>(bench::allocations() - before) / entries;
}
void replicate_and_commit(benchmark::State& state) { replicate<three_nodes>(state); }
void replicated_hot(benchmark::State& state) { replicate<three_cores<wire_hot>>(state); }
void replicated_ordinary(benchmark::State& state) { replicate<three_cores<wire_ordinary>>(state); }
BENCHMARK(replicate_and_commit)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Arg(1024);
BENCHMARK(replicated_hot)->Arg(1)->Arg(64)->Arg(256);
BENCHMARK(replicated_ordinary)->Arg(1)->Arg(64)->Arg(256);

void confirm_reads(benchmark::State& state) {
  const auto batch = static_cast<std::uint64_t>(state.range(0));
  three_nodes cluster;
  std::uint64_t context = 0;
  for (auto _ : state) {
    for (std::uint64_t i = 0; i < batch; ++i)
      benchmark::DoNotOptimize(cluster.leader().read_index(++context));
    cluster.settle();
  }
  state.counters["reads/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * static_cast<double>(batch),
                         benchmark::Counter::kIsRate);
}
BENCHMARK(confirm_reads)->Arg(1)->Arg(64);

}  // namespace
}  // namespace blixard::raft
