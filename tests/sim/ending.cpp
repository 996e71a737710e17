// The end of a run: everything is healed; then the cluster must make progress, every member must
// reach the same state, and what clients were told must have been possible.
#include <algorithm>

#include "messages/cluster.pb.h"
#include "tests/sim/world.hpp"

namespace blixard::sim {
namespace {

constexpr std::uint64_t search_steps = 20'000;
// A history as a person reads it: who asked what, when, and what came of it.
std::string told(const std::vector<operation>& history) {
  std::string out;
  for (const auto& o : history)
    out += "\n    " + std::to_string(o.invoked / us) + " to " +
           (o.returned == UINT64_MAX ? std::string{"?"} : std::to_string(o.returned / us)) +
           " us  " + to_string(o);
  return out;
}

constexpr std::uint64_t patience = 10 * 30 * tick_ns;  // ten election timeouts

}  // namespace

void world::end() {
  clients_->stop();
  heal();
  expect_progress();
  check_histories();
}

void world::heal() {
  healing_ = true;
  cuts_.clear();
  flapping_ = {};
  comeback_ = {};
  for (auto& [id, m] : members_) {
    m.where.disk.set_faults({});
    m.where.disk.fail_sync(0, 0);
    m.where.disk.lose_power_in(0);
    m.where.disk.lose_write(0);
    m.where.disk.misdirect_write(0);
    m.stalled_until = 0;
  }
  trace("heal", {}, 0, 0);
  // Delayed messages and pauses run out; a removed node that did not hear of it stays.
  for (const auto until = now_ + 1000 * ms; now_ < until;) step();
  for (auto& [id, m] : members_)
    if (!m.process && leader() != nullptr && leader()->core().configuration().contains(id))
      start(id);
}

std::string world::told_by_nodes() const {
  std::string out;
  for (const auto& [id, m] : members_) {
    out += "\n    node " + to_string(id) + ": ";
    if (!m.process) {
      out += "down";
      continue;
    }
    const auto s = m.process->core().status();
    out += std::string{raft::to_string(s.role)} + ", term " + to_string(s.hard.term) + ", leader " +
           to_string(s.lead) + ", committed " + to_string(s.hard.commit) + ", applied " +
           to_string(s.applied) + ", last " + to_string(s.last) + " of term " +
           to_string(s.last_term) + (s.recovering ? ", recovering" : "") + ", voters";
    for (const auto v : s.conf.voters) out += " " + to_string(v);
    for (const auto v : s.conf.outgoing) out += " -" + to_string(v);
  }
  return out;
}

// A proposal commits within ten election timeouts (of the slowest clock), on every member. Where
// snapshots may only take so many bytes per second, those that travel take their time.
void world::expect_progress() {
  const auto begun = now_;
  const auto bytes_before = bulk_bytes_;
  const auto deadline = [&] {
    const auto rate = settings_.snapshot_rate;
    const auto on_the_way = rate == 0 ? 0 : (bulk_bytes_ - bytes_before) * 1000 / rate * ms;
    return begun + patience / 9 * 10 + on_the_way;
  };
  log_index goal;
  blixard::term goal_term;
  const auto everywhere = [&] {
    auto* lead = leader();
    if (lead == nullptr || !goal || !checker_.is_committed(goal, goal_term)) return false;
    const auto& c = lead->core().configuration();
    return std::ranges::all_of(members_, [&](const auto& each) {
      const auto& m = each.second;
      return !c.is_voter(each.first) || (m.process && m.process->machine().applied_index() >= goal);
    });
  };
  while (!everywhere()) {
    if (now_ > deadline())
      throw failure("liveness",
                    std::string{"no proposal was committed and applied by all voters within ten "} +
                        "election timeouts after healing" + told_by_nodes());
    auto* lead = leader();
    if (lead != nullptr && (!goal || lead->core().current_term() != goal_term)) {
      goal = {};
      at_once(lead->core().id(), [](driver& d) {
        d.request({.client = 0, .attempt = UINT64_MAX, .read = false, .body = {}});
      });
      const auto& log = lead->core().log();
      if (log.last_term() == lead->core().current_term()) goal = log.last();
      goal_term = goal ? lead->core().current_term() : blixard::term{};
    }
    step();
  }
}

void world::check_histories() {
  clients_->close();
  for (const auto& a : clients_->acknowledged())
    if (!checker_.is_committed(a.index, a.term))
      throw failure("acknowledged writes",
                    "index " + to_string(a.index) + " was acknowledged and is not committed");
  const auto& machine = leader()->machine();
  for (std::uint64_t key = 0; key < clients_->keys(); ++key) {
    pb::Query q;
    q.mutable_kv_get()->set_key(clients::key_name(key));
    const auto a = machine.answer(q);
    clients_->final_read(
        key, a.error() != 0 ? 0 : std::strtoull(a.kv().value().c_str(), nullptr, 10), now_);
  }
  for (const auto& [key, history] : clients_->history()) {
    const auto v = check_register(history, search_steps);
    if (v == verdict::broken)
      throw failure("linearizability", "the history of key " + clients::key_name(key) + " (" +
                                           std::to_string(history.size()) + " operations)" +
                                           told(history));
    if (v == verdict::too_hard) ++counts_.undecided;
  }
}

outcome world::result() const {
  outcome out = counts_;
  out.hash = hash_;
  out.commits = checker_.commits();
  out.virtual_ms = now_ / ms;
  out.answered = clients_->answered();
  const auto shown = std::min<std::uint64_t>(recorded_, recent_.size());
  for (auto i = recorded_ - shown; out.failed && i < recorded_; ++i) {
    const auto& r = recent_[i % recent_.size()];
    out.last_events.push_back(std::to_string(r.time / us) + " us  " + r.what + " node " +
                              std::to_string(r.node) + "  " + std::to_string(r.a) + "  " +
                              std::to_string(r.b));
  }
  return out;
}

}  // namespace blixard::sim
