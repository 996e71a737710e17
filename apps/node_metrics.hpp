// Numbers that parts of the node keep themselves, bound to the metrics that show them.
#pragma once

#include <vector>

#include "metrics/registry.hpp"
#include "runtime/net/transport.hpp"
#include "runtime/routing/buffer_pool.hpp"

namespace blixard::apps {

/// The bindings end when the vector is destroyed: before the transport and the pool.
[[nodiscard]] std::vector<metrics::registry::binding> bind_io(
    metrics::registry& r, const net::transport& io, const routing::buffer_pool& pool,
    const routing::inbound_budget& inbound);

}  // namespace blixard::apps
