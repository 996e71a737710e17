// What a scrape shows: everything in the catalogue, bindings, peers, the process.
#include "metrics/registry.hpp"

#include <gtest/gtest.h>
#include <prometheus/metric_family.h>
#include <unistd.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "metrics/peer_gauges.hpp"
#include "tests/unit/metrics/sample.hpp"

namespace blixard::metrics {
namespace {

using testing_support::sample;

TEST(registry, shows_every_metric_of_the_catalogue_once_with_all_its_label_values) {
  const registry r("1.2.3");
  const auto families = r.Collect();
  std::set<std::string> seen;
  for (const auto& family : families) EXPECT_TRUE(seen.insert(family.name).second) << family.name;
  EXPECT_EQ(families.size(), metric_count + 1);
  for (std::size_t m = 0; m < metric_count; ++m) {
    EXPECT_EQ(families[m].name, catalogue[m].name);
    EXPECT_EQ(families[m].help, catalogue[m].help);
    EXPECT_EQ(families[m].metric.size(), info(catalogue[m].label).count);
  }
}

TEST(registry, no_two_series_share_a_cell) {
  // Each series gets a number of its own; each must be found again where it was put.
  registry r("test");
  r.counter<metric::raft_proposals>(proposal_outcome::applied).add(1);
  r.counter<metric::raft_proposals>(proposal_outcome::refused).add(2);
  r.counter<metric::raft_proposals>(proposal_outcome::unknown).add(3);
  r.counter<metric::raft_read_rounds>().add(4);
  r.histogram<metric::vm_operation_duration>(vm_operation::start).observe(5);
  r.histogram<metric::vm_operation_duration>(vm_operation::adopt).observe(6);
  r.counter<metric::vm_operation_failures>(0U).add(7);
  std::vector<double> counted;
  for (const auto& family : r.Collect()) {
    if (family.name.starts_with("process_") || family.name.starts_with("blixard_metrics_"))
      continue;
    for (const auto& series : family.metric) {
      if (series.counter.value != 0) counted.push_back(series.counter.value);
      if (series.histogram.sample_count != 0) counted.push_back(series.histogram.sample_sum * 1e9);
    }
  }
  ASSERT_EQ(counted.size(), 7U);
  const std::vector<double> expected{1, 2, 3, 4, 5, 6, 7};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(counted[i], expected[i], 1e-6);
}

TEST(registry, text_is_prometheus_text_and_can_be_filtered) {
  registry r("1.2.3");
  r.gauge<metric::raft_term>().set(7U);
  const auto all = r.text();
  EXPECT_NE(all.find("# TYPE blixard_raft_term gauge\nblixard_raft_term 7\n"), std::string::npos);
  EXPECT_NE(all.find("version=\"1.2.3\""), std::string::npos);
  const auto some = r.text("raft_term");
  EXPECT_NE(some.find("blixard_raft_term 7\n"), std::string::npos);
  EXPECT_EQ(some.find("blixard_raft_is_leader"), std::string::npos);
  EXPECT_EQ(r.text("no such name"), "");
}

TEST(registry, binding_shows_what_another_keeps_until_it_ends) {
  registry r("test");
  std::atomic<std::uint64_t> hits{41};
  {
    const auto bound = r.bind<metric::cache_hits>(hits, cache_name::placement);
    hits = 42;
    EXPECT_EQ(sample(r, "blixard_cache_hits_total", "placement"), 42);
    EXPECT_EQ(sample(r, "blixard_cache_hits_total", "summary"), 0);
  }
  EXPECT_EQ(sample(r, "blixard_cache_hits_total", "placement"), 0);
  const auto again = r.bind<metric::cache_hits>([] { return 3.0; }, cache_name::placement);
  EXPECT_EQ(sample(r, "blixard_cache_hits_total", "placement"), 3);
}

TEST(registry, binding_moves) {
  registry r("test");
  std::vector<registry::binding> kept;
  kept.push_back(r.bind<metric::state_keys>([] { return 5.0; }));
  kept.push_back(r.bind<metric::state_sessions>([] { return 6.0; }));
  EXPECT_EQ(sample(r, "blixard_state_keys"), 5);
  kept.erase(kept.begin());
  EXPECT_EQ(sample(r, "blixard_state_keys"), 0);
  EXPECT_EQ(sample(r, "blixard_state_sessions"), 6);
}

TEST(registry_death, binding_a_series_twice_is_a_programmers_error) {
  registry r("test");
  const auto first = r.bind<metric::state_keys>([] { return 1.0; });
  EXPECT_DEATH(static_cast<void>(r.bind<metric::state_keys>([] { return 2.0; })), "bound");
}

TEST(registry_death, a_label_value_that_is_none_is_a_programmers_error) {
  registry r("test");
  EXPECT_DEATH(static_cast<void>(r.counter<metric::router_sent>(4U)), "vs");
}

TEST(registry, peers_come_and_go_with_the_membership) {
  registry r("test");
  const auto two = r.add_peer(node_id{2});
  r.add_peer(node_id{3}).set(30U);
  two.set(20U);
  EXPECT_EQ(sample(r, "blixard_raft_follower_lag_entries", "2"), 20);
  r.add_peer(node_id{2});  // known already: the same series, not reset
  EXPECT_EQ(sample(r, "blixard_raft_follower_lag_entries", "2"), 20);
  r.remove_peer(node_id{2});
  EXPECT_EQ(r.text("follower_lag").find("peer=\"2\""), std::string::npos);
  EXPECT_EQ(sample(r, "blixard_raft_follower_lag_entries", "3"), 30);
  r.add_peer(node_id{4});
  EXPECT_EQ(sample(r, "blixard_raft_follower_lag_entries", "4"), 0) << "a new peer starts at 0";
  r.clear_peers();
  EXPECT_EQ(r.text("follower_lag"), "");
}

TEST(registry, a_peer_has_one_series_of_each_metric_that_is_per_peer) {
  registry r("test");
  peer_gauges gauges(r);
  gauges.of(node_id{2}).set(7U);
  gauges.of(node_id{2}, metric::raft_window_bytes).set(8U);
  EXPECT_EQ(sample(r, "blixard_raft_follower_lag_entries", "2"), 7);
  EXPECT_EQ(sample(r, "blixard_raft_window_bytes", "2"), 8);
  EXPECT_EQ(sample(r, "blixard_raft_inflight_messages", "2"), 0);
}

TEST(registry, peers_beyond_the_limit_are_not_exposed_and_harm_nobody) {
  registry r("test");
  for (std::uint64_t id = 1; id <= peers_max; ++id) r.add_peer(node_id{id}).set(id);
  r.add_peer(node_id{1'000}).set(5U);
  const auto text = r.text("follower_lag");
  EXPECT_EQ(text.find("peer=\"1000\""), std::string::npos);
  for (std::uint64_t id = 1; id <= peers_max; ++id)
    EXPECT_EQ(sample(r, "blixard_raft_follower_lag_entries", std::to_string(id)),
              static_cast<double>(id));
}

TEST(registry, a_reused_place_never_shows_one_peers_value_under_anothers_id) {
  registry r("test");
  std::atomic<bool> done{false};
  std::thread raft([&] {
    for (std::uint64_t id = 1; id <= 20'000; ++id) {
      const auto g = r.add_peer(node_id{id});
      g.set(id);
      r.remove_peer(node_id{id});
    }
    done = true;
  });
  while (!done) {
    for (const auto& family : r.Collect()) {
      if (family.name != "blixard_raft_follower_lag_entries") continue;
      for (const auto& series : family.metric) {
        const auto id = std::stod(series.label.front().value);
        EXPECT_TRUE(series.gauge.value == 0 || series.gauge.value == id)
            << series.gauge.value << " under " << id;
      }
    }
  }
  raft.join();
}

TEST(peer_gauges, a_peer_is_resolved_once_and_its_series_ends_with_the_round_that_leaves_it_out) {
  registry r("test");
  peer_gauges lag(r);
  const auto resolved = sample(r, "blixard_metrics_handles_total");
  for (unsigned round = 0; round < 100; ++round) {
    for (std::uint64_t id = 2; id <= 5; ++id) lag.of(node_id{id}).set(100 * round + id);
    lag.end_round();
  }
  EXPECT_EQ(sample(r, "blixard_metrics_handles_total"), resolved + 4 * peer_metric_count);
  EXPECT_EQ(sample(r, "blixard_raft_follower_lag_entries", "3"), 9903);
  for (const std::uint64_t id : {5, 2, 4}) lag.of(node_id{id}).set(1U);  // 3 was removed
  lag.end_round();
  EXPECT_EQ(r.text().find("peer=\"3\""), std::string::npos);
  EXPECT_EQ(sample(r, "blixard_raft_follower_lag_entries", "4"), 1);
  lag.clear();
  EXPECT_EQ(lag.size(), 0U);
  EXPECT_EQ(r.text().find("peer="), std::string::npos);
}

TEST(peer_gauges, at_the_bound_the_peer_that_was_set_longest_ago_gives_way) {
  registry r("test");
  peer_gauges lag(r);
  lag.of(node_id{1}).set(1U);
  lag.end_round();
  for (std::uint64_t id = 1'000; id < 1'000 + peers_max; ++id) lag.of(node_id{id}).set(id);
  EXPECT_EQ(lag.size(), peers_max);
  EXPECT_EQ(r.text().find("peer=\"1\""), std::string::npos);
  EXPECT_EQ(sample(r, "blixard_raft_follower_lag_entries", std::to_string(1'000 + peers_max - 1)),
            1'000 + peers_max - 1);
}

TEST(registry, counts_the_threads_that_have_cells_of_their_own) {
  registry r("test");
  const auto c = r.counter<metric::raft_elections>();
  c.add();
  const auto before = sample(r, "blixard_metrics_counting_threads");
  EXPECT_GE(before, 1);
  std::thread([&] {
    c.add();
    EXPECT_EQ(sample(r, "blixard_metrics_counting_threads"), before + 1);
  }).join();
  EXPECT_EQ(sample(r, "blixard_metrics_counting_threads"), before);
}

TEST(registry, knows_its_process) {
  const registry r("test");
  EXPECT_GT(sample(r, "process_resident_memory_bytes"), 1'000'000);
  EXPECT_GT(sample(r, "process_virtual_memory_bytes"), 1'000'000);
  EXPECT_GE(sample(r, "process_threads"), 1);
  EXPECT_GT(sample(r, "process_max_fds"), 0);
  EXPECT_GT(sample(r, "process_start_time_seconds"), 1'500'000'000);
  const auto before = sample(r, "process_open_fds");
  const int fd = ::dup(0);
  EXPECT_EQ(sample(r, "process_open_fds"), before + 1);
  ::close(fd);
}

TEST(registry, cpu_time_grows_with_work) {
  const registry r("test");
  const auto before = sample(r, "process_cpu_seconds_total");
  // Ends when the kernel has accounted one more tick of work to this process.
  while (sample(r, "process_cpu_seconds_total") <= before) {
  }
  SUCCEED();
}

}  // namespace
}  // namespace blixard::metrics
