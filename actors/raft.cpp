#include "actors/raft.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>

#include "actors/frames.hpp"

namespace blixard::actors {
namespace {

priority class_of(raft::message_type t) noexcept {
  switch (t) {
    case raft::message_type::append:
    case raft::message_type::propose:
    case raft::message_type::read_index:
    case raft::message_type::read_index_resp:
    case raft::message_type::transfer:
      return priority::high;
    case raft::message_type::snapshot:
      return priority::low;
    case raft::message_type::vote:
    case raft::message_type::vote_resp:
    case raft::message_type::prevote:
    case raft::message_type::prevote_resp:
    case raft::message_type::append_resp:
    case raft::message_type::heartbeat:
    case raft::message_type::heartbeat_resp:
    case raft::message_type::timeout_now:
      return priority::critical;
  }
  return priority::critical;
}

// Heartbeats and their answers are true in the newest version only; the transport replaces an older
// one that still waits. For frames between nodes the request id has no other use.
request_id supersede_key(raft::message_type t) noexcept {
  return t == raft::message_type::heartbeat || t == raft::message_type::heartbeat_resp
             ? request_id{static_cast<std::uint64_t>(t) + 1}
             : request_id{};
}

published_role role_of(raft::role r, bool voter) noexcept {
  switch (r) {
    case raft::role::leader:
      return published_role::leader;
    case raft::role::candidate:
    case raft::role::precandidate:
      return published_role::candidate;
    case raft::role::follower:
      return voter ? published_role::follower : published_role::learner;
  }
  return published_role::follower;
}

std::size_t wire_bytes(std::span<const frame_ptr> frames) noexcept {
  std::size_t n = 0;
  for (const auto& f : frames) n += f->wire_size();
  return n;
}

// The output keeps its memory for the next one, and what travels has pooled memory: no allocation
// per batch.
void take(pooled_vector<entry>& to, std::vector<entry>& from) {
  to.assign(std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  from.clear();
}

constexpr auto to_ns(auto duration) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(duration).count());
}

}  // namespace

raft_driver::raft_driver(caf::actor_config& config, host* where, const links& to,
                         shared_facts& facts, net::loop* loop, raft_options options,
                         const raft::config& core_config, const raft::disk_state& disk,
                         log_index applied)
    : hosted(config, where),
      to_(to),
      facts_(facts),
      loop_(loop),
      options_(std::move(options)),
      core_(core_config, disk, applied, disk.snapshot),
      encoder_(options_.pool == nullptr
                   ? raft::encoder::buffer_source(&buffer::make)
                   : [pool = options_.pool](std::size_t bytes) { return pool->acquire(bytes); }),
      handed_(applied),
      applied_(applied),
      snapshot_index_(disk.snapshot ? disk.snapshot->index : log_index{}),
      sendable_snapshot_(snapshot_index_),
      snapshot_bytes_(disk.snapshot ? disk.snapshot->data.size() : 0),
      last_(disk.entries.empty() ? snapshot_index_ : disk.entries.back().index),
      was_member_(core_.configuration().contains(core_config.id)),
      farewell_ticks_(5 * core_config.election_max_ticks),
      handover_ticks_(2 * core_config.election_max_ticks),
      leases_(to_ns(limits::lease_duration), to_ns(limits::lease_margin)),
      snapshots_out_(options_.snapshot_rate),
      metrics_(*facts.registry),
      peers_(*facts.registry) {
  metrics_.recovering.set(core_.recovering());
  metrics_.rank.set(core_config.election_rank);
  started_ns_ = net::boottime_ns();
  for (const auto& e : disk.entries) log_bytes_.appended(e.index, payload_bytes_.added_by(e.data));
  if (auto in = std::exchange(options_.incoming, std::nullopt)) {
    spdlog::info("{} of {} bytes of the snapshot at {} are here already", in->received,
                 in->name.total, in->name.index.value());
    snapshots_in_.resume({in->name.index, in->name.term, in->name.total, in->name.content},
                         std::move(in->data), in->received);
  }
}

raft_driver::behavior_type raft_driver::make_behavior() {
  return {
      [this](const raft_frames& in) { receive(in); },
      [this](proposals& list) { propose(list); },
      [this](const persisted& p) { persisted_up_to(p); },
      [this](flush_atom) { flush(); },
      [this](reads& list) { collect_reads(list); },
      [this](const applied_up_to& a) { applied(a); },
      [this](const disk_space& d) { disk_changed(d); },
      [this](tick_atom) { on_tick(); },
      [this](const admin_request& request) { administer(request); },
      [this](const lease_frame& f) { renew_lease(f); },
      [this](const removed_notice& n) { told_removed(n.from); },
      [this](leaseholders& l) { leases_.set_nodes(std::move(l.list)); },
      [this](snapshot_stored& s) { snapshot_is_stored(s); },
      [this](status_query& q) {
        publish_view();
        send(to_.state, std::move(q));
      },
      [this](stop_atom) { stop(); },
  };
}

std::uint64_t raft_driver::now() const noexcept {
  return loop_ != nullptr ? loop_->now_ns() : ticks_ * options_.tick_ns;
}

// How long acknowledgements take is measured from the flush that sends to the turn that receives.
void raft_driver::show_time() {
  if (loop_ != nullptr && options_.adaptive_window) core_.note_time(now() / 1000);
}

void raft_driver::schedule_flush() {
  if (flush_scheduled_) return;
  flush_scheduled_ = true;
  send(this, flush_atom::value);
}

// ---------------------------------------------------------------- inputs

// A payload is a slice of the chunk that the socket was read into, and the log keeps it for long.
// When much arrives, the chunk is full of such payloads and nothing is wasted. When little does,
// one small entry would hold a megabyte of heartbeats: then the payload gets a buffer of its own.
slice raft_driver::keep(slice data, std::size_t arrived_bytes) {
  if (arrived_bytes >= sparse_bytes || data.empty()) return data;
  metrics_.payload_copies.add();
  return slice::copy_of(data.bytes());
}

void raft_driver::receive(const raft_frames& in) {
  const auto arrived = wire_bytes(in.frames);
  show_time();
  catch_up();
  // Who leads is a member, whatever this node has not heard of yet.
  if (!core_.configuration().contains(in.from) && in.from != core_.lead()) tell_removed(in.from);
  for (const auto& f : in.frames) {
    auto& decoded = incoming_;
    if (!raft::decode_into(f->body(), decoded) || decoded.msg.from != in.from) {
      metrics_.invalid.add();
      continue;
    }
    auto& m = decoded.msg;
    for (auto& e : m.entries) e.data = keep(std::move(e.data), arrived);
    if (m.from == core_.lead() && !core_.is_leader()) {
      if (leader_contact_ns_ != 0) metrics_.heartbeat_gap.observe(now() - leader_contact_ns_);
      leader_contact_ns_ = now();
      hear_of_commit(m.commit);
      notices_.clear();
    }
    if (m.type == raft::message_type::snapshot)
      receive_chunk(decoded);
    else
      (void)core_.step(std::move(m));  // a refusal is an old or strange message: nothing to do
  }
  incoming_.msg.entries.clear();  // they would keep the chunk that they arrived in
  incoming_.msg.snapshot = {};
  incoming_.chunk = {};
  schedule_flush();
}

void raft_driver::hear_of_commit(log_index index) {
  auto& known = facts_.committed_elsewhere;
  if (index.value() > known.load(std::memory_order_relaxed))
    known.store(index.value(), std::memory_order_relaxed);
}

void raft_driver::propose(proposals& list) {
  std::size_t arrived = 0;
  for (const auto& p : list.list) arrived += p.frame->wire_size();
  for (auto& p : list.list) {
    if (pending_.size() >= limits::proposals_max) {
      auto e = make_error(errc::overloaded, "the leader has more commands than it can replicate",
                          "try again after the time it names");
      e.retry_after_ms = 50;
      answer(p.from, e);
      continue;
    }
    if (disk_full_ && core_.is_leader()) {
      answer(p.from,
             make_error(errc::disk_full, "the leader's disk takes no writes; nothing was done",
                        "free space in its data directory (its log says if it is something "
                        "else); reads are served"));
      continue;
    }
    const auto index = core_.propose(keep(p.frame->body(), arrived));
    if (index) {
      wait_for({*index, core_.current_term(), p.from, now()});
      continue;
    }
    switch (index.error()) {
      case raft::refusal::dropped: {
        auto e = make_error(errc::overloaded, "the leader takes no commands at the moment",
                            "leadership is being handed over, or too much is not committed yet");
        e.retry_after_ms = 50;
        answer(p.from, e);
        break;
      }
      case raft::refusal::no_leader:
      case raft::refusal::not_leader:
        send(to_.router, reroute{p.from, std::move(p.frame), node_id{}});
        break;
      case raft::refusal::not_promotable:
      case raft::refusal::conf_refused:
      case raft::refusal::unknown_peer:
      case raft::refusal::invalid:
      case raft::refusal::unsupported:
        answer(p.from, make_error(errc::invalid_argument, "not a command that can be replicated"));
        break;
    }
  }
  schedule_flush();
}

// What an earlier leadership of this node proposed may still wait for its outcome at a higher
// index: another leader has cut it from the log, and only what is committed in its place decides.
void raft_driver::wait_for(const pending& p) {
  const auto place = std::ranges::upper_bound(pending_, p.index, {}, &pending::index);
  pending_.insert(place, p);
}

void raft_driver::collect_reads(reads& list) {
  for (auto& r : list.list) {
    if (reads_waiting_ >= limits::reads_max) {
      auto e = make_error(errc::overloaded, "more reads wait than this node can queue");
      e.retry_after_ms = 20;
      answer(r.from, e);
      continue;
    }
    next_round_.queries.push_back(std::move(r));
    ++reads_waiting_;
  }
  schedule_flush();
}

void raft_driver::persisted_up_to(const persisted& p) {
  catch_up();
  durable_ = p.seq;
  core_.persisted(p.seq);
  release_gated(p.seq);
  schedule_flush();
}

void raft_driver::applied(const applied_up_to& a) {
  applied_ = a.index;
  core_.applied(a.index);
  metrics_.applied.set(a.index.value());
  while (!waiting_grants_.empty() && waiting_grants_.front().first <= applied_) {
    grant(waiting_grants_.front().second);
    waiting_grants_.pop_front();
  }
  maybe_take_snapshot();
  schedule_flush();
}

// With lease reads the core's time is the clock's: ticks are lost while the process stands still or
// its thread is late, and a lease must have run out by the time at which a read is answered from
// it. What was lost is skipped but for one tick: nobody could have acted meanwhile, so no timer
// runs out. The clock is one that goes on while the machine sleeps.
void raft_driver::catch_up() {
  if (!options_.lease_reads || loop_ == nullptr) return;
  const auto due = (net::boottime_ns() - started_ns_) / options_.tick_ns;
  if (due <= ticked_) return;
  core_.skip(due - ticked_ - 1);
  core_.tick();
  ticked_ = due;
}

void raft_driver::on_tick() {
  if (options_.lease_reads && loop_ != nullptr)
    catch_up();
  else
    core_.tick();
  if (core_.is_leader()) leader_contact_ns_ = now();
  // A removed leader stays until the others know. So does, for a few of their elections, whoever is
  // not: their leader may be lost before it told them, and without a voter of before, who knows
  // that the change is committed, they could be unable to elect anybody.
  if (removed_ && !core_.is_leader() && ++removed_ticks_ > farewell_ticks_)
    options_.fatal(13, "this node was removed from the cluster");
  if (leaving_.frame && ticks_ >= leaving_.until_tick) leave();
  for (const auto& request : std::exchange(early_admin_, {}))
    if (!request.from.is_late(now())) administer(request);
  pump_snapshots();
  shorten_log();
  if (++ticks_ % 10 == 0) {
    if (disk_full_) hand_over();
    promote_learners();
    declare_down();
    publish_view();
    expire_reads();
    persist_late();
    watch_repair();
    if (transfer_.target && now() > transfer_.until_ns) {
      answer(transfer_.from, make_error(errc::timeout, "leadership was not taken over in time",
                                        "see `cluster status` for who leads"));
      transfer_ = {};
    }
  }
  schedule_flush();
}

// ---------------------------------------------------------------- output

void raft_driver::flush() {
  flush_scheduled_ = false;
  show_time();
  start_read_round();
  while (core_.has_output()) {
    core_.take_output(out_);
    hand_out(out_);
  }
  publish();
  if (applied_ >= handed_)
    for (auto& f : std::exchange(notices_to_send_, {})) outgoing_.frames.push_back(std::move(f));
  if (!outgoing_.frames.empty()) send(to_.router, std::exchange(outgoing_, {}));
}

void raft_driver::start_read_round() {
  if (next_round_.queries.empty() && next_round_.leases.empty()) return;
  const auto context = ++last_context_;
  catch_up();
  if (!core_.is_leader() || !core_.read_index(context)) {
    route_again(next_round_);
    next_round_ = {};
    return;
  }
  next_round_.started_ns = now();
  rounds_.emplace(context, std::exchange(next_round_, {}));
}

/// This node cannot answer them: the router finds out who can.
void raft_driver::route_again(read_round& round) {
  reads_waiting_ -= round.queries.size();
  for (auto& q : round.queries) send(to_.router, reroute{q.from, std::move(q.query), node_id{}});
}

/// Queries of which everybody in a round has given up are worth no memory. The leases in it are
/// still wanted.
void raft_driver::expire_reads() {
  const auto t = now();
  const auto given_up = [t](const read_request& q) { return q.from.is_late(t); };
  for (auto& [context, round] : rounds_) {
    if (!std::ranges::all_of(round.queries, given_up)) continue;
    reads_waiting_ -= round.queries.size();
    round.queries.clear();
  }
  std::erase_if(rounds_,
                [](const auto& r) { return r.second.queries.empty() && r.second.leases.empty(); });
}

void raft_driver::hand_out(raft::output& out) {
  if (out.soft) role_changed();
  if (out.seq.value() != 0) persist(out);
  if (out.snapshot) {
    metrics_.snapshots_installed.add();
    handed_ = std::max(handed_, out.snapshot->index);
    snapshot_index_ = sendable_snapshot_ = out.snapshot->index;
    snapshot_bytes_ = out.snapshot->data.size();
    fail_pending(out.snapshot->index, make_error(errc::leadership_lost,
                                                 "leadership was lost before the outcome was known",
                                                 "the command may or may not have been applied"));
    send(to_.state, install_snapshot{*out.snapshot});
  }
  if (!out.committed.empty()) hand_committed(out);
  if (out.repaired) log_is_repaired();
  send_messages(out);
  finish_reads(out);
  if (out.conf) {
    const bool member = out.conf->contains(core_.id());
    if (member && out.conf->is_witness(core_.id()) != facts_.witness)
      options_.fatal(3, facts_.witness ? "this node is a member with data, not a witness"
                                       : "this node is a witness: start it with --witness");
    removed_ = was_member_ && !member;
    was_member_ = was_member_ || member;
    const auto witnesses = static_cast<std::uint64_t>(std::ranges::count_if(
        out.conf->voters, [&](node_id id) { return out.conf->is_witness(id); }));
    metrics_.voters.set(out.conf->voters.size() - witnesses);
    metrics_.witnesses.set(witnesses);
    metrics_.outgoing.set(out.conf->outgoing.size());
    metrics_.learners.set(out.conf->learners.size() + out.conf->learners_next.size());
    publish_view();
  }
}

void raft_driver::persist(raft::output& out) {
  if (!out.must_sync && !out.snapshot && out.entries.empty()) {
    late_hard_ = out.hard;
    late_seq_ = out.seq;
    return;
  }
  persist_request request{.seq = out.seq, .must_sync = out.must_sync};
  if (out.snapshot) {
    request.snap = *out.snapshot;
    last_ = std::max(last_, out.snapshot->index);
  }
  if (!out.entries.empty()) last_ = out.entries.back().index;
  for (const auto& e : out.entries) log_bytes_.appended(e.index, payload_bytes_.added_by(e.data));
  take(request.entries, out.entries);
  request.hard = out.hard ? out.hard : late_hard_;
  request.asked_ns = net::monotonic_ns();
  late_hard_.reset();
  send(to_.wal, std::move(request));
}

void raft_driver::persist_late() {
  if (!late_hard_) return;
  send(to_.wal, persist_request{.seq = late_seq_, .must_sync = false, .hard = late_hard_});
  late_hard_.reset();
}

void raft_driver::queue_frame(raft::message& m) {
  pieces_.clear();
  encoder_.encode(m, pieces_);
  peer_frame f{.to = m.to,
               .bulk = false,
               .frame = frame::make({.kind = frame_kind::raft,
                                     .cls = class_of(m.type),
                                     .request = supersede_key(m.type),
                                     .target = m.to},
                                    std::span<slice>{pieces_})};
  if (m.after.value() == 0 || m.after <= durable_) {
    (m.notice ? notices_to_send_ : outgoing_.frames).push_back(std::move(f));
    return;
  }
  metrics_.persist_waits.add();
  gated_.push_back({m.after, std::move(f)});
}

void raft_driver::send_messages(raft::output& out) {
  const auto before = encoder_.assembled();
  for (auto& m : out.messages) {
    if (m.type == raft::message_type::snapshot)
      start_snapshot_to(m);
    else
      queue_frame(m);
  }
  encoder_.forget();
  metrics_.entries_encoded.add(encoder_.assembled() - before);
}

void raft_driver::release_gated(persist_seq durable) {
  while (!gated_.empty() && gated_.front().after <= durable) {
    outgoing_.frames.push_back(std::move(gated_.front().frame));
    gated_.pop_front();
  }
  // Acknowledgements do not wait for the flush: the leader's commit depends on them.
  if (!outgoing_.frames.empty()) send(to_.router, std::exchange(outgoing_, {}));
}

void raft_driver::fail_pending(log_index through, const error& why) {
  while (!pending_.empty() && pending_.front().index <= through) {
    answer(pending_.front().from, why);
    metrics_.unknown.add();
    pending_.pop_front();
  }
}

void raft_driver::hand_committed(raft::output& out) {
  committed batch;
  for (const auto& e : out.committed) {
    if (e.kind == entry_kind::conf) last_conf_handed_ = e.index;
    while (!pending_.empty() && pending_.front().index <= e.index) {
      auto& p = pending_.front();
      if (p.index == e.index && p.term == e.term) {
        metrics_.commit_duration.observe(now() - p.accepted_ns);
        metrics_.applied_proposals.add();
        batch.origins.emplace_back(e.index, p.from);
      } else {
        // A committed entry of another leader stands where this one would have been.
        metrics_.refused.add();
        answer(p.from,
               make_error(errc::not_leader, "this node lost leadership; nothing was applied",
                          "send the command again"));
      }
      pending_.pop_front();
    }
  }
  handed_ = out.committed.back().index;
  take(batch.entries, out.committed);
  send(to_.state, std::move(batch));
}

void raft_driver::finish_reads(raft::output& out) {
  for (const auto& r : out.reads) {
    const auto it = rounds_.find(r.context);
    if (it == rounds_.end()) continue;
    auto round = std::move(it->second);
    rounds_.erase(it);
    (r.by_lease ? metrics_.lease_reads : metrics_.reads).add(round.queries.size());
    metrics_.read_rounds.add(r.by_lease ? 0 : 1);
    if (!round.queries.empty()) waiting_reads_.emplace_back(r.index, std::move(round.queries));
    if (!round.leases.empty()) {
      if (applied_ >= r.index)
        grant(round.leases);
      else
        waiting_grants_.emplace_back(r.index, std::move(round.leases));
    }
  }
  release_reads();
}

void raft_driver::release_reads() {
  // node-state gets committed entries and reads in one order, so whatever was handed out is applied
  // before the read is evaluated.
  while (!waiting_reads_.empty() && waiting_reads_.front().first <= handed_) {
    auto& [index, list] = waiting_reads_.front();
    reads_waiting_ -= list.size();
    send(to_.state, ready_reads{index, std::move(list)});
    waiting_reads_.pop_front();
  }
}

void raft_driver::answer(const origin& to, const error& e) {
  if (to.where == origin::kind::nobody) return;
  send(to_.router, answers{{{to, error_answer(to.request, e, facts_.self)}}});
}

// ---------------------------------------------------------------- what others see

void raft_driver::role_changed() {
  const auto role = core_.role();
  if (role == raft::role::candidate && known_role_ != raft::role::candidate)
    metrics_.elections.add();
  if (role == raft::role::leader && known_role_ != raft::role::leader) {
    spdlog::info("leading in term {}", core_.current_term().value());
    leases_.lead(now());
  }
  if (role != raft::role::leader && known_role_ == raft::role::leader) {
    spdlog::info("no longer leading (term {})", core_.current_term().value());
    leases_.stop_leading();
    for (auto& [context, round] : rounds_) route_again(round);
    rounds_.clear();
    waiting_grants_.clear();
    snapshots_out_.clear();
    active_ns_.clear();
    peers_.clear();
  }
  known_role_ = role;
  if (core_.lead() == known_leader_ && core_.current_term() == known_term_) return;
  known_leader_ = core_.lead();
  known_term_ = core_.current_term();
  leader_contact_ns_ = known_leader_ ? now() : leader_contact_ns_;
  if (known_leader_ && known_leader_ != last_leader_) {
    if (last_leader_) metrics_.leader_changes.add();
    last_leader_ = known_leader_;
  }
  send<caf::message_priority::high>(to_.router, leader_changed{known_leader_, known_term_});
  if (transfer_.target && known_leader_ == transfer_.target) {
    answer_done(transfer_.from);
    transfer_ = {};
  }
  if (leaving_.frame && known_leader_ && known_leader_ != facts_.self) leave();
  publish_view();
}

void raft_driver::publish() {
  const auto& conf = core_.configuration();
  const published_raft now_true{.term = core_.current_term(),
                                .leader = core_.lead(),
                                .commit = core_.commit(),
                                .last = last_,
                                .role = role_of(core_.role(), conf.is_voter(core_.id())),
                                .cluster_size = conf.voters.size(),
                                .leader_contact_ns = leader_contact_ns_};
  if (now_true == published_) return;
  published_ = now_true;
  facts_.flags->set_raft(now_true);
  metrics_.set(now_true, pending_.size());
}

void raft_driver::show_peer(const raft::peer_status& p) {
  using metrics::metric;
  const auto last = last_.value();
  peers_.of(p.id).set(last - std::min(last, p.match.value()));
  peers_.of(p.id, metric::raft_window_messages).set(p.window_messages);
  peers_.of(p.id, metric::raft_window_bytes).set(p.window_bytes);
  peers_.of(p.id, metric::raft_inflight_messages).set(p.inflight);
  peers_.of(p.id, metric::raft_inflight_bytes).set(p.inflight_bytes);
  peers_.of(p.id, metric::raft_ack_delay).set(static_cast<double>(p.delay_us) / 1e6);
}

void raft_driver::publish_view() {
  auto view = std::make_shared<raft_view>();
  view->leader = core_.lead();
  view->term = core_.current_term();
  view->commit = core_.commit();
  view->conf = core_.configuration();
  view->recovering = core_.recovering();
  view->lease_reads = options_.lease_reads;
  if (core_.is_leader()) {
    view->peers = core_.status().peers;
    for (const auto& p : view->peers) {
      if (p.id == core_.id()) continue;
      if (p.recent_active) active_ns_[p.id] = now();
      show_peer(p);
    }
    peers_.end_round();  // the series of a member that was removed end
  }
  facts_.raft.store(std::move(view));
}

}  // namespace blixard::actors
