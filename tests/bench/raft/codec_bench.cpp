// The codec against the ordinary way (fill a pb::RaftMessage, serialise, parse, copy the data out).
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "messages/raft.pb.h"
#include "runtime/raft/codec.hpp"
#include "runtime/routing/buffer_pool.hpp"
#include "tests/bench/allocations.hpp"

namespace blixard::raft {
namespace {

message append_of(std::size_t entries, std::size_t size) {
  message m;
  m.type = message_type::append;
  m.from = node_id{1};
  m.to = node_id{2};
  m.term = term{7};
  m.log_term = term{7};
  m.log_index = log_index{1'000'000};
  m.commit = log_index{999'990};
  const slice body = slice::copy_of(std::string(entries * size, 'x'));
  for (std::size_t i = 0; i < entries; ++i)
    m.entries.push_back(
        {term{7}, log_index{1'000'001 + i}, entry_kind::normal, body.sub(i * size, size)});
  return m;
}

void report(benchmark::State& state, std::size_t entries, std::size_t bytes,
            std::uint64_t allocations) {
  const auto n = static_cast<double>(state.iterations()) * static_cast<double>(entries);
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(bytes));
  state.counters["entries/s"] = benchmark::Counter(n, benchmark::Counter::kIsRate);
  state.counters["allocs/entry"] = static_cast<double>(allocations) / n;
}

void encode_hot(benchmark::State& state) {
  const auto entries = static_cast<std::size_t>(state.range(0));
  const message m = append_of(entries, static_cast<std::size_t>(state.range(1)));
  routing::buffer_pool pool;
  encoder e{[&pool](std::size_t bytes) { return pool.acquire(bytes); }};
  std::vector<slice> pieces;
  pieces.reserve(entries * 2 + 1);
  std::size_t size = 0;
  const auto before = bench::allocations();
  for (auto _ : state) {
    pieces.clear();
    e.forget();  // as for the first follower of a moment: nothing is there yet
    size = e.encode(m, pieces);
    benchmark::DoNotOptimize(pieces.data());
  }
  report(state, entries, size, bench::allocations() - before);
}

void encode_ordinary(benchmark::State& state) {
  const auto entries = static_cast<std::size_t>(state.range(0));
  const message m = append_of(entries, static_cast<std::size_t>(state.range(1)));
  std::string out;
  const auto before = bench::allocations();
  for (auto _ : state) {
    pb::RaftMessage p;
    p.set_type(pb::MSG_APPEND);
    p.set_from(m.from.value());
    p.set_to(m.to.value());
    p.set_term(m.term.value());
    p.set_log_term(m.log_term.value());
    p.set_log_index(m.log_index.value());
    p.set_commit(m.commit.value());
    for (const entry& e : m.entries) {
      auto* x = p.add_entries();
      x->set_term(e.term.value());
      x->set_index(e.index.value());
      x->set_data(e.data.data(), e.data.size());
    }
    p.SerializeToString(&out);
    benchmark::DoNotOptimize(out.data());
  }
  report(state, entries, out.size(), bench::allocations() - before);
}

slice encoded(const message& m) {
  std::vector<slice> pieces;
  encode(m, pieces);
  std::string all;
  for (const slice& p : pieces) all += p.text();
  return slice::copy_of(std::string_view{all});
}

void decode_hot(benchmark::State& state) {
  const auto entries = static_cast<std::size_t>(state.range(0));
  const slice body = encoded(append_of(entries, static_cast<std::size_t>(state.range(1))));
  decoded_message out;
  out.msg.entries.reserve(entries);
  const auto before = bench::allocations();
  for (auto _ : state) {
    if (!decode_into(body, out)) state.SkipWithError("not decoded");
    benchmark::DoNotOptimize(out.msg.entries.data());
  }
  report(state, entries, body.size(), bench::allocations() - before);
}

void decode_ordinary(benchmark::State& state) {
  const auto entries = static_cast<std::size_t>(state.range(0));
  const slice body = encoded(append_of(entries, static_cast<std::size_t>(state.range(1))));
  const auto before = bench::allocations();
  for (auto _ : state) {
    pb::RaftMessage p;
    p.ParseFromArray(body.data(), static_cast<int>(body.size()));
    std::vector<entry> log;
    for (const auto& e : p.entries())
      log.push_back({term{e.term()}, log_index{e.index()}, entry_kind::normal,
                     slice::copy_of(std::string_view{e.data()})});
    benchmark::DoNotOptimize(log.data());
  }
  report(state, entries, body.size(), bench::allocations() - before);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->Args({64, 256})->Args({64, 4096})->ArgNames({"entries", "bytes"});
}
BENCHMARK(encode_hot)->Apply(sizes);
BENCHMARK(encode_ordinary)->Apply(sizes);
BENCHMARK(decode_hot)->Apply(sizes);
BENCHMARK(decode_ordinary)->Apply(sizes);

}  // namespace
}  // namespace blixard::raft
