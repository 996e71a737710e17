#include "actors/node_state.hpp"

#include <spdlog/spdlog.h>

#include <chrono>

#include "actors/frames.hpp"
#include "actors/snapshot_worker.hpp"
#include "messages/cluster.pb.h"
#include "runtime/base/fault.hpp"
#include "runtime/base/leave.hpp"
#include "runtime/net/loop.hpp"

namespace blixard::actors {
namespace {

using metrics::metric;

std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

template <metric M, class Enum>
std::vector<metrics::gauge> gauges(metrics::registry& r, std::size_t count) {
  std::vector<metrics::gauge> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(r.gauge<M>(static_cast<Enum>(i)));
  return out;
}

constexpr std::uint64_t register_again_ns = 2'000'000'000;
constexpr request_id register_request{1};

}  // namespace

node_state::node_state(caf::actor_config& config, host* where, const links& to, shared_facts& facts,
                       state::machine machine, std::shared_ptr<const pb::Node> self)
    : hosted(config, where),
      to_(to),
      facts_(facts),
      machine_(std::move(machine)),
      self_(std::move(self)),
      apply_duration_(facts.registry->histogram<metric::state_apply_duration>()),
      applied_count_(facts.registry->counter<metric::state_applied>()),
      stale_reads_(facts.registry->counter<metric::raft_reads>(metrics::read_kind::stale)),
      encodes_(facts.registry->counter<metric::raft_command_encodes>()),
      keys_(facts.registry->gauge<metric::state_keys>()),
      sessions_(facts.registry->gauge<metric::state_sessions>()),
      nodes_by_state_(
          gauges<metric::cluster_nodes, pb::NodeState>(*facts.registry, state::node_state_count)),
      vms_by_phase_(gauges<metric::cluster_vms, pb::Phase>(*facts.registry, state::phase_count)),
      vcpus_(facts.registry->gauge<metric::cluster_vcpus>()),
      memory_(facts.registry->gauge<metric::cluster_memory>()),
      disk_(facts.registry->gauge<metric::cluster_disk>()),
      vcpus_used_(facts.registry->gauge<metric::cluster_vcpus_allocated>()),
      memory_used_(facts.registry->gauge<metric::cluster_memory_allocated>()),
      disk_used_(facts.registry->gauge<metric::cluster_disk_allocated>()) {}

node_state::~node_state() {
  if (facts_.process_ends.load(std::memory_order_relaxed)) leave_to_the_kernel(std::move(machine_));
}

node_state::behavior_type node_state::make_behavior() {
  return {
      [this](const committed& batch) { in_order(batch); },
      [this](const ready_reads& r) { in_order(r); },
      [this](const local_query& q) { local(q); },
      [this](const install_snapshot& s) { in_order(s); },
      [this](machine_loaded& m) { use(m); },
      [this](const take_snapshot& t) { take(t); },
      [this](tick_atom) { tick(); },
      [this](const status_query& q) { cluster_status(q); },
      [this](const local_answer& a) { heard(a); },
  };
}

// ---------------------------------------------------------------- apply

void node_state::apply(const committed& batch) {
  const auto started = net::monotonic_ns();
  answers out;
  auto waiting = batch.origins.begin();
  for (const auto& e : batch.entries) {
    if (e.index <= machine_.applied_index()) continue;  // a snapshot was quicker
    (void)BLIXARD_FAULT("apply.before");
    machine_.apply(e, result_);
    (void)BLIXARD_FAULT("apply.after");
    note_changes(result_.changed);
    answer_digests();
    if (waiting == batch.origins.end() || waiting->first != e.index) continue;
    const auto& to = waiting->second;
    ++waiting;
    if (to.where == origin::kind::nobody) continue;
    result_.answer->set_node(facts_.self.value());
    if (e.kind == entry_kind::normal && e.data.empty()) {
      // Raft made an empty entry of a membership change that it refused.
      out.list.push_back(
          {to, error_answer(to.request,
                            make_error(errc::conflict, "another membership change is in progress",
                                       "try again"),
                            facts_.self)});
      continue;
    }
    if (e.kind == entry_kind::conf) add_members(*result_.answer);
    out.list.push_back({to, answer_frame(to.request, *result_.answer)});
  }
  publish();
  if (!out.list.empty()) send(to_.router, std::move(out));
  tell_others();
  send(to_.raft, applied_up_to{machine_.applied_index()});
  applied_count_.add(batch.entries.size());
  apply_duration_.observe(net::monotonic_ns() - started);
}

void node_state::note_changes(const state::changes& c) {
  changed_vms_.insert(changed_vms_.end(), c.vms.begin(), c.vms.end());
  nodes_changed_ = nodes_changed_ || !c.nodes.empty();
  inventory_changed_ = inventory_changed_ || c.inventory || c.summary;
}

void node_state::add_members(pb::Answer& answer) const {
  auto& joined = *answer.mutable_joined();
  joined.set_cluster_id(facts_.cluster.value());
  // The leader may not have registered itself yet: whoever joins must find it all the same.
  if (machine_.node(facts_.self) == nullptr) {
    auto& m = *joined.add_members();
    m.set_node(facts_.self.value());
    m.set_address(self_->address());
  }
  machine_.inventory()->nodes.for_each([&](const state::node_usage& n) {
    if (n.facts->state() == pb::NODE_LEFT) return;
    auto& m = *joined.add_members();
    m.set_node(n.id.value());
    m.set_address(n.facts->address());
  });
}

void node_state::tell_others() {
  if (inventory_changed_) {
    inventory_changed_ = false;
    const auto inventory = machine_.inventory();
    send(to_.cache, inventory_changed{inventory});
    show_inventory(*inventory);
  }
  if (nodes_changed_) {
    nodes_changed_ = false;
    send_members();
  }
  if (changed_vms_.empty()) return;
  vm_update update;
  for (const auto id : std::exchange(changed_vms_, {})) {
    auto vm = machine_.vm(id);
    const bool ours = vm && vm->node() == facts_.self.value();
    placing_.erase(id);
    update.list.push_back({std::move(vm), id.value(), ours});
  }
  if (registered_) send(to_.vm, std::move(update));
}

void node_state::send_members() {
  members_changed members;
  leaseholders holders;
  bool alive = false;
  machine_.inventory()->nodes.for_each([&](const state::node_usage& n) {
    const auto& f = *n.facts;
    if (n.id == facts_.self)
      alive = f.incarnation() == incarnation_ && incarnation_ != 0 && f.state() != pb::NODE_DOWN &&
              f.state() != pb::NODE_LEFT && f.state() != pb::NODE_JOINING;
    // What may have stood in the way of another life is over.
    if (n.id == facts_.self && f.state() == pb::NODE_DOWN) register_sent_ns_ = 0;
    if (f.state() == pb::NODE_LEFT) return;
    members.members.push_back({n.id, f.address()});
    holders.list.push_back({n.id, f.incarnation(), f.state() == pb::NODE_DOWN});
  });
  members.all = !facts_.witness;
  send(to_.router, std::move(members));
  send(to_.raft, std::move(holders));
  if (alive && !registered_) {
    registered_ = true;
    sync_vms();
  }
  registered_ = alive;
}

void node_state::show_own_disk() {
  const auto self = machine_.node(facts_.self);
  const bool there = self && self->state() != pb::NODE_LEFT;
  facts_.registered_disk.store(there ? self->disk() : 0, std::memory_order_release);
}

void node_state::sync_vms() {
  vm_sync all;
  all.incarnation = incarnation_;
  all.list = machine_.vms_on(facts_.self);
  send(to_.vm, std::move(all));
}

void node_state::publish() {
  const auto inventory = machine_.inventory();
  published_state now_true;
  now_true.applied = machine_.applied_index();
  now_true.keys = machine_.size().keys;
  for (std::size_t i = 0; i < now_true.vms.size(); ++i)
    now_true.vms[i] = static_cast<std::uint32_t>(inventory->sums.vms[i]);
  // Caught up once: this process has applied what its leader had committed when it was first heard.
  if (published_.initialized == 0) {
    const auto raft = facts_.flags->raft();
    now_true.initialized = raft.leader && now_true.applied >= raft.commit ? 1 : 0;
  } else {
    now_true.initialized = 1;
  }
  published_ = now_true;
  facts_.flags->set_state(now_true);
  keys_.set(now_true.keys);
  sessions_.set(machine_.size().sessions);
}

void node_state::show_inventory(const state::inventory& in) {
  for (std::size_t i = 0; i < state::node_state_count; ++i)
    nodes_by_state_[i].set(in.sums.nodes_by_state[i]);
  for (std::size_t i = 0; i < state::phase_count; ++i) vms_by_phase_[i].set(in.sums.vms[i]);
  vcpus_.set(in.sums.capacity.vcpus);
  memory_.set(in.sums.capacity.memory_bytes);
  disk_.set(in.sums.capacity.disk_bytes);
  vcpus_used_.set(in.sums.allocated.vcpus);
  memory_used_.set(in.sums.allocated.memory_bytes);
  disk_used_.set(in.sums.allocated.disk_bytes);
}

// ---------------------------------------------------------------- snapshots

template <class Message>
void node_state::in_order(const Message& m) {
  if (loading_)
    behind_.emplace_back(m);
  else if constexpr (std::is_same_v<Message, committed>)
    apply(m);
  else if constexpr (std::is_same_v<Message, ready_reads>)
    read(m);
  else
    install(m);
}

// Until it is built the old state answers stale reads, and everything else waits behind it.
void node_state::install(const install_snapshot& s) {
  loading_ = true;
  spawn_snapshot_loader(system(), facts_, this, s.snap.data);
}

void node_state::use(machine_loaded& m) {
  std::swap(machine_, *m.machine);
  const auto loader = m.loader;
  caf::anon_send(loader, std::move(m));  // the old one is let go there
  loading_ = false;
  nodes_changed_ = inventory_changed_ = true;
  registered_ = false;
  changed_vms_.clear();
  publish();
  tell_others();
  send(to_.raft, applied_up_to{machine_.applied_index()});
  for (const auto& next : std::exchange(behind_, {}))
    std::visit([this](const auto& message) { in_order(message); }, next);
}

void node_state::take(const take_snapshot& t) {
  // The view is taken here in O(1); encoding it runs on a thread of its own and ends in the WAL.
  spawn_snapshot_encoder(system(), facts_, to_.wal, machine_.view(), {facts_.cluster, t.conf});
}

// ---------------------------------------------------------------- duties

void node_state::tick() {
  publish();
  show_own_disk();
  register_self();
  expire_digests();
  // A plan that was refused or lost on the way is asked for again, even if nothing changed.
  if (++ticks_ % 20 == 0) placing_.clear();
  if (facts_.flags->is_leader()) place_pending();
}

void node_state::register_self() {
  // A witness is no node of the inventory: nothing is placed on it, and no lease is granted to it.
  if (facts_.witness || registered_ || !facts_.flags->leader()) return;
  const auto now = net::monotonic_ns();
  if (register_sent_ns_ != 0 && now - register_sent_ns_ < register_again_ns) return;
  register_sent_ns_ = now;
  // Higher than any that the state knows of this node: the wall clock, or one more than the last.
  const auto known = machine_.node(facts_.self);
  const auto last = known ? known->incarnation() : 0;
  if (incarnation_ <= last)
    incarnation_ = std::max<std::uint64_t>(static_cast<std::uint64_t>(unix_ms()), last + 1);
  pb::Command c;
  c.set_time_ms(unix_ms());
  *c.mutable_node_register()->mutable_node() = *self_;
  c.mutable_node_register()->mutable_node()->set_incarnation(incarnation_);
  send(to_.router, local_request{frame::make({.kind = frame_kind::command,
                                              .deadline_ms = 2000,
                                              .request = register_request},
                                             encode_command(c, encodes_)),
                                 caf::actor_cast<caf::strong_actor_ptr>(this)});
}

// What came of a command shows in the state itself; why a registration was refused does not.
void node_state::heard(const local_answer& a) {
  pb::Answer result;
  if (a.request != register_request || !parse(result, a.frame->body())) return;
  if (result.error() != 0 && result.message() != refusal_)
    spdlog::warn("not registered: {}", result.message());
  refusal_ = result.error() != 0 ? result.message() : std::string{};
}

// So many at a time, in turns: VMs that fit nowhere do not stand before those that do.
void node_state::place_pending() {
  const auto version = machine_.inventory()->version;
  const auto now_ms = unix_ms();
  auto waiting = machine_.pending_vms(placed_last_, placements_per_tick);
  placed_last_ = waiting.size() < placements_per_tick ? vm_id{} : vm_id{waiting.back()->id()};
  for (auto& vm : waiting) {
    auto& asked = placing_[vm_id{vm->id()}];
    const bool back_off_over = asked.at_ms < vm->retry_ms() && vm->retry_ms() <= now_ms;
    if (asked.version == version && !back_off_over) continue;
    asked = {version, now_ms};
    send(to_.cache, place_vm{std::move(vm)});
  }
}

}  // namespace blixard::actors
