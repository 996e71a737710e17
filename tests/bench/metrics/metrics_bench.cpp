// Recording a metric: the ordinary way (prometheus-cpp's Family::Add, a label lookup per event),
// prometheus-cpp with the handle kept, and the node's instruments. And a scrape of 5,000 series.
//
// `allocs` is heap allocations per event; the ordinary way lives here only.
#include <benchmark/benchmark.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <memory>
#include <string>
#include <vector>

#include "messages/frame.hpp"
#include "metrics/registry.hpp"
#include "tests/bench/allocations.hpp"

namespace {

using namespace blixard;
using metrics::metric;

/// Reports allocations per event of the calling thread.
class allocation_count {
 public:
  explicit allocation_count(benchmark::State& state) : state_(state) {}
  ~allocation_count() {
    const auto made = static_cast<double>(bench::allocations() - before_);
    state_.counters["allocs"] = benchmark::Counter(made, benchmark::Counter::kAvgIterations);
  }

 private:
  benchmark::State& state_;
  std::uint64_t before_ = bench::allocations();
};

/// prometheus-cpp's own registry, as its documentation shows it.
struct ordinary {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& sent =
      prometheus::BuildCounter().Name("sent_total").Help("h").Register(registry);
  prometheus::Family<prometheus::Histogram>& duration =
      prometheus::BuildHistogram().Name("duration_seconds").Help("h").Register(registry);
  prometheus::Counter& kept = sent.Add({{"class", "critical"}});
  prometheus::Histogram& kept_duration = duration.Add({}, bounds());

  static std::vector<double> bounds() {
    std::vector<double> out;
    for (std::size_t b = 0; b + 1 < metrics::duration_buckets.count(); ++b)
      out.push_back(static_cast<double>(metrics::duration_buckets.bound(b)) * 1e-9);
    return out;
  }
};
ordinary& the_ordinary() {
  static ordinary one;
  return one;
}
metrics::registry& the_registry() {
  static metrics::registry one{"bench"};
  return one;
}

void counter_ordinary_lookup(benchmark::State& state) {
  auto& o = the_ordinary();
  const allocation_count allocs(state);
  for (auto _ : state) o.sent.Add({{"class", "critical"}}).Increment();
}
BENCHMARK(counter_ordinary_lookup)->Threads(1)->Threads(2)->UseRealTime();

void counter_kept_handle(benchmark::State& state) {
  auto& o = the_ordinary();
  const allocation_count allocs(state);
  for (auto _ : state) o.kept.Increment();
}
BENCHMARK(counter_kept_handle)->Threads(1)->Threads(2)->UseRealTime();

void counter_hot(benchmark::State& state) {
  const auto c = the_registry().counter<metric::router_sent>(priority::critical);
  c.add();  // the thread's first event takes its slot
  const allocation_count allocs(state);
  for (auto _ : state) {
    c.add();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(counter_hot)->Threads(1)->Threads(2)->UseRealTime();

void counter_single_writer(benchmark::State& state) {
  metrics::single_writer_counter c;
  const allocation_count allocs(state);
  for (auto _ : state) {
    c.add();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(counter_single_writer);

void histogram_kept_handle(benchmark::State& state) {
  auto& o = the_ordinary();
  const allocation_count allocs(state);
  double value = 0;
  for (auto _ : state) o.kept_duration.Observe(value = value > 0.1 ? 0 : value + 1e-6);
}
BENCHMARK(histogram_kept_handle)->Threads(1)->Threads(2)->UseRealTime();

void histogram_hot(benchmark::State& state) {
  const auto h = the_registry().histogram<metric::wal_fsync_duration>();
  h.observe(1);
  const allocation_count allocs(state);
  std::uint64_t value = 0;
  for (auto _ : state) {
    h.observe(value = value > 100'000'000 ? 0 : value + 1'000);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(histogram_hot)->Threads(1)->Threads(2)->UseRealTime();

void gauge_hot(benchmark::State& state) {
  const auto g = the_registry().gauge<metric::raft_commit_index>();
  const allocation_count allocs(state);
  std::uint64_t value = 0;
  for (auto _ : state) {
    g.set(++value);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(gauge_hot);

/// As many registries as make 5,000 lines of samples, as one page.
void scrape_5000_series(benchmark::State& state) {
  std::vector<std::unique_ptr<metrics::registry>> nodes;
  std::size_t series = 0;
  auto count_lines = [](const std::string& text) {
    std::size_t lines = 0;
    for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
      lines += text[at] != '#' ? 1U : 0U;
    return lines;
  };
  while (series < 5'000) {
    nodes.push_back(std::make_unique<metrics::registry>("bench"));
    series += count_lines(nodes.back()->text());
  }
  for (auto _ : state) {
    for (const auto& node : nodes) benchmark::DoNotOptimize(node->text());
  }
  state.counters["series"] = static_cast<double>(series);
}
BENCHMARK(scrape_5000_series)->Unit(benchmark::kMillisecond);

/// A counter's writer while another thread scrapes without a pause: the writer must not notice.
void counter_hot_while_scraped(benchmark::State& state) {
  if (state.thread_index() == 0) {
    const auto c = the_registry().counter<metric::router_sent>(priority::critical);
    for (auto _ : state) {
      c.add();
      benchmark::ClobberMemory();
    }
  } else {
    for (auto _ : state) {
      static thread_local std::uint64_t turn = 0;
      if (++turn % 4096 == 0) benchmark::DoNotOptimize(the_registry().Collect());
    }
  }
}
BENCHMARK(counter_hot_while_scraped)->Threads(2)->UseRealTime();

}  // namespace
