#include "runtime/raft/quorum.hpp"

#include <gtest/gtest.h>

#include <map>
#include <optional>

namespace blixard::raft {
namespace {

using voters = std::vector<std::uint64_t>;

conf_state conf_of(const voters& in, const voters& out) {
  conf_state c;
  for (const auto v : in) c.voters.emplace_back(v);
  for (const auto v : out) c.outgoing.emplace_back(v);
  return c;
}

struct index_case {
  voters in;
  voters out;
  std::map<std::uint64_t, std::uint64_t> acked;
  std::uint64_t expected;
};

TEST(quorum, the_index_is_what_a_majority_of_each_half_reached) {
  const index_case cases[] = {
      {{}, {}, {}, unbounded},
      {{1}, {}, {}, 0},
      {{1}, {}, {{1, 12}}, 12},
      {{1, 2}, {}, {{1, 12}}, 0},
      {{1, 2}, {}, {{1, 12}, {2, 5}}, 5},
      {{1, 2, 3}, {}, {{1, 12}}, 0},
      {{1, 2, 3}, {}, {{1, 12}, {2, 5}}, 5},
      {{1, 2, 3}, {}, {{1, 12}, {2, 5}, {3, 6}}, 6},
      {{1, 2, 3}, {}, {{1, 5}, {2, 5}, {3, 6}}, 5},
      {{1, 2, 3, 4}, {}, {{1, 4}, {2, 3}, {3, 2}, {4, 1}}, 2},
      {{1, 2, 3, 4, 5}, {}, {{1, 101}, {2, 104}, {3, 103}, {4, 103}, {5, 1}}, 103},
      {{1, 2, 3}, {1, 2, 3}, {{1, 12}, {2, 5}, {3, 6}}, 6},
      {{1, 2, 3}, {4}, {{1, 9}, {2, 9}, {3, 9}}, 0},
      {{1, 2, 3}, {4}, {{1, 9}, {2, 9}, {3, 9}, {4, 7}}, 7},
      {{1, 2, 3}, {4, 5, 6}, {{1, 9}, {2, 8}, {4, 2}, {5, 3}}, 2},
      {{}, {1, 2, 3}, {{1, 9}, {2, 8}}, 8},
      {{1, 2, 3}, {}, {{7, 99}}, 0},
  };
  for (const auto& c : cases) {
    const auto index = quorum_index(conf_of(c.in, c.out), [&](node_id id) {
      const auto at = c.acked.find(id.value());
      return at == c.acked.end() ? 0 : at->second;
    });
    EXPECT_EQ(index, c.expected) << &c - cases;
  }
}

TEST(quorum, more_voters_than_the_small_buffer_holds) {
  conf_state c;
  for (std::uint64_t v = 1; v <= 41; ++v) c.voters.emplace_back(v);
  EXPECT_EQ(quorum_index(c, [](node_id id) { return id.value() * 10; }), 210u);
}

struct vote_case {
  voters in;
  voters out;
  std::map<std::uint64_t, bool> votes;
  vote_result expected;
};

TEST(quorum, a_vote_is_won_in_both_halves_or_lost_in_one) {
  using enum vote_result;
  const vote_case cases[] = {
      {{}, {}, {}, won},
      {{1}, {}, {}, pending},
      {{1}, {}, {{1, false}}, lost},
      {{1}, {}, {{1, true}}, won},
      {{1, 2}, {}, {{1, true}}, pending},
      {{1, 2}, {}, {{1, false}}, lost},
      {{1, 2}, {}, {{1, true}, {2, true}}, won},
      {{1, 2, 3}, {}, {{1, true}, {2, false}}, pending},
      {{1, 2, 3}, {}, {{1, true}, {2, true}}, won},
      {{1, 2, 3}, {}, {{1, false}, {2, false}}, lost},
      {{1, 2, 3}, {1, 2, 3}, {{1, true}, {2, true}}, won},
      {{1, 2, 3}, {4}, {{1, true}, {2, true}}, pending},
      {{1, 2, 3}, {4}, {{1, true}, {2, true}, {4, true}}, won},
      {{1, 2, 3}, {4}, {{1, true}, {2, true}, {4, false}}, lost},
      {{1, 2, 3}, {4, 5}, {{1, false}, {2, false}, {4, true}}, lost},
      {{1, 2, 3}, {}, {{9, true}, {8, true}}, pending},
  };
  for (const auto& c : cases) {
    const auto result = tally(conf_of(c.in, c.out), [&](node_id id) {
      const auto at = c.votes.find(id.value());
      if (at == c.votes.end()) return pending;
      return at->second ? won : lost;
    });
    EXPECT_EQ(result, c.expected) << &c - cases;
  }
}

}  // namespace
}  // namespace blixard::raft
