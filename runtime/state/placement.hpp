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
// A soft anti-affinity and a node that gave the VM up put a node behind all others that fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <tl/expected.hpp>

#include "messages/errc.hpp"
#include "messages/ids.hpp"
#include "runtime/state/inventory.hpp"

namespace blixard::pb {
class Decision;
class VmSpec;
}  // namespace blixard::pb

namespace blixard::state {

struct plan_options {
  /// A node that gave the VM up: chosen only if no other one fits. 0: none.
  node_id avoid;
  /// The node that the VM is counted on already: its own needs are not held against it. 0: none.
  node_id resident;
  /// Order among equal scores: 0 is by node id, anything else a permutation made from it.
  std::uint64_t seed = 0;
  /// How many candidates and how many rejected nodes are listed; the choice is not affected.
  std::size_t listed_max = std::numeric_limits<std::size_t>::max();
};

/// Where the VM should run. `node` is 0 if it fits nowhere; then `rejected` and `fix` say why and
/// what would help with the least effort. Candidates are best first, rejected nodes by id.
/// Expects a spec with its defaults filled in.
[[nodiscard]] pb::Decision plan(const inventory& in, const pb::VmSpec& spec,
                                const plan_options& options = {});

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
