#include "actors/vm.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "actors/frames.hpp"
#include "messages/cluster.pb.h"
#include "runtime/net/loop.hpp"

namespace blixard::actors {
namespace {

using metrics::metric;
using metrics::vm_operation;

constexpr std::size_t reports_per_command = 256;
constexpr std::uint32_t report_deadline_ms = 3000;

constexpr auto to_ns(auto duration) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(duration).count());
}

std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

vm_manager::vm_manager(caf::actor_config& config, const links& to, shared_facts& facts,
                       vm::supervisor& supervisor, vm::lease_page lease)
    : vm_actor::base(config),
      to_(to),
      facts_(facts),
      supervisor_(supervisor),
      lease_(std::move(lease)),
      encodes_(facts.registry->counter<metric::raft_command_encodes>()),
      lease_remaining_(facts.registry->gauge<metric::vm_lease_remaining>()) {
  auto& r = *facts.registry;
  for (int p = 0; p < pb::Phase_ARRAYSIZE; ++p)
    by_phase_.push_back(r.gauge<metric::vm_local>(static_cast<pb::Phase>(p)));
  for (unsigned o = 0; o <= static_cast<unsigned>(vm_operation::adopt); ++o) {
    durations_.push_back(r.histogram<metric::vm_operation_duration>(static_cast<vm_operation>(o)));
    failures_.push_back(r.counter<metric::vm_operation_failures>(static_cast<vm_operation>(o)));
  }
  bind(r);
}

void vm_manager::bind(metrics::registry& r) {
  const auto counted = [&]<metric M>(std::uint64_t vm::supervisor_stats::*what) {
    bindings_.push_back(
        r.bind<M>([this, what] { return static_cast<double>(supervisor_.stats().*what); }));
  };
  counted.operator()<metric::vm_starts>(&vm::supervisor_stats::starts);
  counted.operator()<metric::vm_restarts>(&vm::supervisor_stats::restarts);
  counted.operator()<metric::vm_crashes>(&vm::supervisor_stats::crashes);
  counted.operator()<metric::vm_adopted>(&vm::supervisor_stats::adopted);
  counted.operator()<metric::vm_lease_kills>(&vm::supervisor_stats::lease_kills);
  counted.operator()<metric::vm_qmp_timeouts>(&vm::supervisor_stats::qmp_timeouts);
}

vm_manager::behavior_type vm_manager::make_behavior() {
  return {
      [this](const vm_update& u) { update(u); },
      [this](const vm_sync& all) { sync(all); },
      [this](const vm_observed& o) { observe(o); },
      [this](const logs_request& r) { logs(r); },
      [this](const lease_granted& g) { granted(g); },
      [this](const local_answer& a) { acknowledged(a); },
      [this](tick_atom) { tick(); },
  };
}

// ---------------------------------------------------------------- desired state

void vm_manager::update(const vm_update& u) {
  for (const auto& one : u.list) {
    const vm_id id{one.id};
    if (one.assigned) {
      assigned_.insert(id);
      operations_.wanted(*one.vm, false, net::monotonic_ns());
      supervisor_.set_desired(one.vm);
    } else if (assigned_.erase(id) != 0) {
      supervisor_.forget(id);
      unacknowledged_.erase(id);
    }
  }
}

void vm_manager::sync(const vm_sync& all) {
  incarnation_ = all.incarnation;
  assigned_.clear();
  for (const auto& vm : all.list) assigned_.insert(vm_id{vm->id()});
  const auto found = supervisor_.held();
  supervisor_.retain(assigned_);
  for (const auto& vm : all.list) {
    operations_.wanted(*vm, found.contains(vm_id{vm->id()}), net::monotonic_ns());
    supervisor_.set_desired(vm);
  }
  // With a lease that is still running nothing can have been placed elsewhere; without one it may.
  fenced_ = !lease_.valid_at(vm::boottime_ns());
  renewed_ns_ = 0;
  tick();
}

bool vm_manager::strangers_are_gone() {
  return std::ranges::includes(assigned_, supervisor_.held());
}

// ---------------------------------------------------------------- reports

void vm_manager::observe(const vm_observed& o) {
  const vm_id id{o.report->vm()};
  account(*o.report);
  unacknowledged_[id] = o.report;
  report();
}

void vm_manager::report() {
  if (unacknowledged_.empty() || in_flight_request_ || incarnation_ == 0) return;
  pb::Command c;
  c.set_time_ms(unix_ms());
  auto& list = *c.mutable_vm_report();
  list.set_node(facts_.self.value());
  while (!unacknowledged_.empty() && in_flight_.size() < reports_per_command) {
    auto next = unacknowledged_.extract(unacknowledged_.begin());
    *list.add_vms() = *next.mapped();
    in_flight_.insert(std::move(next));
  }
  in_flight_request_ = last_request_ = last_request_.next();
  send(to_.router, local_request{frame::make({.kind = frame_kind::command,
                                              .deadline_ms = report_deadline_ms,
                                              .request = in_flight_request_},
                                             encode_command(c, encodes_)),
                                 caf::actor_cast<caf::strong_actor_ptr>(this)});
}

void vm_manager::acknowledged(const local_answer& a) {
  if (a.request != in_flight_request_) return;
  in_flight_request_ = {};
  pb::Answer result;
  const bool applied = parse(result, a.frame->body()) && result.error() == 0;
  // What failed is sent again with the next tick, unless something newer was seen meanwhile.
  if (!applied) unacknowledged_.merge(in_flight_);
  in_flight_.clear();
  if (applied) report();
}

void vm_manager::account(const pb::VmReport_One& r) {
  if (const auto ended = operations_.seen(r, net::monotonic_ns())) {
    const auto i = static_cast<std::size_t>(ended->what);
    durations_[i].observe(ended->took_ns);
    if (ended->failed) failures_[i].add();
  }
  const vm_id id{r.vm()};
  if (r.gone())
    phases_.erase(id);
  else
    phases_[id] = r.phase();
  std::vector<std::size_t> counts(by_phase_.size());
  for (const auto& [vm, phase] : phases_) ++counts[static_cast<std::size_t>(phase)];
  for (std::size_t i = 0; i < counts.size(); ++i) by_phase_[i].set(counts[i]);
}

void vm_manager::logs(const logs_request& r) {
  if (r.from.is_late(net::monotonic_ns())) return;
  pb::Answer a;
  a.set_index(r.index.value());
  a.set_term(facts_.flags->term().value());
  a.set_node(facts_.self.value());
  auto& lines = *a.mutable_lines();
  for (auto& line : supervisor_.console_tail(vm_id{r.vm}, r.lines))
    lines.add_lines(std::move(line));
  send(to_.router, answers{{{r.from, answer_frame(r.from.request, a)}}});
}

// ---------------------------------------------------------------- lease

void vm_manager::renew() {
  const auto leader = facts_.flags->leader();
  const auto now = vm::boottime_ns();
  if (!leader || now - renewed_ns_ < to_ns(limits::lease_renew_every)) return;
  renewed_ns_ = now;
  pb::LeaseRenewal r;
  r.set_node(facts_.self.value());
  r.set_incarnation(incarnation_);
  r.set_sent_ns(now);
  auto frame = frame::make({.kind = frame_kind::lease, .cls = priority::high, .target = leader},
                           to_slice(r));
  if (leader == facts_.self)
    send(to_.raft, lease_frame{facts_.self, std::move(frame)});
  else
    send(to_.router, to_peers{{{leader, false, std::move(frame)}}});
}

void vm_manager::granted(const lease_granted& g) {
  pb::LeaseGrant grant;
  if (!parse(grant, g.frame->body())) return;
  if (!grant.registered() || grant.incarnation() != incarnation_ || fenced_) return;
  // Counts from when this node asked, not from when the answer came (lease_table.hpp).
  lease_.extend(incarnation_, grant.sent_ns() + grant.duration_ms() * 1'000'000);
}

void vm_manager::tick() {
  if (incarnation_ != 0) {
    if (fenced_ && strangers_are_gone()) fenced_ = false;
    if (!fenced_) renew();
  }
  report();
  const auto deadline = lease_.current().deadline_ns;
  lease_remaining_.set((static_cast<double>(deadline) - static_cast<double>(vm::boottime_ns())) /
                       1e9);
}

}  // namespace blixard::actors
