#include "apps/node_metrics.hpp"

#include "messages/block_pool.hpp"

namespace blixard::apps {
namespace {

using metrics::metric;
using routing::tally;

auto value_of(const tally& t) {
  return [&t] { return static_cast<double>(t.get()); };
}

}  // namespace

std::vector<metrics::registry::binding> bind_io(metrics::registry& r, const net::transport& io,
                                                const routing::buffer_pool& pool,
                                                const routing::inbound_budget& inbound) {
  std::vector<metrics::registry::binding> out;
  const auto& t = io.counters();
  for (unsigned c = 0; c < priority_count; ++c) {
    const auto& k = t.by_class[c];
    out.push_back(r.bind<metric::router_sent>(value_of(k.sent_frames), c));
    out.push_back(r.bind<metric::router_received>(value_of(k.received_frames), c));
    out.push_back(r.bind<metric::router_dropped>(value_of(k.dropped_frames), c));
    out.push_back(r.bind<metric::router_superseded>(value_of(k.superseded_frames), c));
    out.push_back(r.bind<metric::router_queue_bytes>(value_of(k.queued_bytes), c));
    out.push_back(r.bind<metric::router_sent_bytes>(value_of(k.sent_bytes), c));
    out.push_back(r.bind<metric::router_received_bytes>(value_of(k.received_bytes), c));
  }
  out.push_back(r.bind<metric::net_connections>(value_of(t.connections)));
  out.push_back(r.bind<metric::net_clients>(value_of(t.clients)));
  out.push_back(r.bind<metric::net_clients_max>(value_of(t.clients_max)));
  out.push_back(r.bind<metric::net_accept_pauses>(value_of(t.accept_pauses)));
  out.push_back(r.bind<metric::net_connects>(value_of(t.established)));
  out.push_back(r.bind<metric::net_read_calls>(value_of(t.reads)));
  out.push_back(r.bind<metric::net_write_calls>(value_of(t.writes)));
  out.push_back(r.bind<metric::net_copied_in>(value_of(t.copied_in_bytes)));
  out.push_back(r.bind<metric::net_staged>(value_of(t.staged_bytes)));
  out.push_back(r.bind<metric::net_packed_frames>(value_of(t.packed_frames)));
  out.push_back(r.bind<metric::net_packed_saved>(value_of(t.packed_saved_bytes)));
  out.push_back(r.bind<metric::net_unpacked_frames>(value_of(t.unpacked_frames)));
  out.push_back(r.bind<metric::net_incompressible>(value_of(t.incompressible_frames)));
  out.push_back(r.bind<metric::pool_block_allocations>(
      [] { return static_cast<double>(block_pool::heap_allocations()); }));
  for (unsigned reason = 0; reason < net::close_reason_count; ++reason)
    out.push_back(r.bind<metric::net_closed>(value_of(t.closed[reason]), reason));
  for (unsigned reason = 0; reason < net::tls_failure_count; ++reason)
    out.push_back(r.bind<metric::net_tls_failures>(value_of(t.tls_failures[reason]), reason));
  for (unsigned u = 0; u < routing::inbound_use_count; ++u) {
    const auto use = static_cast<routing::inbound_use>(u);
    out.push_back(r.bind<metric::inbound_bytes>(value_of(inbound.bytes(use)), u));
    out.push_back(r.bind<metric::inbound_refused>(value_of(inbound.refused(use)), u));
  }
  out.push_back(r.bind<metric::inbound_bytes_max>(
      [&inbound] { return static_cast<double>(inbound.max_bytes()); }));
  for (unsigned b = 0; b < routing::buffer_class_count; ++b) {
    out.push_back(r.bind<metric::pool_buffers>(
        [&pool, b] { return static_cast<double>(pool.stats().classes[b].in_use); }, b));
    out.push_back(r.bind<metric::pool_gets>(
        [&pool, b] {
          const auto s = pool.stats().classes[b];
          return static_cast<double>(s.hits + s.misses);
        },
        b));
    out.push_back(r.bind<metric::pool_misses>(
        [&pool, b] { return static_cast<double>(pool.stats().classes[b].misses); }, b));
  }
  return out;
}

}  // namespace blixard::apps
