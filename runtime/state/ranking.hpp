// A decision that moves on with the inventory: what `plan` would say, without asking every node.
//
// A burst of creates of one shape changes one node each. The trees of two inventories share what
// has not changed (cow_tree.hpp), so the few nodes that did are found without a log of changes, and
// only those are scored anew, as they were and as they are now. Of all candidates the best few
// hundred are kept in order, and a bound that the others are not above:
//
//     worst kept ◄──────────── in order ───────────► best
//   ▲
//   └ bound: no candidate that is not kept is better than that
//
// A node that falls below the bound is forgotten, one that rises above it is kept, and how many fit
// is counted. So the first ones are exactly those of a full scan, until too few are left in order:
// then somebody scans again, once in some hundred creates. Round robin keeps those whose turn comes
// next: a turn moves the bound, not the scores.
//
// Does not move on: where reasons are wanted of nodes that do not fit, or nothing fits (what would
// help may depend on any node), or more has changed than a scan is worth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "messages/ids.hpp"
#include "runtime/state/inventory.hpp"
#include "runtime/state/placement.hpp"
#include "runtime/state/scoring.hpp"

namespace blixard::pb {
class Decision;
class VmSpec;
}  // namespace blixard::pb

namespace blixard::state {

/// Candidates kept in order, of 24 bytes. Of as many nodes none is ever forgotten.
inline constexpr std::size_t ranked_max = 512;
/// Nodes scored anew and items compared to find them in one step: some 20 us, a tenth of a scan of
/// the nodes of a large cluster.
inline constexpr std::size_t rescored_max = 128;
inline constexpr std::size_t compared_max = 4096;

class ranking {
 public:
  /// Asks every node: `decision` is that of `plan`.
  ranking(std::shared_ptr<const inventory> in, const pb::VmSpec& spec, const plan_options& options);
  ~ranking();
  ranking(const ranking&) = delete;
  ranking& operator=(const ranking&) = delete;

  /// What `plan` says of the inventory that it has moved to last. Changed by `advance`.
  [[nodiscard]] const pb::Decision& decision() const noexcept { return *decision_; }

  /// Moves on to another inventory of the same cluster, older or newer. False: it is to be made
  /// anew, and `decision` means nothing any more.
  [[nodiscard]] bool advance(std::shared_ptr<const inventory> to);

 private:
  struct changed_node {
    const node_usage* before;  // null: not there
    const node_usage* after;

    friend bool operator==(const changed_node&, const changed_node&) = default;
  };

  /// Whether `a` is to stand before `b`.
  [[nodiscard]] bool precedes(const scored& a, const scored& b) const noexcept;
  /// How long until the node's turn comes, in round robin.
  [[nodiscard]] std::uint64_t turn_of(node_id id) const noexcept;
  /// Whether all that fit are kept, so that the bound means nothing.
  [[nodiscard]] bool has_all() const noexcept { return ranked_.size() == fitting_; }
  void keep_best(std::vector<scored>& all);
  [[nodiscard]] bool find_changes(const inventory& to, std::string_view group);
  [[nodiscard]] bool find_group_changes(const inventory& to, std::string_view group);
  [[nodiscard]] bool turn_to(node_id last);
  void take_out(const scored& was);
  void put_in(const scored& is);
  [[nodiscard]] bool write();
  [[nodiscard]] bool write_by_turn(std::size_t listed);

  std::shared_ptr<const inventory> in_;  // null: it does not move on
  std::unique_ptr<const pb::VmSpec> spec_;
  std::vector<std::uint64_t> avoid_;  // what options_.avoid refers to
  plan_options options_;
  bool by_turn_;
  node_id last_;  // whose turn it was
  std::unique_ptr<pb::Decision> decision_;
  std::size_t fitting_ = 0;
  std::vector<scored> ranked_;         // the best one last, so that taking it away moves no other
  scored bound_;                       // means something unless has_all()
  std::vector<changed_node> changed_;  // of one step; kept for their memory
  std::vector<scored> first_;
};

}  // namespace blixard::state
