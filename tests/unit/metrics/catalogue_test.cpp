// The catalogue's labels are those of the enums that index them. (Names, kinds and help are checked
// by static_asserts in catalogue.hpp.)
#include "metrics/catalogue.hpp"

#include <gtest/gtest.h>

#include <cctype>
#include <string>

#include "messages/cluster.pb.h"
#include "messages/frame.hpp"
#include "runtime/net/traffic.hpp"

namespace blixard::metrics {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

TEST(catalogue, phases_are_those_of_the_schema) {
  const auto& phases = info(label::phase);
  ASSERT_EQ(phases.count, static_cast<std::size_t>(pb::Phase_ARRAYSIZE));
  for (int i = 0; i < pb::Phase_ARRAYSIZE; ++i)
    EXPECT_EQ("phase_" + std::string(phases.values[i]), lower(pb::Phase_Name(i)));
}

TEST(catalogue, node_states_are_those_of_the_schema) {
  const auto& states = info(label::state);
  ASSERT_EQ(states.count, static_cast<std::size_t>(pb::NodeState_ARRAYSIZE));
  for (int i = 0; i < pb::NodeState_ARRAYSIZE; ++i)
    EXPECT_EQ("node_" + std::string(states.values[i]), lower(pb::NodeState_Name(i)));
}

TEST(catalogue, classes_are_the_routers) {
  const auto& classes = info(label::priority);
  ASSERT_EQ(classes.count, priority_count);
  EXPECT_EQ(classes.values[static_cast<std::size_t>(priority::critical)], "critical");
  EXPECT_EQ(classes.values[static_cast<std::size_t>(priority::high)], "high");
  EXPECT_EQ(classes.values[static_cast<std::size_t>(priority::normal)], "normal");
  EXPECT_EQ(classes.values[static_cast<std::size_t>(priority::low)], "low");
}

TEST(catalogue, reasons_of_closed_connections_are_the_transports) {
  const auto& reasons = info(label::closed);
  ASSERT_EQ(reasons.count, net::close_reason_count);
  for (std::size_t i = 0; i < reasons.count; ++i)
    EXPECT_EQ(reasons.values[i], net::to_string(static_cast<net::close_reason>(i)));
}

TEST(catalogue, reasons_why_tls_failed_are_the_transports) {
  const auto& reasons = info(label::tls);
  ASSERT_EQ(reasons.count, net::tls_failure_count);
  for (std::size_t i = 0; i < reasons.count; ++i)
    EXPECT_EQ(reasons.values[i], net::to_string(static_cast<net::tls_failure>(i)));
}

TEST(catalogue, every_label_but_peer_has_all_its_values_named) {
  for (std::size_t l = 1; l < label_count; ++l) {
    const auto& domain = labels[l];
    EXPECT_FALSE(domain.name.empty());
    EXPECT_EQ(domain.count == 0, static_cast<label>(l) == label::peer) << domain.name;
    for (std::size_t v = 0; v < domain.values.size(); ++v)
      EXPECT_EQ(domain.values[v].empty(), v >= domain.count) << domain.name << " value " << v;
  }
}

TEST(catalogue, rules_reject_names_that_break_them) {
  const auto accepts = [](std::string_view name, kind k, std::string_view help) {
    return detail::is_well_named({name, k, label::none, help});
  };
  EXPECT_TRUE(accepts("blixard_x_total", kind::counter, "Help."));
  EXPECT_FALSE(accepts("blixard_x", kind::counter, "Help."));
  EXPECT_FALSE(accepts("blixard_x_total", kind::gauge, "Help."));
  EXPECT_FALSE(accepts("blixard_x_milliseconds", kind::durations, "Help."));
  EXPECT_FALSE(accepts("blixard_X", kind::gauge, "Help."));
  EXPECT_FALSE(accepts("other_x", kind::gauge, "Help."));
  EXPECT_FALSE(accepts("blixard_x", kind::gauge, ""));
}

}  // namespace
}  // namespace blixard::metrics
