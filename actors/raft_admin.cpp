// What needs the leader's certainty: membership, leadership transfer, node leases.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "actors/frames.hpp"
#include "actors/raft.hpp"
#include "messages/cluster.pb.h"

namespace blixard::actors {
namespace {

// A learner becomes a voter when it is this close to the leader, or has what was committed one look
// (ten ticks) ago, which under load is many more entries: it would not slow commits down.
constexpr std::uint64_t promote_lag_entries = 100;
constexpr std::uint64_t transfer_patience_ns = 5'000'000'000;
constexpr std::uint64_t notice_every_ns = 500'000'000;
constexpr std::uint64_t notice_span_ns = 2'000'000'000;

std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void raft_driver::answer_done(const origin& to) {
  if (to.where == origin::kind::nobody) return;
  pb::Answer a;
  a.set_index(core_.commit().value());
  a.set_term(core_.current_term().value());
  a.set_node(facts_.self.value());
  a.mutable_done();
  send(to_.router, answers{{{to, answer_frame(to.request, a)}}});
}

void raft_driver::administer(const admin_request& request) {
  if (!core_.is_leader()) {
    send(to_.router, reroute{request.from, request.frame, node_id{}});
    return;
  }
  // Before its first commit a leader changes no configuration (thesis section 4.1): a moment later.
  if (core_.log().term_at(core_.commit()) != core_.current_term() &&
      early_admin_.size() < limits::client_outstanding_max) {
    early_admin_.push_back(request);
    return;
  }
  pb::AdminRequest r;
  if (!parse(r, request.frame->body())) {
    answer(request.from, make_error(errc::invalid_argument, "not an admin request"));
    return;
  }
  switch (r.op_case()) {
    case pb::AdminRequest::kJoin:
      join(request.from, r);
      break;
    case pb::AdminRequest::kRemove:
      remove(request, node_id{r.remove()});
      break;
    case pb::AdminRequest::kTransfer:
      transfer(request.from, node_id{r.transfer()});
      break;
    case pb::AdminRequest::kSnapshot:
      if (snapshot_askers_.size() >= limits::client_outstanding_max) {
        auto e = make_error(errc::overloaded, "too many wait for a snapshot");
        e.retry_after_ms = 1000;
        answer(request.from, e);
        break;
      }
      snapshot_askers_.push_back(request.from);
      maybe_take_snapshot();
      break;
    case pb::AdminRequest::OP_NOT_SET:
      answer(request.from,
             make_error(errc::unsupported, "an admin request this node does not know"));
      break;
  }
  schedule_flush();
}

/// The leader itself, and who is connected to it; where no link is known yet, everybody.
bool raft_driver::is_there(node_id id) const {
  const auto view = facts_.links.load();
  if (id == core_.id() || !view) return true;
  return std::ranges::any_of(view->links,
                             [id](const auto& l) { return l.node == id && l.connected; });
}

/// Who is there now; none: 0.
node_id raft_driver::who_has(const net::address& where) const {
  if (where.to_string() == options_.advertise) return core_.id();
  if (const auto view = facts_.links.load())
    for (const auto& l : view->links)
      if (l.connected && l.where == where) return l.node;
  return {};
}

void raft_driver::join(const origin& from, const pb::AdminRequest& request) {
  const auto& wish = request.join();
  const node_id id{wish.node()};
  if (!id || wish.address().empty()) {
    answer(from, make_error(errc::invalid_argument, "a node joins with an id and an address"));
    return;
  }
  const auto& conf = core_.configuration();
  const bool member = conf.contains(id);
  // What a node is does not change with its disk: an id that was a witness's never gets data.
  if ((wish.itself() || !member) && conf.is_witness(id) != wish.witness() &&
      (member || conf.is_witness(id))) {
    answer(from, make_error(errc::invalid_argument,
                            "node " + to_string(id) +
                                (wish.witness() ? " is a member with data, not a witness"
                                                : " is or was a witness, which has no data"),
                            "take another id, or start it as what it is"));
    return;
  }
  const auto where = net::address::parse(wish.address());
  if (!where || !net::can_be_dialled(*where)) {
    answer(from, make_error(errc::invalid_argument,
                            "\"" + wish.address() + "\" is no address that others can dial",
                            "an IP address and a port, such as 127.0.0.1:7002"));
    return;
  }
  // Two processes of one id would acknowledge for each other what only one of them has.
  if (member && is_there(id)) {
    answer(from, make_error(errc::conflict,
                            "node " + to_string(id) + " is a member and is up where it is",
                            "stop it first, or take another id"));
    return;
  }
  if (const node_id other = who_has(*where); other && other != id) {
    answer(from,
           make_error(errc::conflict, wish.address() + " is where node " + to_string(other) + " is",
                      "each node has an address of its own"));
    return;
  }
  pb::NodeAddress context;
  context.set_node(id.value());
  context.set_address(wish.address());
  if (wish.witness() && wish.itself()) context.set_disk(wish.disk());
  raft::conf_change change;
  const auto fresh = wish.witness() ? raft::conf_op::witness : raft::conf_op::learner;
  change.changes.push_back({member ? raft::conf_op::update : fresh, id});
  change.context = to_slice(context);
  change_membership(from, change);
}

void raft_driver::change_membership(const origin& from, const raft::conf_change& change) {
  const auto index = core_.propose_conf(change);
  if (!index) {
    auto e = make_error(errc::overloaded, "the leader cannot change the membership at the moment",
                        "try again");
    e.retry_after_ms = 200;
    answer(from, e);
    return;
  }
  last_conf_proposed_ = *index;
  wait_for({*index, core_.current_term(), from, now()});
}

std::optional<error> raft_driver::why_not_remove(node_id id) const {
  const auto& conf = core_.configuration();
  if (!conf.contains(id))
    return make_error(errc::not_found, "node " + to_string(id) + " is not a member",
                      "see `cluster status`");
  if (!conf.is_voter(id)) return std::nullopt;
  if (conf.voters.size() == 1)
    return make_error(errc::invalid_state, "the last voter cannot be removed");
  const auto there =
      std::ranges::count_if(conf.voters, [&](node_id v) { return v != id && is_there(v); });
  const auto left = static_cast<std::ptrdiff_t>(conf.voters.size()) - 1;
  if (there > left / 2) return std::nullopt;
  return make_error(errc::invalid_state,
                    "without node " + to_string(id) + " only " + std::to_string(there) + " of " +
                        std::to_string(left) + " voters would be up: no majority",
                    "bring the others back, or remove those that are gone first");
}

void raft_driver::remove(const admin_request& request, node_id id) {
  if (const auto why = why_not_remove(id)) {
    answer(request.from, *why);
    return;
  }
  // A leader lets somebody who stays do it. If it did it itself it would hear of no leader any
  // more, and the clients that are connected to it would wait for one until it ends.
  if (id == core_.id() && !leaving_.frame && hand_over())
    leaving_ = {request.from, request.frame, ticks_ + handover_ticks_};
  else
    remove_member(request.from, id);
}

// Whoever leads now takes this node out of the configuration; this node, if nobody wanted to lead.
void raft_driver::leave() {
  const auto [from, frame, until] = std::exchange(leaving_, {});
  if (core_.is_leader())
    remove_member(from, core_.id());
  else
    send(to_.router, reroute{from, frame, node_id{}});
}

void raft_driver::remove_member(const origin& from, node_id id) {
  // Its VMs may still run until its lease ends: from here on it gets no grant, and declare_down()
  // gives them free once the end is certain.
  raft::conf_change change;
  change.changes.push_back({raft::conf_op::remove, id});
  change_membership(from, change);
}

void raft_driver::transfer(const origin& from, node_id target) {
  if (target == core_.id()) {
    answer_done(from);
    return;
  }
  if (transfer_.target) {
    answer(from, make_error(errc::conflict, "leadership is being handed over already"));
    return;
  }
  if (const auto r = core_.transfer(target); !r && r.error() == raft::refusal::dropped) {
    answer(from, make_error(errc::invalid_state, "node " + to_string(target) + " is recovering",
                            "see `cluster status`"));
    return;
  } else if (!r) {
    answer(from,
           make_error(errc::not_found, "node " + to_string(target) + " is not a voter with data",
                      "see `cluster status`"));
    return;
  }
  transfer_ = {from, target, now() + transfer_patience_ns};
}

void raft_driver::promote_learners() {
  if (!core_.is_leader() || core_.configuration().learners.empty()) {
    committed_before_ = UINT64_MAX;
    return;
  }
  const auto commit = core_.commit().value();
  const auto enough = std::min(commit - std::min(commit, promote_lag_entries),
                               std::exchange(committed_before_, commit));
  // One change at a time.
  if (last_conf_proposed_ > applied_ || core_.configuration().joint()) return;
  raft::conf_change change;  // of several at once: through a joint configuration
  for (const auto& p : core_.status().peers) {
    if (!p.learner || !p.recent_active || p.state != raft::progress_state::replicate) continue;
    if (p.recovering || p.match.value() < enough) continue;
    change.changes.push_back({raft::conf_op::voter, p.id});
  }
  if (change.changes.empty()) return;
  const auto index = core_.propose_conf(change);
  if (!index) return;
  last_conf_proposed_ = *index;
  for (const auto& c : change.changes)
    spdlog::info("node {} has caught up: it becomes a voter", c.node.value());
}

// ---------------------------------------------------------------- leases

void raft_driver::renew_lease(const lease_frame& f) {
  pb::LeaseRenewal r;
  if (!core_.is_leader() || !parse(r, f.frame->body())) return;
  next_round_.leases.push_back({node_id{r.node()}, r.incarnation(), f.frame});
  schedule_flush();
}

void raft_driver::grant(const std::vector<lease_request>& list) {
  for (const auto& l : list) {
    pb::LeaseRenewal asked;
    if (!parse(asked, l.frame->body())) continue;
    pb::LeaseGrant g;
    g.set_incarnation(l.incarnation);
    g.set_sent_ns(asked.sent_ns());
    g.set_registered(core_.configuration().contains(l.node) &&
                     leases_.grant(l.node, l.incarnation, now()));
    g.set_duration_ms(g.registered() ? std::chrono::milliseconds(limits::lease_duration).count()
                                     : 0);
    auto frame = frame::make(
        {.kind = frame_kind::lease_grant, .cls = priority::high, .target = l.node}, to_slice(g));
    if (l.node == facts_.self)
      send(to_.vm, lease_granted{std::move(frame)});
    else
      outgoing_.frames.push_back({l.node, false, std::move(frame)});
  }
  if (!outgoing_.frames.empty()) schedule_flush();
}

void raft_driver::declare_down() {
  if (!core_.is_leader()) return;
  for (const auto& n : leases_.take_expired(now())) {
    pb::Command c;
    c.set_time_ms(unix_ms());
    c.mutable_node_down()->set_node(n.id.value());
    c.mutable_node_down()->set_incarnation(n.incarnation);
    if (!core_.propose(encode_command(c, metrics_.command_encodes))) {
      leases_.retry(n.id, now());
      continue;
    }
    spdlog::warn("node {} is {}: its lease has ended", n.id.value(),
                 core_.configuration().contains(n.id) ? "down" : "gone");
  }
}

// A node that was removed while it was down campaigns for ever: the others tell it, now and then.
void raft_driver::tell_removed(node_id node) {
  if (!node || core_.recovering() || applied_ < last_conf_handed_ ||
      core_.configuration().voters.empty() || leases_.knows(node))
    return;
  auto& last = told_at_ns_[node];
  if (last != 0 && now() - last < notice_every_ns) return;
  last = now();
  outgoing_.frames.push_back(
      {node, false,
       frame::make({.kind = frame_kind::removed, .cls = priority::high, .target = node}, slice{})});
  schedule_flush();
}

// Believed when a majority of the configuration that this node last knew has said so for a while
// and no leader was heard meanwhile: members that lag behind cannot send a node away. A leader that
// others follow is a member; one that nobody follows stops leading before it is told.
void raft_driver::told_removed(node_id by) {
  const auto& conf = core_.configuration();
  if (core_.is_leader() || !was_member_ || !conf.is_voter(by)) return;
  auto& span = notices_[by];
  if (span.first_ns == 0) span.first_ns = now();
  span.last_ns = now();
  std::size_t sure = 0;
  for (const auto& [id, n] : notices_)
    if (n.last_ns - n.first_ns >= notice_span_ns && now() - n.last_ns < notice_span_ns) ++sure;
  if (sure * 2 >= conf.voters.size() && sure > 0)
    options_.fatal(13, "this node was removed from the cluster while it was away");
}

void raft_driver::disk_changed(const disk_space& d) {
  disk_full_ = d.full;
  if (d.full) hand_over();
}

void raft_driver::stop() {
  stopping_ = true;
  persist_late();
  hand_over();
}

// The voter that is furthest ahead takes over without waiting for an election timeout.
bool raft_driver::hand_over() {
  if (!core_.is_leader() || transfer_.target) return false;
  node_id best;
  log_index match;
  for (const auto& p : core_.status().peers) {
    if (p.id == core_.id() || p.learner || p.witness || p.recovering || !p.recent_active) continue;
    if (!best || p.match > match) {
      best = p.id;
      match = p.match;
    }
  }
  schedule_flush();
  return best && core_.transfer(best);
}

}  // namespace blixard::actors
