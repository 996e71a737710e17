#include "actors/planner.hpp"

#include "runtime/cache/caches.hpp"

namespace blixard::actors {

planner::behavior_type planner::make_behavior() {
  return {[this](const plan_wanted& w) { send(to_.cache, plan_found{w.job, w.job->run()}); }};
}

}  // namespace blixard::actors
