// Random histories: messages are lost, repeated and reordered, disks are slow, nodes crash after
// any prefix of their writes or find part of their log damaged, the membership changes; voters may
// be witnesses. After every step the cluster checks Election Safety, Leader Completeness and State
// Machine Safety (Raft figure 3), here also Log Matching; in the end, healed, a proposal commits
// everywhere and nothing acknowledged is lost.
//
// RAFT_SEEDS=n and RAFT_FIRST_SEED=n run another range.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <stdexcept>

#include "tests/unit/raft/cluster.hpp"

namespace blixard::raft::test {
namespace {

class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ULL + 1) {}
  std::uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

class history {
 public:
  explicit history(std::uint64_t seed)
      : d_(seed), c_(options(seed)), rots_(seed % 4 == 3 && c_.options.witnesses.empty()) {
    for (std::uint64_t id = 4; id <= 5; ++id)
      if (!c_.nodes.contains(id)) c_.add_blank(id);
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      if (i % 16 == 0) check_log_matching();
    }
    heal();
  }

 private:
  static cluster_options options(std::uint64_t seed) {
    cluster_options o;
    if (seed % 3 == 1) o.voters = {1, 2, 3, 4, 5};
    if (seed % 4 == 2) o.learners = {7};
    // One of three or five, two of three, two of five: a majority may be without data.
    if (seed % 5 == 2) o.witnesses = {3};
    if (seed % 10 == 7) o.witnesses = {2, 3};
    o.sync_first = seed % 7 == 0;
    o.tune = [seed](config& k) {
      // Without both, a removed node may go on disturbing the others (thesis section 4.2.3).
      k.check_quorum = seed % 5 != 0;
      k.prevote = seed % 2 == 0 || !k.check_quorum;
      k.commit_persisted = seed % 3 != 0;
      k.reads = seed % 11 == 0 ? read_mode::lease : read_mode::safe;
      k.max_inflight_msgs = seed % 6 == 0 ? 2 : 64;
      k.max_msg_bytes = seed % 4 == 0 ? 8 : 0;
      k.max_committed_bytes = seed % 8 == 0 ? 5 : 0;
    };
    return o;
  }

  std::uint64_t anybody() {
    auto it = c_.nodes.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(d_.below(c_.nodes.size())));
    return it->first;
  }

  void step() {
    const std::uint64_t id = anybody();
    const std::uint64_t what = d_.below(100);
    if (!c_.up(id)) {
      if (d_.one_in(20)) c_.restart(id);
      return;
    }
    if (what < 25) return c_.tick(id);
    if (what < 45) return (void)c_.take(id);
    if (what < 60) return sync_some(id);
    if (what < 85) return disturb_and_deliver();
    if (what < 93) return propose(id);
    if (what < 95) return rare(id);
    if (what < 97) return (void)c_.at(id).read_index(++context_);
    if (!d_.one_in(4)) return;
    c_.crash(id, d_.below(6));
    if (rots_) damage(id);
  }

  // One log at a time: more can leave a cluster without a leader for good, which heal() would find.
  void damage(std::uint64_t id) {
    for (const auto& [other, n] : c_.nodes)
      if (other != id && n.damaged) return;
    disk& stored = c_.nodes.at(id).stored;
    if (stored.entries.empty()) return;
    auto& older = older_[id];
    // Now and then what is left is an older version of the log.
    const bool replaced =
        d_.one_in(3) && !older.empty() && older.front().index == stored.entries.front().index;
    if (replaced) stored.entries = older;
    const std::uint64_t kept = d_.below(stored.entries.size() + 1);
    c_.damage(id, stored.entries.front().index.plus(kept));
    older.clear();
  }

  void sync_some(std::uint64_t id) {
    const node& n = c_.nodes.at(id);
    if (rots_ && d_.one_in(100)) older_[id] = n.stored.entries;
    if (n.writing.empty()) return c_.sync(id);
    const auto& w = n.writing[d_.below(n.writing.size())];
    c_.sync_through(id, w.seq);
  }

  void disturb_and_deliver() {
    auto& net = c_.network;
    if (net.empty()) return;
    while (net.size() > 200) c_.lose_one();
    if (d_.one_in(3)) std::swap(net.front(), net[d_.below(net.size())]);
    if (d_.one_in(12)) return c_.lose_one();
    if (d_.one_in(12)) net.push_back(net.front());
    c_.deliver_one();
  }

  void propose(std::uint64_t id) {
    const std::string text = "v" + std::to_string(++proposed_);
    (void)c_.at(id).propose(blixard::raft::test::text(text));
  }

  void rare(std::uint64_t id) {
    core& r = c_.at(id);
    switch (d_.below(9)) {
      case 0:
        return (void)r.transfer(node_id{anybody()});
      case 1:
        return c_.snapshot_and_compact(id);
      case 2:
        return r.forget_leader();
      case 3:
        return c_.cut(id, anybody());
      case 4:
        return c_.heal();
      case 5:
        return (void)r.campaign();
      case 6:
        return (void)r.report(node_id{anybody()}, report_kind::unreachable);
      default:
        return change_conf(r);
    }
  }

  void change_conf(core& r) {
    if (rots_) return;  // of two voters, one damaged log is too many
    conf_change change;
    const auto singles = 1 + d_.below(3);
    for (std::uint64_t i = 0; i < singles; ++i)
      change.changes.push_back({static_cast<conf_op>(d_.below(3)), node_id{1 + d_.below(5)}});
    change.transition = d_.one_in(4) ? conf_transition::implicit : conf_transition::automatic;
    (void)r.propose_conf(change);
  }

  [[nodiscard]] bool is_witness(std::uint64_t id) const {
    return std::ranges::find(c_.options.witnesses, id) != c_.options.witnesses.end();
  }
  static bool alike(entry a, entry b, bool without_data) {
    if (without_data && a.kind == entry_kind::normal) a.data = b.data = {};
    return a == b;
  }

  // If two logs have an entry with the same index and term, they agree up to there (section 5.3).
  void check_log_matching() {
    for (const auto& [a, na] : c_.nodes) {
      for (const auto& [b, nb] : c_.nodes) {
        if (a >= b || !na.raft || !nb.raft) continue;
        const entry_log& x = na.raft->log();
        const entry_log& y = nb.raft->log();
        bool agreed = false;
        for (log_index i = std::min(x.last(), y.last()); i > std::max(x.base(), y.base());
             i = i.prev()) {
          const bool same = alike(x.at(i), y.at(i), is_witness(a) || is_witness(b));
          if (x.term_at(i) == y.term_at(i)) {
            if (!same) throw std::logic_error("Log Matching: entries differ");
            agreed = true;
          } else if (agreed) {
            throw std::logic_error("Log Matching: agreement ends below an agreed entry");
          }
        }
      }
    }
  }

  // Everything works again: somebody leads soon, and what it commits reaches every member.
  void heal() {
    c_.heal();
    for (auto& [id, n] : c_.nodes)
      if (!n.raft) c_.restart(id);
    for (int i = 0; i < 300; ++i) {
      c_.tick_all(1);
      if (i % 40 == 39 && commits()) return check_log_matching();
    }
    throw std::logic_error("no liveness after healing: " + describe());
  }

  std::string describe() const {
    std::string out;
    for (const auto& [id, n] : c_.nodes) {
      const status s = n.raft->status();
      out += "\n  " + std::to_string(id) + " " + std::string(to_string(s.role)) + " of " +
             to_string(s.lead) + " term " + to_string(s.hard.term) + " log " + to_string(s.first) +
             ".." + to_string(s.last) + " stable " + to_string(s.stable) + " commit " +
             to_string(s.hard.commit) + " applied " + to_string(s.applied) + " voters";
      for (const node_id v : s.conf.voters) out += " " + to_string(v);
      if (s.conf.joint()) out += " outgoing";
      for (const node_id v : s.conf.outgoing) out += " " + to_string(v);
      for (const peer_status& p : s.peers)
        out += "\n      " + to_string(p.id) + " " + std::string(to_string(p.state)) + " match " +
               to_string(p.match) + " next " + to_string(p.next);
    }
    return out;
  }

  bool commits() {
    const auto leader = c_.leader();
    if (!leader) return false;
    const auto index = c_.at(*leader).propose(text("last"));
    if (!index) return false;
    c_.tick_all(3);
    return c_.up(*leader) && c_.at(*leader).commit() >= *index;
  }

  dice d_;
  cluster c_;
  bool rots_;  // disks lose what was durable
  std::map<std::uint64_t, std::vector<entry>> older_;
  std::uint64_t proposed_ = 0;
  std::uint64_t context_ = 0;
};

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* v = std::getenv(name);
  return v == nullptr ? otherwise : std::strtoull(v, nullptr, 10);
}

TEST(random_histories, keep_rafts_safety_properties_and_recover) {
  const std::uint64_t first = from_environment("RAFT_FIRST_SEED", 1);
  const std::uint64_t seeds = from_environment("RAFT_SEEDS", 150);
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    try {
      history(seed).run(seed % 4 == 3 ? 6000 : 3000);
    } catch (const std::exception& e) {
      FAIL() << e.what() << "; replay with RAFT_FIRST_SEED=" << seed << " RAFT_SEEDS=1";
    }
  }
}

}  // namespace
}  // namespace blixard::raft::test
