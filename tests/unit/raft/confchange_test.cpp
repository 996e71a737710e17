#include "runtime/raft/confchange.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace blixard::raft {
namespace {

// "v1 l2 r3 u4 w5": voter 1, learner 2, remove 3, update 4, witness 5.
std::vector<conf_change::single> singles(const std::string& text) {
  std::vector<conf_change::single> out;
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    const conf_op op = word[0] == 'v'   ? conf_op::voter
                       : word[0] == 'l' ? conf_op::learner
                       : word[0] == 'r' ? conf_op::remove
                       : word[0] == 'w' ? conf_op::witness
                                        : conf_op::update;
    out.push_back({op, node_id{std::stoull(word.substr(1))}});
  }
  return out;
}

std::string list(const char* name, const std::vector<node_id>& ids) {
  if (ids.empty()) return {};
  std::string out = std::string(" ") + name + "=";
  for (const node_id id : ids) out += to_string(id);
  return out;
}

std::string show(const conf_result& r) {
  if (!r) return "error: " + r.error();
  std::string out = list("voters", r->voters) + list("outgoing", r->outgoing) +
                    list("learners", r->learners) + list("next", r->learners_next) +
                    list("witnesses", r->witnesses);
  if (r->auto_leave) out += " auto";
  return out.empty() ? out : out.substr(1);
}

conf_state voters(std::initializer_list<std::uint64_t> ids,
                  std::initializer_list<std::uint64_t> learners = {}) {
  conf_state c;
  for (const auto id : ids) c.voters.emplace_back(id);
  for (const auto id : learners) c.learners.emplace_back(id);
  return c;
}

TEST(simple_change, moves_one_voter_at_a_time) {
  const struct {
    conf_state from;
    std::string changes;
    std::string expected;
  } cases[] = {
      {{}, "v1", "voters=1"},
      {voters({1}), "v2", "voters=12"},
      {voters({1}), "l2", "voters=1 learners=2"},
      {voters({1}, {2}), "v2", "voters=12"},
      {voters({1, 2}), "l2", "voters=1 learners=2"},
      {voters({1, 2}), "r2", "voters=1"},
      {voters({1, 2}), "r9", "voters=12"},
      {voters({1, 2}), "u1", "voters=12"},
      {voters({1}), "v0 r0 l0", "voters=1"},
      {voters({1}), "l2 l3", "voters=1 learners=23"},
      {voters({1}, {2}), "l2", "voters=1 learners=2"},
      {voters({1, 2, 3}), "v4 r4", "voters=123"},
      {voters({1, 2, 3}), "r3 v3", "voters=123"},
      {voters({1}), "v2 v3",
       "error: more than one voter would change without a joint configuration"},
      {voters({1, 2, 3}), "r1 v4",
       "error: more than one voter would change without a joint configuration"},
      {voters({1}), "r1", "error: no voter would be left"},
      {voters({1}), "l1", "error: no voter would be left"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(show(change_simple(c.from, singles(c.changes))), c.expected);
}

TEST(joint_change, keeps_the_old_voters_and_late_learners_aside) {
  const struct {
    conf_state from;
    std::string changes;
    bool auto_leave;
    std::string expected;
    std::string left;
  } cases[] = {
      {voters({1}), "v2 v3", true, "voters=123 outgoing=1 auto", "voters=123"},
      {voters({1, 2, 3}), "r1 v4", false, "voters=234 outgoing=123", "voters=234"},
      {voters({1, 2, 3}), "l3", false, "voters=12 outgoing=123 next=3", "voters=12 learners=3"},
      {voters({1, 2, 3}), "l3 v3", false, "voters=123 outgoing=123", "voters=123"},
      {voters({1, 2, 3}), "l3 r3", false, "voters=12 outgoing=123", "voters=12"},
      {voters({1, 2}, {3}), "v3 r2", true, "voters=13 outgoing=12 auto", "voters=13"},
      {voters({1, 2}, {3}), "r3", true, "voters=12 outgoing=12 auto", "voters=12"},
      {voters({1}), "", true, "voters=1 outgoing=1 auto", "voters=1"},
      {voters({1}), "r1", true, "error: no voter would be left", ""},
      {{}, "v1", true, "error: a configuration without voters cannot be joint", ""},
  };
  for (const auto& c : cases) {
    const auto joint = enter_joint(c.from, singles(c.changes), c.auto_leave);
    EXPECT_EQ(show(joint), c.expected);
    if (!joint) continue;
    EXPECT_EQ(show(leave_joint(*joint)), c.left);
    EXPECT_FALSE(enter_joint(*joint, {}, false));
    EXPECT_FALSE(change_simple(*joint, {}));
  }
  EXPECT_FALSE(leave_joint(voters({1})));
}

TEST(change, chooses_simple_joint_or_leave) {
  const auto three = voters({1, 2, 3});
  using enum conf_transition;
  EXPECT_EQ(show(apply_change(three, {singles("v4"), automatic, {}})), "voters=1234");
  EXPECT_EQ(show(apply_change(three, {singles("v4"), implicit, {}})),
            "voters=1234 outgoing=123 auto");
  EXPECT_EQ(show(apply_change(three, {singles("v4"), explicit_, {}})), "voters=1234 outgoing=123");
  EXPECT_EQ(show(apply_change(three, {singles("v4 l3"), automatic, {}})),
            "voters=124 outgoing=123 next=3 auto");
  EXPECT_FALSE(apply_change(three, {{}, automatic, {}}));
}

TEST(witness, is_a_voter_and_its_id_never_becomes_a_member_with_data) {
  conf_state with = voters({1, 2, 3});
  with.witnesses = {node_id{3}};
  conf_state was = voters({1, 2});
  was.witnesses = {node_id{3}};
  const struct {
    conf_state from;
    std::string changes;
    std::string expected;
  } cases[] = {
      {voters({1, 2}), "w3", "voters=123 witnesses=3"},
      {with, "w3", "voters=123 witnesses=3"},
      {with, "u3", "voters=123 witnesses=3"},
      {with, "r3", "voters=12 witnesses=3"},
      {was, "w3", "voters=123 witnesses=3"},
      {was, "v3", "error: a witness has no data: add it with another id"},
      {was, "l3", "error: a witness has no data: add it with another id"},
      {with, "v3", "error: a witness has no data: add it with another id"},
      {voters({1, 2}), "w2", "error: a member with data cannot become a witness: remove it first"},
      {voters({1}, {2}), "w2",
       "error: a member with data cannot become a witness: remove it first"},
      {voters({1, 2}), "r2 w2", "voters=12 witnesses=2"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(show(change_simple(c.from, singles(c.changes))), c.expected);
  conf_state last = voters({1, 3});
  last.witnesses = {node_id{3}};
  EXPECT_EQ(show(change_simple(last, singles("r1"))), "error: only witnesses would be left");
  const auto joint = enter_joint(voters({1, 2}), singles("r2 w3"), true);
  EXPECT_EQ(show(joint), "voters=13 outgoing=12 witnesses=3 auto");
  EXPECT_EQ(show(leave_joint(*joint)), "voters=13 witnesses=3");
}

TEST(check, finds_lists_that_do_not_fit_together) {
  const auto bad = [](auto spoil) {
    conf_state c = voters({1, 2}, {3});
    spoil(c);
    return !check_conf(c).has_value();
  };
  EXPECT_FALSE(bad([](conf_state&) {}));
  EXPECT_TRUE(bad([](conf_state& c) { std::ranges::reverse(c.voters); }));
  EXPECT_TRUE(bad([](conf_state& c) { c.voters.push_back(node_id{2}); }));
  EXPECT_TRUE(bad([](conf_state& c) { c.learners = {node_id{1}}; }));
  EXPECT_TRUE(bad([](conf_state& c) { c.outgoing = {node_id{3}}; }));
  EXPECT_TRUE(bad([](conf_state& c) { c.learners_next = {node_id{5}}; }));
  EXPECT_TRUE(bad([](conf_state& c) { c.auto_leave = true; }));
  EXPECT_TRUE(bad([](conf_state& c) { c.witnesses = {node_id{3}}; }));
}

}  // namespace
}  // namespace blixard::raft
