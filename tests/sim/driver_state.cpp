// The state machine's side of a node: applying, reads, snapshots; its VMs and their lease.
#include <algorithm>
#include <cstring>

#include "messages/cluster.pb.h"
#include "runtime/storage/packing.hpp"
#include "tests/sim/driver.hpp"

namespace blixard::sim {
namespace {

constexpr std::uint64_t vms_wanted = 2;

slice bytes_of(const google::protobuf::MessageLite& m) {
  return slice::copy_of(m.SerializeAsString());
}

pb::Node described(node_id id, std::uint64_t incarnation, std::uint64_t page) {
  pb::Node n;
  n.set_id(id.value());
  n.set_name("n" + to_string(id));
  n.set_address("10.0.0." + to_string(id) + ":7000");
  n.mutable_capacity()->set_vcpus(64);
  n.mutable_capacity()->set_memory_bytes(1ULL << 40);
  n.mutable_capacity()->set_disk_bytes(1ULL << 40);
  n.add_backends(pb::BACKEND_PROCESS);
  n.set_incarnation(incarnation);
  n.set_disk(page);
  return n;
}

}  // namespace

slice address_of(node_id id) {
  pb::NodeAddress address;
  address.set_node(id.value());
  address.set_address("10.0.0." + to_string(id) + ":7000");
  return bytes_of(address);
}

slice without_session(const slice& command) {
  pb::Command c;
  if (!c.ParseFromArray(command.data(), static_cast<int>(command.size()))) return command;
  c.clear_client();
  c.clear_seq();
  return bytes_of(c);
}

// ---------------------------------------------------------------- tasks

void driver::submit(task t) {
  tasks_.push_back(std::move(t));
  if (std::exchange(machine_woken_, true)) return;
  world_.wake(where_.id, turn::machine);
}

void driver::run_machine() {
  machine_woken_ = false;
  for (auto tasks = std::exchange(tasks_, {}); auto& t : tasks) {
    if (t.install) install(*t.install);
    if (!t.committed.empty()) apply(t);
    for (const auto& r : t.reads) read(r);
    if (t.take_snapshot) take_snapshot(*t.take_snapshot);
  }
}

void driver::apply(task& t) {
  if (has(mutant::reorder_applied) && t.committed.size() > 2)
    std::swap(t.committed[0].data, t.committed[1].data);
  auto waiting = t.origins.begin();
  bool nodes = false;
  bool vms = false;
  for (auto& e : t.committed) {
    if (e.index <= machine_.applied_index()) continue;  // a snapshot was quicker
    if (std::exchange(skip_next_, false)) e.data = {};
    machine_.apply(e, result_);
    if (!where_.witness) checks_.applied(where_.id, e.index, machine_.digest());
    nodes = nodes || !result_.changed.nodes.empty();
    vms = vms || !result_.changed.vms.empty();
    while (waiting != t.origins.end() && waiting->first < e.index) ++waiting;
    if (waiting == t.origins.end() || waiting->first != e.index) continue;
    const auto& r = waiting->second;
    // Raft makes an empty entry of a change that it refuses.
    if (r.client == admission_client && e.kind == entry_kind::normal) {
      refuse(r);
      continue;
    }
    world_.reply({r.client, r.attempt, reply_kind::answered, core_->id(),
                  std::make_shared<const pb::Answer>(*result_.answer)});
  }
  if (nodes) note_nodes();
  if (vms || nodes) run_vms();
  world_.trace("applied", where_.id, machine_.applied_index().value(), machine_.digest().low);
  applied_ = std::max(applied_, machine_.applied_index());
  core_->applied(applied_);
  while (!waiting_grants_.empty() && waiting_grants_.front().first <= applied_) {
    for (const auto& l : waiting_grants_.front().second) grant(l);
    waiting_grants_.pop_front();
  }
  maybe_take_snapshot();
}

void driver::read(const client_request& r) {
  if (r.client == admission_client) {
    const node_id id{r.attempt >> 32};
    const bool known = core_->configuration().contains(id) ||
                       (machine_.node(id) != nullptr && !has(mutant::removed_id_is_new));
    return world_.reply({r.client, r.attempt, reply_kind::answered, core_->id(), {}, known});
  }
  pb::Query q;
  q.mutable_kv_get()->set_key(r.body.data(), r.body.size());
  auto answer = std::make_shared<pb::Answer>();
  machine_.answer(q, *answer);
  world_.reply({r.client, r.attempt, reply_kind::answered, core_->id(), std::move(answer)});
}

void driver::load(const slice& data) {
  const auto raw = storage::unpack(data);
  if (!raw) throw failure("snapshot", raw.error().message);
  const auto loaded = machine_.load(raw->bytes());
  if (!loaded) throw failure("snapshot", loaded.error().message);
}

void driver::install(const snapshot& s) {
  load(s.data);
  world_.trace("install", where_.id, s.index.value(), machine_.digest().low);
  if (!where_.witness) checks_.applied(where_.id, machine_.applied_index(), machine_.digest());
  skip_next_ = has(mutant::skip_after_install);
  registered_ = false;
  note_nodes();
  run_vms();
  applied_ = std::max(applied_, machine_.applied_index());
  core_->applied(applied_);
}

// ---------------------------------------------------------------- nodes and VMs

void driver::note_nodes() {
  std::vector<state::leaseholder> holders;
  bool alive = false;
  machine_.inventory()->nodes.for_each([&](const state::node_usage& n) {
    const auto& f = *n.facts;
    if (n.id == where_.id)
      alive = f.incarnation() == incarnation_ && incarnation_ != 0 && f.state() != pb::NODE_DOWN &&
              f.state() != pb::NODE_LEFT && f.state() != pb::NODE_JOINING;
    if (f.state() == pb::NODE_LEFT) return;
    holders.push_back({n.id, f.incarnation(), f.state() == pb::NODE_DOWN});
  });
  leases_.set_nodes(std::move(holders));
  if (alive && !registered_) {
    // With a lease that still runs nothing can have been placed elsewhere; without one it may.
    fenced_ = local_now() >= where_.lease_end;
    renewed_ns_ = 0;
  }
  registered_ = alive;
}

void driver::run_vms() {
  where_.expire(world_.now());
  if (!registered_) return;
  look_up_vms();
  std::erase_if(where_.running,
                [this](std::uint64_t vm) { return !std::ranges::binary_search(assigned_, vm); });
  fenced_ = false;  // strangers are gone
  if (local_now() >= where_.lease_end) return;
  for (const auto vm : assigned_) {
    if (where_.running.contains(vm)) continue;
    world_.vm_starts(where_, vm);
    where_.running.insert(vm);
    world_.trace("vm_start", where_.id, vm, incarnation_);
  }
}

void driver::look_up_vms() {
  if (assigned_at_ == machine_.applied_index()) return;
  assigned_at_ = machine_.applied_index();
  assigned_.clear();
  for (const auto& vm : machine_.vms_on(where_.id)) assigned_.push_back(vm->id());
  std::ranges::sort(assigned_);
}

void driver::register_self() {
  if (where_.witness || registered_ || !core_->lead() ||
      !core_->configuration().contains(where_.id))
    return;
  const auto now = local_now();
  if (register_sent_ns_ != 0 && now - register_sent_ns_ < 200 * ms) return;
  register_sent_ns_ = now;
  const auto known = machine_.node(where_.id);
  const auto last = known ? known->incarnation() : 0;
  if (incarnation_ <= last) incarnation_ = std::max(now / ms, last + 1);
  pb::Command c;
  *c.mutable_node_register()->mutable_node() = described(where_.id, incarnation_, where_.page);
  if (core_->is_leader())
    propose_own(bytes_of(c));
  else
    post({.from = where_.id,
          .to = core_->lead(),
          .kind = frame_kind::command,
          .cls = priority::normal,
          .body = bytes_of(c)});
}

// ---------------------------------------------------------------- leases

void driver::renew_lease() {
  const auto now = local_now();
  if (incarnation_ == 0 || fenced_ || !core_->lead() || now - renewed_ns_ < lease_renew_ns) return;
  renewed_ns_ = now;
  const std::uint64_t words[2] = {incarnation_, now};
  wire w{.from = where_.id,
         .to = core_->lead(),
         .kind = frame_kind::lease,
         .cls = priority::high,
         .body = slice::copy_of(std::as_bytes(std::span{words}))};
  if (core_->is_leader())
    next_round_.leases.push_back({where_.id, incarnation_, now});
  else
    post(std::move(w));
}

void driver::grant(const lease_request& l) {
  if (!core_->configuration().contains(l.node) ||
      !leases_.grant(l.node, l.incarnation, local_now()))
    return;
  const std::uint64_t words[2] = {l.incarnation, l.sent_ns};
  wire w{.from = where_.id,
         .to = l.node,
         .kind = frame_kind::lease_grant,
         .cls = priority::high,
         .body = slice::copy_of(std::as_bytes(std::span{words}))};
  if (l.node == where_.id)
    granted(w);
  else
    post(std::move(w));
}

void driver::granted(const wire& w) {
  std::uint64_t words[2];
  std::memcpy(words, w.body.data(), sizeof words);
  if (words[0] != incarnation_ || fenced_) return;
  where_.expire(world_.now());
  const auto from = has(mutant::lease_from_arrival) ? local_now() : words[1];
  const auto end = from + lease_duration_ns;
  if (words[0] <= where_.lease_incarnation && end <= where_.lease_end) return;
  where_.lease_incarnation = words[0];
  where_.lease_end = end;
  for (const auto vm : where_.running) world_.vm_starts(where_, vm);
  run_vms();
}

void driver::declare_down() {
  if (!core_->is_leader()) return;
  for (const auto& n : leases_.take_expired(local_now())) {
    pb::Command c;
    c.mutable_node_down()->set_node(n.id.value());
    c.mutable_node_down()->set_incarnation(n.incarnation);
    if (!core_->propose(bytes_of(c))) {
      leases_.retry(n.id, local_now());
      continue;
    }
    world_.trace("down", n.id, n.incarnation, where_.id.value());
  }
}

// The planner's part: two VMs are wanted; one without a node goes to any node that is ready.
void driver::place_vms() {
  if (!core_->is_leader() || placed_at_ == applied_ || applied_ < core_->commit()) return;
  std::vector<node_id> ready;
  machine_.inventory()->nodes.for_each([&](const state::node_usage& n) {
    if (n.facts->state() == pb::NODE_READY) ready.push_back(n.id);
  });
  if (ready.empty()) return;
  placed_at_ = applied_;
  pb::Command c;
  for (std::uint64_t i = 0; i < vms_wanted; ++i) {
    if (machine_.vm("default", "vm" + std::to_string(i))) continue;
    auto& spec = *c.mutable_vm_create()->mutable_spec();
    spec.set_name("vm" + std::to_string(i));
    spec.set_desired(pb::DESIRED_RUNNING);
    spec.set_backend(pb::BACKEND_PROCESS);
    spec.mutable_process()->add_argv("/bin/true");
    c.mutable_vm_create()->mutable_decision()->set_node(
        ready[world_.chance().below(ready.size())].value());
    propose_own(bytes_of(c));
    return;
  }
  for (const auto& vm : machine_.pending_vms(vm_id{}, vms_wanted)) {
    c.mutable_vm_place()->set_vm(vm->id());
    c.mutable_vm_place()->set_generation(vm->generation());
    c.mutable_vm_place()->mutable_decision()->set_node(
        ready[world_.chance().below(ready.size())].value());
    propose_own(bytes_of(c));
  }
}

}  // namespace blixard::sim
