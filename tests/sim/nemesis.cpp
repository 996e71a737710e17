// What goes wrong: every 20 virtual milliseconds each dial is rolled.
#include <algorithm>
#include <cerrno>

#include "tests/sim/world.hpp"

namespace blixard::sim {

void world::nemesis() {
  if (healing_) return;
  if (now_ >= cut_until_) cuts_.clear();
  constexpr std::array rounds{
      fault::partition, fault::oneway,       fault::ring,       fault::bridge,
      fault::flapping,  fault::crash,        fault::power_call, fault::kill,
      fault::power_cut, fault::pause,        fault::sync_error, fault::disk_full,
      fault::rot_log,   fault::rot_snapshot, fault::lost_write, fault::misdirected,
      fault::transfer,  fault::membership,   fault::clock_jump, fault::stall,
      fault::lost_disk, fault::lease_edge,   fault::comeback};
  for (const auto f : rounds)
    if (dice_.chance(dial(f))) strike(f);
  if (comeback_.now != comeback::stage::none) go_on_with_comeback();
  for (auto& [id, m] : members_)
    if (m.process && m.process->gone() && !is_other_damaged(m)) stop(m, false);
  if (settings_.core.reads == raft::read_mode::lease) probe_reads();
  later(20 * ms, [this] { nemesis(); });
}

// Whoever believes to lead is asked for a read, so that a lease that is believed for too long does
// not go unnoticed for want of clients.
void world::probe_reads() {
  for (auto& [id, m] : members_)
    if (m.process && m.process->core().is_leader() && now_ >= m.paused_until)
      at_once(id, [](driver& d) { d.probe_read(); });
}

void world::probe_often(std::uint64_t until) {
  if (healing_ || now_ >= until) return;
  probe_reads();
  later(1 * ms, [this, until] { probe_often(until); });
}

// Where the drift of clocks matters: a leader whose clock is slow loses touch with followers whose
// clocks are fast, which elect another one as early as they may, while clients still find the old
// one.
void world::cut_at_the_edge() {
  auto* lead = leader();
  if (!slowest_ || lead == nullptr) return;
  if (lead->core().id() != slowest_)
    return at_once(lead->core().id(), [to = slowest_](driver& d) { d.transfer(to); });
  cuts_.clear();
  isolate(slowest_);
  cut_until_ = now_ + 300 * ms;
  later(80 * ms, [this, until = cut_until_] { probe_often(until); });
}

void world::strike(fault f) {
  auto* m = anybody_up();
  if (m == nullptr) return;
  switch (f) {
    case fault::partition:
      return split();
    case fault::oneway:
      return cut_one_way();
    case fault::ring:
      return cut_ring();
    case fault::bridge:
      return cut_bridge();
    case fault::flapping:
      return flap();
    case fault::power_call:
      if (!m->where.spoiled) m->where.disk.lose_power_in(1 + dice_.below(10));
      return;
    case fault::sync_error:
      m->where.disk.set_faults({.failed_sync_forgets = dice_.one_in(2)});
      return m->where.disk.fail_sync(1 + dice_.below(3), EIO);
    case fault::disk_full:
      return fill_disk(*m);
    case fault::rot_log:
    case fault::rot_snapshot:
    case fault::lost_write:
    case fault::misdirected:
      return spoil(*m, f);
    case fault::clock_jump:
      return jump_clock(*m);
    case fault::crash:
      return stop(*m, true);
    case fault::kill:
      return stop(*m, false);
    case fault::power_cut:
      for (auto& [id, each] : members_)
        if (each.process) stop(each, true);
      return;
    case fault::pause:
      return pause(*m);
    case fault::lease_edge:
      return cut_at_the_edge();
    case fault::lost_disk:
      return lose_disk();
    case fault::comeback:
      return begin_comeback();
    case fault::stall:
      return stall(*m);
    case fault::transfer:
      return hand_over();
    case fault::membership:
      return change_membership();
    case fault::loss:
    case fault::duplicate:
    case fault::delay:
    case fault::slow_disk:
    case fault::torn:
    case fault::drift:
    case fault::lease_reads:
    case fault::ranks:
    case fault::reorder:
    case fault::short_reign:
    case fault::split_change:
    case fault::snapshots:
    case fault::chunk_loss:
    case fault::chunk_stop:
    case fault::witnesses:
      return;  // where messages, disks, clocks, elections and changes are
  }
}

// With its power a machine loses its VMs and a part of what was not synced: everything behind some
// point, or any sectors. Without, only the process ends. What a disk did to its content shows after
// a loss of power; that the last entry was durable, it tells only half a second later
// (runtime/storage/README.md, "Known limit").
void world::stop(member& m, bool power) {
  const auto id = m.where.id;
  const bool gone = m.process && m.process->gone();
  m.where.disk.lose_write(0);
  m.where.disk.misdirect_write(0);
  m.where.disk.fail_sync(0, 0);
  if (m.where.spoiled) {
    power = true;
    if (m.process && m.where.disk.has_power()) m.process->settle_disk();
  }
  trace(power ? "crash" : "kill", id, m.where.disk.pending(), now_);
  ++counts_.crashes;
  ++m.life;
  m.process.reset();
  m.held.clear();
  if (power) {
    m.where.stop_vms();
    if (dice_.chance(dial(fault::torn)))
      m.where.disk.crash();
    else
      m.where.disk.crash_keeping_first(dice_.below(m.where.disk.pending() + 1));
  } else {
    m.where.disk.kill_process();
  }
  m.left = gone;
  if (gone) return;  // as the product: it was removed, and stays down
  later(dice_.below(dice_.one_in(4) ? 1500 * ms : 200 * ms), [this, id, life = m.life] {
    if (members_.at(id).life == life) start(id);
  });
}

void world::end_process(member& m) {
  trace("end", m.where.id, m.where.disk.has_power() ? 1 : 0, 0);
  stop(m, !m.where.disk.has_power());
}

bool world::is_other_damaged(const member& m) const {
  return std::ranges::any_of(members_, [&](const auto& each) {
    const auto& [id, o] = each;
    return id != m.where.id && (o.where.spoiled || o.where.lost || (o.left && is_believed_in(id)) ||
                                (o.process && o.process->core().recovering()));
  });
}

// By somebody who does not know yet that it was removed.
bool world::is_believed_in(node_id id) const {
  return std::ranges::any_of(members_, [&](const auto& each) {
    return each.second.process && each.second.process->core().configuration().is_voter(id);
  });
}

// With witnesses the leader's disk can be the only one that has the data of what is committed.
bool world::may_be_damaged(const member& m) const { return !witnesses_ || m.where.witness; }

// Until the next restart has dealt with it, this is the only disk that may be wrong.
void world::spoil(member& m, fault how) {
  if (is_other_damaged(m) || !may_be_damaged(m)) return;
  auto& disk = m.where.disk;
  if (how == fault::rot_log && !disk.rot("/data/wal")) return;
  if (how == fault::rot_snapshot && !disk.rot("/data/snap")) return;
  if (how == fault::lost_write) disk.lose_write(1 + dice_.below(20));
  if (how == fault::misdirected) disk.misdirect_write(1 + dice_.below(20));
  m.where.spoiled = true;
  disk.lose_power_in(0);
  trace(to_string(how).data(), m.where.id, 0, 0);
}

void world::fill_disk(member& m) {
  m.where.disk.set_faults({.capacity_bytes = m.where.disk.used() + dice_.below(4096)});
  const auto length = dice_.below(800 * ms);
  trace("full", m.where.id, length, 0);
  later(length, [&m] { m.where.disk.set_faults({}); });
}

// At most one jump a second: node leases are made for a declared difference of clocks.
void world::jump_clock(member& m) {
  if (now_ < jumped_at_ + 1000 * ms) return;
  jumped_at_ = now_;
  const auto length = dice_.below(40 * ms);
  m.where.clock.base += length;
  trace("jump", m.where.id, length, 0);
}

void world::cut_between(node_id a, node_id b) {
  cuts_.insert({a, b});
  cuts_.insert({b, a});
}

void world::cut_ring() {
  cuts_.clear();
  std::vector<node_id> order;
  for (const auto& [id, m] : members_)
    order.insert(order.begin() + static_cast<std::ptrdiff_t>(dice_.below(order.size() + 1)), id);
  const auto n = order.size();
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i + 1; j < n; ++j)
      if (j != i + 1 && !(n > 3 && i == 0 && j + 1 == n)) cut_between(order[i], order[j]);
  cut_until_ = now_ + dice_.below(2000 * ms);
  trace("ring", order.front(), n, cut_until_);
}

void world::cut_bridge() {
  cuts_.clear();
  const auto bridge = anybody_up()->where.id;
  std::vector<node_id> halves[2];
  for (const auto& [id, m] : members_)
    if (id != bridge) halves[dice_.below(2)].push_back(id);
  for (const auto a : halves[0])
    for (const auto b : halves[1]) cut_between(a, b);
  cut_until_ = now_ + dice_.below(2000 * ms);
  trace("bridge", bridge, halves[0].size(), cut_until_);
}

void world::flap() {
  const auto* a = anybody_up();
  const auto* b = anybody_up();
  if (a == b) return;
  flapping_ = {a->where.id, b->where.id, dice_.between(10 * ms, 150 * ms),
               now_ + dice_.below(2000 * ms)};
  trace("flapping", flapping_.a, flapping_.b.value(), flapping_.until);
}

void world::split() {
  cuts_.clear();
  std::vector<node_id> left;
  std::vector<node_id> right;
  const auto* lead = dice_.one_in(2) ? leader() : nullptr;  // often it is the leader who is alone
  const auto* companion = dice_.one_in(3) ? anybody_up() : nullptr;  // or has one left
  for (const auto& [id, m] : members_) {
    const bool is_left =
        lead != nullptr ? lead->core().id() == id || companion == &m : dice_.one_in(2);
    (is_left ? left : right).push_back(id);
  }
  for (const auto a : left)
    for (const auto b : right) cut_between(a, b);
  cut_until_ = now_ + dice_.below(2000 * ms);
  trace("split", {}, left.size(), right.size());
}

void world::cut_one_way() {
  const auto* a = anybody_up();
  const auto* b = anybody_up();
  if (a == b) return;
  cuts_.insert({a->where.id, b->where.id});
  cut_until_ = std::max(cut_until_, now_ + dice_.below(1500 * ms));
  trace("oneway", a->where.id, b->where.id.value(), cut_until_);
}

bool world::is_cut(node_id from, node_id to) const {
  const auto& f = flapping_;
  const bool on_it = (from == f.a && to == f.b) || (from == f.b && to == f.a);
  if (on_it && now_ < f.until && now_ / f.period % 2 == 0) return true;
  return is_apart(from) != is_apart(to) || cuts_.contains({from, to});
}

void world::pause(member& m) {
  if (now_ < m.paused_until) return;
  const auto length = dice_.below(1000 * ms);
  m.paused_until = now_ + length;
  trace("pause", m.where.id, length, 0);
  later(length, [&m, life = m.life] {
    if (m.life != life) return;
    for (auto held = std::exchange(m.held, {}); auto& what : held) what();
  });
}

void world::isolate(node_id id) {
  for (const auto& [other, m] : members_)
    if (other != id) cut_between(id, other);
  cut_until_ = std::max(cut_until_, now_ + dice_.below(1500 * ms));
  trace("isolate", id, cut_until_, 0);
}

// A machine that has much to apply, or is busy with a snapshot.
void world::stall(member& m) {
  m.stalled_until = now_ + dice_.below(2000 * ms);
  trace("stall", m.where.id, m.stalled_until, 0);
}

// Sometimes whoever hands over is cut off before it hears of its successor.
void world::hand_over() {
  auto* lead = leader();
  const auto* to = anybody_up();
  if (lead == nullptr || to == nullptr) return;
  trace("transfer", lead->core().id(), to->where.id.value(), 0);
  const auto from = lead->core().id();
  at_once(from, [to = to->where.id](driver& d) { d.transfer(to); });
  if (dice_.one_in(4))
    later(dice_.below(2 * ms), [this, from] { healing_ ? void() : isolate(from); });
}

// Grows and shrinks between three and seven members, one at a time or by joint consensus (thesis
// section 4.3). New nodes have new ids and empty disks.
void world::change_membership() {
  auto* lead = leader();
  if (lead == nullptr) return;
  const auto from = lead->core().id();
  const auto& conf = lead->core().configuration();
  const auto size = conf.voters.size() + conf.learners.size();
  ++counts_.members_changed;
  if (dice_.one_in(4)) return replace_members(from, conf.voters);
  if (size < 7 && (size <= 3 || dice_.one_in(2))) {
    const bool witness = witnesses_ && dice_.one_in(3) && count_witnesses(conf.voters) < size / 2;
    const auto id = new_member(witness);
    return ask_change(
        from, {.changes = {{witness ? raft::conf_op::witness : raft::conf_op::learner, id}}});
  }
  if (conf.voters.size() <= 3) return;
  const auto victim = conf.voters[dice_.below(conf.voters.size())];
  trace("remove", victim, size, 0);
  ask_change(from, {.changes = {{raft::conf_op::remove, victim}}});
}

std::size_t world::count_witnesses(const std::vector<node_id>& ids) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(ids, [&](node_id id) { return members_.at(id).where.witness; }));
}

// One voter, or two, by as many new nodes of the same kind, in one step.
void world::replace_members(node_id lead, const std::vector<node_id>& voters) {
  auto left = voters;
  std::vector<raft::conf_change::single> changes;
  for (auto n = dice_.between(1, 2); n > 0 && left.size() > 1; --n) {
    const auto at = left.begin() + static_cast<std::ptrdiff_t>(dice_.below(left.size()));
    const bool witness = members_.at(*at).where.witness;
    changes.push_back({raft::conf_op::remove, *at});
    changes.push_back(
        {witness ? raft::conf_op::witness : raft::conf_op::voter, new_member(witness)});
    left.erase(at);
  }
  trace("replace", lead, changes.size(), 0);
  ask_change(lead, {.changes = std::move(changes)});
}

// It starts at once, with an empty disk that never held anything.
node_id world::new_member(bool witness) {
  const node_id id{next_id_++};
  auto& m = members_.add(id, id, dice_.next());
  m.where.clock.base = 1'000'000 * ms + dice_.below(1'000'000) * ms;
  if (drifts_) m.where.clock.rate_ppm = draw_rate(id);
  m.where.witness = witness;
  if (witness) checker_.is_witness(id);
  m.where.ticket = admission{};
  start(id);
  trace("new", id, witness ? 1 : 0, 0);
  return id;
}

// The state machine learns the address of the last of the new ones.
void world::ask_change(node_id lead, raft::conf_change change) {
  const auto newest = change.changes.back();
  if (newest.op != raft::conf_op::remove) change.context = address_of(newest.node);
  at_once(lead, [c = std::move(change)](driver& d) { d.change_membership(c); });
  if (dice_.chance(dial(fault::split_change)))
    later(dice_.below(30 * ms), [this] { healing_ ? void() : split(); });
}

world::member* world::anybody_up() {
  std::vector<member*> up;
  for (auto& [id, m] : members_)
    if (m.process) up.push_back(&m);
  return up.empty() ? nullptr : up[dice_.below(up.size())];
}

}  // namespace blixard::sim
