// Claims about the view of the hot paths: what a row is made of, and that every row can be filled.
#include "runtime/repl/hotpaths.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "metrics/catalogue.hpp"

namespace blixard::repl {
namespace {

std::optional<double> value_of(const samples& s, std::string_view what) {
  for (const auto& f : hotpath_figures(s))
    if (f.row->what == what) return f.value;
  ADD_FAILURE() << "no row " << what;
  return std::nullopt;
}

TEST(hotpaths, a_name_stands_for_all_its_series_and_for_no_longer_name) {
  const std::vector<std::string> lines = {"# HELP blixard_router_sent_total Frames.",
                                          "blixard_router_sent_total{class=\"high\"} 3",
                                          "blixard_router_sent_total{class=\"low\"} 4",
                                          "blixard_router_sent_total_more 100",
                                          "not a sample",
                                          "blixard_net_write_calls_total 2"};
  const auto s = read_samples(lines);
  EXPECT_EQ(s.size(), 4u);
  EXPECT_EQ(value_of(s, "frames sent"), 7.0);
  EXPECT_EQ(value_of(s, "frames per write call"), 3.5);
}

TEST(hotpaths, a_ratio_of_nothing_is_a_dash) {
  EXPECT_EQ(value_of({}, "placement: hit rate"), std::nullopt);
  EXPECT_EQ(value_of({}, "frames sent"), 0.0);
  EXPECT_NE(hotpaths_text({}).find("hit rate"), std::string::npos);
}

TEST(hotpaths, a_cache_that_never_hits_is_not_hidden_behind_one_that_does) {
  const std::vector<std::string> lines = {"blixard_cache_hits_total{cache=\"placement\"} 0",
                                          "blixard_cache_misses_total{cache=\"placement\"} 100",
                                          "blixard_cache_hits_total{cache=\"summary\"} 900",
                                          "blixard_cache_misses_total{cache=\"summary\"} 100",
                                          "blixard_cache_hits_total{cache=\"peer\"} 1",
                                          "blixard_cache_misses_total{cache=\"peer\"} 1"};
  const auto s = read_samples(lines);
  EXPECT_EQ(value_of(s, "placement: hit rate"), 0.0);
  EXPECT_EQ(value_of(s, "placement: hits by what had changed"), std::nullopt);
  EXPECT_EQ(value_of(s, "summary: hit rate"), 0.9);
  EXPECT_EQ(value_of(s, "peer: hit rate"), 0.5);
}

// A metric that is renamed must not leave a row that is 0 for ever.
TEST(hotpaths, every_row_is_made_of_metrics_of_the_catalogue) {
  for (const auto& row : hotpath_rows())
    for (const auto list : {row.above, row.below})
      for (const auto series : list) {
        const auto name = series.substr(0, series.find('{'));
        EXPECT_TRUE(std::ranges::any_of(metrics::catalogue, [&](const auto& m) {
          return m.name == name;
        })) << name;
      }
}

}  // namespace
}  // namespace blixard::repl
