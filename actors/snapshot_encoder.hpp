// Encodes a view of the state machine on a thread of its own, so that apply never waits for it.
#pragma once

#include "actors/links.hpp"
#include "runtime/state/machine.hpp"

namespace blixard::actors {

/// Starts a detached actor that encodes `view` and sends the snapshot to the WAL actor, then ends.
void spawn_snapshot_encoder(caf::actor_system& system, const wal_actor& to,
                            state::snapshot_view view, state::snapshot_context context);

}  // namespace blixard::actors
