// A random cluster that speaks nothing but the lab's JSON. This is network, disk, clock and
// application, as the protocol page describes them, and as hostile as it allows: messages are lost,
// doubled, delayed and reordered, links break in one direction or both, nodes crash after any
// prefix of what they write, start with any part of their log applied, their clocks run at
// different rates, members come and go. One seed decides everything; lab_oracle judges.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "apps/raftlab/lab.hpp"
#include "tests/scenarios/lab_oracle.hpp"

namespace blixard::raft::lab {

class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed) {}
  /// In [0, n).
  std::uint64_t below(std::uint64_t n) {
    // splitmix64
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (z ^ (z >> 31)) % n;
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

/// What a seed has drawn.
struct lab_plan {
  explicit lab_plan(std::uint64_t seed);

  std::uint64_t voters = 3;   // at the start
  bool async = false;         // several writes outstanding
  bool lease = false;         // then clocks differ by less than 10 %
  bool membership = false;    // voters and learners come and go, also through joint ones
  std::uint64_t loss = 20;    // one message in so many
  std::uint64_t crash = 200;  // one step in so many
  std::uint64_t linger = 4;   // how many messages may overtake one
  json config;                // of `new`, without the seed
};

class lab_world {
 public:
  explicit lab_world(std::uint64_t seed);

  /// Throws what the oracle finds, and errors that the lab must not answer.
  void run(int steps);
  /// Heals everything: one leader, equal logs, a proposal commits, and silence without ticks (R8).
  void finish();
  /// Another laboratory answers the same requests with the same bytes.
  void expect_reproducible() const;

  [[nodiscard]] const lab_oracle& oracle() const noexcept { return oracle_; }
  /// The end of the dialogue, for people.
  [[nodiscard]] std::string transcript(std::size_t lines) const;

 private:
  using node = std::uint64_t;
  struct member {
    bool up = false;
    std::deque<json> gated;
    std::deque<json> to_apply;
    std::uint64_t applied = 0;
    std::uint64_t entry_terms_from = 0;
    json latest_snapshot;
    std::uint64_t clock = 0;  // in ticks / 1000
    std::uint64_t rate = 1000;
  };

  json ask(json request);
  json ask_ok(const json& request);
  void start(node id);
  void step();
  void act(node id);
  void time_passes();
  void ready(node id);
  void persist(node id);
  void apply_some(node id);
  void took_conf(node id, std::uint64_t index, std::uint64_t term);
  void compact(node id);
  void release_or_hold(node id, const json& msg);
  void crash(node id);
  void deliver();
  void deliver(const json& msg, bool lost);
  void read(node id);
  void propose(node id);
  void propose_conf(node id);
  [[nodiscard]] json random_change();
  void fault();
  [[nodiscard]] json status(node id);
  [[nodiscard]] node pick();
  void settle();
  void heal();
  [[nodiscard]] bool converged();
  void be_led(int ticks);

  std::uint64_t seed_;
  dice d_;
  lab_plan plan_;
  laboratory lab_;
  lab_oracle oracle_;
  std::map<node, member> members_;
  std::map<node, lab_disk> disks_;
  std::deque<json> network_;
  std::set<std::pair<node, node>> cut_;  // from, to
  std::uint64_t proposals_ = 0;
  std::vector<std::string> requests_;
  std::vector<std::string> answers_;
};

}  // namespace blixard::raft::lab
