// The core alone: a leader and two followers in one thread, no I/O. Entries are proposed in
// batches, replicated, acknowledged as durable, committed and applied on all three nodes, and
// compacted away.
//
// "entries/s" counts entries that are committed and applied on all three; "allocs/entry" every
// operator new of all three nodes and of this driver.
#include <benchmark/benchmark.h>

#include <array>
#include <memory>

#include "runtime/raft/core.hpp"
#include "tests/bench/allocations.hpp"

namespace blixard::raft {
namespace {

class three_nodes {
 public:
  three_nodes() {
    auto boot = std::make_shared<snapshot>();
    boot->index = log_index{1};
    boot->term = term{1};
    boot->conf.voters = {node_id{1}, node_id{2}, node_id{3}};
    for (std::uint64_t id = 1; id <= 3; ++id) {
      config c;
      c.id = node_id{id};
      c.max_inflight_msgs = 256;
      c.max_inflight_bytes = 16 << 20;
      c.max_uncommitted_bytes = 64 << 20;
      nodes_[id - 1] = std::make_unique<core>(c, disk_state{{}, boot, {}}, log_index{1});
    }
    (void)leader().campaign();
    settle();
  }

  core& leader() { return *nodes_[0]; }

  /// Until nothing moves any more.
  void settle() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t i = 0; i < 3; ++i) moved = drive(i) || moved;
    }
  }

  /// The state machine has a snapshot every now and then.
  void compact() {
    for (auto& n : nodes_)
      if (n->applied().value() > n->log().base().value() + kept)
        benchmark::DoNotOptimize(n->compact(log_index{n->applied().value() - kept / 2}));
  }

 private:
  static constexpr std::uint64_t kept = 20'000;

  bool drive(std::size_t i) {
    core& n = *nodes_[i];
    if (!n.has_output()) return false;
    output& out = outputs_[i];
    n.take_output(out);
    if (out.seq) n.persisted(out.seq);
    if (!out.committed.empty()) n.applied(out.committed.back().index);
    for (message& m : out.messages) (void)nodes_[m.to.value() - 1]->step(std::move(m));
    return true;
  }

  std::array<std::unique_ptr<core>, 3> nodes_;
  std::array<output, 3> outputs_;
};

void replicate_and_commit(benchmark::State& state) {
  const auto batch = static_cast<std::uint64_t>(state.range(0));
  three_nodes cluster;
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
BENCHMARK(replicate_and_commit)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Arg(1024);

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
