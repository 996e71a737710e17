// Recording a metric: the ordinary way (prometheus-cpp's Family::Add, a label lookup per event),
// prometheus-cpp with the handle kept, and the node's instruments. A label whose values come and
// go, both ways. A scrape of 5,000 series, and what writers notice of it.
//
// allocs, locks and lock_waits are per event; the ordinary way lives here only.
#include <benchmark/benchmark.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "messages/frame.hpp"
#include "metrics/peer_gauges.hpp"
#include "metrics/registry.hpp"
#include "tests/bench/counted.hpp"

namespace {

using namespace blixard;
using bench::counted;
using metrics::metric;

/// prometheus-cpp's own registry, as its documentation shows it.
struct ordinary {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& sent =
      prometheus::BuildCounter().Name("sent_total").Help("h").Register(registry);
  prometheus::Family<prometheus::Histogram>& duration =
      prometheus::BuildHistogram().Name("duration_seconds").Help("h").Register(registry);
  prometheus::Family<prometheus::Gauge>& lag =
      prometheus::BuildGauge().Name("lag_entries").Help("h").Register(registry);
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
  const counted costs(state);
  for (auto _ : state) o.sent.Add({{"class", "critical"}}).Increment();
}
BENCHMARK(counter_ordinary_lookup)->Threads(1)->Threads(2)->UseRealTime();

void counter_kept_handle(benchmark::State& state) {
  auto& o = the_ordinary();
  const counted costs(state);
  for (auto _ : state) o.kept.Increment();
}
BENCHMARK(counter_kept_handle)->Threads(1)->Threads(2)->UseRealTime();

void counter_hot(benchmark::State& state) {
  const auto c = the_registry().counter<metric::router_sent>(priority::critical);
  c.add();  // the thread's first event takes its slot
  const counted costs(state);
  for (auto _ : state) {
    c.add();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(counter_hot)->Threads(1)->Threads(2)->UseRealTime();

void histogram_kept_handle(benchmark::State& state) {
  auto& o = the_ordinary();
  const counted costs(state);
  double value = 0;
  for (auto _ : state) o.kept_duration.Observe(value = value > 0.1 ? 0 : value + 1e-6);
}
BENCHMARK(histogram_kept_handle)->Threads(1)->Threads(2)->UseRealTime();

void histogram_hot(benchmark::State& state) {
  const auto h = the_registry().histogram<metric::wal_fsync_duration>();
  h.observe(1);
  const counted costs(state);
  std::uint64_t value = 0;
  for (auto _ : state) {
    h.observe(value = value > 100'000'000 ? 0 : value + 1'000);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(histogram_hot)->Threads(1)->Threads(2)->UseRealTime();

void gauge_hot(benchmark::State& state) {
  const auto g = the_registry().gauge<metric::raft_commit_index>();
  const counted costs(state);
  std::uint64_t value = 0;
  for (auto _ : state) {
    g.set(++value);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(gauge_hot);

/// The lag of four followers, set one after the other: the label's values are known at run time.
void peer_gauge_ordinary_lookup(benchmark::State& state) {
  auto& o = the_ordinary();
  const counted costs(state);
  std::uint64_t n = 0;
  for (auto _ : state) {
    ++n;
    o.lag.Add({{"peer", std::to_string(2 + n % 4)}}).Set(static_cast<double>(n));
  }
}
BENCHMARK(peer_gauge_ordinary_lookup);

void peer_gauge_hot(benchmark::State& state) {
  metrics::registry home("bench");
  metrics::peer_gauges lag(home);
  for (std::uint64_t id = 2; id < 6; ++id) lag.of(node_id{id}).set(0U);
  const counted costs(state);
  std::uint64_t n = 0;
  for (auto _ : state) {
    ++n;
    lag.of(node_id{2 + n % 4}).set(n);
    if (n % 4 == 3) lag.end_round();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(peer_gauge_hot);

/// As many registries as make 5,000 lines of samples, as one page.
class page_of_5000 {
 public:
  page_of_5000() {
    while (series_ < 5'000) {
      nodes_.push_back(std::make_unique<metrics::registry>("bench"));
      const auto text = nodes_.back()->text();
      for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
        series_ += text[at] != '#' ? 1U : 0U;
    }
  }
  void scrape() const {
    for (const auto& node : nodes_) benchmark::DoNotOptimize(node->text());
  }
  [[nodiscard]] std::size_t series() const noexcept { return series_; }

 private:
  std::vector<std::unique_ptr<metrics::registry>> nodes_;
  std::size_t series_ = 0;
};

void scrape_5000_series(benchmark::State& state) {
  const page_of_5000 page;
  for (auto _ : state) page.scrape();
  state.counters["series"] = static_cast<double>(page.series());
}
BENCHMARK(scrape_5000_series)->Unit(benchmark::kMillisecond);

/// Scrapes without a pause until it goes out of scope.
class scraper {
 public:
  explicit scraper(const metrics::registry& page)
      : thread_([this, &page] {
          while (!stop_.load(std::memory_order_relaxed)) {
            benchmark::DoNotOptimize(page.text());
            ++scrapes_;
          }
        }) {}
  ~scraper() {
    stop_ = true;
    thread_.join();
  }
  [[nodiscard]] std::uint64_t scrapes() const noexcept { return scrapes_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> scrapes_{0};
  std::thread thread_;
};

/// A writer while another thread scrapes its registry, all of one node, without a pause: it must
/// not notice.
void counter_hot_while_scraped(benchmark::State& state) {
  metrics::registry page("bench");
  const auto c = page.counter<metric::router_sent>(priority::critical);
  c.add();
  const scraper other(page);
  const counted costs(state);
  for (auto _ : state) {
    c.add();
    benchmark::ClobberMemory();
  }
  state.counters["scrapes"] = static_cast<double>(other.scrapes());
}
BENCHMARK(counter_hot_while_scraped)->UseRealTime();

void histogram_hot_while_scraped(benchmark::State& state) {
  metrics::registry page("bench");
  const auto h = page.histogram<metric::wal_fsync_duration>();
  h.observe(1);
  const scraper other(page);
  const counted costs(state);
  std::uint64_t value = 0;
  for (auto _ : state) {
    h.observe(value = value > 100'000'000 ? 0 : value + 1'000);
    benchmark::ClobberMemory();
  }
  state.counters["scrapes"] = static_cast<double>(other.scrapes());
}
BENCHMARK(histogram_hot_while_scraped)->UseRealTime();

}  // namespace
