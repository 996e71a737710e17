// Scores of the nodes that fit a request, and their order. Internal to placement and ranking, which
// are to agree to the last bit: integers only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "messages/ids.hpp"
#include "runtime/state/inventory.hpp"

namespace blixard::pb {
class Decision;
}  // namespace blixard::pb

namespace blixard::state {

struct request;

/// A node that fits. Scores are counted in millionths. No two nodes have the same tie.
struct scored {
  node_id node;
  std::int64_t score = 0;
  std::uint64_t tie = 0;
};

[[nodiscard]] inline bool is_better(const scored& a, const scored& b) noexcept {
  return a.score != b.score ? a.score > b.score : a.tie < b.tie;
}

/// part / whole in millionths; whole > 0.
[[nodiscard]] std::int64_t share(std::uint64_t part, std::uint64_t whole) noexcept;

/// Nothing if the node does not fit. Round robin scores by turn, once all candidates are known:
/// here it is 0 or what pushes the node behind the others, which is below 0.
[[nodiscard]] std::optional<scored> score(const request& r, const node_usage& n);
/// Of a node that fits.
[[nodiscard]] scored score_fitting(const request& r, const node_usage& n) noexcept;

/// The full scan: all that fit, in order of id. Writes down why the others do not, of at most that
/// many, and if there are no candidates what would help with the least effort.
[[nodiscard]] std::vector<scored> score_all(const request& r, std::size_t rejected_max,
                                            pb::Decision& out);

/// Gives candidates, which are in order of id, their turn: the first after `last` scores highest.
void score_by_turn(std::vector<scored>& candidates, node_id last);

/// Sorts the first `listed` of them, one at least, and leaves the rest in any order. No two compare
/// equal, so the result is that of sorting all.
void put_best_first(std::vector<scored>& candidates, std::size_t listed);

/// Makes the first of them the choice, and lists at most that many. They are best first that far.
void choose(std::span<const scored> best, std::size_t listed_max, pb::Decision& out);

}  // namespace blixard::state
