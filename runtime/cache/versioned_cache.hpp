// A bounded cache that cannot serve a stale answer.
//
// Every entry belongs to one version of what it was computed from (a log index). A lookup names the
// version that it needs: an entry of another one is a miss, whatever its age, and is dropped. The
// time to live is only an upper bound on top. Bounded by number, least recently used goes first.
//
// An owner that can bring a value to a newer version for less than it takes to compute it says how
// (`renew`): then an entry that is behind is a hit, too. It grows old all the same, from the day it
// was computed.
//
// Single flight: the first miss gets a ticket and computes; later ones for the same key and version
// join it and are told when it is done. Nothing blocks here: the owner keeps the waiters' ids and
// answers them itself. When too many wait, the next one computes for itself, and its result is as
// good.
//
// One thread owns a cache; the counters may be read by any (relaxed atomics: each is exact, they
// are not one snapshot). Times are nanoseconds of any one monotonic clock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "messages/check.hpp"
#include "messages/ids.hpp"

namespace blixard::cache {

/// A number with one writer (the cache's owner) and any number of readers. Relaxed: it orders
/// nothing.
class stat {
 public:
  void add(std::uint64_t n = 1) noexcept { set(get() + n); }
  void sub(std::uint64_t n = 1) noexcept { set(get() - n); }
  void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// What a cache did. Monotonic except in_flight and size.
struct cache_stats {
  stat hits;
  stat renewals;       // of the hits: those whose value was brought to a newer version first
  stat misses;         // lookups that had to be computed, by whoever asked
  stat evictions;      // pushed out by the bound
  stat invalidations;  // dropped: another version was asked for, too old, or on request
  stat in_flight;      // computations that are under way
  stat waited;         // lookups that joined one
  stat size;           // entries
};

/// Who waits for a computation; made up by the owner.
using waiter_id = std::uint64_t;
/// Names one computation under way; never 0, never reused.
using ticket = strong_id<struct ticket_tag>;

/// The caller computes, then calls `complete` with the ticket. Ticket 0: this one is computed
/// outside the flights (too many of them, or too many waiters); `put` its result.
struct miss_compute {
  cache::ticket ticket;
};
/// Somebody computes it: the waiter comes out of `complete`.
struct joined {
  cache::ticket ticket;
};

struct cache_limits {
  std::size_t entries_max = 1;
  std::size_t waiters_max = 1;    // per computation
  std::size_t in_flight_max = 1;  // beyond it a miss is computed without a flight
  std::uint64_t ttl_ns = 0;       // 0: no bound besides the version
};

template <class Key, class Value, class Hash = std::hash<Key>>
class versioned_cache {
 public:
  using result = std::variant<Value, miss_compute, joined>;

  explicit versioned_cache(cache_limits limits) : limits_(limits) {
    CHECK_GT(limits.entries_max, std::size_t{0});
  }

  /// The value for the key at exactly that version and not older than the bound, or who computes
  /// it.
  [[nodiscard]] result lookup(const Key& key, log_index version, std::uint64_t now_ns,
                              waiter_id waiter) {
    return lookup(key, version, now_ns, waiter, never_renew);
  }
  template <class Renew>
  [[nodiscard]] result lookup(const Key& key, log_index version, std::uint64_t now_ns,
                              waiter_id waiter, Renew&& renew) {
    if (const Value* v = get(key, version, now_ns, renew)) return *v;
    if (const auto open = open_.find({key, version}); open != open_.end()) {
      auto& waiters = flights_.at(open->second).waiters;
      if (waiters.size() >= limits_.waiters_max) return miss();
      waiters.push_back(waiter);
      stats_.waited.add();
      return joined{open->second};
    }
    return start(key, version);
  }

  /// The value if it is there (counted as a hit), else null and nothing is counted. Good until the
  /// next call.
  [[nodiscard]] const Value* get(const Key& key, log_index version, std::uint64_t now_ns) {
    return get(key, version, now_ns, never_renew);
  }
  /// The same, where `renew(Value&)` may bring a value of an older version to this one; if it
  /// returns false, the entry is dropped.
  template <class Renew>
  [[nodiscard]] const Value* get(const Key& key, log_index version, std::uint64_t now_ns,
                                 Renew&& renew) {
    const auto it = index_.find(key);
    if (it == index_.end()) return nullptr;
    auto& found = *it->second;
    // An entry of a version that is ahead of the caller's serves others yet: it stays.
    if (found.version > version) return nullptr;
    const bool behind = found.version < version;
    if (expired(found, now_ns) || (behind && !renew(found.value))) {
      drop(it);
      return nullptr;
    }
    if (behind) stats_.renewals.add();
    found.version = version;
    lru_.splice(lru_.begin(), lru_, it->second);
    stats_.hits.add();
    return &it->second->value;
  }

  /// Ends a computation: keeps the value and returns who waited. A ticket that is not under way any
  /// more (invalidated meanwhile) keeps nothing, its waiters are returned all the same.
  std::vector<waiter_id> complete(ticket t, Value value, std::uint64_t now_ns) {
    auto ended = end(t);
    if (ended.key) put(*ended.key, ended.version, std::move(value), now_ns);
    return std::move(ended.waiters);
  }

  /// Keeps a value computed outside a flight. An older version never replaces a newer one.
  void put(const Key& key, log_index version, Value value, std::uint64_t now_ns) {
    if (const auto it = index_.find(key); it != index_.end()) {
      if (it->second->version > version) return;
      it->second->version = version;
      it->second->stored_ns = now_ns;
      it->second->value = std::move(value);
      lru_.splice(lru_.begin(), lru_, it->second);
      return;
    }
    drop_expired(now_ns);
    if (index_.size() >= limits_.entries_max) evict();
    lru_.push_front(item{key, version, now_ns, std::move(value)});
    index_.emplace(key, lru_.begin());
    stats_.size.set(index_.size());
  }

  /// Counts a lookup through `get` that found nothing and will be computed on the spot.
  void count_miss() noexcept { stats_.misses.add(); }

  /// Drops the key; a computation under way will keep nothing.
  void invalidate(const Key& key) {
    if (const auto it = index_.find(key); it != index_.end()) drop(it);
    auto open = open_.lower_bound({key, log_index{}});
    while (open != open_.end() && open->first.first == key) open = open_.erase(open);
  }
  [[nodiscard]] const cache_stats& stats() const noexcept { return stats_; }
  [[nodiscard]] std::size_t size() const noexcept { return index_.size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return limits_.entries_max; }

 private:
  struct item {
    Key key;
    log_index version;
    std::uint64_t stored_ns;
    Value value;
  };
  using target = std::pair<Key, log_index>;  // what a computation is for
  struct flight {
    target what;
    std::vector<waiter_id> waiters;
  };
  struct ended_flight {
    std::optional<Key> key;  // where the value is to be kept
    log_index version;
    std::vector<waiter_id> waiters;
  };
  using list = std::list<item>;
  using index = std::unordered_map<Key, typename list::iterator, Hash>;

  static bool never_renew(const Value&) noexcept { return false; }
  // What nobody will get any more is let go two by two as others come, least recently used first.
  void drop_expired(std::uint64_t now_ns) {
    for (int i = 0; i < 2 && !lru_.empty() && expired(lru_.back(), now_ns); ++i)
      drop(index_.find(lru_.back().key));
  }
  [[nodiscard]] bool expired(const item& i, std::uint64_t now_ns) const noexcept {
    return limits_.ttl_ns != 0 && now_ns - i.stored_ns >= limits_.ttl_ns;
  }
  result miss() {
    stats_.misses.add();
    return miss_compute{};
  }
  result start(const Key& key, log_index version) {
    if (flights_.size() >= limits_.in_flight_max) return miss();
    stats_.misses.add();
    const ticket t{++last_ticket_};
    flights_.emplace(t, flight{{key, version}, {}});
    open_.emplace(target{key, version}, t);
    stats_.in_flight.set(flights_.size());
    return miss_compute{t};
  }
  ended_flight end(ticket t) {
    const auto f = flights_.find(t);
    if (f == flights_.end()) return {};
    ended_flight out{std::nullopt, f->second.what.second, std::move(f->second.waiters)};
    const auto open = open_.find(f->second.what);
    if (open != open_.end() && open->second == t) {
      out.key = f->second.what.first;
      open_.erase(open);
    }
    flights_.erase(f);
    stats_.in_flight.set(flights_.size());
    return out;
  }
  void drop(typename index::iterator it) {
    lru_.erase(it->second);
    index_.erase(it);
    stats_.invalidations.add();
    stats_.size.set(index_.size());
  }
  void evict() {
    index_.erase(lru_.back().key);
    lru_.pop_back();
    stats_.evictions.add();
  }

  cache_limits limits_;
  cache_stats stats_;
  list lru_;  // most recently used first
  index index_;
  std::unordered_map<ticket, flight> flights_;  // under way
  std::map<target, ticket> open_;  // those that may be joined: not invalidated meanwhile
  std::uint64_t last_ticket_ = 0;
};

}  // namespace blixard::cache
