// The one collection of a node's instruments: hands out handles at start, sums them at a scrape.
//
// It is a prometheus::Collectable of our own (prometheus-cpp's Family looks labels up and locks per
// event; see README.md for the figures). A scrape reads atomics, and functions that read atomics;
// it asks no actor, so it answers while the actor system hangs.
#pragma once

#include <prometheus/collectable.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "messages/check.hpp"
#include "messages/ids.hpp"
#include "metrics/catalogue.hpp"
#include "metrics/instruments.hpp"

namespace blixard::metrics {

/// Index of a label value: an enumerator of the label's enum (catalogue.hpp, label), or its number.
template <class T>
concept label_value = std::is_enum_v<T> || std::is_unsigned_v<T>;

class registry final : public prometheus::Collectable {
 public:
  /// `version` becomes the label of blixard_build_info. Process metrics are bound here too.
  explicit registry(std::string_view version);
  ~registry() override;
  registry(const registry&) = delete;
  registry& operator=(const registry&) = delete;

  // --- handles; any thread, constant time, valid as long as the registry

  /// Counter of metric M, which has no label. The kind is checked by the compiler.
  template <metric M>
  [[nodiscard]] metrics::counter counter() {
    static_assert(info(M).label == label::none, "this metric has a label");
    return counter_at<M>(0);
  }
  /// Counter of metric M for one value of its label. Programmer's error (CHECK): not such a value.
  template <metric M, label_value L>
  [[nodiscard]] metrics::counter counter(L value) {
    static_assert(info(M).label != label::none, "this metric has no label");
    return counter_at<M>(static_cast<std::size_t>(value));
  }
  template <metric M>
  [[nodiscard]] metrics::gauge gauge() {
    static_assert(info(M).label == label::none, "this metric has a label");
    return gauge_at<M>(0);
  }
  template <metric M, label_value L>
  [[nodiscard]] metrics::gauge gauge(L value) {
    static_assert(info(M).label != label::none && info(M).label != label::peer,
                  "this metric has no label, or one value per peer");
    return gauge_at<M>(static_cast<std::size_t>(value));
  }
  template <metric M>
  [[nodiscard]] metrics::histogram histogram() {
    static_assert(info(M).label == label::none, "this metric has a label");
    return histogram_at<M>(0);
  }
  template <metric M, label_value L>
  [[nodiscard]] metrics::histogram histogram(L value) {
    static_assert(info(M).label != label::none, "this metric has no label");
    return histogram_at<M>(static_cast<std::size_t>(value));
  }

  // --- per peer (the metrics with label::peer); called at membership changes, by one thread at a
  // time

  /// A gauge of a peer; all of the peer's are made, at 0, if they are not there. Beyond peers_max,
  /// one that is not exposed.
  metrics::gauge add_peer(node_id peer, metric which = metric::raft_follower_lag);
  /// The series ends. Handles of the peer must not be used any more: its place may go to another.
  void remove_peer(node_id peer);
  /// Ends all series of peers (this node stepped down: it knows nobody's lag any more).
  void clear_peers();

  // --- numbers that others keep

  /// Ends a binding when destroyed; then the function is not called any more. Must be destroyed
  /// before the registry.
  class [[nodiscard]] binding {
   public:
    binding() noexcept = default;
    binding(binding&& o) noexcept;
    binding& operator=(binding&& o) noexcept;
    ~binding();

   private:
    friend class registry;
    binding(registry* home, std::size_t series) noexcept : home_(home), series_(series) {}
    registry* home_ = nullptr;
    std::size_t series_ = 0;
  };
  /// From now on the value of a counter or gauge is what `read` returns, called at each scrape on
  /// the scraping thread. `read` must be quick, take no lock and not call this registry. A series
  /// is bound once at a time (CHECK).
  template <metric M, label_value L = unsigned>
  binding bind(std::function<double()> read, L value = L{}) {
    static_assert(!is_histogram(info(M).kind) && info(M).label != label::peer);
    return bind_series(series_at<M>(static_cast<std::size_t>(value)), std::move(read));
  }
  /// The same for an atomic integer that outlives the binding.
  template <metric M, label_value L = unsigned>
  binding bind(const std::atomic<std::uint64_t>& source, L value = L{}) {
    return bind<M>(
        [&source] { return static_cast<double>(source.load(std::memory_order_relaxed)); }, value);
  }

  // --- scrape; any thread

  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;
  /// Prometheus text format 0.0.4. With a filter, only the families whose name contains it.
  [[nodiscard]] std::string text(std::string_view filter = {}) const;

 private:
  struct impl;

  template <metric M>
  [[nodiscard]] static std::size_t series_at(std::size_t value) {
    CHECK_LT(value, info(info(M).label).count);
    return first_series(M) + value;
  }
  template <metric M>
  [[nodiscard]] metrics::counter counter_at(std::size_t value) {
    static_assert(info(M).kind == kind::counter, "not a counter");
    return make_counter(series_at<M>(value));
  }
  template <metric M>
  [[nodiscard]] metrics::gauge gauge_at(std::size_t value) {
    static_assert(info(M).kind == kind::gauge, "not a gauge");
    return make_gauge(series_at<M>(value));
  }
  template <metric M>
  [[nodiscard]] metrics::histogram histogram_at(std::size_t value) {
    static_assert(is_histogram(info(M).kind), "not a histogram");
    return make_histogram(series_at<M>(value));
  }
  [[nodiscard]] static std::size_t first_series(metric m) noexcept;
  [[nodiscard]] metrics::counter make_counter(std::size_t series) noexcept;
  [[nodiscard]] metrics::gauge make_gauge(std::size_t series) noexcept;
  [[nodiscard]] metrics::histogram make_histogram(std::size_t series) noexcept;
  binding bind_series(std::size_t series, std::function<double()> read);
  void unbind(std::size_t series) noexcept;

  std::unique_ptr<impl> impl_;
};

}  // namespace blixard::metrics
