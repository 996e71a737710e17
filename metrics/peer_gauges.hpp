// The handles of the one label whose values are not known at start, `peer`, as one thread keeps
// them: at most `peers_max`, found without a string, a lock or a question to the registry.
//
//   round n:    of(2) of(3) of(5)        who is set in a round is kept
//   end_round:  4 was not set: its series ends, its place is free
//
// Whoever sets the gauges walks the members in one order, so the search begins behind what was
// found last and mostly ends there. At the bound the peer that was set longest ago gives way. One
// thread sets them, the raft actor's.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "metrics/registry.hpp"

namespace blixard::metrics {

/// The metrics with one series per peer, in the order of peer_place().
inline constexpr auto peer_metrics = [] {
  std::array<metric, peer_metric_count> out{};
  for (std::size_t m = 0; m < metric_count; ++m)
    if (catalogue[m].label == label::peer) out[peer_place(static_cast<metric>(m))] = metric(m);
  return out;
}();

class peer_gauges {
 public:
  /// The registry must outlive this; no other owner of peers' series in it.
  explicit peer_gauges(registry& home) : home_(&home) { known_.reserve(peers_max); }

  /// A gauge of the peer; resolved if the peer is not known here. Good until the round after next.
  [[nodiscard]] gauge of(node_id peer, metric which = metric::raft_follower_lag) {
    return entry_of(peer).handles[peer_place(which)];
  }
  /// Ends the series of the peers that were not asked for since the last call.
  void end_round() {
    for (const auto& e : known_)
      if (e.round != round_) home_->remove_peer(e.peer);
    std::erase_if(known_, [this](const entry& e) { return e.round != round_; });
    ++round_;
  }
  /// Ends all series.
  void clear() {
    home_->clear_peers();
    known_.clear();
  }
  [[nodiscard]] std::size_t size() const noexcept { return known_.size(); }

 private:
  struct entry {
    node_id peer;
    std::uint64_t round;  // in which it was asked for last
    std::array<gauge, peer_metric_count> handles;
  };

  const entry& entry_of(node_id peer) {
    for (std::size_t looked = 0; looked < known_.size(); ++looked) {
      auto& e = known_[next_ < known_.size() ? next_ : 0];
      if (e.peer == peer) {
        e.round = round_;
        return e;
      }
      next_ = next_ < known_.size() ? next_ + 1 : 1;
    }
    return resolve(peer);
  }
  const entry& resolve(node_id peer) {
    if (known_.size() == peers_max) {
      const auto oldest = std::ranges::min_element(known_, {}, &entry::round);
      home_->remove_peer(oldest->peer);
      known_.erase(oldest);
    }
    known_.push_back({peer, round_, all_of(peer)});
    return known_.back();
  }
  std::array<gauge, peer_metric_count> all_of(node_id peer) {
    return [&]<std::size_t... Metric>(std::index_sequence<Metric...>) {
      return std::array{home_->add_peer(peer, peer_metrics[Metric])...};
    }
    (std::make_index_sequence<peer_metric_count>{});
  }

  registry* home_;
  std::vector<entry> known_;
  std::size_t next_ = 0;  // where the next search begins
  std::uint64_t round_ = 1;
};

}  // namespace blixard::metrics
