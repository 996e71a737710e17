// Claims about the versioned cache: versions, age, bound, single flight, counters.
#include "runtime/cache/versioned_cache.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace blixard::cache {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using cache_type = versioned_cache<std::string, int>;
using miss = miss_compute;
using join = joined;

constexpr log_index v1{1};
constexpr log_index v2{2};

cache_limits small() {
  return {.entries_max = 3, .waiters_max = 4, .in_flight_max = 2, .ttl_ns = 100};
}

bool hit(const cache_type::result& r, int value) {
  return std::holds_alternative<int>(r) && std::get<int>(r) == value;
}
ticket of(const cache_type::result& r) { return std::get<miss>(r).ticket; }

// ---------------------------------------------------------------- versions and age

TEST(versioned_cache, serves_an_entry_for_its_own_version_only) {
  cache_type c(small());
  c.put("k", v1, 11, 0);
  EXPECT_EQ(*c.get("k", v1, 0), 11);
  EXPECT_EQ(c.get("k", v2, 0), nullptr);
  EXPECT_EQ(c.size(), 0) << "an outdated entry is dropped when it is met";
  EXPECT_EQ(c.stats().invalidations.get(), 1);
}

TEST(versioned_cache, an_older_request_neither_gets_nor_disturbs_a_newer_entry) {
  cache_type c(small());
  c.put("k", v2, 22, 0);
  EXPECT_EQ(c.get("k", v1, 0), nullptr);
  c.put("k", v1, 11, 0);
  EXPECT_EQ(*c.get("k", v2, 0), 22);
}

TEST(versioned_cache, serves_nothing_at_or_beyond_its_time_to_live) {
  cache_type c(small());
  c.put("k", v1, 11, 1000);
  EXPECT_NE(c.get("k", v1, 1099), nullptr);
  EXPECT_EQ(c.get("k", v1, 1100), nullptr);
  EXPECT_EQ(c.size(), 0);
}

TEST(versioned_cache, a_hit_does_not_prolong_the_time_to_live_a_new_value_does) {
  cache_type c(small());
  c.put("k", v1, 11, 0);
  EXPECT_NE(c.get("k", v1, 99), nullptr);
  EXPECT_EQ(c.get("k", v1, 100), nullptr);
  c.put("k", v1, 12, 100);
  c.put("k", v1, 13, 150);
  EXPECT_EQ(*c.get("k", v1, 249), 13);
}

TEST(versioned_cache, without_a_time_to_live_only_the_version_counts) {
  cache_type c({.entries_max = 1});
  c.put("k", v1, 11, 0);
  EXPECT_NE(c.get("k", v1, UINT64_MAX), nullptr);
}

TEST(versioned_cache, an_entry_that_is_brought_to_the_version_asked_for_is_a_hit) {
  cache_type c(small());
  c.put("k", v1, 11, 0);
  const auto add_one = [](int& value) { return ++value > 0; };
  EXPECT_TRUE(hit(c.lookup("k", v2, 50, 1, add_one), 12));
  EXPECT_TRUE(hit(c.lookup("k", v2, 50, 1, add_one), 12)) << "it is there already";
  EXPECT_EQ(c.stats().hits.get(), 2);
  EXPECT_EQ(c.stats().renewals.get(), 1);
  EXPECT_EQ(c.stats().misses.get(), 0);
  EXPECT_EQ(c.get("k", v1, 50, add_one), nullptr) << "never back: it serves others yet";
  EXPECT_EQ(c.get("k", log_index{3}, 100, add_one), nullptr) << "as old as when it was computed";
  EXPECT_EQ(c.size(), 0);
}

TEST(versioned_cache, an_entry_that_cannot_be_brought_to_the_version_asked_for_is_dropped) {
  cache_type c(small());
  c.put("k", v1, 11, 0);
  EXPECT_NE(of(c.lookup("k", v2, 0, 1, [](int&) { return false; })), ticket{});
  EXPECT_EQ(c.size(), 0);
  EXPECT_EQ(c.stats().hits.get() + c.stats().renewals.get(), 0);
  EXPECT_EQ(c.stats().invalidations.get(), 1);
}

// ---------------------------------------------------------------- bound

TEST(versioned_cache, what_is_too_old_goes_as_others_come) {
  cache_type c(small());
  c.put("a", v1, 1, 0);
  c.put("b", v1, 2, 0);
  c.put("c", v1, 3, 50);
  c.put("d", v1, 4, 100);
  EXPECT_EQ(c.size(), 2);
  EXPECT_NE(c.get("c", v1, 100), nullptr);
  EXPECT_EQ(c.stats().evictions.get(), 0) << "there was room";
  EXPECT_EQ(c.stats().invalidations.get(), 2);
}

TEST(versioned_cache, evicts_what_was_not_used_for_longest) {
  cache_type c(small());
  c.put("a", v1, 1, 0);
  c.put("b", v1, 2, 0);
  c.put("c", v1, 3, 0);
  EXPECT_NE(c.get("a", v1, 0), nullptr);
  c.put("d", v1, 4, 0);
  EXPECT_EQ(c.get("b", v1, 0), nullptr);
  EXPECT_NE(c.get("a", v1, 0), nullptr);
  EXPECT_EQ(c.size(), 3);
  EXPECT_EQ(c.stats().evictions.get(), 1);
  EXPECT_EQ(c.stats().size.get(), 3);
}

TEST(versioned_cache, invalidate_drops_one) {
  cache_type c(small());
  c.put("a", v1, 1, 0);
  c.put("b", v1, 2, 0);
  c.invalidate("a");
  c.invalidate("unknown");
  EXPECT_EQ(c.get("a", v1, 0), nullptr);
  EXPECT_NE(c.get("b", v1, 0), nullptr);
  EXPECT_EQ(c.stats().invalidations.get(), 1);
}

// ---------------------------------------------------------------- single flight

TEST(single_flight, one_computes_and_the_others_wait) {
  cache_type c(small());
  const auto first = c.lookup("k", v1, 0, 1);
  const ticket t = of(first);
  EXPECT_TRUE(t);
  for (waiter_id w : {2, 3}) {
    const auto r = c.lookup("k", v1, 0, w);
    ASSERT_TRUE(std::holds_alternative<join>(r));
    EXPECT_EQ(std::get<join>(r).ticket, t);
  }
  EXPECT_EQ(c.stats().in_flight.get(), 1);
  EXPECT_THAT(c.complete(t, 42, 0), ElementsAre(2, 3));
  EXPECT_TRUE(hit(c.lookup("k", v1, 0, 4), 42));
  EXPECT_EQ(c.stats().misses.get(), 1);
  EXPECT_EQ(c.stats().waited.get(), 2);
  EXPECT_EQ(c.stats().hits.get(), 1);
  EXPECT_EQ(c.stats().in_flight.get(), 0);
}

TEST(single_flight, a_thousand_concurrent_misses_compute_once) {
  cache_type c({.entries_max = 8, .waiters_max = 1000, .in_flight_max = 8, .ttl_ns = 100});
  int computed = 0;
  ticket t;
  for (waiter_id w = 0; w < 1000; ++w) {
    const auto r = c.lookup("k", v1, 0, w);
    if (!std::holds_alternative<miss>(r)) continue;
    ++computed;
    t = of(r);
  }
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(c.complete(t, 1, 0).size(), 999);
}

TEST(single_flight, another_version_is_a_flight_of_its_own) {
  cache_type c(small());
  const ticket old = of(c.lookup("k", v1, 0, 1));
  const ticket newer = of(c.lookup("k", v2, 0, 2));
  EXPECT_TRUE(newer) << "the older one does not stand in its way";
  EXPECT_NE(newer, old);
  EXPECT_EQ(std::get<join>(c.lookup("k", v1, 0, 3)).ticket, old);
  EXPECT_EQ(std::get<join>(c.lookup("k", v2, 0, 4)).ticket, newer);
  EXPECT_THAT(c.complete(newer, 22, 0), ElementsAre(4));
  EXPECT_THAT(c.complete(old, 11, 0), ElementsAre(3));
  EXPECT_EQ(*c.get("k", v2, 0), 22) << "a late result of an old version replaces nothing";
}

TEST(single_flight, waiters_and_flights_are_bounded) {
  cache_type c(small());
  const ticket t = of(c.lookup("k", v1, 0, 0));
  for (waiter_id w = 1; w <= 4; ++w) (void)c.lookup("k", v1, 0, w);
  const auto fifth = c.lookup("k", v1, 0, 5);
  ASSERT_TRUE(std::holds_alternative<miss>(fifth));
  EXPECT_FALSE(of(fifth));
  EXPECT_TRUE(of(c.lookup("l", v1, 0, 6)));
  EXPECT_FALSE(of(c.lookup("m", v1, 0, 7))) << "two flights are the limit here";
  EXPECT_EQ(c.complete(t, 1, 0).size(), 4);
}

TEST(single_flight, a_key_invalidated_under_way_is_answered_and_not_kept) {
  cache_type c(small());
  const ticket t = of(c.lookup("k", v1, 0, 1));
  (void)c.lookup("k", v1, 0, 2);
  c.invalidate("k");
  EXPECT_THAT(c.complete(t, 1, 0), ElementsAre(2));
  EXPECT_EQ(c.get("k", v1, 0), nullptr);
}

TEST(single_flight, nobody_joins_a_computation_that_was_invalidated) {
  cache_type c(small());
  const ticket first = of(c.lookup("k", v1, 0, 1));
  c.invalidate("k");
  const ticket second = of(c.lookup("k", v1, 0, 2));
  EXPECT_TRUE(second) << "the next one starts a flight of its own";
  EXPECT_THAT(c.complete(first, 1, 0), IsEmpty());
  EXPECT_EQ(c.get("k", v1, 0), nullptr);
  (void)c.complete(second, 2, 0);
  EXPECT_EQ(*c.get("k", v1, 0), 2);
}

TEST(single_flight, an_unknown_ticket_does_nothing) {
  cache_type c(small());
  EXPECT_THAT(c.complete(ticket{99}, 1, 0), IsEmpty());
  EXPECT_THAT(c.complete(ticket{}, 1, 0), IsEmpty());
  EXPECT_EQ(c.size(), 0);
}

// ---------------------------------------------------------------- property

TEST(versioned_cache, never_serves_another_version_or_an_old_value_whatever_happens) {
  // The value says what it was computed for: key, version and when.
  struct made {
    int key;
    log_index version;
    std::uint64_t at;
  };
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    versioned_cache<int, made> c(
        {.entries_max = 5, .waiters_max = 3, .in_flight_max = 3, .ttl_ns = 50});
    struct under_way {
      ticket t;
      made value;
    };
    std::vector<under_way> flights;
    std::uint64_t now = 0;
    log_index version{1};
    int hits = 0;
    for (int i = 0; i < 5000; ++i) {
      now += random() % 5;
      if (random() % 20 == 0) version = version.next();
      const int key = static_cast<int>(random() % 8);
      const log_index asked = random() % 4 == 0 ? version.prev() : version;
      const auto r = c.lookup(key, asked, now, random());
      if (const auto* v = std::get_if<made>(&r)) {
        ++hits;
        ASSERT_EQ(v->key, key);
        ASSERT_EQ(v->version, asked);
        ASSERT_LT(now - v->at, 50);
      } else if (const auto* m = std::get_if<miss_compute>(&r)) {
        const made value{key, asked, now};
        if (m->ticket)
          flights.push_back({m->ticket, value});
        else
          c.put(key, asked, value, now);
      }
      if (!flights.empty() && random() % 2 == 0) {
        const auto f = flights.back();
        flights.pop_back();
        // What was computed earlier counts from when it is stored; store it as of then.
        c.complete(f.t, f.value, f.value.at);
      }
      if (random() % 50 == 0) c.invalidate(key);
      ASSERT_LE(c.size(), 5);
      ASSERT_EQ(c.stats().size.get(), c.size());
    }
    EXPECT_GT(hits, 100) << "seed " << seed;
  }
}

}  // namespace
}  // namespace blixard::cache
