// Placement: which node a VM is to run on, and, in plain words, why not on the others.
//
// A pure function of (inventory at a log index, request, options). The leader's planner, the apply
// of the entry and `vm explain` call the same code, so that they never disagree. Feasibility first
// (every reason against a node is collected, not only the first), then a score per feasible node in
// integers, so that every build computes the same:
//
//   most_available    mean free share of the resources after placement: spreads
//   least_available   largest used share after placement: packs
//   round_robin       the first feasible node after the one chosen last
//   manual            the named node or none
//
// A soft anti-affinity group that is full there puts a node behind all others that fit, having
// given the VM up puts it behind those.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <tl/expected.hpp>

#include "messages/errc.hpp"
#include "messages/ids.hpp"
#include "runtime/state/inventory.hpp"

namespace blixard::pb {
class Decision;
class Vm;
class VmSpec;
}  // namespace blixard::pb

namespace blixard::state {

struct plan_options {
  /// Ids of nodes that gave the VM up, the last one last: chosen only if no other one fits, the
  /// first of them first. Must outlive the call.
  std::span<const std::uint64_t> avoid;
  /// The node that the VM is counted on already: its own needs are not held against it. 0: none.
  node_id resident;
  /// Order among equal scores: 0 is by node id, anything else a permutation made from it.
  std::uint64_t seed = 0;
  /// How many candidates and how many rejected nodes are listed; the choice is not affected, nor
  /// the fix where nothing fits.
  std::size_t listed_max = std::numeric_limits<std::size_t>::max();
  std::size_t rejected_max = std::numeric_limits<std::size_t>::max();
};

/// Where the VM should run. `node` is 0 if it fits nowhere; then `rejected` and `fix` say why and
/// what would help with the least effort. Candidates are best first, rejected nodes by id.
/// Expects a spec with its defaults filled in.
[[nodiscard]] pb::Decision plan(const inventory& in, const pb::VmSpec& spec,
                                const plan_options& options = {});

/// The best of the candidates that a decision lists, as `plan` would order them by now; those that
/// do not fit any more are left out. `node` is 0 where none fits. O(candidates), whatever the
/// inventory's size. How many nodes fit is as of the decision.
[[nodiscard]] pb::Decision choose_again(const inventory& in, const pb::VmSpec& spec,
                                        const pb::Decision& planned,
                                        const plan_options& options = {});

/// What to avoid for a VM; refers to it.
[[nodiscard]] std::span<const std::uint64_t> gave_up(const pb::Vm& vm) noexcept;

/// Whether a pending VM may go to the node that was planned for it, or has to wait: nodes that gave
/// it up get it back only after its back-off. `now_ms`: the planner's wall clock.
[[nodiscard]] bool may_place(const pb::Vm& vm, node_id planned, std::int64_t now_ms) noexcept;

/// Whether `node` could take the VM: exactly if `plan` would list it as a candidate.
[[nodiscard]] bool fits(const inventory& in, const pb::VmSpec& spec, node_id node,
                        node_id resident = {});

/// What of a request decides its placement, as bytes: two requests with equal shapes get equal
/// decisions from equal inventories (the seed included). Key of the placement cache.
[[nodiscard]] std::string shape_of(const pb::VmSpec& spec, const plan_options& options);

/// Fills in the defaults of DOMAIN "VM" where the spec says nothing. Idempotent.
void fill_defaults(pb::VmSpec& spec);

/// Checks names and ranges of a spec with its defaults; errc::invalid_argument says what is wrong.
[[nodiscard]] tl::expected<void, error> validate(const pb::VmSpec& spec);

}  // namespace blixard::state
