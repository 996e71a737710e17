// The planner: runs the placements that the cache does not have, so that a scan over thousands of
// nodes delays nobody but those who asked for it.
#pragma once

#include "actors/links.hpp"

namespace blixard::actors {

class planner final : public planner_actor::base {
 public:
  planner(caf::actor_config& config, const links& to) : planner_actor::base(config), to_(to) {}

  behavior_type make_behavior() override;

 private:
  const links& to_;
};

}  // namespace blixard::actors
