// Majorities, also of joint configurations (thesis section 4.3: both halves must agree).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "messages/entry.hpp"
#include "messages/ids.hpp"
#include "runtime/base/planted.hpp"

namespace blixard::raft {

enum class vote_result : std::uint8_t { pending, won, lost };

/// The quorum_index() of nobody: an empty half of a configuration never holds the other one back.
inline constexpr std::uint64_t unbounded = std::numeric_limits<std::uint64_t>::max();

/// The largest number that a majority of `voters` has reached, where `reached(id)` is how far one
/// got; `unbounded` for no voters.
template <class Reached>
[[nodiscard]] std::uint64_t quorum_index(std::span<const node_id> voters, const Reached& reached) {
  const std::size_t n = voters.size();
  if (n == 0) return unbounded;
  // Ascending, a majority stands at or behind position (n - 1) / 2.
  const std::size_t middle = (n - 1) / 2;
  std::array<std::uint64_t, 16> few;
  if (n > few.size()) {
    std::vector<std::uint64_t> many(n);
    std::ranges::transform(voters, many.begin(), reached);
    std::ranges::nth_element(many, many.begin() + static_cast<std::ptrdiff_t>(middle));
    return many[middle];
  }
  for (std::size_t sorted = 0; sorted < n; ++sorted) {
    const std::uint64_t value = reached(voters[sorted]);
    std::size_t at = sorted;
    for (; at > 0 && few[at - 1] > value; --at) few[at] = few[at - 1];
    few[at] = value;
  }
  return few[middle];
}

/// quorum_index() of both halves of a configuration.
template <class Reached>
[[nodiscard]] std::uint64_t quorum_index(const conf_state& conf, const Reached& reached) {
  const std::uint64_t in = quorum_index(std::span{conf.voters}, reached);
  if (planted(bug::commit_by_one_side)) return in;
  return std::min(in, quorum_index(std::span{conf.outgoing}, reached));
}

/// The largest number that some voter with data has reached in each half of a configuration; what
/// only witnesses have reached is lost with the leader. `unbounded` for an empty half.
template <class Reached>
[[nodiscard]] std::uint64_t data_index(const conf_state& conf, const Reached& reached) {
  const auto best_of = [&](const std::vector<node_id>& voters) {
    std::uint64_t best = voters.empty() ? unbounded : 0;
    for (const node_id id : voters)
      if (!conf.is_witness(id)) best = std::max(best, reached(id));
    return best;
  };
  return std::min(best_of(conf.voters), best_of(conf.outgoing));
}

/// The outcome of a vote, where `vote(id)` is vote_result::won for yes, lost for no and pending for
/// not heard of. Won for no voters.
template <class Vote>
[[nodiscard]] vote_result tally(std::span<const node_id> voters, const Vote& vote) {
  if (voters.empty()) return vote_result::won;
  std::size_t yes = 0;
  std::size_t missing = 0;
  for (const node_id id : voters) {
    const vote_result v = vote(id);
    yes += v == vote_result::won ? 1 : 0;
    missing += v == vote_result::pending ? 1 : 0;
  }
  const std::size_t majority = voters.size() / 2 + 1;
  if (yes >= majority) return vote_result::won;
  return yes + missing >= majority ? vote_result::pending : vote_result::lost;
}

template <class Vote>
[[nodiscard]] vote_result tally(const conf_state& conf, const Vote& vote) {
  const vote_result in = tally(std::span{conf.voters}, vote);
  if (planted(bug::vote_by_one_side)) return in;
  const vote_result out = tally(std::span{conf.outgoing}, vote);
  if (in == vote_result::lost || out == vote_result::lost) return vote_result::lost;
  return in == out ? in : vote_result::pending;
}

}  // namespace blixard::raft
