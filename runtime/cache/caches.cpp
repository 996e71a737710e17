// See caches.hpp.
#include "runtime/cache/caches.hpp"

#include "messages/cluster.pb.h"

namespace blixard::cache {
namespace {

template <class Duration>
constexpr std::uint64_t ns(Duration d) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(d).count());
}

/// Peers have no version: what counts is only how old a record is.
constexpr log_index no_version{};

}  // namespace

summary_cache::summary_cache()
    : cache_({.entries_max = limits::summary_cache_max, .ttl_ns = ns(limits::summary_ttl)}) {}

summary_cache::value summary_cache::get(const state::inventory& in, node_id node,
                                        std::uint64_t now_ns) {
  if (const value* v = cache_.get(node, in.summary_version, now_ns)) return *v;
  cache_.count_miss();
  auto made = std::make_shared<pb::Summary>();
  if (!state::summarize(in, node, *made)) return nullptr;
  cache_.put(node, in.summary_version, made, now_ns);
  return made;
}

placement_cache::placement_cache()
    : cache_({.entries_max = limits::placement_cache_max,
              .waiters_max = limits::cache_waiters_max,
              .in_flight_max = limits::cache_flights_max,
              .ttl_ns = ns(limits::placement_ttl)}) {}

placement_cache::answer placement_cache::ask(const std::shared_ptr<const state::inventory>& in,
                                             const pb::VmSpec& spec,
                                             const state::plan_options& options, waiter_id waiter,
                                             std::uint64_t now_ns) {
  const std::string shape = state::shape_of(spec, options);
  auto found = cache_.lookup(shape, in->version, now_ns, waiter,
                             [&](const value& known) { return known->advance(in); });
  if (const auto* v = std::get_if<value>(&found)) return &(*v)->decision();
  if (const auto* j = std::get_if<joined>(&found)) return *j;
  auto made = std::make_shared<plan_job>(in, spec, options);
  made->shape_ = shape;
  made->flight_ = std::get<miss_compute>(found).ticket;
  made->owner_ = waiter;
  return job{std::move(made)};
}

std::vector<waiter_id> placement_cache::finish(const plan_job& done, value found,
                                               std::uint64_t now_ns) {
  std::vector<waiter_id> waiters{done.owner_};
  if (!done.flight_) {
    cache_.put(done.shape_, done.in_->version, std::move(found), now_ns);
    return waiters;
  }
  const auto joined_later = cache_.complete(done.flight_, std::move(found), now_ns);
  waiters.insert(waiters.end(), joined_later.begin(), joined_later.end());
  return waiters;
}

plan_job::plan_job(std::shared_ptr<const state::inventory> in, const pb::VmSpec& spec,
                   const state::plan_options& options)
    : in_(std::move(in)),
      spec_(std::make_unique<pb::VmSpec>(spec)),
      avoid_(options.avoid.begin(), options.avoid.end()),
      options_(options) {
  options_.avoid = avoid_;
}
plan_job::~plan_job() = default;

std::shared_ptr<state::ranking> plan_job::run() const {
  return std::make_shared<state::ranking>(in_, *spec_, options_);
}

std::string_view to_string(link_quality q) noexcept {
  switch (q) {
    case link_quality::disconnected:
      return "disconnected";
    case link_quality::poor:
      return "poor";
    case link_quality::fair:
      return "fair";
    case link_quality::good:
      return "good";
    case link_quality::excellent:
      return "excellent";
  }
  return "unknown";
}

link_quality quality_of(bool connected, std::uint32_t rtt_us) noexcept {
  if (!connected) return link_quality::disconnected;
  if (rtt_us <= 2'000) return link_quality::excellent;
  if (rtt_us <= 10'000) return link_quality::good;
  return rtt_us <= 50'000 ? link_quality::fair : link_quality::poor;
}

peer_cache::peer_cache()
    : cache_({.entries_max = limits::nodes_max, .ttl_ns = ns(limits::peer_ttl)}) {}

void peer_cache::record(node_id peer, bool connected, std::uint32_t rtt_us, std::uint64_t now_ns) {
  const std::uint32_t rtt = connected ? rtt_us : 0;
  cache_.put(peer, no_version, {connected, rtt, quality_of(connected, rtt)}, now_ns);
}

const peer_link* peer_cache::get(node_id peer, std::uint64_t now_ns) {
  const peer_link* out = cache_.get(peer, no_version, now_ns);
  if (out == nullptr) cache_.count_miss();
  return out;
}

void append_stats(std::string_view name, const cache_stats& stats, std::size_t capacity,
                  pb::CacheStats& out) {
  auto* one = out.add_caches();
  one->set_name(name.data(), name.size());
  one->set_hits(stats.hits.get());
  one->set_misses(stats.misses.get());
  one->set_evictions(stats.evictions.get());
  one->set_invalidations(stats.invalidations.get());
  one->set_in_flight(stats.in_flight.get());
  one->set_waited(stats.waited.get());
  one->set_size(stats.size.get());
  one->set_capacity(capacity);
}

}  // namespace blixard::cache
