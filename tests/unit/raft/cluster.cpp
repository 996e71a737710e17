#include "tests/unit/raft/cluster.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace blixard::raft::test {

slice text(const std::string& s) { return slice::copy_of(std::string_view{s}); }

conf_change change(conf_op op, std::uint64_t id) {
  return {{{op, node_id{id}}}, conf_transition::automatic, {}};
}

std::vector<node_id> ids(std::initializer_list<std::uint64_t> values) {
  std::vector<node_id> out;
  for (const auto v : values) out.emplace_back(v);
  return out;
}

// ---------------------------------------------------------------- disk

void disk::store_snapshot(const std::shared_ptr<const snapshot>& s) {
  const auto at = std::ranges::find(entries, s->index, &entry::index);
  if (at == entries.end() || at->term != s->term)
    entries.clear();
  else
    entries.erase(entries.begin(), at + 1);
  snap = s;
}

void disk::store_entry(const entry& e) {
  while (!entries.empty() && entries.back().index >= e.index) entries.pop_back();
  entries.push_back(e);
}

void disk::compact(log_index first) {
  std::erase_if(entries, [&](const entry& e) { return e.index < first; });
}

// ---------------------------------------------------------------- setting up

cluster::cluster(cluster_options o) : options(std::move(o)) {
  auto boot = std::make_shared<snapshot>();
  boot->index = log_index{1};
  boot->term = term{1};
  for (const auto id : options.voters) boot->conf.voters.emplace_back(id);
  for (const auto id : options.learners) boot->conf.learners.emplace_back(id);
  for (const auto id : options.witnesses) boot->conf.witnesses.emplace_back(id);
  auto everybody = options.voters;
  everybody.insert(everybody.end(), options.learners.begin(), options.learners.end());
  for (const auto id : everybody) {
    node& n = nodes[id];
    n.stored.snap = boot;
    n.stored.hard.commit = log_index{1};
    n.applied_durable = log_index{1};
    n.applied_conf = boot->conf;
    start(id, log_index{1});
  }
}

void cluster::add_blank(std::uint64_t id) {
  nodes[id];
  start(id, {});
}

void cluster::start(std::uint64_t id, log_index applied) {
  node& n = nodes.at(id);
  n.conf = {};
  n.conf.id = node_id{id};
  n.conf.seed = id * 7919 + incarnations_;
  n.conf.incarnation = ++incarnations_;
  n.conf.election_min_ticks = 10;
  n.conf.election_max_ticks = 19;
  n.conf.heartbeat_ticks = 1;
  n.conf.restarted = incarnations_ > options.voters.size() + options.learners.size();
  n.conf.repair = n.damaged ? incarnations_ : 0;
  if (options.tune) options.tune(n.conf);
  const disk_state state = n.stored.state();
  if (auto ok = check_start(n.conf, state, applied); !ok) throw std::logic_error(ok.error());
  n.raft = std::make_unique<core>(n.conf, state, applied);
  n.newest = {};
  n.out.clear();
}

// ---------------------------------------------------------------- driving

bool cluster::take(std::uint64_t id) {
  node& n = nodes.at(id);
  if (!n.raft || !n.raft->has_output()) return false;
  n.raft->take_output(n.out);
  output& out = n.out;
  if (out.seq) {
    if (out.seq <= n.newest) throw std::logic_error("seq does not rise");
    n.newest = out.seq;
    if (out.snapshot)
      n.writing.push_back({out.seq, [s = out.snapshot](disk& d) { d.store_snapshot(s); }});
    for (const entry& e : out.entries)
      n.writing.push_back({out.seq, [e](disk& d) { d.store_entry(e); }});
    if (out.hard) n.writing.push_back({out.seq, [h = *out.hard](disk& d) { d.hard = h; }});
  }
  if (out.repaired) n.damaged = false;
  std::vector<message> messages = std::move(out.messages);
  for (message& m : messages) n.gated.push_back(std::move(m));
  if (options.sync_first) sync(id);
  apply(id, out);
  release(id, {});
  for (const read_state& r : out.reads) n.reads.push_back(r);
  check_safety(id);
  return true;
}

// Somebody knows it to be one; it may not have applied that change itself yet.
bool cluster::is_witness(std::uint64_t id) const {
  return std::ranges::any_of(nodes, [&](const auto& n) {
    return n.second.raft && n.second.raft->configuration().is_witness(node_id{id});
  });
}

void cluster::apply(std::uint64_t id, const output& out) {
  node& n = nodes.at(id);
  log_index index = n.raft->applied();
  if (out.snapshot) {
    // The state machine takes the snapshot over: what it had is part of it.
    n.applied.clear();
    n.applied_conf = out.snapshot->conf;
    index = out.snapshot->index;
  }
  for (const entry& e : out.committed) {
    if (e.index != index.next()) throw std::logic_error("committed entries are not contiguous");
    index = e.index;
    entry whole = e;
    // What a witness does not have is what the others have.
    if (e.kind == entry_kind::normal && e.data.empty() && is_witness(id)) {
      const auto at = committed_.find(e.index.value());
      if (at == committed_.end()) {
        n.applied.push_back(e);
        continue;
      }
      whole.data = at->second.data;
    }
    const auto [known, is_new] = committed_.try_emplace(e.index.value(), whole);
    if (!is_new && !(known->second == whole))
      throw std::logic_error("State Machine Safety: index " + to_string(e.index) + " differs on " +
                             std::to_string(id));
    n.applied.push_back(e);
  }
  if (const conf_state* conf = n.raft->applied(index)) n.applied_conf = *conf;
}

void cluster::sync(std::uint64_t id) { sync_through(id, nodes.at(id).newest); }

void cluster::sync_through(std::uint64_t id, persist_seq seq) {
  node& n = nodes.at(id);
  if (!n.raft || !seq) return;
  while (!n.writing.empty() && n.writing.front().seq <= seq) {
    n.writing.front().apply(n.stored);
    n.writing.pop_front();
  }
  n.raft->persisted(seq);
  release(id, seq);
  check_safety(id);
}

void cluster::release(std::uint64_t id, persist_seq through) {
  node& n = nodes.at(id);
  std::vector<message> waiting;
  for (message& m : std::exchange(n.gated, {})) {
    const bool wait = m.after > through && !(n.writing.empty() && m.after <= n.newest);
    if (wait) {
      waiting.push_back(std::move(m));
      continue;
    }
    check_release(id, m);
    network.push_back(std::move(m));
  }
  n.gated = std::move(waiting);
}

// The persist gate from outside: what a message promises stands on the disk when it leaves. A disk
// that is in a later term may have replaced what an older message spoke of.
void cluster::check_release(std::uint64_t id, const message& m) const {
  const disk& d = nodes.at(id).stored;
  const auto refuse = [&](const char* what) {
    throw std::logic_error("persist gate: " + std::string(what) + " of node " + std::to_string(id) +
                           " leaves before it is durable");
  };
  const bool grant = m.type == message_type::vote_resp && !m.reject;
  const bool request = m.type == message_type::vote;
  const bool ack = m.type == message_type::append_resp && !m.reject;
  if (!grant && !request && !ack) return;
  if (nodes.at(id).damaged && (grant || request)) refuse("a vote of a damaged log");
  if (d.hard.term > m.term) return;
  // A candidate that follows the winner of its term may have replaced the tail that it asked with.
  const core& now = at(id);
  if (request && (now.role() != role::candidate || now.current_term() != m.term)) return;
  if (d.hard.term < m.term) refuse("the term");
  if (grant && d.hard.vote != m.to) refuse("a vote");
  if (request && d.hard.vote != m.from) refuse("its own vote");
  const entry_log& log = nodes.at(id).raft->log();
  const log_index promised = ack ? m.match : request ? m.log_index : log_index{};
  const log_index base = d.snap ? d.snap->index : log_index{};
  if (promised <= base) return;
  const auto at = std::ranges::find(d.entries, promised, &entry::index);
  if (at == d.entries.end()) refuse("the log");
  const bool same_term = nodes.at(id).raft->current_term() == m.term;
  if (same_term && log.knows_term(promised) && log.term_at(promised) != at->term)
    refuse("the log as it is now");
}

void cluster::drain(std::uint64_t id) {
  sync(id);
  for (int i = 0; i < 1000 && take(id); ++i) sync(id);
}

bool cluster::deliver_one() {
  if (network.empty()) return false;
  message m = std::move(network.front());
  network.pop_front();
  const auto to = nodes.find(m.to.value());
  if (to == nodes.end() || !to->second.raft || is_cut(m.from, m.to) || (drop && drop(m))) {
    report(m, report_kind::snapshot_failed);
    return true;
  }
  report(m, report_kind::snapshot_ok);
  const auto id = m.to.value();
  (void)to->second.raft->step(std::move(m));
  check_safety(id);
  return true;
}

void cluster::lose_one() {
  report(network.front(), report_kind::snapshot_failed);
  network.pop_front();
}

// The transport's word on each snapshot (RAFTLAB: "report after each snapshot message").
void cluster::report(const message& m, report_kind how) {
  if (m.type == message_type::snapshot && up(m.from.value()))
    (void)at(m.from.value()).report(m.to, how);
}

int cluster::settle() {
  for (int round = 0; round < 2000; ++round) {
    for (auto& [id, n] : nodes)
      if (n.raft) drain(id);
    if (network.empty()) return round;
    while (!network.empty()) deliver_one();
  }
  throw std::logic_error("the cluster does not fall quiet");
}

void cluster::tick(std::uint64_t id, int n) {
  for (int i = 0; i < n; ++i) at(id).tick();
}

void cluster::tick_all(int n) {
  for (int i = 0; i < n; ++i) {
    for (auto& [id, member] : nodes)
      if (member.raft) member.raft->tick();
    settle();
  }
}

void cluster::elect(std::uint64_t id) {
  (void)at(id).campaign();
  settle();
  if (!at(id).is_leader()) throw std::logic_error("node " + std::to_string(id) + " did not win");
}

log_index cluster::propose(std::uint64_t id, const std::string& s) {
  const auto index = at(id).propose(text(s));
  if (!index) throw std::logic_error("proposal refused");
  return *index;
}

void cluster::crash(std::uint64_t id, std::size_t steps) {
  node& n = nodes.at(id);
  for (; steps > 0 && !n.writing.empty(); --steps) {
    n.writing.front().apply(n.stored);
    n.writing.pop_front();
  }
  n.writing.clear();
  n.gated.clear();
  n.raft.reset();
}

void cluster::damage(std::uint64_t id, log_index first) {
  node& n = nodes.at(id);
  disk& d = n.stored;
  std::erase_if(d.entries, [&](const entry& e) { return e.index >= first; });
  d.hard.commit = d.snap ? d.snap->index : log_index{};
  n.damaged = true;
}

void cluster::restart(std::uint64_t id) {
  node& n = nodes.at(id);
  // The state machine is as old as its snapshot: the log brings it up again.
  n.applied.clear();
  start(id, n.stored.snap ? n.stored.snap->index : log_index{});
  n.applied_conf = n.raft->configuration();
  check_safety(id);
}

void cluster::snapshot_and_compact(std::uint64_t id) {
  node& n = nodes.at(id);
  auto s = std::make_shared<snapshot>();
  s->index = n.raft->applied();
  if (n.stored.snap && s->index <= n.stored.snap->index) return;
  if (s->index > n.raft->status().stable) return;  // the log reaches a snapshot before its file is
  s->term = n.raft->log().term_at(s->index);
  s->conf = n.applied_conf;
  s->data = text("state at " + to_string(s->index));
  n.raft->set_snapshot(s);
  n.stored.store_snapshot(s);
  (void)n.raft->compact(s->index.next());
}

// ---------------------------------------------------------------- network

void cluster::isolate(std::uint64_t id) {
  for (const auto& [other, n] : nodes)
    if (other != id) cut(id, other);
}

bool cluster::is_cut(node_id a, node_id b) const {
  return std::ranges::any_of(cuts, [&](const auto& c) {
    return (c.first == a.value() && c.second == b.value()) ||
           (c.first == b.value() && c.second == a.value());
  });
}

std::optional<std::uint64_t> cluster::leader() const {
  std::optional<std::uint64_t> best;
  for (const auto& [id, n] : nodes) {
    if (!n.raft || !n.raft->is_leader()) continue;
    if (!best || at(*best).current_term() < n.raft->current_term()) best = id;
  }
  return best;
}

std::vector<std::string> cluster::texts(std::uint64_t id) const {
  std::vector<std::string> out;
  for (const entry& e : nodes.at(id).applied)
    if (e.kind == entry_kind::normal && !e.data.empty()) out.emplace_back(e.data.text());
  return out;
}

// ---------------------------------------------------------------- safety

void cluster::check_safety(std::uint64_t id) {
  const core& c = at(id);
  if (c.role() == role::leader) {
    const auto [known, is_new] = leaders_.try_emplace(c.current_term().value(), id);
    if (!is_new && known->second != id)
      throw std::logic_error("Election Safety: two leaders in term " + to_string(c.current_term()));
    if (is_new) {
      // Leader Completeness: everything that anybody applied is in the new leader's log.
      for (const auto& [index, e] : committed_) {
        const log_index at{index};
        if (at <= c.log().base()) continue;
        if (at > c.log().last() || !(c.log().at(at) == e))
          throw std::logic_error("Leader Completeness: leader " + std::to_string(id) +
                                 " lacks index " + std::to_string(index));
      }
    }
  }
  if (c.commit() > c.log().last()) throw std::logic_error("commit beyond the log");
  if (c.applied() > c.commit()) throw std::logic_error("applied beyond commit");
}

}  // namespace blixard::raft::test
