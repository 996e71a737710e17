#include "actors/cache.hpp"

#include <algorithm>
#include <chrono>
#include <span>

#include "actors/frames.hpp"
#include "messages/check.hpp"
#include "messages/cluster.pb.h"
#include "runtime/net/loop.hpp"

namespace blixard::actors {
namespace {

using metrics::metric;

// What goes into the log of a decision: where to, why there, as of when, and the next best nodes.
// Apply checks it again with the same code, chooses among these where something has changed, and
// finds reasons against nodes itself; longer lists would only make the log longer.
constexpr int kept_candidates = 8;

// So no more is asked for: without reasons against nodes a decision can move on with the inventory.
state::plan_options as_kept(std::span<const std::uint64_t> avoid = {}) {
  return {.avoid = avoid, .listed_max = kept_candidates, .rejected_max = 0};
}

std::uint64_t healthy_witnesses(const pb::ClusterStatus& status) {
  return static_cast<std::uint64_t>(std::ranges::count_if(status.members(), [](const auto& m) {
    return m.role() == "witness" && m.state() == "ready";
  }));
}

void keep_choice(const pb::Decision& decision, pb::Decision& out) {
  out.set_node(decision.node());
  out.set_inventory_version(decision.inventory_version());
  out.set_fitting(decision.fitting());
  if (decision.node() == 0) return;
  for (int i = 0; i < std::min(kept_candidates, decision.candidates_size()); ++i)
    *out.add_candidates() = decision.candidates(i);
}

std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

frame_ptr command_frame(const pb::Command& c, const frame_header& header,
                        const metrics::counter& encodes) {
  auto h = header;
  h.kind = frame_kind::command;
  return frame::make(h, encode_command(c, encodes));
}

}  // namespace

cache::cache(caf::actor_config& config, const links& to, shared_facts& facts)
    : cache_actor::base(config),
      to_(to),
      facts_(facts),
      inventory_(std::make_shared<state::inventory>()),
      encodes_(facts.registry->counter<metric::raft_command_encodes>()) {
  bind(*facts.registry, metrics::cache_name::summary, summaries_.stats());
  bind(*facts.registry, metrics::cache_name::placement, placements_.stats());
  bind(*facts.registry, metrics::cache_name::peer, peers_.stats());
}

void cache::bind(metrics::registry& r, metrics::cache_name name,
                 const blixard::cache::cache_stats& s) {
  const auto reader = [](const blixard::cache::stat& value) {
    return [&value] { return static_cast<double>(value.get()); };
  };
  bindings_.push_back(r.bind<metric::cache_hits>(reader(s.hits), name));
  bindings_.push_back(r.bind<metric::cache_renewals>(reader(s.renewals), name));
  bindings_.push_back(r.bind<metric::cache_misses>(reader(s.misses), name));
  bindings_.push_back(r.bind<metric::cache_waits>(reader(s.waited), name));
  bindings_.push_back(r.bind<metric::cache_evictions>(reader(s.evictions), name));
  bindings_.push_back(r.bind<metric::cache_invalidations>(reader(s.invalidations), name));
  bindings_.push_back(r.bind<metric::cache_in_flight>(reader(s.in_flight), name));
  bindings_.push_back(r.bind<metric::cache_entries>(reader(s.size), name));
}

cache::behavior_type cache::make_behavior() {
  return {
      [this](const plan_command& command) { plan(command); },
      [this](const complete_answer& request) { complete(request); },
      [this](const place_vm& request) { place(request); },
      [this](const inventory_changed& change) { inventory_ = change.inventory; },
      [this](const local_query& q) { stats(q); },
      [this](const plan_found& found) { planned(found); },
  };
}

// ---------------------------------------------------------------- placement

void cache::decide(const inventory_ptr& in, const pb::VmSpec& spec,
                   const state::plan_options& options, continuation then) {
  const auto waiter = ++last_waiter_;
  auto answer = placements_.ask(in, spec, options, waiter, net::monotonic_ns());
  if (const auto* known = std::get_if<const pb::Decision*>(&answer)) {
    std::visit([&](const auto& r) { go_on(r, **known); }, then);
    return;
  }
  waiting_.emplace(waiter, std::move(then));
  if (auto* job = std::get_if<plan_job_ptr>(&answer))
    send(to_.planner, plan_wanted{std::move(*job)});
}

void cache::planned(const plan_found& found) {
  for (const auto waiter : placements_.finish(*found.job, found.found, net::monotonic_ns())) {
    const auto node = waiting_.extract(waiter);
    CHECK(!node.empty());
    std::visit([&](const auto& r) { go_on(r, found.found->decision()); }, node.mapped());
  }
}

void cache::plan(const plan_command& command) {
  if (command.from.is_late(net::monotonic_ns())) return;
  auto c = std::make_shared<pb::Command>();
  if (!parse(*c, command.frame->body()) || c->op_case() != pb::Command::kVmCreate) {
    send(to_.router, answers{{{command.from, error_answer(command.from.request,
                                                          make_error(errc::invalid_argument,
                                                                     "not a command to be planned"),
                                                          facts_.self)}}});
    return;
  }
  auto spec = c->vm_create().spec();
  state::fill_defaults(spec);
  decide(inventory_, spec, as_kept(), creation{command.from, command.frame, std::move(c)});
}

void cache::go_on(const creation& r, const pb::Decision& decision) {
  keep_choice(decision, *r.command->mutable_vm_create()->mutable_decision());
  proposals out;
  out.list.push_back({r.from, command_frame(*r.command, r.frame->header(), encodes_)});
  send(to_.raft, std::move(out));
}

void cache::place(const place_vm& request) {
  const auto& vm = *request.vm;
  decide(inventory_, vm.spec(), as_kept(state::gave_up(vm)), request);
}

void cache::go_on(const place_vm& r, const pb::Decision& decision) {
  const auto& vm = *r.vm;
  // Nothing fits and the VM says so already: another entry in the log would tell nobody anything.
  if (decision.node() == 0 && vm.fix() == decision.fix() && vm.rejected_size() != 0) return;
  const auto now_ms = unix_ms();
  if (!state::may_place(vm, node_id{decision.node()}, now_ms)) return;
  pb::Command c;
  c.set_time_ms(now_ms);
  auto& place = *c.mutable_vm_place();
  place.set_vm(vm.id());
  place.set_generation(vm.generation());
  keep_choice(decision, *place.mutable_decision());
  proposals out;
  out.list.push_back({origin{}, command_frame(c, {}, encodes_)});
  send(to_.raft, std::move(out));
}

// ---------------------------------------------------------------- answers

void cache::complete(const complete_answer& request) {
  if (request.from.is_late(net::monotonic_ns())) return;
  if (request.explain) {
    const auto& vm = *request.explain;
    decide(request.inventory, vm.spec(),
           {.avoid = state::gave_up(vm), .resident = node_id{vm.node()}}, request);
    return;
  }
  auto& a = *request.partial;
  const auto summary = summaries_.get(*request.inventory, node_id{}, net::monotonic_ns());
  if (summary) {
    auto& shown = *a.mutable_status()->mutable_summary();
    shown = *summary;
    // A witness has no lease by which the inventory could tell that it is well.
    shown.set_nodes_healthy(shown.nodes_healthy() + healthy_witnesses(a.status()));
  }
  fill_links(*a.mutable_status());
  send(to_.router, answers{{{request.from, answer_frame(request.from.request, a)}}});
}

void cache::go_on(const complete_answer& r, const pb::Decision& decision) {
  auto& shown = *r.partial->mutable_decision();
  shown = decision;
  // Where it is, if it is anywhere; the candidates tell where it would go now.
  if (r.explain->node() != 0) shown.set_node(r.explain->node());
  send(to_.router, answers{{{r.from, answer_frame(r.from.request, *r.partial)}}});
}

void cache::fill_links(pb::ClusterStatus& status) {
  const auto now = net::monotonic_ns();
  // A measurement is recorded once: what the router has not renewed grows old and is forgotten.
  if (auto view = facts_.links.load(); view && view != recorded_links_) {
    // Of a node that is no peer any more nothing is known.
    if (recorded_links_)
      for (const auto& old : recorded_links_->links)
        if (std::ranges::none_of(view->links, [&](const auto& l) { return l.node == old.node; }))
          peers_.invalidate(old.node);
    for (const auto& l : view->links) peers_.record(l.node, l.connected, l.rtt_us, now);
    recorded_links_ = std::move(view);
  }
  for (auto& m : *status.mutable_members()) {
    if (node_id{m.id()} == facts_.self) continue;
    const auto* link = peers_.get(node_id{m.id()}, now);
    m.set_quality(std::string{
        to_string(link != nullptr ? link->quality : blixard::cache::link_quality::disconnected)});
    m.set_rtt_us(link != nullptr ? link->rtt_us : 0);
  }
}

void cache::stats(const local_query& q) {
  pb::Answer a;
  a.set_node(facts_.self.value());
  a.set_term(facts_.flags->term().value());
  a.set_index(facts_.flags->state().applied.value());
  auto& out = *a.mutable_caches();
  using blixard::cache::append_stats;
  append_stats("summary", summaries_.stats(), summaries_.capacity(), out);
  append_stats("placement", placements_.stats(), placements_.capacity(), out);
  append_stats("peer", peers_.stats(), peers_.capacity(), out);
  send(to_.router, answers{{{q.from, answer_frame(q.from.request, a)}}});
}

}  // namespace blixard::actors
