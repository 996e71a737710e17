// The two long computations of the state machine, each on a thread of its own: encoding a snapshot
// (and writing its file), and building a machine from one. Neither apply, nor the loop that hosts
// it, nor the log ever waits for them; where processors are scarce they come last.
#pragma once

#include "actors/links.hpp"
#include "runtime/state/machine.hpp"

namespace blixard::actors {

/// Starts a detached actor that encodes and packs `view`, asks the WAL actor for a file, writes it,
/// hands it back to be put in place, and ends. Where the process ends (`facts`, which outlives it)
/// it gives up and frees nothing.
void spawn_snapshot_encoder(caf::actor_system& system, const shared_facts& facts,
                            const wal_actor& to, state::snapshot_view view,
                            state::snapshot_context context);

/// Starts a detached actor that builds a machine from a snapshot's bytes and sends it to `to` as
/// `machine_loaded`. It takes the machine that this one replaces as an answer, lets it go there
/// (that takes as long), and ends. Bytes that passed the checks of disk or wire and cannot be built
/// end the process: going on with another state than the cluster's must not happen.
void spawn_snapshot_loader(caf::actor_system& system, const shared_facts& facts,
                           const state_actor& to, slice bytes);

}  // namespace blixard::actors
