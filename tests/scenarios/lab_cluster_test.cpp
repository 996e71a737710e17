// A random cluster that speaks nothing but the lab's JSON: the test is network, disk, clock and
// application, as the protocol page describes them. It checks the page's rules R1 to R8 where a
// transcript cannot: over many histories.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "apps/raftlab/lab.hpp"

namespace blixard::raft::lab {
namespace {

class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint64_t below(std::uint64_t n) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state_ >> 33) % n;
  }

 private:
  std::uint64_t state_;
};

struct write {
  std::uint64_t seq = 0;
  bool must_sync = false;
  std::vector<std::pair<std::string, json>> steps;  // snapshot, entry, hard: in disk order
};

struct member {
  bool up = false;
  json disk;
  std::deque<write> writing;
  std::vector<json> gated;
  std::uint64_t seq = 0;
  std::uint64_t committed = 0;  // newest index handed out
  json latest_snapshot;
};

class cluster {
 public:
  explicit cluster(std::uint64_t seed) : d_(seed), async_(seed % 2 == 0), seed_(seed) {
    const json conf = {{"voters", {1, 2, 3}},
                       {"outgoing", json::array()},
                       {"learners", json::array()},
                       {"learners_next", json::array()},
                       {"auto_leave", false}};
    const json boot = {{"index", 2}, {"term", 1}, {"conf", conf}, {"data", "boot"}};
    for (std::uint64_t id = 1; id <= 3; ++id) {
      member& m = members_[id];
      m.disk = {{"hard", {{"term", 0}, {"vote", 0}, {"commit", 2}}},
                {"snapshot", boot},
                {"entries", json::array()}};
      m.latest_snapshot = boot;
      start(id);
    }
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) step();
    finish();
  }

  // The same requests again, to another laboratory: the same answers.
  void expect_reproducible() const {
    laboratory again;
    for (std::size_t i = 0; i < requests_.size(); ++i)
      ASSERT_EQ(again.answer(requests_[i]), answers_[i]) << requests_[i];
  }

 private:
  json ask(json request) {
    json full{{"id", requests_.size()}};
    full.update(request);
    requests_.push_back(full.dump());
    answers_.push_back(lab_.answer(requests_.back()));
    return json::parse(answers_.back());
  }
  json ask_ok(const json& request) {
    json answer = ask(request);
    if (!answer["ok"].get<bool>())
      ADD_FAILURE() << "seed " << seed_ << ": " << requests_.back() << " -> " << answer;
    return answer;
  }

  void start(std::uint64_t id) {
    member& m = members_[id];
    ask_ok({{"op", "new"},
            {"node", id},
            {"config",
             {{"election_ticks", 10},
              {"heartbeat_ticks", 2},
              {"seed", seed_ * 10 + id},
              {"prevote", seed_ % 3 == 0},
              {"check_quorum", seed_ % 5 == 0},
              {"read_only", "safe"},
              {"max_inflight_msgs", seed_ % 4},
              {"max_msg_bytes", seed_ % 7 * 3},
              {"step_down_on_removal", true},
              {"async_persist", async_}}},
            {"disk", m.disk},
            {"applied", m.disk["snapshot"]["index"]},
            {"latest_snapshot", m.latest_snapshot}});
    m.up = true;
    m.seq = 0;
    m.committed = m.disk["snapshot"]["index"].get<std::uint64_t>();
  }

  void step() {
    const std::uint64_t id = 1 + d_.below(3);
    member& m = members_[id];
    if (!m.up) {
      if (d_.below(15) == 0) start(id);
      return;
    }
    const std::uint64_t what = d_.below(100);
    if (what < 20) {
      ask_ok({{"op", "tick"}, {"node", id}, {"n", 1 + d_.below(2)}});
    } else if (what < 45) {
      ready(id);
    } else if (what < 60) {
      persist(id);
    } else if (what < 85) {
      deliver();
    } else if (what < 94) {
      ask({{"op", "propose"}, {"node", id}, {"data", "v" + std::to_string(requests_.size())}});
    } else if (what < 96) {
      ask({{"op", "read_index"}, {"node", id}, {"ctx", "r" + std::to_string(requests_.size())}});
    } else if (what < 98) {
      compact(id);
    } else if (d_.below(3) == 0) {
      crash(id);
    }
  }

  void ready(std::uint64_t id) {
    member& m = members_[id];
    const json r = ask_ok({{"op", "ready"}, {"node", id}});
    take_writes(m, r);
    if (!async_) {
      // Disk, persisted, applied, release (R5).
      while (!m.writing.empty()) persist(id);
    }
    apply(id, r);
    for (const json& msg : r["messages"]) {
      EXPECT_NE(msg["to"], msg["from"]) << "R2";
      EXPECT_EQ(msg["from"], id);
      EXPECT_TRUE(msg["type"] != "vote" || msg["after"] != 0) << "R1: " << msg;
      release_or_hold(m, msg);
    }
  }

  void take_writes(member& m, const json& r) {
    const auto seq = r["seq"].get<std::uint64_t>();
    const bool writes = r.contains("hard") || r.contains("snapshot") || !r["entries"].empty();
    EXPECT_EQ(seq != 0, writes) << r;
    if (seq == 0) return;
    EXPECT_GT(seq, m.seq);
    m.seq = seq;
    write w{seq, r["must_sync"].get<bool>(), {}};
    EXPECT_TRUE(w.must_sync || r["entries"].empty());
    if (r.contains("snapshot")) w.steps.emplace_back("snapshot", r["snapshot"]);
    for (const json& e : r["entries"]) w.steps.emplace_back("entry", e);
    if (r.contains("hard")) w.steps.emplace_back("hard", r["hard"]);
    m.writing.push_back(std::move(w));
  }

  void apply(std::uint64_t id, const json& r) {
    member& m = members_[id];
    if (r.contains("snapshot")) m.committed = r["snapshot"]["index"].get<std::uint64_t>();
    for (const json& e : r["committed"]) {
      EXPECT_EQ(e["index"], m.committed + 1) << "R5, seed " << seed_;
      m.committed = e["index"].get<std::uint64_t>();
      const auto [known, fresh] = chosen_.try_emplace(m.committed, e);
      EXPECT_TRUE(fresh || known->second == e) << "State Machine Safety, seed " << seed_;
    }
    if (!r["committed"].empty()) ask_ok({{"op", "applied"}, {"node", id}, {"index", m.committed}});
    if (!r.contains("soft") || r["soft"]["role"] != "leader") return;
    const json s = ask_ok({{"op", "status"}, {"node", id}});
    EXPECT_TRUE(leaders_.emplace(s["hard"]["term"].get<std::uint64_t>(), id).second ||
                leaders_[s["hard"]["term"].get<std::uint64_t>()] == id)
        << "Election Safety";
  }

  void release_or_hold(member& m, const json& msg) {
    const auto after = msg["after"].get<std::uint64_t>();
    EXPECT_LE(after, m.seq);
    const bool durable = m.writing.empty() || after < m.writing.front().seq;
    if (durable)
      network_.push_back(msg);
    else
      m.gated.push_back(msg);
  }

  static void apply_step(json& disk, const std::pair<std::string, json>& s) {
    json kept = json::array();
    if (s.first == "hard") {
      disk["hard"] = s.second;
    } else if (s.first == "entry") {
      for (const json& e : disk["entries"])
        if (e["index"] < s.second["index"]) kept.push_back(e);
      kept.push_back(s.second);
      disk["entries"] = kept;
    } else {
      bool same = false;
      for (const json& e : disk["entries"]) {
        same = same || (e["index"] == s.second["index"] && e["term"] == s.second["term"]);
        if (e["index"] > s.second["index"]) kept.push_back(e);
      }
      disk["entries"] = same ? kept : json::array();
      disk["snapshot"] = s.second;
    }
  }

  void persist(std::uint64_t id) {
    member& m = members_[id];
    if (m.writing.empty()) return;
    const write w = m.writing.front();
    for (const auto& s : w.steps) apply_step(m.disk, s);
    m.writing.pop_front();
    ask_ok({{"op", "persisted"}, {"node", id}, {"seq", w.seq}});
    std::vector<json> waiting;
    waiting.swap(m.gated);
    for (const json& msg : waiting) release_or_hold(m, msg);
  }

  void crash(std::uint64_t id) {
    member& m = members_[id];
    ask_ok({{"op", "drop"}, {"node", id}});
    // A prefix of the steps survives; a write that needed no sync may be gone as a whole.
    std::uint64_t left = d_.below(6);
    for (const write& w : m.writing) {
      if (!w.must_sync && d_.below(2) == 0) continue;
      for (const auto& s : w.steps)
        if (left > 0) {
          --left;
          apply_step(m.disk, s);
        }
    }
    m.writing.clear();
    m.gated.clear();
    m.up = false;
  }

  void compact(std::uint64_t id) {
    member& m = members_[id];
    const json s = ask_ok({{"op", "status"}, {"node", id}});
    const auto applied = s["applied"].get<std::uint64_t>();
    json entry;
    for (const json& e : m.disk["entries"])
      if (e["index"] == applied) entry = e;
    if (entry.is_null()) return;
    const json snap = {{"index", applied},
                       {"term", entry["term"]},
                       {"conf", s["conf"]},
                       {"data", "state at " + std::to_string(applied)}};
    ask_ok({{"op", "set_snapshot"}, {"node", id}, {"snapshot", snap}});
    ask_ok({{"op", "compact"}, {"node", id}, {"first", applied + 1}});
    apply_step(m.disk, {"snapshot", snap});
    m.latest_snapshot = snap;
  }

  void deliver() {
    if (network_.empty()) return;
    if (d_.below(3) == 0) std::swap(network_.front(), network_[d_.below(network_.size())]);
    const json msg = network_.front();
    if (d_.below(15) == 0) network_.push_back(msg);
    network_.pop_front();
    const bool lost = d_.below(15) == 0 || !members_[msg["to"]].up;
    if (!lost) ask_ok({{"op", "step"}, {"node", msg["to"]}, {"msg", msg}});
    report(msg, lost);
  }

  void report(const json& msg, bool lost) {
    if (msg["type"] != "snapshot" || !members_[msg["from"]].up) return;
    ask_ok({{"op", "report"},
            {"node", msg["from"]},
            {"peer", msg["to"]},
            {"what", lost ? "snapshot_failed" : "snapshot_ok"}});
  }

  // R8: without ticks and faults it falls quiet.
  void settle() {
    for (int round = 0; round < 1000; ++round) {
      for (auto& [id, m] : members_) {
        ready(id);
        while (!m.writing.empty()) persist(id);
      }
      if (network_.empty()) return;
      while (!network_.empty()) {
        const json msg = network_.front();
        network_.pop_front();
        ask_ok({{"op", "step"}, {"node", msg["to"]}, {"msg", msg}});
        report(msg, false);
      }
    }
    ADD_FAILURE() << "R8: not quiet, seed " << seed_;
  }

  void finish() {
    for (auto& [id, m] : members_)
      if (!m.up) start(id);
    for (int i = 0; i < 60; ++i) {
      settle();
      for (const auto& [id, m] : members_) ask_ok({{"op", "tick"}, {"node", id}, {"n", 1}});
    }
    settle();
    json first = ask_ok({{"op", "status"}, {"node", 1}});
    EXPECT_NE(first["lead"], 0) << "seed " << seed_;
    for (const auto& [id, m] : members_) {
      const json s = ask_ok({{"op", "status"}, {"node", id}});
      EXPECT_EQ(s["last"], first["last"]) << "seed " << seed_;
      EXPECT_EQ(s["hard"]["commit"], first["hard"]["commit"]) << "seed " << seed_;
      EXPECT_EQ(s["applied"], s["hard"]["commit"]) << "seed " << seed_;
    }
    check_one_empty_entry_per_term();
  }

  // R7: each leader appends one empty entry; nothing else here is empty.
  void check_one_empty_entry_per_term() {
    std::set<std::uint64_t> terms;
    for (const auto& [index, e] : chosen_) {
      if (e.contains("data")) continue;
      EXPECT_TRUE(terms.insert(e["term"].get<std::uint64_t>()).second) << "R7";
    }
  }

  dice d_;
  bool async_;
  std::uint64_t seed_;
  laboratory lab_;
  std::map<std::uint64_t, member> members_;
  std::deque<json> network_;
  std::map<std::uint64_t, json> chosen_;
  std::map<std::uint64_t, std::uint64_t> leaders_;
  std::vector<std::string> requests_;
  std::vector<std::string> answers_;
};

TEST(lab_cluster, keeps_the_rules_over_random_histories) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    cluster c(seed);
    c.run(1500);
    if (seed % 10 == 0) c.expect_reproducible();
    if (HasFailure()) FAIL() << "seed " << seed;
  }
}

}  // namespace
}  // namespace blixard::raft::lab
