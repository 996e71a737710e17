#include "runtime/raft/log.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "runtime/raft/gate.hpp"

namespace blixard::raft {
namespace {

entry make(std::uint64_t t, std::uint64_t i, entry_kind kind = entry_kind::normal) {
  return {term{t}, log_index{i}, kind, slice::copy_of(std::string_view{"data"})};
}

// Entries from base + 1 on with these terms.
entry_log log_of(std::uint64_t base, std::uint64_t base_term, std::vector<std::uint64_t> terms) {
  entry_log log(log_index{base}, term{base_term});
  for (const auto t : terms) log.append(make(t, log.last().next().value()));
  return log;
}

TEST(log, knows_terms_from_its_base_to_its_end) {
  const entry_log log = log_of(3, 2, {2, 4, 4});
  EXPECT_EQ(log.first(), log_index{4});
  EXPECT_EQ(log.last(), log_index{6});
  EXPECT_FALSE(log.knows_term(log_index{2}));
  EXPECT_EQ(log.term_at(log_index{3}), term{2});
  EXPECT_EQ(log.term_at(log_index{6}), term{4});
  EXPECT_FALSE(log.knows_term(log_index{7}));
  EXPECT_TRUE(log.matches(log_index{5}, term{4}));
  EXPECT_FALSE(log.matches(log_index{5}, term{3}));
  EXPECT_FALSE(log.matches(log_index{7}, term{4}));
}

TEST(log, is_compared_by_term_first_then_by_length) {
  const entry_log log = log_of(0, 0, {1, 1, 3});
  EXPECT_TRUE(log.is_up_to_date(term{3}, log_index{3}));
  EXPECT_TRUE(log.is_up_to_date(term{3}, log_index{4}));
  EXPECT_FALSE(log.is_up_to_date(term{3}, log_index{2}));
  EXPECT_TRUE(log.is_up_to_date(term{4}, log_index{1}));
  EXPECT_FALSE(log.is_up_to_date(term{2}, log_index{9}));
}

TEST(log, finds_the_newest_entry_with_a_term_that_is_low_enough) {
  const entry_log log = log_of(2, 1, {1, 2, 2, 5, 5, 5, 7});  // 3..9
  const struct {
    std::uint64_t index, t, expected;
  } cases[] = {{9, 7, 9},  {9, 6, 8}, {9, 5, 8}, {9, 4, 5}, {9, 3, 5}, {9, 2, 5},
               {9, 1, 3},  {8, 9, 8}, {4, 2, 4}, {4, 1, 3}, {3, 1, 3}, {2, 1, 2},
               {99, 9, 9}, {9, 0, 1}, {2, 0, 1}, {1, 9, 1}};
  for (const auto& c : cases)
    EXPECT_EQ(log.newest_with_term_at_most(log_index{c.index}, term{c.t}), log_index{c.expected})
        << c.index << " " << c.t;
}

TEST(log, agrees_with_a_plain_search_after_random_changes) {
  std::uint64_t x = 12345;
  const auto random = [&x](std::uint64_t n) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    return (x >> 33) % n;
  };
  entry_log log({}, {});
  std::vector<std::optional<entry>> plain(1);  // by index; nothing where it is compacted
  plain[0] = entry{};
  for (int step = 0; step < 5000; ++step) {
    const std::uint64_t what = random(10);
    if (what < 7) {
      const term t{log.last_term().value() + (random(4) == 0 ? 1 : 0)};
      const entry e = make(std::max<std::uint64_t>(t.value(), 1), log.last().value() + 1,
                           random(5) == 0 ? entry_kind::conf : entry_kind::normal);
      log.append(entry(e));
      plain.push_back(e);
    } else if (what < 9 && log.last() > log.base()) {
      const std::uint64_t from =
          log.base().value() + 1 + random(log.last().value() - log.base().value());
      log.truncate(log_index{from});
      plain.resize(from);
    } else if (log.last() > log.base() && random(4) == 0) {
      const std::uint64_t first =
          log.base().value() + 2 + random(log.last().value() - log.base().value());
      log.compact(log_index{first});
      for (std::size_t i = 0; i + 1 < first; ++i) plain[i].reset();
    }
    ASSERT_EQ(log.last().value() + 1, plain.size());
    const std::uint64_t at = log.base().value() + random(plain.size() - log.base().value());
    const term limit{random(log.last_term().value() + 2)};
    ASSERT_EQ(log.term_at(log_index{at}), plain[at]->term);
    std::uint64_t expected = at;
    while (expected > log.base().value() && plain[expected]->term > limit) --expected;
    const auto found = log.newest_with_term_at_most(log_index{at}, limit);
    if (plain[expected]->term <= limit)
      ASSERT_EQ(found, log_index{expected});
    else
      ASSERT_TRUE(found < log.base() || found == log_index{0});
    std::size_t confs = 0;
    for (std::uint64_t i = at + 1; i < plain.size(); ++i)
      confs += plain[i]->kind == entry_kind::conf ? 1 : 0;
    ASSERT_EQ(log.confs(log_index{at}, log.last()).size(), confs);
  }
}

TEST(log, copies_within_a_limit_of_bytes_but_at_least_one) {
  const entry_log log = log_of(0, 0, {1, 1, 1});
  const auto copied = [&](std::uint64_t limit) {
    std::vector<entry> out;
    log.copy(log_index{1}, log_index{3}, limit, out);
    return out.size();
  };
  EXPECT_EQ(copied(0), 3u);
  EXPECT_EQ(copied(1), 1u);
  EXPECT_EQ(copied(8), 2u);
  EXPECT_EQ(copied(11), 2u);
  EXPECT_EQ(copied(12), 3u);
}

TEST(log, shares_the_payload_of_what_it_copies) {
  const entry_log log = log_of(0, 0, {1});
  std::vector<entry> out;
  log.copy(log_index{1}, log_index{1}, 0, out);
  EXPECT_EQ(out[0].data.data(), log.at(log_index{1}).data.data());
}

// ---------------------------------------------------------------- the persist gate

TEST(gate, what_is_durable_waits_for_nothing_and_what_is_new_for_the_next_write) {
  persist_gate g(log_index{5});
  EXPECT_EQ(g.for_log(log_index{5}), persist_seq{});
  EXPECT_EQ(g.for_log(log_index{6}), persist_seq{1});
  EXPECT_EQ(g.for_vote(), persist_seq{});
  g.vote_changed();
  EXPECT_EQ(g.for_vote(), persist_seq{1});
}

TEST(gate, every_write_covers_its_part_until_it_is_acknowledged) {
  persist_gate g(log_index{0});
  EXPECT_EQ(g.take(log_index{3}), persist_seq{1});
  EXPECT_EQ(g.take(log_index{7}), persist_seq{2});
  EXPECT_EQ(g.for_log(log_index{3}), persist_seq{1});
  EXPECT_EQ(g.for_log(log_index{4}), persist_seq{2});
  EXPECT_EQ(g.for_log(log_index{8}), persist_seq{3});
  EXPECT_TRUE(g.persisted(persist_seq{1}));
  EXPECT_EQ(g.durable(), log_index{3});
  EXPECT_FALSE(g.persisted(persist_seq{1}));
  EXPECT_TRUE(g.persisted(persist_seq{2}));
  EXPECT_EQ(g.durable(), log_index{7});
}

TEST(gate, overwritten_entries_do_not_become_durable_by_their_old_write) {
  persist_gate g(log_index{0});
  g.take(log_index{5});
  g.log_changed(log_index{3});
  EXPECT_EQ(g.untaken(), log_index{3});
  EXPECT_EQ(g.take(log_index{5}), persist_seq{2});
  g.persisted(persist_seq{1});
  EXPECT_EQ(g.durable(), log_index{2});
  EXPECT_EQ(g.for_log(log_index{4}), persist_seq{2});
  g.persisted(persist_seq{2});
  EXPECT_EQ(g.durable(), log_index{5});
}

TEST(gate, durable_entries_that_are_overwritten_are_not_durable_any_more) {
  persist_gate g(log_index{9});
  g.log_changed(log_index{4});
  EXPECT_EQ(g.durable(), log_index{3});
  EXPECT_EQ(g.for_log(log_index{4}), persist_seq{1});
}

TEST(gate, a_snapshot_replaces_all_claims) {
  persist_gate g(log_index{4});
  g.take(log_index{6});
  g.snapshot_installed(log_index{20});
  EXPECT_EQ(g.for_log(log_index{1}), persist_seq{2});
  EXPECT_TRUE(g.must_sync(log_index{20}));
  EXPECT_EQ(g.take(log_index{20}), persist_seq{2});
  g.persisted(persist_seq{1});
  EXPECT_EQ(g.for_log(log_index{20}), persist_seq{2});
  g.persisted(persist_seq{2});
  EXPECT_EQ(g.durable(), log_index{20});
}

TEST(gate, a_write_without_log_claims_nothing_about_it) {
  persist_gate g(log_index{0});
  g.take(log_index{5});
  g.vote_changed();
  g.take(log_index{5});
  g.log_changed(log_index{3});
  g.take(log_index{3});
  g.persisted(persist_seq{2});
  EXPECT_EQ(g.durable(), log_index{2});
}

}  // namespace
}  // namespace blixard::raft
