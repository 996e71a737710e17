// Reads one number out of a scrape.
#pragma once

#include <gtest/gtest.h>
#include <prometheus/metric_family.h>

#include <string>
#include <string_view>

#include "metrics/registry.hpp"

namespace blixard::metrics::testing_support {

/// The series of a family whose label has this value (empty: the only one). Fails the test if there
/// is none.
inline prometheus::ClientMetric series_of(const registry& r, std::string_view name,
                                          std::string_view label_value = {}) {
  for (const auto& family : r.Collect()) {
    if (family.name != name) continue;
    for (const auto& series : family.metric) {
      const bool is_it = label_value.empty()
                             ? series.label.empty()
                             : !series.label.empty() && series.label.front().value == label_value;
      if (is_it) return series;
    }
  }
  ADD_FAILURE() << "no series " << name << "{" << label_value << "}";
  return {};
}

/// A counter's or a gauge's value (the other of the two is 0).
inline double sample(const registry& r, std::string_view name, std::string_view label_value = {}) {
  const auto series = series_of(r, name, label_value);
  return series.counter.value + series.gauge.value;
}

inline prometheus::ClientMetric::Histogram histogram_of(const registry& r, std::string_view name,
                                                        std::string_view label_value = {}) {
  return series_of(r, name, label_value).histogram;
}

}  // namespace blixard::metrics::testing_support
