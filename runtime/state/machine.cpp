// The state machine's front: one entry in, one answer out. See machine.hpp.
#include "runtime/state/machine.hpp"

#include <algorithm>
#include <array>

#include "messages/cluster.pb.h"
#include "runtime/base/heap.hpp"
#include "runtime/state/tables.hpp"
#include "runtime/state/text.hpp"

namespace blixard::state {

applied_result::applied_result() : answer(std::make_unique<pb::Answer>()) {}
applied_result::~applied_result() = default;
applied_result::applied_result(applied_result&&) noexcept = default;
applied_result& applied_result::operator=(applied_result&&) noexcept = default;

namespace {

// Of a proposer's clock: the year 287396. Times are added to and subtracted from each other.
constexpr std::int64_t time_max_ms = std::int64_t{1} << 53U;
// What a snapshot's thread frees meanwhile stays few.
constexpr std::uint64_t entries_per_order = 16;

template <class Ids>
void sort_unique(Ids& ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

void reset(applied_result& r) {
  if (!r.answer) r.answer = std::make_unique<pb::Answer>();
  r.answer->Clear();
  r.changed.vms.clear();
  r.changed.nodes.clear();
  r.changed.kv = r.changed.inventory = r.changed.summary = false;
  r.duplicate = false;
}

}  // namespace

void refuse(pb::Answer& answer, errc code, std::string message, std::string hint) {
  answer.clear_result();
  answer.set_error(static_cast<std::uint32_t>(code));
  answer.set_message(std::move(message));
  answer.set_hint(std::move(hint));
}

// ---------------------------------------------------------------- apply

void machine::tables::apply(const entry& e, applied_result& out) {
  CHECK_EQ(e.index, applied.next());
  reset(out);
  applied = e.index;
  applied_term = e.term;
  if (applied.value() % entries_per_order == 0) keep_heap_in_order();
  vms_and_nodes.begin(e.index, &out.changed);
  out.answer->set_index(e.index.value());
  out.answer->set_term(e.term.value());
  if (e.kind == entry_kind::conf) {
    pb::ConfChange change;
    if (change.ParseFromArray(e.data.data(), static_cast<int>(e.data.size()))) {
      learn_address(change);
      forget_removed(change);
    }
    out.answer->mutable_done();
  } else if (e.data.empty()) {
    out.answer->mutable_done();
  } else {
    execute(e, out);
  }
  vms_and_nodes.begin(e.index, nullptr);
  sort_unique(out.changed.vms);
  sort_unique(out.changed.nodes);
}

template <class Run>
void machine::tables::execute_once(std::string_view client, std::uint64_t seq, applied_result& out,
                                   Run&& run) {
  pb::Answer& answer = *out.answer;
  if (client.empty()) return run(answer);
  if (client.size() > limits::client_name_max_bytes)
    return refuse(answer, errc::invalid_argument, "the client's name is longer than 255 bytes");
  if (seq == 0) return refuse(answer, errc::invalid_argument, "a client's sequence starts at 1");
  const auto known = sessions.look_up(client, seq);
  switch (known.what) {
    case session_table::verdict::fresh:
      run(answer);
      sessions.remember(client, seq, applied.value(), answer.SerializeAsString());
      return;
    case session_table::verdict::repeated:
      CHECK(answer.ParseFromString(*known.answer));
      out.duplicate = true;
      break;
    case session_table::verdict::forgotten:
      // Not invalid_state: that would say that the command never happened, and it may have.
      refuse(answer, errc::internal,
             "sequence " + std::to_string(seq) + " of client " + quote(client) +
                 " is too old: answers up to " + std::to_string(known.floor) +
                 " are forgotten, and with them what became of it",
             "nothing was done now; use a higher sequence for a new command");
      break;
  }
  sessions.touch(client, applied.value());
}

void machine::tables::execute(const entry& e, applied_result& out) {
  if (const auto put = view_kv_put(e.data)) {
    execute_once(put->client, put->seq, out,
                 [&](pb::Answer& answer) { kv_put(*put, answer, out.changed); });
    return;
  }
  if (!scratch.ParseFromArray(e.data.data(), static_cast<int>(e.data.size()))) {
    refuse(*out.answer, errc::internal, "the entry is not a command");
    return;
  }
  execute_once(scratch.client(), scratch.seq(), out, [&](pb::Answer&) { dispatch(scratch, out); });
}

void machine::tables::dispatch(const pb::Command& c, applied_result& out) {
  pb::Answer& answer = *out.answer;
  time_ms = std::clamp<std::int64_t>(c.time_ms(), 0, time_max_ms);
  switch (c.op_case()) {
    case pb::Command::kKvPut: {
      const auto& p = c.kv_put();
      return kv_put({c.client(), c.seq(), p.key(), slice::copy_of(p.value()), p.if_version_set(),
                     p.if_version()},
                    answer, out.changed);
    }
    case pb::Command::kKvCas:
      return kv_cas(c.kv_cas(), answer, out.changed);
    case pb::Command::kKvDelete:
      return kv_delete(c.kv_delete(), answer, out.changed);
    case pb::Command::kVmCreate:
      return vm_create(c.vm_create(), answer);
    case pb::Command::kVmAction:
      return vm_action(c.vm_action(), answer);
    case pb::Command::kVmPlace:
      return vm_place(c.vm_place(), answer);
    case pb::Command::kVmReport:
      return vm_report(c.vm_report(), answer);
    case pb::Command::kNodeRegister:
      return node_register(c.node_register(), answer);
    case pb::Command::kNodeDown:
      return node_down(c.node_down(), answer);
    case pb::Command::kNodeCordon:
      return node_cordon(c.node_cordon(), answer);
    case pb::Command::OP_NOT_SET:
      break;
  }
  refuse(answer, errc::internal, "the entry's command is not known to this version");
}

// ---------------------------------------------------------------- digest

hash128 machine::tables::counters_hash() const {
  const auto& in = vms_and_nodes.inventory();
  const std::array<std::uint64_t, 6> counters{
      applied.value(),    applied_term.value(),       next_vm_id,
      in.version.value(), in.summary_version.value(), in.round_robin.value()};
  return hash_of(object_kind::counters, 0,
                 {reinterpret_cast<const char*>(counters.data()), sizeof counters});
}

hash128 machine::tables::digest() const {
  hash128 out = counters_hash();
  out += kv.sum();
  out += vms_and_nodes.sum();
  out += sessions.sum();
  return out;
}

hash128 machine::tables::digest_from_scratch() const {
  hash128 out = counters_hash();
  kv.items().for_each([&](const ref<const kv_item>& i) {
    out += hash_of(object_kind::kv, i->version(), i->key(), i->value());
  });
  vms_and_nodes.vms().for_each([&](const vm_item& i) { out += fleet::hash(*i.vm); });
  vms_and_nodes.inventory().nodes.for_each([&](node_usage n) {
    n.facts_hash = fleet::hash(*n.facts);
    out += fleet::hash(n);
  });
  sessions.clients().for_each([&](const session& s) { out += session_table::hash(s); });
  sessions.results().for_each([&](const session_result& r) { out += session_table::hash(r); });
  return out;
}

// ---------------------------------------------------------------- machine

machine::machine() : t_(std::make_unique<tables>()) {}
machine::~machine() = default;
machine::machine(machine&&) noexcept = default;
machine& machine::operator=(machine&&) noexcept = default;

void machine::apply(const entry& e, applied_result& out) { t_->apply(e, out); }

applied_result machine::apply(const entry& e) {
  applied_result out;
  t_->apply(e, out);
  return out;
}

void machine::stand_at(log_index index, blixard::term term) noexcept {
  t_->applied = index;
  t_->applied_term = term;
}

log_index machine::applied_index() const noexcept { return t_->applied; }
blixard::term machine::applied_term() const noexcept { return t_->applied_term; }

void machine::answer(const pb::Query& query, pb::Answer& out) const { t_->answer(query, out); }

pb::Answer machine::answer(const pb::Query& query) const {
  pb::Answer out;
  t_->answer(query, out);
  return out;
}

std::shared_ptr<const state::inventory> machine::inventory() const {
  return t_->vms_and_nodes.publish();
}

std::shared_ptr<const pb::Vm> machine::vm(vm_id id) const { return t_->vms_and_nodes.vm(id); }

std::shared_ptr<const pb::Vm> machine::vm(std::string_view tenant, std::string_view name) const {
  return t_->vms_and_nodes.vm(tenant_or_default(tenant), name);
}

std::vector<std::shared_ptr<const pb::Vm>> machine::vms_on(node_id node) const {
  std::vector<vm_ptr> out;
  for (const vm_id id : t_->vms_and_nodes.vms_on(node)) out.push_back(t_->vms_and_nodes.vm(id));
  return out;
}

std::vector<std::shared_ptr<const pb::Vm>> machine::pending_vms(vm_id after,
                                                                std::size_t max) const {
  const auto& pending = t_->vms_and_nodes.pending();
  std::vector<vm_ptr> out;
  for (auto it = pending.upper_bound(after); it != pending.end() && out.size() < max; ++it)
    out.push_back(t_->vms_and_nodes.vm(*it));
  return out;
}

std::shared_ptr<const pb::Node> machine::node(node_id id) const {
  return t_->vms_and_nodes.node(id);
}

machine::sizes machine::size() const noexcept {
  return {t_->kv.items().size(), t_->vms_and_nodes.vms().size(),
          t_->vms_and_nodes.inventory().nodes.size(), t_->sessions.clients().size(),
          t_->sessions.results().size()};
}

hash128 machine::digest() const { return t_->digest(); }
hash128 machine::digest_from_scratch() const { return t_->digest_from_scratch(); }
snapshot_view machine::view() const { return t_->view(); }

}  // namespace blixard::state
