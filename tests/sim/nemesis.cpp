// What goes wrong: every 20 virtual milliseconds each dial is rolled.
#include <algorithm>

#include "messages/cluster.pb.h"
#include "tests/sim/world.hpp"

namespace blixard::sim {

void world::nemesis() {
  if (healing_) return;
  if (now_ >= cut_until_) cuts_.clear();
  constexpr std::array rounds{fault::partition, fault::oneway, fault::crash,    fault::kill,
                              fault::power_cut, fault::pause,  fault::transfer, fault::membership};
  for (const auto f : rounds)
    if (dice_.chance(dial(f))) strike(f);
  for (auto& [id, m] : members_)
    if (m.process && m.process->removed()) stop(m, false);
  later(20 * ms, [this] { nemesis(); });
}

void world::strike(fault f) {
  auto* m = anybody_up();
  if (m == nullptr) return;
  switch (f) {
    case fault::partition:
      return split();
    case fault::oneway:
      return cut_one_way();
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
    case fault::transfer:
      return hand_over();
    case fault::membership:
      return change_membership();
    case fault::loss:
    case fault::duplicate:
    case fault::delay:
    case fault::slow_disk:
    case fault::drift:
      return;  // where messages, disks and clocks are
  }
}

// With its power a machine loses its VMs and a part of what was not synced: everything behind some
// point, or any sectors. Without, only the process ends.
void world::stop(member& m, bool power) {
  const auto id = m.where.id;
  const bool gone = m.process->removed();
  trace(power ? "crash" : "kill", id, m.where.disk.pending(), now_);
  ++counts_.crashes;
  ++m.life;
  m.process.reset();
  m.held.clear();
  if (power) {
    m.where.running.clear();
    m.where.lease_end = 0;
    m.where.lease_incarnation = 0;
    if (dice_.one_in(2))
      m.where.disk.crash();
    else
      m.where.disk.crash_keeping_first(dice_.below(m.where.disk.pending() + 1));
  } else {
    m.where.disk.kill_process();
  }
  if (gone) return;  // as the product: it was removed, and stays down
  later(dice_.below(dice_.one_in(4) ? 1500 * ms : 200 * ms), [this, id, life = m.life] {
    if (members_.at(id).life == life) start(id);
  });
}

void world::split() {
  cuts_.clear();
  std::vector<node_id> left;
  std::vector<node_id> right;
  const auto* lead = dice_.one_in(2) ? leader() : nullptr;  // often it is the leader who is alone
  for (const auto& [id, m] : members_) {
    const bool is_left = lead != nullptr ? lead->core().id() == id : dice_.one_in(2);
    (is_left ? left : right).push_back(id);
  }
  for (const auto a : left) {
    for (const auto b : right) {
      cuts_.insert({a, b});
      cuts_.insert({b, a});
    }
  }
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

bool world::is_cut(node_id from, node_id to) const { return cuts_.contains({from, to}); }

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

void world::hand_over() {
  auto* lead = leader();
  const auto* to = anybody_up();
  if (lead == nullptr || to == nullptr) return;
  trace("transfer", lead->core().id(), to->where.id.value(), 0);
  lead->transfer(to->where.id);
}

// Grows and shrinks between three and seven members. New nodes have new ids and empty disks.
void world::change_membership() {
  auto* lead = leader();
  if (lead == nullptr) return;
  const auto& conf = lead->core().configuration();
  const auto size = conf.voters.size() + conf.learners.size();
  ++counts_.members_changed;
  if (size < 7 && (size <= 3 || dice_.one_in(2))) {
    const node_id id{next_id_++};
    auto& m = members_.try_emplace(id, id, dice_.next()).first->second;
    m.where.clock.base = 1'000'000 * ms + dice_.below(1'000'000) * ms;
    start(id);
    pb::NodeAddress address;
    address.set_node(id.value());
    address.set_address("10.0.0." + to_string(id) + ":7000");
    trace("add", id, size, 0);
    lead->change_membership({.changes = {{raft::conf_op::learner, id}},
                             .context = slice::copy_of(address.SerializeAsString())});
    return;
  }
  if (conf.voters.size() <= 3) return;
  const auto id = conf.voters[dice_.below(conf.voters.size())];
  trace("remove", id, size, 0);
  lead->change_membership({.changes = {{raft::conf_op::remove, id}}});
}

world::member* world::anybody_up() {
  std::vector<member*> up;
  for (auto& [id, m] : members_)
    if (m.process) up.push_back(&m);
  return up.empty() ? nullptr : up[dice_.below(up.size())];
}

}  // namespace blixard::sim
