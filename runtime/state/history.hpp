// What a VM went through, kept with it for a person: why it is where it is, and why it restarted.
//
// The last `limits::vm_events_max` events, each one line with the log index and the proposer's time
// of the entry that brought it. They are part of the replicated state, so that they survive nodes,
// failovers and snapshots.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "messages/cluster.pb.h"
#include "messages/ids.hpp"

namespace blixard::state {

/// The entry that is being applied.
struct moment {
  log_index index;
  std::int64_t time_ms = 0;  // the proposer's clock
};

/// Appends an event; the oldest goes where there are too many, a long text is cut.
void note(pb::Vm& vm, const moment& now, std::string_view text);

/// Enters a phase, if it is another one.
void enter(pb::Vm& vm, const moment& now, pb::Phase phase);

/// A node gave the VM up: counts it, and says when that node may be tried again. The first back-off
/// of the spec comes when a node has it for the second time in a row, and doubles from there.
void count_give_up(pb::Vm& vm, const moment& now);

/// It ran well, or somebody asked for it anew: no node is held against it any more.
void forgive(pb::Vm& vm);

/// "placed on node 2: most_available, score 0.83, best of 3 that fit".
[[nodiscard]] std::string placed_text(const pb::VmSpec& spec, const pb::Decision& decision,
                                      node_id chosen);

/// What a node's report says in words, where it says something new; empty where it does not.
[[nodiscard]] std::string observed_text(const pb::Vm& before, const pb::Vm& now);

}  // namespace blixard::state
