// Where each series lives, and how a scrape adds it up.
//
// The layout is computed from the catalogue at compile time: a counter takes one cell, a histogram
// one per bucket and one for the sum, a gauge one double (each gauge metric on cache lines of its
// own, for different actors set different metrics). The names and labels of all series are built
// once, at construction; a scrape copies that skeleton and fills in the numbers.
#include "metrics/registry.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <limits>
#include <mutex>
#include <sstream>
#include <utility>

#include "metrics/process.hpp"

namespace blixard::metrics {
namespace {

constexpr std::size_t words_per_line = cache_line_bytes / sizeof(cell);

[[nodiscard]] constexpr const bucket_layout& buckets_of(kind k) noexcept {
  return k == kind::sizes ? size_buckets : duration_buckets;
}
/// Cells of one series in a slot.
[[nodiscard]] constexpr std::size_t cells_of(kind k) noexcept {
  switch (k) {
    case kind::counter:
      return 1;
    case kind::gauge:
      return 0;
    case kind::durations:
    case kind::sizes:
      return buckets_of(k).count() + 1;
  }
  return 0;
}
[[nodiscard]] constexpr std::size_t round_up(std::size_t n) noexcept {
  return (n + words_per_line - 1) / words_per_line * words_per_line;
}

/// Where the series of each metric start. Series are numbered through all metrics.
struct layout {
  std::array<std::size_t, metric_count> series{};  // number of the first
  std::array<std::size_t, metric_count> place{};   // its cell in a slot, or its gauge
  std::size_t series_count = 0;
  std::size_t cells = 0;
  std::size_t gauges = 0;
};
[[nodiscard]] constexpr layout make_layout() noexcept {
  layout out;
  for (std::size_t m = 0; m < metric_count; ++m) {
    const auto count = info(catalogue[m].label).count;
    out.series[m] = out.series_count;
    out.series_count += count;
    if (catalogue[m].kind == kind::gauge) {
      out.place[m] = out.gauges;
      out.gauges += round_up(count);
    } else {
      out.place[m] = out.cells;
      out.cells += count * cells_of(catalogue[m].kind);
    }
  }
  return out;
}
constexpr layout plan = make_layout();
constexpr std::size_t slot_cells = round_up(plan.cells);

/// The metric that a series belongs to. Linear: at start only.
[[nodiscard]] std::size_t metric_of(std::size_t series) noexcept {
  std::size_t m = metric_count - 1;
  while (plan.series[m] > series) --m;
  return m;
}
[[nodiscard]] std::size_t place_of(std::size_t series, std::size_t m) noexcept {
  const auto each = catalogue[m].kind == kind::gauge ? 1 : cells_of(catalogue[m].kind);
  return plan.place[m] + (series - plan.series[m]) * each;
}

struct alignas(cache_line_bytes) cell_line {
  std::array<cell, words_per_line> cells{};
};
struct alignas(cache_line_bytes) gauge_line {
  std::array<std::atomic<double>, words_per_line> values{};
};
struct alignas(cache_line_bytes) peer_slot {
  std::atomic<std::uint64_t> id{0};  // 0: free
  std::array<std::atomic<double>, peer_metric_count> values{};
};

prometheus::MetricType type_of(kind k) noexcept {
  switch (k) {
    case kind::counter:
      return prometheus::MetricType::Counter;
    case kind::gauge:
      return prometheus::MetricType::Gauge;
    case kind::durations:
    case kind::sizes:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

/// Everything of a family but its numbers.
prometheus::MetricFamily make_skeleton(const metric_info& m) {
  prometheus::MetricFamily family;
  family.name = m.name;
  family.help = m.help;
  family.type = type_of(m.kind);
  const auto& domain = info(m.label);
  family.metric.resize(domain.count);
  for (std::size_t i = 0; i < domain.count; ++i) {
    auto& series = family.metric[i];
    if (m.label != label::none)
      series.label.push_back({std::string(domain.name), std::string(domain.values[i])});
    if (!is_histogram(m.kind)) continue;
    const auto& layout = buckets_of(m.kind);
    // Divided, not multiplied by 1e-9: so that 8192 ns is exactly the 8.192e-06 that it reads as.
    const double per_unit = m.kind == kind::durations ? 1e9 : 1.0;
    series.histogram.bucket.resize(layout.count());
    for (std::size_t b = 0; b + 1 < layout.count(); ++b)
      series.histogram.bucket[b].upper_bound = static_cast<double>(layout.bound(b)) / per_unit;
    series.histogram.bucket.back().upper_bound = std::numeric_limits<double>::infinity();
  }
  return family;
}

prometheus::MetricFamily make_build_info(std::string_view version) {
  prometheus::MetricFamily family;
  family.name = build_info_name;
  family.help = build_info_help;
  family.type = prometheus::MetricType::Gauge;
  prometheus::ClientMetric series;
  series.label = {{"compiler", __VERSION__}, {"version", std::string(version)}};
  series.gauge.value = 1;
  family.metric.push_back(std::move(series));
  return family;
}

}  // namespace

struct registry::impl {
  explicit impl(std::string_view version)
      : lines(slots * slot_cells / words_per_line), gauges(plan.gauges / words_per_line) {
    for (const auto& m : catalogue) skeleton.push_back(make_skeleton(m));
    skeleton.push_back(make_build_info(version));
  }

  [[nodiscard]] cell* first_cell(std::size_t place) noexcept {
    return &lines[place / words_per_line].cells[place % words_per_line];
  }
  [[nodiscard]] const std::atomic<double>& gauge_at(std::size_t place) const noexcept {
    return gauges[place / words_per_line].values[place % words_per_line];
  }
  [[nodiscard]] std::uint64_t sum(std::size_t place) const noexcept {
    std::uint64_t total = 0;
    for (std::size_t s = 0; s < slots; ++s) {
      const auto at = s * slot_cells + place;
      total +=
          lines[at / words_per_line].cells[at % words_per_line].load(std::memory_order_relaxed);
    }
    return total;
  }
  [[nodiscard]] double value(std::size_t m, std::size_t series) const {
    if (bound[series]) return bound[series]();
    const auto place = place_of(series, m);
    return catalogue[m].kind == kind::gauge ? gauge_at(place).load(std::memory_order_acquire)
                                            : static_cast<double>(sum(place));
  }
  void fill(prometheus::ClientMetric::Histogram& out, std::size_t m, std::size_t series) const;
  void fill_peers(prometheus::MetricFamily& out, std::size_t which) const;
  void fill(prometheus::MetricFamily& out, std::size_t m) const;

  std::vector<cell_line> lines;    // slots x slot_cells
  std::vector<gauge_line> gauges;  // plan.gauges
  std::array<peer_slot, peers_max> peers;
  std::atomic<double> unexposed{0};  // what peers beyond peers_max set
  std::vector<prometheus::MetricFamily> skeleton;

  // Taken by bind, unbind and scrapes, never by an event: a binding that ends waits for a scrape
  // that may be calling it.
  mutable std::mutex mutex;
  std::vector<std::function<double()>> bound{plan.series_count};
  process_stats process;  // as of the running scrape
  std::atomic<std::uint64_t> scrapes{0};
  std::atomic<std::uint64_t> handles{0};  // resolved
  void note_handle() noexcept { handles.fetch_add(1, std::memory_order_relaxed); }
  std::vector<binding> own_bindings;
};

void registry::impl::fill(prometheus::ClientMetric::Histogram& out, std::size_t m,
                          std::size_t series) const {
  const auto place = place_of(series, m);
  std::uint64_t cumulative = 0;
  for (std::size_t b = 0; b < out.bucket.size(); ++b) {
    cumulative += sum(place + b);
    out.bucket[b].cumulative_count = cumulative;
  }
  const double per_unit = catalogue[m].kind == kind::durations ? 1e9 : 1.0;
  out.sample_count = cumulative;
  out.sample_sum = static_cast<double>(sum(place + out.bucket.size())) / per_unit;
}

void registry::impl::fill_peers(prometheus::MetricFamily& out, std::size_t which) const {
  for (const auto& peer : peers) {
    const auto id = peer.id.load(std::memory_order_acquire);
    const double value = peer.values[which].load(std::memory_order_acquire);
    // The place went to another peer meanwhile: neither is shown this time.
    if (id == 0 || peer.id.load(std::memory_order_relaxed) != id) continue;
    prometheus::ClientMetric series;
    series.label.push_back({std::string(info(label::peer).name), std::to_string(id)});
    series.gauge.value = value;
    out.metric.push_back(std::move(series));
  }
}

void registry::impl::fill(prometheus::MetricFamily& out, std::size_t m) const {
  if (catalogue[m].label == label::peer) {
    fill_peers(out, peer_place(static_cast<metric>(m)));
    return;
  }
  for (std::size_t i = 0; i < out.metric.size(); ++i) {
    const auto series = plan.series[m] + i;
    switch (catalogue[m].kind) {
      case kind::counter:
        out.metric[i].counter.value = value(m, series);
        break;
      case kind::gauge:
        out.metric[i].gauge.value = value(m, series);
        break;
      case kind::durations:
      case kind::sizes:
        fill(out.metric[i].histogram, m, series);
        break;
    }
  }
}

registry::registry(std::string_view version) : impl_(std::make_unique<impl>(version)) {
  const auto& now = impl_->process;
  auto& own = impl_->own_bindings;
  const auto as_double = [](auto v) { return static_cast<double>(v); };
  own.push_back(bind<metric::process_cpu>([&now] { return now.cpu_seconds; }));
  own.push_back(
      bind<metric::process_resident>([&, as_double] { return as_double(now.resident_bytes); }));
  own.push_back(
      bind<metric::process_virtual>([&, as_double] { return as_double(now.virtual_bytes); }));
  own.push_back(bind<metric::process_fds>([&, as_double] { return as_double(now.open_fds); }));
  own.push_back(bind<metric::process_max_fds>([&, as_double] { return as_double(now.max_fds); }));
  own.push_back(bind<metric::process_threads>([&, as_double] { return as_double(now.threads); }));
  own.push_back(bind<metric::scrapes>(impl_->scrapes));
  own.push_back(bind<metric::handles>(impl_->handles));
  own.push_back(
      bind<metric::counting_threads>([as_double] { return as_double(detail::owned_slots()); }));
  own.push_back(bind<metric::process_start_time>([&now] { return now.start_time_seconds; }));
}

registry::~registry() { impl_->own_bindings.clear(); }

std::size_t registry::first_series(metric m) noexcept {
  return plan.series[static_cast<std::size_t>(m)];
}

metrics::counter registry::make_counter(std::size_t series) noexcept {
  impl_->note_handle();
  return {impl_->first_cell(place_of(series, metric_of(series))), slot_cells};
}
metrics::gauge registry::make_gauge(std::size_t series) noexcept {
  impl_->note_handle();
  const auto place = place_of(series, metric_of(series));
  return metrics::gauge(&impl_->gauges[place / words_per_line].values[place % words_per_line]);
}
metrics::histogram registry::make_histogram(std::size_t series) noexcept {
  impl_->note_handle();
  const auto m = metric_of(series);
  return {impl_->first_cell(place_of(series, m)), slot_cells, &buckets_of(catalogue[m].kind)};
}

metrics::gauge registry::add_peer(node_id peer, metric which) {
  CHECK(peer);
  impl_->note_handle();
  const auto place = peer_place(which);
  peer_slot* free = nullptr;
  for (auto& slot : impl_->peers) {
    const auto id = slot.id.load(std::memory_order_relaxed);
    if (id == peer.value()) return metrics::gauge(&slot.values[place]);
    if (id == 0 && free == nullptr) free = &slot;
  }
  if (free == nullptr) return metrics::gauge(&impl_->unexposed);
  for (auto& v : free->values) v.store(0, std::memory_order_relaxed);
  // release: whoever sees the id sees the 0.
  free->id.store(peer.value(), std::memory_order_release);
  return metrics::gauge(&free->values[place]);
}

void registry::remove_peer(node_id peer) {
  for (auto& slot : impl_->peers) {
    if (slot.id.load(std::memory_order_relaxed) == peer.value())
      slot.id.store(0, std::memory_order_release);
  }
}

void registry::clear_peers() {
  for (auto& slot : impl_->peers) slot.id.store(0, std::memory_order_release);
}

registry::binding::binding(binding&& o) noexcept
    : home_(std::exchange(o.home_, nullptr)), series_(o.series_) {}

registry::binding& registry::binding::operator=(binding&& o) noexcept {
  std::swap(home_, o.home_);
  std::swap(series_, o.series_);
  return *this;
}

registry::binding::~binding() {
  if (home_ != nullptr) home_->unbind(series_);
}

registry::binding registry::bind_series(std::size_t series, std::function<double()> read) {
  CHECK(read);
  const std::lock_guard lock(impl_->mutex);
  CHECK(!impl_->bound[series]);
  impl_->bound[series] = std::move(read);
  return {this, series};
}

void registry::unbind(std::size_t series) noexcept {
  const std::lock_guard lock(impl_->mutex);
  impl_->bound[series] = nullptr;
}

std::vector<prometheus::MetricFamily> registry::Collect() const {
  const std::lock_guard lock(impl_->mutex);
  impl_->process = read_process_stats();
  impl_->scrapes.fetch_add(1, std::memory_order_relaxed);
  auto families = impl_->skeleton;
  for (std::size_t m = 0; m < metric_count; ++m) impl_->fill(families[m], m);
  return families;
}

std::string registry::text(std::string_view filter) const {
  auto families = Collect();
  std::erase_if(families, [filter](const prometheus::MetricFamily& f) {
    return f.metric.empty() || f.name.find(filter) == std::string::npos;
  });
  std::ostringstream out;
  prometheus::TextSerializer{}.Serialize(out, families);
  return std::move(out).str();
}

}  // namespace blixard::metrics
