// The three caches of a node (DOMAIN "Caches"): resource summaries, placement decisions, peers.
//
// Each is a versioned_cache with its key, its version and its bound. Summaries and decisions are
// computed from the immutable inventory that the caller passes in, so that the version of a result
// is always the version of what it was computed from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "messages/ids.hpp"
#include "messages/limits.hpp"
#include "runtime/cache/versioned_cache.hpp"
#include "runtime/state/inventory.hpp"
#include "runtime/state/placement.hpp"
#include "runtime/state/ranking.hpp"

namespace blixard::pb {
class CacheStats;
class Decision;
class Summary;
class VmSpec;
}  // namespace blixard::pb

namespace blixard::cache {

/// Totals of the cluster (node 0) or of one node; version: the inventory's summary_version.
class summary_cache {
 public:
  using value = std::shared_ptr<const pb::Summary>;

  summary_cache();
  /// The summary at this inventory, or null if the node is not known (not kept).
  [[nodiscard]] value get(const state::inventory& in, node_id node, std::uint64_t now_ns);
  [[nodiscard]] const cache_stats& stats() const noexcept { return cache_.stats(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return cache_.capacity(); }

 private:
  versioned_cache<node_id, value> cache_;
};

/// A placement that has to be planned, by whoever has the time: it holds all that it needs.
class plan_job {
 public:
  plan_job(std::shared_ptr<const state::inventory> in, const pb::VmSpec& spec,
           const state::plan_options& options);
  ~plan_job();

  /// What `state::plan` says, in a form that can move on. Pure; any thread.
  [[nodiscard]] std::shared_ptr<state::ranking> run() const;

 private:
  friend class placement_cache;
  std::string shape_;
  std::shared_ptr<const state::inventory> in_;
  std::unique_ptr<const pb::VmSpec> spec_;
  std::vector<std::uint64_t> avoid_;  // what options_.avoid refers to
  state::plan_options options_;
  ticket flight_;  // 0: outside the flights
  waiter_id owner_ = 0;
};

/// Decisions by request shape; version: the inventory's version. One of an older version is moved
/// on by the nodes that have changed since (state/ranking.hpp). A miss is planned elsewhere, so
/// that nobody waits behind a scan of all nodes; who asks meanwhile waits for the same one.
class placement_cache {
 public:
  /// Moved on by this cache alone, once it was given to `finish`.
  using value = std::shared_ptr<state::ranking>;
  using job = std::shared_ptr<const plan_job>;
  /// The decision, good until the next `ask`; or the job that is to be run and finished; or: it is
  /// being planned. In the last two cases `finish` names the waiter.
  using answer = std::variant<const pb::Decision*, job, joined>;

  placement_cache();
  /// `in` and what `options` refers to are needed during the call only.
  [[nodiscard]] answer ask(const std::shared_ptr<const state::inventory>& in,
                           const pb::VmSpec& spec, const state::plan_options& options,
                           waiter_id waiter, std::uint64_t now_ns);
  /// Keeps what the job found; everybody who waits for it, who asked first is the first.
  [[nodiscard]] std::vector<waiter_id> finish(const plan_job& done, value found,
                                              std::uint64_t now_ns);
  [[nodiscard]] const cache_stats& stats() const noexcept { return cache_.stats(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return cache_.capacity(); }

 private:
  versioned_cache<std::string, value> cache_;
};

/// How good a connection is, by its round trip.
enum class link_quality : std::uint8_t { disconnected, poor, fair, good, excellent };

[[nodiscard]] std::string_view to_string(link_quality q) noexcept;
/// excellent: up to 2 ms; good: up to 10 ms; fair: up to 50 ms; poor: above.
[[nodiscard]] link_quality quality_of(bool connected, std::uint32_t rtt_us) noexcept;

struct peer_link {
  bool connected = false;
  std::uint32_t rtt_us = 0;  // smoothed; 0 while disconnected
  link_quality quality = link_quality::disconnected;

  friend bool operator==(const peer_link&, const peer_link&) = default;
};

/// What is known of the connection to each peer; bound 5 s. There is nothing to compute: what is
/// older than the bound is unknown.
class peer_cache {
 public:
  peer_cache();
  /// Records what the transport measured.
  void record(node_id peer, bool connected, std::uint32_t rtt_us, std::uint64_t now_ns);
  /// The last record, or null if there is none younger than the bound. Good until the next call.
  [[nodiscard]] const peer_link* get(node_id peer, std::uint64_t now_ns);
  void invalidate(node_id peer) { cache_.invalidate(peer); }
  [[nodiscard]] const cache_stats& stats() const noexcept { return cache_.stats(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return cache_.capacity(); }

 private:
  versioned_cache<node_id, peer_link> cache_;
};

/// Appends one row for a cache to an answer to `cache stats`.
void append_stats(std::string_view name, const cache_stats& stats, std::size_t capacity,
                  pb::CacheStats& out);

}  // namespace blixard::cache
