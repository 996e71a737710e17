#include "tests/sim/driver.hpp"

#include <algorithm>
#include <cstring>

namespace blixard::sim {
namespace {

using raft::message_type;

// As the raft actor classes and supersedes its frames.
priority class_of(message_type t) noexcept {
  switch (t) {
    case message_type::append:
    case message_type::propose:
    case message_type::read_index:
    case message_type::read_index_resp:
    case message_type::transfer:
      return priority::high;
    case message_type::snapshot:
      return priority::low;
    case message_type::vote:
    case message_type::vote_resp:
    case message_type::prevote:
    case message_type::prevote_resp:
    case message_type::append_resp:
    case message_type::heartbeat:
    case message_type::heartbeat_resp:
    case message_type::timeout_now:
      return priority::critical;
  }
  return priority::critical;
}

std::uint64_t supersede_key(message_type t) noexcept {
  return t == message_type::heartbeat || t == message_type::heartbeat_resp
             ? static_cast<std::uint64_t>(t) + 1
             : 0;
}

routing::lanes_config small_lanes() {
  routing::lanes_config c;
  for (auto& lane : c.lane) lane = {.max_items = 128, .max_bytes = 1 << 20, .retry_after_ms = 10};
  return c;
}

}  // namespace

slice joined(const std::vector<slice>& pieces) {
  if (pieces.size() == 1) return pieces.front();
  std::size_t size = 0;
  for (const auto& p : pieces) size += p.size();
  auto b = buffer::make(size);
  std::size_t at = 0;
  for (const auto& p : pieces) {
    std::memcpy(b->data() + at, p.data(), p.size());
    at += p.size();
  }
  const auto* bytes = b->data();
  return {std::move(b), bytes, size};
}

driver::driver(site& where, host& world)
    : where_(where),
      world_(world),
      common_(world.common()),
      checks_(world.checks()),
      snapshots_out_(world.common().snapshot_rate, world.common().transfer),
      leases_(lease_duration_ns,
              world.common().driver_bug == mutant::lease_without_margin ? 0 : lease_margin_ns) {
  ++where_.starts;
  recover();
  note_nodes();
}

driver::link::link() : main(small_lanes()), bulk(small_lanes()) {}

link_lanes& driver::lane(node_id to, bool bulk) {
  if (links_.size() <= to.value()) links_.resize(to.value() + 1);
  auto& l = links_[to.value()];
  if (!l) l = std::make_unique<link>();
  return bulk ? l->bulk : l->main;
}

// ---------------------------------------------------------------- inputs

void driver::tick() {
  catch_up(1);
  core_->tick();
  ticked_ns_ = local_now();
  ++ticks_;
  if (removed_ && !core_->is_leader()) ++removed_ticks_;
  pump_snapshots();
  if (ticks_ % 4 == 0) shorten_log();
  if (ticks_ % 10 == 0) {
    promote_learners();
    if (disk_full_) hand_over();
  }
  declare_down();
  place_vms();
  register_self();
  renew_lease();
  run_vms();
  flush();
}

// Ticks that fell into a pause are lost, unless reads rely on them: then the time that has passed
// must be known before anything is answered. `due`: of them, which come now all the same.
void driver::catch_up(std::uint64_t due) {
  if (common_.core.reads != raft::read_mode::lease || ticked_ns_ == 0) return;
  const auto passed = (local_now() - ticked_ns_) / tick_ns;
  const auto missed = passed - std::min(passed, due);
  core_->skip(missed);
  ticked_ns_ += missed * tick_ns;
}

void driver::hand_over() {
  if (!core_->is_leader()) return;
  const raft::peer_status* best = nullptr;
  const auto status = core_->status();
  for (const auto& p : status.peers)
    if (p.id != where_.id && !p.learner && !p.witness && !p.recovering && p.recent_active &&
        (best == nullptr || p.match > best->match))
      best = &p;
  if (best != nullptr) (void)core_->transfer(best->id);
}

// With it, windows adapt.
void driver::show_time() {
  if (common_.adaptive_window) core_->note_time(local_now() / 1000);
}

void driver::receive(const wire& w) {
  show_time();
  catch_up();
  if (w.kind == frame_kind::lease_grant) {
    granted(w);
  } else if (w.kind == frame_kind::command) {
    propose_own(w.body);
  } else if (w.kind == frame_kind::lease) {
    std::uint64_t words[2];
    std::memcpy(words, w.body.data(), sizeof words);
    const lease_request l{w.from, words[0], words[1]};
    if (has(mutant::lease_without_quorum) && core_->is_leader())
      grant(l);
    else if (core_->is_leader())
      next_round_.leases.push_back(l);
  } else {
    const auto done = raft::decode_into(w.body, decoded_);
    if (!done) throw failure("codec", done.error().message);
    if (decoded_.msg.type == message_type::snapshot)
      receive_chunk(decoded_);
    else  // a refusal is an old or strange message: nothing to do
      (void)core_->step(std::move(decoded_.msg));
  }
  flush();
}

void driver::request(const client_request& r) {
  catch_up();
  if (r.read) {
    next_round_.queries.push_back(r);
    return flush();
  }
  if (disk_full_ && core_->is_leader()) return refuse(r);
  const auto command = has(mutant::retry_without_session) ? without_session(r.body) : r.body;
  const auto index = core_->propose(command);
  if (!index)
    refuse(r);
  else if (has(mutant::ack_before_commit))
    world_.reply({r.client, r.attempt, reply_kind::answered, core_->id(), nullptr});
  else
    await({*index, core_->current_term(), r});
  flush();
}

// A log that was cut grows again from a lower index: in order all the same.
void driver::await(pending p) {
  const auto place = std::ranges::upper_bound(pending_, p.index, {}, &pending::index);
  pending_.insert(place, std::move(p));
}

void driver::on_turn(turn what) {
  catch_up();
  switch (what) {
    case turn::disk:
      finish_disk();
      break;
    case turn::machine:
      run_machine();
      break;
    case turn::filer:
      fill_file();
      break;
  }
  flush();
}

void driver::change_membership(const raft::conf_change& change) {
  if (const auto index = core_->propose_conf(change)) last_conf_proposed_ = *index;
  flush();
}

// As raft_driver::join().
void driver::admit(const client_request& from, node_id id, bool witness) {
  const auto& conf = core_->configuration();
  const bool member = conf.contains(id);
  const bool other_kind = conf.is_witness(id) != witness && (member || conf.is_witness(id));
  if (!core_->is_leader() || other_kind) return refuse(from);
  const auto fresh = witness ? raft::conf_op::witness : raft::conf_op::learner;
  raft::conf_change change;
  change.changes.push_back({member ? raft::conf_op::update : fresh, id});
  change.context = address_of(id);
  const auto index = core_->propose_conf(change);
  if (!index) return refuse(from);
  last_conf_proposed_ = *index;
  await({*index, core_->current_term(), from});
  flush();
}

void driver::transfer(node_id target) {
  (void)core_->transfer(target);
  flush();
}

void driver::probe_read() {
  catch_up();
  next_round_.probe = true;
  flush();
}

void driver::propose_own(const slice& command) {
  if (core_->is_leader()) (void)core_->propose(command);
}

void driver::refuse(const client_request& r) {
  const auto lead = core_->lead();
  world_.reply({r.client, r.attempt, reply_kind::not_applied,
                lead == core_->id() ? node_id{} : lead, nullptr});
}

void driver::promote_learners() {
  if (!core_->is_leader() || core_->configuration().learners.empty()) return;
  for (const auto& p : core_->status().peers) {
    if (!p.learner || !p.recent_active || p.state != raft::progress_state::replicate) continue;
    if (p.recovering) continue;
    if (p.match.value() + 10 < core_->commit().value()) continue;
    if (last_conf_proposed_ > applied_) return;  // one change at a time
    change_membership({.changes = {{raft::conf_op::voter, p.id}}});
    return;
  }
}

// ---------------------------------------------------------------- output

void driver::flush() {
  show_time();
  start_read_round();
  if (!core_->has_output()) return checks_.after_step(*core_);
  while (core_->has_output()) {
    core_->take_output(out_);
    hand_out(out_);
    checks_.after_step(*core_);
  }
}

void driver::start_read_round() {
  if (next_round_.queries.empty() && next_round_.leases.empty() && !next_round_.probe) return;
  const auto context = ++last_context_;
  if (!core_->is_leader() || !core_->read_index(context)) {
    for (const auto& q : next_round_.queries) refuse(q);
    next_round_ = {};
    return;
  }
  next_round_.needed = checks_.newest_commit();
  rounds_.emplace(context, std::exchange(next_round_, {}));
}

void driver::hand_out(raft::output& out) {
  if (out.soft) role_changed();
  for (const auto& e : out.entries) checks_.entry_written(*core_, e);
  if (out.seq) persist(out);
  for (auto& m : out.messages) send_message(m);
  encoder_.forget();
  if (out.repaired) submit(disk_job{.repaired = true});
  if (out.snapshot) {
    handed_ = std::max(handed_, out.snapshot->index);
    snapshot_index_ = sendable_snapshot_ = out.snapshot->index;
    snapshot_bytes_ = out.snapshot->data.size();
    while (!pending_.empty() && pending_.front().index <= out.snapshot->index) {
      const auto& p = pending_.front();
      world_.reply({p.from.client, p.from.attempt, reply_kind::unknown, {}, nullptr});
      pending_.pop_front();
    }
    submit(task{.install = out.snapshot});
  }
  if (!out.committed.empty()) hand_committed(out);
  finish_reads(out);
  if (out.conf) {
    const bool member = out.conf->contains(core_->id());
    if (member && out.conf->is_witness(core_->id()) != where_.witness)
      throw failure("membership", "node " + to_string(where_.id) + " is not what it started as");
    removed_ = was_member_ && !member;
    was_member_ = was_member_ || member;
  }
}

void driver::role_changed() {
  const auto role = core_->role();
  world_.trace("role", where_.id, static_cast<std::uint64_t>(role), core_->current_term().value());
  if (role == raft::role::leader && known_role_ != raft::role::leader) {
    leases_.lead(local_now());
    world_.leads(where_.id);
  }
  if (role != raft::role::leader && known_role_ == raft::role::leader) {
    leases_.stop_leading();
    for (const auto& [context, r] : rounds_)
      for (const auto& q : r.queries) refuse(q);
    rounds_.clear();
    snapshots_out_.clear();
    active_ns_.clear();
    waiting_grants_.clear();
    if (has(mutant::fail_when_unknown)) {
      for (const auto& p : pending_) refuse(p.from);
      pending_.clear();
    }
  }
  known_role_ = role;
}

void driver::persist(raft::output& out) {
  persist_job job{.seq = out.seq, .must_sync = out.must_sync, .snap = out.snapshot};
  if (!has(mutant::hard_state_not_written) || !out.entries.empty()) job.hard = out.hard;
  for (const auto& e : out.entries) log_bytes_.appended(e.index, e.data.size());
  job.entries = std::exchange(out.entries, {});
  submitted_ = out.seq;
  submit(disk_job{.persist = std::move(job)});
}

void driver::send_message(raft::message& m) {
  if (m.type == message_type::snapshot) return start_snapshot_to(m);
  pieces_.clear();
  encoder_.encode(m, pieces_);
  gated_frame f{m.after,
                {.from = where_.id,
                 .to = m.to,
                 .kind = frame_kind::raft,
                 .cls = class_of(m.type),
                 .key = supersede_key(m.type),
                 .body = joined(pieces_)},
                {m.type, m.from, m.to, m.term, m.reject}};
  if (f.after.value() == 0 || f.after <= durable_ || has(mutant::gate_ignored))
    release(std::move(f));
  else
    gated_.push_back(std::move(f));
}

void driver::release(gated_frame&& f) {
  checks_.released(f.head);
  post(std::move(f.frame));
}

void driver::post(wire w) {
  const auto to = w.to;
  const auto bytes = w.body.size();
  const auto cls = w.cls;
  const auto key = w.key;
  const bool bulk = w.bulk;
  // Refused is lost: whoever sent it sends it again.
  (void)lane(to, bulk).push(cls, std::move(w), bytes, key);
  world_.transmit(where_.id, to, bulk);
}

void driver::release_gated() {
  while (!gated_.empty() && gated_.front().after <= durable_) {
    release(std::move(gated_.front()));
    gated_.pop_front();
  }
}

void driver::hand_committed(raft::output& out) {
  task t;
  for (const auto& e : out.committed) {
    checks_.committed(*core_, e);
    if (e.kind == entry_kind::conf) last_conf_handed_ = e.index;
    while (!pending_.empty() && pending_.front().index <= e.index) {
      const auto& p = pending_.front();
      if (p.index == e.index && p.term == e.term)
        t.origins.emplace_back(e.index, p.from);
      else
        refuse(p.from);  // another leader's entry stands where this one would have been
      pending_.pop_front();
    }
  }
  handed_ = out.committed.back().index;
  t.committed = std::move(out.committed);
  out.committed = {};
  submit(std::move(t));
}

void driver::finish_reads(const raft::output& out) {
  for (const auto& r : out.reads) {
    const auto it = rounds_.find(r.context);
    if (it == rounds_.end()) continue;
    auto done = std::move(it->second);
    rounds_.erase(it);
    checks_.read_confirmed(where_.id, r.index, done.needed);
    if (!done.queries.empty()) waiting_reads_.emplace_back(r.index, std::move(done.queries));
    if (applied_ >= r.index)
      for (const auto& l : done.leases) grant(l);
    else if (!done.leases.empty())
      waiting_grants_.emplace_back(r.index, std::move(done.leases));
  }
  release_reads();
}

void driver::release_reads() {
  while (!waiting_reads_.empty() && waiting_reads_.front().first <= handed_) {
    submit(task{.reads = std::move(waiting_reads_.front().second)});
    waiting_reads_.pop_front();
  }
}

}  // namespace blixard::sim
