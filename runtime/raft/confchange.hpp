// Changing a configuration (thesis chapter 4): one voter at a time, or any change through a joint
// configuration, where majorities of the old and of the new voters are needed.
//
//   simple   voters differ by at most one         {1,2,3} + 4       -> {1,2,3,4}
//   enter    old voters kept aside as `outgoing`  {1,2,3} -> {3,4,5}: voters 345, outgoing 123
//   leave    outgoing dropped; voters that were turned into learners while they still counted in
//   the
//            old half (`learners_next`) become learners now
#pragma once

#include <span>
#include <string>
#include <tl/expected.hpp>

#include "messages/entry.hpp"
#include "runtime/raft/types.hpp"

namespace blixard::raft {

using conf_result = tl::expected<conf_state, std::string>;

/// Errors (as text for people): joint already, more than one voter changed, no voter left.
[[nodiscard]] conf_result change_simple(const conf_state& from,
                                        std::span<const conf_change::single> changes);
/// Errors: joint already, no voters before or after.
[[nodiscard]] conf_result enter_joint(const conf_state& from,
                                      std::span<const conf_change::single> changes,
                                      bool auto_leave);
/// Errors: not joint.
[[nodiscard]] conf_result leave_joint(const conf_state& from);
/// The one of the three that `change` asks for.
[[nodiscard]] conf_result apply_change(const conf_state& from, const conf_change& change);

/// Nothing if the lists fit together: sorted, disjoint where they must be.
[[nodiscard]] tl::expected<void, std::string> check_conf(const conf_state& conf);

}  // namespace blixard::raft
