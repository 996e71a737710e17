// Whoever starts with an empty disk asks the cluster to be admitted, as apps/node_disk.cpp does:
// first whether its id is known already, and only once; then for its place, until it gets an
// answer. Questions and answers get lost as those of clients do.
#include "messages/cluster.pb.h"
#include "tests/sim/world.hpp"

namespace blixard::sim {
namespace {
constexpr std::uint64_t ask_every_ns = 200 * ms;
}

void world::begin_to_join(member& m) {
  m.was_member.reset();
  ask_to_join(m, m.life);
}

void world::ask_to_join(member& m, std::uint64_t life) {
  if (m.life != life || m.process) return;
  later(ask_every_ns, [this, &m, life] { ask_to_join(m, life); });
  const auto* lead = leader();
  if (lead == nullptr) return;
  const auto id = m.where.id;
  const auto to = lead->core().id();
  if (is_cut(id, to) || (!healing_ && dice_.chance(dial(fault::loss)))) return;
  const client_request r{.client = admission_client,
                         .attempt = id.value() << 32 | life,
                         .read = !m.was_member,
                         .body = {}};
  trace("asks_to_join", id, r.read ? 0 : 1, to.value());
  on_node(to, dice_.below(300 * us), [r, id, witness = m.where.witness](driver& d) {
    r.read ? d.request(r) : d.admit(r, id, witness);
  });
}

void world::admission_answered(const client_reply& r) {
  auto& m = members_.at(node_id{r.attempt >> 32});
  if (m.life != (r.attempt & UINT32_MAX) || m.process) return;
  if (r.kind != reply_kind::answered) return;  // it asks again
  if (r.answer == nullptr) {                   // to the first question, maybe asked twice
    m.was_member = m.was_member.value_or(r.is_known);
    return;
  }
  m.where.ticket = admission{*m.was_member, term{r.answer->term()}};
  trace("admitted", m.where.id, *m.was_member ? 1 : 0, r.answer->term());
  start(m.where.id);
  if (healing_) return;
  came_back(m.where.id);
  // What it does not know any more matters most while it has next to nothing: a restart then must
  // not make it forget that, too, and those who were away may meet it first.
  if (dice_.one_in(3))
    later(dice_.below(100 * ms), [this, &m, life = m.life] {
      if (!healing_ && m.life == life && m.process) stop(m, dice_.one_in(2));
    });
  if (dice_.chance(dial(fault::split_change)))
    later(dice_.below(30 * ms), [this] { healing_ ? void() : split(); });
}

// A machine comes back with an empty disk. One disk at a time, as with damage; in clusters with
// witnesses only theirs, since what a leader and a witness have committed is on one disk with data.
void world::lose_disk() {
  std::vector<member*> all;
  for (auto& [id, m] : members_)
    if (may_lose_disk(m)) all.push_back(&m);
  if (all.empty()) return;
  auto& m = *all[dice_.below(all.size())];
  // Who was removed comes back now and then, if the inventory knows it: not all that the nemesis
  // adds at once have told their addresses.
  const auto id = m.where.id;
  const auto* lead = leader();
  if (lead == nullptr) return;
  if (!lead->core().configuration().contains(id) &&
      (!dice_.one_in(3) || lead->machine().node(id) == nullptr))
    return;
  lose_disk_of(m);
}

bool world::may_lose_disk(const member& m) const {
  return !is_other_damaged(m) && may_be_damaged(m);
}

void world::lose_disk_of(member& m) {
  const auto id = m.where.id;
  // With its machine, or, where it makes a difference, only the directory: the VMs are still there.
  m.where.expire(now_);
  if (m.process) stop(m, m.where.running.empty() || counts_.disks_lost % 2 != 0);
  m.where.lose_page();
  m.where.disk.replace();
  m.where.durable.disk_lost();
  checker_.disk_lost(id);
  m.where.lost = true;
  ++counts_.disks_lost;
  trace("disk_lost", id, 0, 0);
  later(dice_.below(500 * ms), [this, &m, id, life = m.life] {
    if (m.life == life && !m.process) start(id);
  });
}

}  // namespace blixard::sim
