// Who was removed comes back with an empty disk, and meets those who have not heard of anything.
//
//   voters   A B C      B is cut off
//            A B C D    D is added
//            A B   D    C is removed; it loses its disk and asks for a place
//            A B   D    C is admitted, and hears B alone: to B, both are a majority of A B C
//
// What A and D have committed meanwhile, neither B nor C knows. With five voters, two are cut off.
// Each step waits for the one before; what else goes wrong meanwhile may keep it from happening.
#include "tests/sim/world.hpp"

namespace blixard::sim {
namespace {
constexpr std::uint64_t patience_ns = 4000 * ms;  // for all up to the meeting
constexpr std::uint64_t meeting_ns = 1000 * ms;   // some election timeouts
}  // namespace

void world::begin_comeback() {
  const auto* lead = leader();
  if (lead == nullptr || comeback_.now != comeback::stage::none) return;
  const auto& core = lead->core();
  auto others = core.configuration().voters;
  const auto voters = others.size();
  std::erase(others, core.id());
  // Of an even number, who is left could not go on without those who are cut off.
  if (voters % 2 == 0 || others.size() + 1 != voters || core.configuration().joint()) return;
  const auto take = [&] {
    const auto at = others.begin() + static_cast<std::ptrdiff_t>(dice_.below(others.size()));
    const auto id = *at;
    others.erase(at);
    return id;
  };
  const auto removed = take();
  // The cluster must know who asks: not all that were added at once have told their addresses.
  if (!may_lose_disk(members_.at(removed)) || lead->machine().node(removed) == nullptr) return;
  comeback_.removed = removed;
  for (auto n = voters / 2; n > 0; --n) comeback_.apart.push_back(take());
  comeback_.now = comeback::stage::grows;
  comeback_.until = now_ + patience_ns;
  trace("comeback", removed, comeback_.apart.front().value(), voters);
  comeback_.added = new_member(false);
  ask_change(core.id(), {.changes = {{raft::conf_op::learner, comeback_.added}}});
}

void world::go_on_with_comeback() {
  if (now_ > comeback_.until) {
    comeback_ = {};
    return;
  }
  const auto* lead = leader();
  if (lead == nullptr || is_apart(lead->core().id())) return;
  const auto& conf = lead->core().configuration();
  auto& m = members_.at(comeback_.removed);
  if (comeback_.now == comeback::stage::grows && conf.is_voter(comeback_.added)) {
    comeback_.now = comeback::stage::shrinks;
    ask_change(lead->core().id(), {.changes = {{raft::conf_op::remove, comeback_.removed}}});
  } else if (comeback_.now == comeback::stage::shrinks && !conf.contains(comeback_.removed) &&
             may_lose_disk(m)) {
    comeback_.now = comeback::stage::returns;
    lose_disk_of(m);
  }
}

void world::came_back(node_id id) {
  if (comeback_.now != comeback::stage::returns || id != comeback_.removed) return;
  comeback_.now = comeback::stage::meets;
  comeback_.apart.push_back(id);
  comeback_.until = now_ + meeting_ns;
  trace("meets", id, comeback_.apart.front().value(), 0);
}

}  // namespace blixard::sim
