#include "tests/scenarios/lab_world.hpp"

#include <algorithm>
#include <stdexcept>

namespace blixard::raft::lab {
namespace {

constexpr std::uint64_t nodes_max = 6;  // ids that ever take part

json boot_snapshot(std::uint64_t voters) {
  json ids = json::array();
  for (std::uint64_t id = 1; id <= voters; ++id) ids.push_back(id);
  return {{"index", 2},
          {"term", 1},
          {"conf",
           {{"voters", ids},
            {"outgoing", json::array()},
            {"learners", json::array()},
            {"learners_next", json::array()},
            {"auto_leave", false}}},
          {"data", "boot"}};
}

}  // namespace

lab_plan::lab_plan(std::uint64_t seed) {
  dice d(seed * 977);
  voters = 3 + 2 * d.below(2);
  async = !d.one_in(3);
  lease = d.one_in(4);
  membership = d.one_in(2);
  loss = 5 + d.below(60);
  crash = 60 + d.below(500);
  linger = 1 + d.below(12);
  config = {{"election_ticks", 10},
            {"heartbeat_ticks", 1 + d.below(3)},
            {"prevote", d.one_in(2)},
            {"check_quorum", lease || d.one_in(3)},
            {"read_only", lease ? "lease" : "safe"},
            {"max_inflight_msgs", d.below(4)},
            {"max_inflight_bytes", d.one_in(3) ? 20 : 0},
            {"max_msg_bytes", d.below(4) * 5},
            {"max_committed_bytes", d.below(3) * 7},
            {"max_uncommitted_bytes", d.one_in(4) ? 60 : 0},
            {"step_down_on_removal", !d.one_in(4)},
            {"async_persist", async}};
}

lab_world::lab_world(std::uint64_t seed) : seed_(seed), d_(seed), plan_(seed) {
  const json boot = boot_snapshot(plan_.voters);
  for (node id = 1; id <= plan_.voters; ++id) {
    disks_.emplace(id, lab_disk(boot));
    start(id);
  }
}

void lab_world::run(int steps) {
  for (int i = 0; i < steps; ++i) step();
}

// ---------------------------------------------------------------- the dialogue

json lab_world::ask(json request) {
  json full{{"id", requests_.size()}};
  full.update(request);
  requests_.push_back(full.dump());
  answers_.push_back(lab_.answer(requests_.back()));
  json answer = json::parse(answers_.back());
  if (!answer["ok"].get<bool>() && answer["err"] == "fatal")
    throw std::runtime_error("an assertion fired: " + answers_.back());
  return answer;
}

json lab_world::ask_ok(const json& request) {
  json answer = ask(request);
  if (!answer["ok"].get<bool>())
    throw std::runtime_error("refused: " + requests_.back() + " -> " + answers_.back());
  return answer;
}

std::string lab_world::transcript(std::size_t lines) const {
  std::string out;
  const std::size_t from = requests_.size() - std::min(lines, requests_.size());
  for (std::size_t i = from; i < requests_.size(); ++i)
    out += "> " + requests_[i] + "\n< " + answers_[i] + "\n";
  return out;
}

void lab_world::expect_reproducible() const {
  laboratory again;
  for (std::size_t i = 0; i < requests_.size(); ++i)
    if (again.answer(requests_[i]) != answers_[i])
      throw std::runtime_error("another answer: " + requests_[i]);
}

json lab_world::status(node id) { return ask_ok({{"op", "status"}, {"node", id}}); }

// ---------------------------------------------------------------- a node and its disk

void lab_world::start(node id) {
  member& m = members_[id];
  const lab_disk& disk = disks_[id];
  // Anything that is committed may be applied already.
  const std::uint64_t top =
      std::max(std::min({disk.commit(), disk.last(), oracle_.applied()}), disk.base());
  m = {};
  m.applied = disk.base() + d_.below(top - disk.base() + 1);
  m.rate = plan_.lease ? 955 + d_.below(90) : 300 + d_.below(1700);
  m.latest_snapshot = disk.snapshot();
  json config = plan_.config;
  config["seed"] = seed_ * 100 + id + 7 * requests_.size();
  ask_ok({{"op", "new"},
          {"node", id},
          {"config", config},
          {"disk", disk.to_json()},
          {"applied", m.applied},
          {"latest_snapshot", m.latest_snapshot}});
  m.up = true;
  oracle_.started(id, disk, m.applied, status(id));
}

void lab_world::ready(node id) {
  member& m = members_[id];
  lab_disk& disk = disks_[id];
  const json r = ask_ok({{"op", "ready"}, {"node", id}});
  const json s = status(id);
  json log = {{"entries", json::array()}};
  if (r.contains("soft") && s["role"] == "leader") log = ask_ok({{"op", "log"}, {"node", id}});
  oracle_.took(id, r, s, log, disks_);
  disk.submit(r);
  if (r.contains("snapshot")) {
    m.to_apply.clear();
    m.applied = r["snapshot"]["index"];
    m.latest_snapshot = r["snapshot"];
  }
  for (const json& e : r["committed"]) m.to_apply.push_back(e);
  if (!plan_.async) {
    // Disk, persisted, applied, release (R5).
    while (!disk.idle()) persist(id);
    while (!m.to_apply.empty()) apply_some(id);
  }
  for (const json& msg : r["messages"]) release_or_hold(id, msg);
}

void lab_world::persist(node id) {
  lab_disk& disk = disks_[id];
  std::deque<json>& gated = members_[id].gated;
  if (disk.idle()) return;
  std::uint64_t seq = 0;
  std::vector<json> released;
  do {
    seq = disk.complete_one();
    while (!gated.empty() && gated.front()["after"] <= seq) {
      oracle_.leaves(gated.front(), disk);
      released.push_back(std::move(gated.front()));
      gated.pop_front();
    }
    // One sync may cover several writes.
  } while (!disk.idle() && d_.one_in(3));
  ask_ok({{"op", "persisted"}, {"node", id}, {"seq", seq}});
  network_.insert(network_.end(), released.begin(), released.end());
}

void lab_world::release_or_hold(node id, const json& msg) {
  const auto after = msg["after"].get<std::uint64_t>();
  if (after > disks_[id].newest()) throw std::runtime_error("R1: waits for what is not written");
  std::deque<json>& gated = members_[id].gated;
  if (!disks_[id].has(after)) {
    // Ascending in `after`; equal ones keep their order.
    const auto behind = std::ranges::upper_bound(
        gated, after, {}, [](const json& m) { return m["after"].get<std::uint64_t>(); });
    gated.insert(behind, msg);
    return;
  }
  oracle_.leaves(msg, disks_[id]);
  network_.push_back(msg);
}

// Applies a random part, ending at a configuration entry at the latest: what it changed is then
// known by its index.
void lab_world::apply_some(node id) {
  member& m = members_[id];
  if (m.to_apply.empty()) return;
  std::uint64_t left = 1 + d_.below(4);
  json last;
  do {
    last = m.to_apply.front();
    m.to_apply.pop_front();
  } while (--left > 0 && !m.to_apply.empty() && last["kind"] != "conf");
  m.applied = last["index"];
  // Afterwards another quorum may count. What followers replaced is not known before `ready`.
  if (const json s = status(id); s["role"] == "leader") oracle_.knows(id, s, disks_);
  const json answer = ask_ok({{"op", "applied"}, {"node", id}, {"index", m.applied}});
  oracle_.applied(m.applied, answer);
  if (answer.contains("conf")) took_conf(id, m.applied, last["term"]);
}

// A new snapshot after each change of the configuration, so that one can be sent to a new member.
void lab_world::took_conf(node id, std::uint64_t index, std::uint64_t term) {
  const json snapshot = {{"index", index},
                         {"term", term},
                         {"conf", status(id)["conf"]},
                         {"data", "state at " + std::to_string(index)}};
  members_[id].latest_snapshot = snapshot;
  ask_ok({{"op", "set_snapshot"}, {"node", id}, {"snapshot", snapshot}});
  for (const json& member_id : snapshot["conf"]["voters"])
    if (const node n = member_id; !disks_.contains(n)) {
      disks_[n];
      start(n);
    }
  for (const json& member_id : snapshot["conf"]["learners"])
    if (const node n = member_id; !disks_.contains(n)) {
      disks_[n];
      start(n);
    }
}

void lab_world::compact(node id) {
  member& m = members_[id];
  const std::uint64_t term = disks_[id].term_at(m.applied);
  if (m.applied <= disks_[id].base() || term == 0) return;
  const json snapshot = {{"index", m.applied},
                         {"term", term},
                         {"conf", status(id)["conf"]},
                         {"data", "state at " + std::to_string(m.applied)}};
  ask_ok({{"op", "set_snapshot"}, {"node", id}, {"snapshot", snapshot}});
  const std::uint64_t keep = d_.below(5);
  const std::uint64_t first = m.applied + 1 - std::min(keep, m.applied);
  ask_ok({{"op", "compact"}, {"node", id}, {"first", first}});
  disks_[id].store_snapshot(snapshot);
  m.latest_snapshot = snapshot;
}

void lab_world::crash(node id) {
  ask_ok({{"op", "drop"}, {"node", id}});
  disks_[id].crash(d_.below(8), [&] { return d_.one_in(2); });
  members_[id] = {};
  oracle_.stopped(id);
}

// ---------------------------------------------------------------- what happens next

lab_world::node lab_world::pick() {
  auto at = disks_.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(d_.below(disks_.size())));
  return at->first;
}

void lab_world::step() {
  const std::uint64_t what = d_.below(100);
  if (what < 7) return time_passes();
  if (what < 40) return deliver();
  if (d_.one_in(plan_.crash)) {
    if (const node id = pick(); members_[id].up) crash(id);
    return;
  }
  if (d_.one_in(150)) return fault();
  const node id = pick();
  if (!members_[id].up) {
    if (d_.one_in(10)) start(id);
    return;
  }
  act(id);
}

void lab_world::act(node id) {
  const std::uint64_t what = d_.below(100);
  if (what < 50) return ready(id);
  if (what < 66) return persist(id);
  if (what < 76) return apply_some(id);
  if (what < 86) return propose(id);
  if (what < 90) return read(id);
  if (what < 92) return compact(id);
  if (what < 97) {
    if (plan_.membership) propose_conf(id);
  } else if (d_.one_in(4)) {
    ask({{"op", "campaign"}, {"node", id}});
  } else if (d_.one_in(3)) {
    ask({{"op", "transfer"}, {"node", id}, {"target", pick()}});
  } else if (d_.one_in(3)) {
    ask_ok({{"op", "forget_leader"}, {"node", id}});
  } else {
    ask_ok({{"op", "set_timeout"}, {"node", id}, {"ticks", 10 + d_.below(10)}});
  }
}

void lab_world::time_passes() {
  for (auto& [id, m] : members_) {
    if (!m.up) continue;
    m.clock += m.rate;
    const std::uint64_t n = m.clock / 1000;
    m.clock %= 1000;
    if (n > 0) ask_ok({{"op", "tick"}, {"node", id}, {"n", n}});
  }
}

void lab_world::propose(node id) {
  const std::string data = "v" + std::to_string(++proposals_);
  ask({{"op", "propose"}, {"node", id}, {"data", data}});
}

void lab_world::read(node id) {
  const std::string ctx = "r" + std::to_string(requests_.size());
  if (ask({{"op", "read_index"}, {"node", id}, {"ctx", ctx}})["ok"]) oracle_.asked(id, ctx);
}

void lab_world::propose_conf(node id) {
  ask({{"op", "propose_conf"}, {"node", id}, {"change", random_change()}});
}

json lab_world::random_change() {
  static const std::vector<std::string> ops{"voter",  "voter",  "voter",  "learner",
                                            "remove", "remove", "update", "witness"};
  static const std::vector<std::string> transitions{"auto", "auto", "implicit", "explicit"};
  json changes = json::array();
  const std::uint64_t n = d_.one_in(4) ? 0 : 1 + d_.below(3);
  for (std::uint64_t i = 0; i < n; ++i)
    changes.push_back({{"op", ops[d_.below(ops.size())]}, {"node", 1 + d_.below(nodes_max)}});
  const std::string transition = n == 0 ? "auto" : transitions[d_.below(transitions.size())];
  return {{"changes", changes}, {"transition", transition}};
}

// ---------------------------------------------------------------- the network

void lab_world::fault() {
  if (!cut_.empty()) return cut_.clear();
  const node a = pick();
  const std::uint64_t how = d_.below(3);
  for (const auto& [b, disk] : disks_) {
    if (b == a || (how == 2 && d_.one_in(2))) continue;
    if (how != 1) cut_.insert({a, b});
    if (how != 0) cut_.insert({b, a});
  }
}

void lab_world::deliver() {
  if (network_.empty()) return;
  const std::uint64_t which = d_.below(std::min<std::uint64_t>(plan_.linger, network_.size()));
  const json msg = network_[which];
  network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(which));
  if (d_.one_in(25)) network_.push_back(msg);
  deliver(msg, d_.one_in(plan_.loss) || cut_.contains({msg["from"], msg["to"]}));
}

void lab_world::deliver(const json& msg, bool lost) {
  const node to = msg["to"];
  const bool arrives = !lost && members_[to].up;
  if (arrives) {
    const json answer = ask({{"op", "step"}, {"node", to}, {"msg", msg}});
    // Answers to somebody who is no member any more.
    if (!answer["ok"].get<bool>() && answer["err"] != "unknown_peer")
      throw std::runtime_error("refused: " + requests_.back() + " -> " + answers_.back());
  }
  const node from = msg["from"];
  if (msg["type"] != "snapshot" || !members_[from].up) return;
  ask({{"op", "report"},
       {"node", from},
       {"peer", to},
       {"what", arrives ? "snapshot_ok" : "snapshot_failed"}});
}

// ---------------------------------------------------------------- the end

// R8: without ticks and faults it falls quiet.
void lab_world::settle() {
  for (int round = 0; round < 1000; ++round) {
    for (auto& [id, m] : members_) {
      if (!m.up) continue;
      ready(id);
      while (!disks_[id].idle()) persist(id);
      while (!m.to_apply.empty()) apply_some(id);
    }
    if (network_.empty()) return;
    while (!network_.empty()) {
      const json msg = network_.front();
      network_.pop_front();
      deliver(msg, false);
    }
  }
  throw std::runtime_error("R8: not quiet after 1000 rounds");
}

void lab_world::heal() {
  cut_.clear();
  for (auto& [id, disk] : disks_)
    if (!members_[id].up) start(id);
}

void lab_world::be_led(int ticks) {
  for (int i = 0; i < ticks; ++i) {
    settle();
    for (const auto& [id, m] : members_) ask_ok({{"op", "tick"}, {"node", id}, {"n", 1}});
  }
  settle();
}

// Every member of the newest configuration follows one leader and has all of its log.
bool lab_world::converged() {
  for (const auto& [id, disk] : disks_) {
    const json leader = status(id);
    if (leader["role"] != "leader" || !leader["voter"].get<bool>()) continue;
    bool all = leader["hard"]["commit"] == leader["last"][1];
    for (const char* list : {"voters", "learners"})
      for (const json& member_id : leader["conf"][list]) {
        const json s = status(member_id);
        all = all && s["last"] == leader["last"] && s["lead"] == id &&
              s["applied"] == leader["applied"] && s["conf"] == leader["conf"];
      }
    if (all) return true;
  }
  return false;
}

void lab_world::finish() {
  heal();
  be_led(60);
  for (int attempt = 0; attempt < 6; ++attempt) {
    // Whoever was removed and leads on (step_down_on_removal is false) must be stopped by people;
    // an explicit joint configuration must be left by them.
    for (auto& [id, disk] : disks_) {
      const json s = status(id);
      if (s["role"] != "leader") continue;
      if (!s["voter"].get<bool>()) {
        crash(id);
        start(id);
      } else if (!s["conf"]["outgoing"].empty()) {
        ask({{"op", "propose_conf"}, {"node", id}, {"change", {{"changes", json::array()}}}});
      } else {
        ask_ok({{"op", "propose"}, {"node", id}, {"data", "the end"}});
      }
    }
    be_led(40);
    if (converged()) {
      oracle_.check_empty_entries();
      return;
    }
  }
  throw std::runtime_error("no progress after everything healed");
}

}  // namespace blixard::raft::lab
