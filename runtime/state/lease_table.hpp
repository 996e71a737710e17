// Node leases, the leader's side: who may still be running VMs, and since when provably nobody is.
//
// A VM of a dead node may be started elsewhere only when the dead node can no longer be running it.
// A node runs VMs only while it holds a lease (its guards kill them when the lease ends, see
// runtime/vm/README.md); it asks the leader for an extension again and again.
//
//   node    ask at s ──────────────► lease ends at s + duration (its own boot-time clock)
//   leader        granted at g >= s ───────────► counted until g + duration + margin
//
// Since g >= s, the leader's end is never before the node's, up to a clock drift of
// margin/duration. Three rules close the gaps (Gray & Cheriton 1989 for the idea):
//   1. A grant is given only after a quorum confirmed the leader's term later than the request
//   arrived
//      and after the state machine reached that point: a deposed leader grants nothing.
//   2. A new leader knows of no grants, so it assumes that every node got one the moment before.
//   3. Once a leader proposed to declare a node down, it grants that incarnation nothing more.
//
// Pure: time comes in as nanoseconds of the leader's monotonic clock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "messages/ids.hpp"
#include "runtime/base/planted.hpp"

namespace blixard::state {

/// A node of the replicated state that can hold a lease.
struct leaseholder {
  node_id id;
  std::uint64_t incarnation = 0;
  bool down = false;
};

class lease_table {
 public:
  /// Both in nanoseconds: how long a grant lasts, and how much longer the leader waits.
  lease_table(std::uint64_t duration_ns, std::uint64_t margin_ns) noexcept
      : duration_(duration_ns), margin_(margin_ns) {}

  /// This node became leader: rule 2.
  void lead(std::uint64_t now_ns) {
    const auto all = planted(bug::leases_forgotten) ? duration_ + margin_ : 0;
    leading_since_ = now_ns - std::min(now_ns, all);
    granted_.clear();
    condemned_.clear();
    since_.clear();
  }
  void stop_leading() noexcept { leading_since_.reset(); }
  [[nodiscard]] bool leading() const noexcept { return leading_since_.has_value(); }

  /// The nodes of the replicated state; replaces what was known.
  void set_nodes(std::vector<leaseholder> nodes) { nodes_ = std::move(nodes); }

  /// Whether the replicated state has that node, and has not seen it leave.
  [[nodiscard]] bool knows(node_id node) const noexcept { return find(node) != nullptr; }

  /// Whether `incarnation` of `node` may have its lease extended now; if so, counts the grant from
  /// `now_ns`. Precondition: rule 1 holds.
  [[nodiscard]] bool grant(node_id node, std::uint64_t incarnation, std::uint64_t now_ns) {
    if (!leading_since_) return false;
    const auto* known = find(node);
    if (known == nullptr || known->down || known->incarnation != incarnation) return false;
    if (const auto it = condemned_.find(node); it != condemned_.end()) {
      if (it->second == incarnation && !planted(bug::condemned_gets_lease)) return false;
      condemned_.erase(it);  // another incarnation was registered since
    }
    granted_[node] = now_ns;
    return true;
  }

  /// Nodes whose lease has provably ended and which are not known to be down. From here on they are
  /// condemned (rule 3); a node is named once per incarnation and leadership, until `retry`.
  [[nodiscard]] std::vector<leaseholder> take_expired(std::uint64_t now_ns) {
    std::vector<leaseholder> out;
    if (!leading_since_) return out;
    for (const auto& n : nodes_) {
      // A new incarnation gets as long for its first renewal; the one before had its own grants.
      auto& seen = since_.try_emplace(n.id, life{n.incarnation, *leading_since_}).first->second;
      if (seen.incarnation != n.incarnation) seen = {n.incarnation, now_ns};
      if (n.down || n.incarnation == 0) continue;
      if (now_ns < std::max(counted_until(n.id), seen.since_ns + duration_ + margin_)) continue;
      const auto it = condemned_.find(n.id);
      if (it != condemned_.end() && it->second == n.incarnation) continue;
      condemned_[n.id] = n.incarnation;
      out.push_back(n);
    }
    return out;
  }

  /// The declaration was refused before it reached the log: the node is named again.
  void retry(node_id node, std::uint64_t now_ns) {
    const auto it = condemned_.find(node);
    if (it == condemned_.end()) return;
    condemned_.erase(it);
    granted_.insert_or_assign(node, now_ns - std::min(now_ns, duration_ + margin_));
  }

  /// When the lease of a node ends at the latest, on the leader's clock. Precondition: leading.
  [[nodiscard]] std::uint64_t counted_until(node_id node) const {
    const auto it = granted_.find(node);
    const auto last = it == granted_.end() ? *leading_since_ : it->second;
    return last + duration_ + margin_;
  }

 private:
  [[nodiscard]] const leaseholder* find(node_id node) const noexcept {
    for (const auto& n : nodes_)
      if (n.id == node) return &n;
    return nullptr;
  }

  struct life {
    std::uint64_t incarnation = 0;
    std::uint64_t since_ns = 0;  // when this leader first saw it
  };

  std::uint64_t duration_;
  std::uint64_t margin_;
  std::optional<std::uint64_t> leading_since_;
  std::vector<leaseholder> nodes_;
  std::unordered_map<node_id, std::uint64_t> granted_;    // last grant
  std::unordered_map<node_id, std::uint64_t> condemned_;  // incarnation declared down
  std::unordered_map<node_id, life> since_;
};

}  // namespace blixard::state
