// Queries of the node-state actor: what the state machine answers alone, and what needs another
// actor's part (summaries and plans from the cache, consoles from the VM actor).
#include <fmt/format.h>

#include "actors/frames.hpp"
#include "actors/node_state.hpp"
#include "messages/cluster.pb.h"
#include "metrics/registry.hpp"
#include "runtime/net/loop.hpp"

namespace blixard::actors {

void node_state::answer(const origin& to, const pb::Answer& a) {
  if (to.where == origin::kind::nobody) return;
  send(to_.router, answers{{{to, answer_frame(to.request, a)}}});
}

void node_state::refuse(const origin& to, const error& e) {
  if (to.where == origin::kind::nobody) return;
  send(to_.router, answers{{{to, error_answer(to.request, e, facts_.self)}}});
}

void node_state::read(const ready_reads& r) {
  // Raft sends reads behind the entries that they have to see, in one order.
  CHECK_GE(machine_.applied_index(), r.index);
  answers out;
  for (const auto& one : r.list) {
    pb::Query q;
    if (!parse(q, one.query->body())) {
      refuse(one.from, make_error(errc::invalid_argument, "not a query"));
      continue;
    }
    answer_query(one.from, q, one.query, out);
  }
  if (!out.list.empty()) send(to_.router, std::move(out));
}

void node_state::local(const local_query& l) {
  if (l.from.is_late(net::monotonic_ns())) return;
  pb::Query q;
  if (!parse(q, l.query->body())) {
    refuse(l.from, make_error(errc::invalid_argument, "not a query"));
    return;
  }
  if (q.stale()) stale_reads_.add();
  answers out;
  answer_query(l.from, q, l.query, out);
  if (!out.list.empty()) send(to_.router, std::move(out));
}

void node_state::answer_query(const origin& from, const pb::Query& q, const frame_ptr& frame,
                              answers& out) {
  switch (q.q_case()) {
    case pb::Query::kClusterStatus:
      send(to_.raft, status_query{from, frame});
      return;
    case pb::Query::kVmExplain:
      explain(from, q);
      return;
    case pb::Query::kVmLogs:
      logs(from, q, frame);
      return;
    case pb::Query::kCacheStats:
      send(to_.cache, local_query{from, frame});
      return;
    case pb::Query::kMetrics:
      metrics_text(from, q);
      return;
    case pb::Query::kDigest:
      if (facts_.witness)
        refuse(from, no_data());
      else
        digest(from, q);
      return;
    case pb::Query::kKvGet:
    case pb::Query::kKvList:
    case pb::Query::kVmList:
    case pb::Query::kVmShow:
    case pb::Query::kNodeList:
    case pb::Query::kNodeShow:
    case pb::Query::kComplete:
    case pb::Query::Q_NOT_SET:
      break;
  }
  if (facts_.witness) {
    refuse(from, no_data());
    return;
  }
  pb::Answer a;
  machine_.answer(q, a);
  complete_header(a);
  out.list.push_back({from, answer_frame(from.request, a)});
}

error node_state::no_data() const {
  return make_error(errc::invalid_state,
                    "node " + to_string(facts_.self) + " is a witness: it has no data",
                    "leave --stale out, or ask another node");
}

void node_state::complete_header(pb::Answer& a) const {
  a.set_node(facts_.self.value());
  a.set_term(facts_.flags->term().value());
}

namespace {

void show_progress(const raft::peer_status& p, pb::MemberStatus& m) {
  m.set_match_index(p.match.value());
  m.set_rank(p.rank);
  m.set_progress(std::string(raft::to_string(p.state)));
  m.set_inflight(p.inflight);
  m.set_inflight_bytes(p.inflight_bytes);
  m.set_window_messages(p.window_messages);
  m.set_window_bytes(p.window_bytes);
  m.set_ack_delay_us(p.delay_us);
}

std::string role_in(const raft_view& view, node_id id) {
  if (!view.conf.contains(id)) return "none";
  if (id == view.leader) return "leader";
  if (!view.conf.is_voter(id)) return "learner";
  return view.conf.is_witness(id) ? "witness" : "follower";
}

}  // namespace

void node_state::show_member(const raft_view& view, pb::MemberStatus& m) const {
  const node_id id{m.id()};
  m.set_role(role_in(view, id));
  bool recovering = id == facts_.self && view.recovering;
  for (const auto& p : view.peers) {
    if (p.id != id) continue;
    show_progress(p, m);
    recovering = recovering || p.recovering;
    // A witness does not register, so the inventory cannot tell whether it is there.
    if (p.witness) m.set_state(p.recent_active ? "ready" : "down");
  }
  if (recovering) m.set_state("recovering");
}

// Raft has published its view for this question: what the members have and what is committed are of
// one moment, and nothing that was committed later is applied yet.
void node_state::cluster_status(const status_query& question) {
  pb::Query q;
  CHECK(parse(q, question.query->body()));  // it was when it came
  auto a = std::make_shared<pb::Answer>();
  machine_.answer(q, *a);
  complete_header(*a);
  auto& status = *a->mutable_status();
  const auto view = facts_.raft.load();
  status.set_cluster_id(facts_.cluster.value());
  if (view) {
    status.set_leader(view->leader.value());
    status.set_term(view->term.value());
    status.set_commit_index(view->commit.value());
    status.set_reads(view->lease_reads ? "lease" : "quorum");
    for (auto& m : *status.mutable_members()) show_member(*view, m);
  }
  status.set_applied_index(machine_.applied_index().value());
  send(to_.cache, complete_answer{question.from, std::move(a), machine_.inventory(), nullptr});
}

/// What the state says of a VM that it does not have, at which index.
pb::Answer node_state::no_vm(const std::string& tenant, const std::string& name) const {
  pb::Query q;
  q.mutable_vm_show()->set_tenant(tenant);
  q.mutable_vm_show()->set_name(name);
  pb::Answer a;
  machine_.answer(q, a);
  complete_header(a);
  return a;
}

void node_state::explain(const origin& from, const pb::Query& q) {
  const auto& wanted = q.vm_explain();
  auto vm = machine_.vm(wanted.tenant().empty() ? "default" : wanted.tenant(), wanted.name());
  if (!vm) {
    answer(from, no_vm(wanted.tenant(), wanted.name()));
    return;
  }
  auto a = std::make_shared<pb::Answer>();
  complete_header(*a);
  a->set_index(machine_.applied_index().value());
  send(to_.cache, complete_answer{from, std::move(a), machine_.inventory(), std::move(vm)});
}

void node_state::logs(const origin& from, const pb::Query& q, const frame_ptr& frame) {
  const auto& wanted = q.vm_logs();
  const auto vm = machine_.vm(wanted.tenant().empty() ? "default" : wanted.tenant(), wanted.name());
  if (!vm) {
    answer(from, no_vm(wanted.tenant(), wanted.name()));
    return;
  }
  const node_id where{vm->node()};
  if (!where) {
    pb::Answer a;
    complete_header(a);
    a.set_index(machine_.applied_index().value());
    a.set_error(static_cast<std::uint32_t>(errc::invalid_state));
    a.set_message("VM '" + wanted.name() + "' is on no node, so it has no console");
    a.set_hint(vm->reason());
    answer(from, a);
    return;
  }
  if (where == facts_.self) {
    send(to_.vm, logs_request{from, vm->id(), wanted.lines() == 0 ? 100 : wanted.lines(),
                              machine_.applied_index()});
    return;
  }
  if (frame->header().target) {
    // It was sent here because another node took this one for the VM's: the VM has moved since.
    refuse(from,
           make_error(errc::invalid_state, "VM " + wanted.name() + " is moving", "try again"));
    return;
  }
  auto header = frame->header();
  header.kind = frame_kind::local;
  send(to_.router, reroute{from, frame->with_header(header), where});
}

void node_state::metrics_text(const origin& from, const pb::Query& q) {
  pb::Answer a;
  complete_header(a);
  a.set_index(machine_.applied_index().value());
  const auto text = facts_.registry->text(q.metrics().filter());
  auto& lines = *a.mutable_lines();
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    lines.add_lines(text.substr(at, end - at));
    at = end + 1;
  }
  answer(from, a);
}

void node_state::digest(const origin& from, const pb::Query& q) {
  const log_index wanted{q.digest().index()};
  if (wanted > machine_.applied_index()) {
    if (digests_.size() >= digests_max) {
      auto e = make_error(errc::overloaded, "too many digests are waited for");
      e.retry_after_ms = 100;
      refuse(from, e);
      return;
    }
    digests_.push_back({wanted, from});
    return;
  }
  send_digest(from);
}

void node_state::send_digest(const origin& to) {
  pb::Query q;
  q.mutable_digest();
  pb::Answer a;
  machine_.answer(q, a);
  complete_header(a);
  answer(to, a);
}

void node_state::answer_digests() {
  if (digests_.empty()) return;
  std::erase_if(digests_, [this](const waiting_digest& w) {
    if (w.index > machine_.applied_index()) return false;
    send_digest(w.from);
    return true;
  });
}

void node_state::expire_digests() {
  const auto now = net::monotonic_ns();
  std::erase_if(digests_, [&](const waiting_digest& w) { return w.from.is_late(now); });
}

}  // namespace blixard::actors
