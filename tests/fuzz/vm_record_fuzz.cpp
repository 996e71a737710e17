// A VM's records on disk and the guard's words: what is accepted is the same after a round trip.
#include "runtime/vm/record.hpp"

#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {

void one(input in) {
  if (const auto plan = vm::decode_plan(in.rest())) {
    const std::string text = vm::encode(*plan);
    const auto again = vm::decode_plan(text);
    CHECK(again.has_value());
    CHECK(vm::encode(*again) == text);
    CHECK(!again->argv.empty());
  }
  if (const auto state = vm::decode_state(in.rest())) {
    const std::string text = vm::encode(*state);
    const auto again = vm::decode_state(text);
    CHECK(again.has_value());
    CHECK(vm::encode(*again) == text);
  }
}

std::vector<std::string> examples() {
  vm::launch_plan plan;
  plan.vm = 7;
  plan.name = "a";
  plan.argv = {"/bin/sh", "-c", "true"};
  plan.env = {"PATH=/bin"};
  vm::guard_state state;
  state.phase = vm::guard_phase::exited;
  state.by = vm::ended_by::lease;
  state.reason = "the lease ran out";
  return {vm::encode(plan), vm::encode(state)};
}

}  // namespace blixard::fuzz
