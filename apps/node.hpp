// `blixard node`: one process per host, assembled here and nowhere else.
#pragma once

#include "runtime/base/config.hpp"

namespace blixard::apps {

/// Runs a node until it is told to stop. Returns the exit code (CLIENT "Node exit codes"). Called
/// on the main thread before any other thread exists: it blocks the signals that it waits for.
int run_node(const node_config& config);

}  // namespace blixard::apps
