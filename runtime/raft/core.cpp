// The core's frame: start from the disk, time, and which message goes where.
#include "runtime/raft/core.hpp"

#include <algorithm>
#include <utility>

#include "messages/check.hpp"
#include "messages/limits.hpp"
#include "runtime/raft/confchange.hpp"

namespace blixard::raft {
namespace {

// These four are meant whatever the term: they carry none.
bool carries_term(message_type type) noexcept {
  return type != message_type::propose && type != message_type::read_index &&
         type != message_type::read_index_resp && type != message_type::transfer;
}

tl::unexpected<std::string> refuse(std::string why) {
  return tl::unexpected<std::string>(std::move(why));
}

bool comes_from_leader(message_type type) noexcept {
  return type == message_type::append || type == message_type::heartbeat ||
         type == message_type::snapshot;
}

// The entries are consecutive behind the previous one, their terms do not fall, none is above the
// sender's.
bool entries_fit(const message& m) noexcept {
  log_index expected = m.log_index.next();
  term low = m.log_term;
  for (const entry& e : m.entries) {
    if (e.index != expected || e.term < low || e.term > m.term) return false;
    low = e.term;
    expected = expected.next();
  }
  return true;
}

// No log and no clock of elections gets so far; and what is behind it could not be counted on.
constexpr std::uint64_t bound = std::uint64_t{1} << 62;

bool is_possible(const message& m) noexcept {
  // A power of two: all are below it if all of their bits together are.
  const std::uint64_t bits = m.term.value() | m.log_term.value() | m.log_index.value() |
                             m.commit.value() | m.match.value() | m.rejected.value();
  return bits < bound &&
         (m.snapshot == nullptr || (m.snapshot->index.value() | m.snapshot->term.value()) < bound);
}

bool is_well_formed(const message& m) noexcept {
  if (!is_possible(m)) return false;
  if (carries_term(m.type) && !m.term) return false;
  if (m.type == message_type::append) return entries_fit(m);
  if (m.type == message_type::snapshot)
    return m.snapshot != nullptr && !m.snapshot->empty() && check_conf(m.snapshot->conf);
  return true;
}

const std::shared_ptr<const snapshot>& newer(const std::shared_ptr<const snapshot>& a,
                                             const std::shared_ptr<const snapshot>& b) noexcept {
  if (a == nullptr || b == nullptr) return a == nullptr ? b : a;
  return a->index < b->index ? b : a;
}

// The snapshot that the log stands on: the disk's, or, where the log was compacted further, the
// newest.
std::shared_ptr<const snapshot> base_snapshot(const disk_state& disk,
                                              const std::shared_ptr<const snapshot>& latest) {
  const log_index base = disk.snapshot ? disk.snapshot->index : log_index{};
  const bool gap = !disk.entries.empty() && disk.entries.front().index > base.next();
  return gap ? newer(disk.snapshot, latest) : disk.snapshot;
}

}  // namespace

tl::expected<void, std::string> check_start(const config& conf, const disk_state& disk,
                                            log_index applied,
                                            const std::shared_ptr<const snapshot>& latest) {
  if (!conf.id) return refuse("a node id is needed");
  if (conf.heartbeat_ticks == 0 || conf.election_min_ticks <= conf.heartbeat_ticks)
    return refuse("0 < heartbeat_ticks < election_min_ticks must hold");
  if (conf.election_max_ticks < conf.election_min_ticks)
    return refuse("election_max_ticks is below election_min_ticks");
  if (conf.election_rank > limits::election_rank_max) return refuse("election_rank is too large");
  const auto snap = base_snapshot(disk, latest);
  const log_index base = snap ? snap->index : log_index{};
  for (const auto* s : {disk.snapshot.get(), latest.get()})
    if (s != nullptr) {
      if (auto ok = check_conf(s->conf); !ok) return ok;
      if ((s->index.value() | s->term.value()) >= bound)
        return refuse("the snapshot has an impossible term or index");
    }
  if (disk.hard.term.value() >= bound) return refuse("the term is impossible");
  log_index last = base;
  term low;
  for (const entry& e : disk.entries) {
    if (&e == &disk.entries.front() ? e.index > base.next() : e.index != last.next())
      return refuse("the log has a gap before entry " + to_string(e.index));
    if (!e.term || !e.index || e.term < low || e.term.value() >= bound)
      return refuse("entry " + to_string(e.index) + " has an impossible term or index");
    last = e.index;
    low = e.term;
  }
  if (applied != log_index{} && applied < base) return refuse("applied is below the snapshot");
  if (applied > std::max(last, base)) return refuse("applied is above the last entry");
  return {};
}

core::core(const config& conf, const disk_state& disk, log_index applied,
           std::shared_ptr<const snapshot> latest_snapshot)
    : config_(conf),
      log_({}, {}),
      tracker_({conf.max_inflight_msgs, conf.max_inflight_bytes}),
      gate_({}),
      random_(conf.seed),
      latest_snapshot_(std::move(latest_snapshot)),
      next_nonce_((conf.incarnation << 32) + 1) {
  load(disk, applied);
  repair_ = config_.repair;
  election_timeout_ = draw_timeout();
  if (promise_ticks() != 0 && config_.restarted)
    promised_until_ = now_ + std::max(promise_ticks(), config_.restart_hold_ticks);
}

void core::load(const disk_state& disk, log_index applied) {
  const auto snap = base_snapshot(disk, latest_snapshot_);
  if (snap) log_.restore(snap->index, snap->term);
  latest_snapshot_ = newer(latest_snapshot_, snap);

  // An entry at the snapshot's index with another term, or one behind it with a lower term: the
  // whole log is of a history that lost.
  const term base_term = log_.term_at(log_.base());
  const bool diverged = std::ranges::any_of(disk.entries, [&](const entry& e) {
    return e.index == log_.base() ? e.term != base_term
                                  : e.index > log_.base() && e.term < base_term;
  });
  if (!diverged)
    for (const entry& e : disk.entries)
      if (e.index > log_.base()) log_.append(entry(e));
  gate_ = persist_gate(log_.last());

  term_ = disk.hard.term;
  vote_ = disk.hard.vote;
  // A crash can leave entries or a snapshot without the hard state that came with them. A node that
  // never had a term boots from a snapshot that somebody made: it starts below the snapshot's term.
  const term seen = log_.last() > log_.base() || term_ ? log_.last_term() : term{};
  const bool raised = seen > term_;
  if (raised) {
    term_ = seen;
    vote_ = {};
    gate_.vote_changed();  // nothing may be promised in this term before the disk knows it
  }
  applied_ = handed_ = std::max(applied, log_.base());
  CHECK_LE(applied_, log_.last());
  commit_ = std::max(std::min(disk.hard.commit, log_.last()), applied_);
  if (snap) tracker_.set_conf(snap->conf, log_.last().next());
  for (const log_index at : log_.confs(log_.base(), applied_)) apply_conf_entry(at);
  conf_changed_ = false;
  taken_hard_ = hard();
  if (raised) taken_hard_.term = disk.hard.term;
}

message& core::send(message_type type, node_id to) {
  message& m = messages_.emplace_back(type, config_.id, to);
  if (carries_term(type)) m.term = term_;
  m.repair = repair_;
  return m;
}

// ---------------------------------------------------------------- time

void core::tick() {
  ++now_;
  ++election_elapsed_;
  if (is_leader()) {
    tick_leader();
    return;
  }
  if (election_elapsed_ < election_timeout_) return;
  // Who cannot campaign goes on counting: its promise to the leader (in_lease) must run out.
  if (may_campaign()) (void)campaign();
  if (recovering()) ask_for_damage();
}

bool core::is_heard_by_quorum() const {
  const auto active = [&](const progress& p) {
    return std::uint64_t{p.id == config_.id || p.recent_active};
  };
  return tracker_.quorum_of(active) > 0;
}

void core::tick_leader() {
  if (election_elapsed_ >= config_.election_min_ticks) {
    election_elapsed_ = 0;
    // A transfer that takes longer than an election has failed: proposals go on here.
    transferee_ = {};
    if (config_.check_quorum && !is_heard_by_quorum()) {
      become_follower(term_, {});
      return;
    }
    if (config_.check_quorum || config_.election_rank != 0) tracker_.start_interval();
    yield_to_better_rank();
  }
  if (++heartbeat_elapsed_ >= config_.heartbeat_ticks) {
    heartbeat_elapsed_ = 0;
    send_heartbeats();
  }
}

// ---------------------------------------------------------------- messages

tl::expected<void, refusal> core::step(message&& m) {
  if (m.to != config_.id || m.from == config_.id || !m.from || !is_well_formed(m))
    return tl::unexpected(refusal::invalid);
  note_damage(m);
  if ((is_response(m.type) || is_unasked(m)) && tracker_.find(m.from) == nullptr)
    return tl::unexpected(refusal::unknown_peer);
  learn_commit(m);
  if (carries_term(m.type) && !settle_term(m)) return {};
  return dispatch(m);
}

// Compares terms (section 5.1). False: the message is dealt with.
bool core::settle_term(const message& m) {
  if (m.term < term_) {
    answer_stale(m);
    return false;
  }
  if (m.term == term_) return true;
  // Whoever hears from a leader does not help to depose it (thesis section 4.2.3).
  if (asks_for_vote(m.type) && !m.force && in_lease()) return false;
  // A pre-vote and its grant name a term that nobody is in yet.
  if (m.type == message_type::prevote || (m.type == message_type::prevote_resp && !m.reject))
    return true;
  const bool waits = m.type == message_type::vote && config_.election_rank != 0 && !is_leader();
  const auto elapsed = election_elapsed_;
  const auto timeout = election_timeout_;
  become_follower(m.term, comes_from_leader(m.type) ? m.from : node_id{});
  // Only a granted vote makes a worse rank wait anew (section 5.2): a better one that campaigns in
  // vain, its log being behind, would keep it waiting for ever.
  if (!waits) return true;
  election_elapsed_ = elapsed;
  election_timeout_ = timeout;
  return true;
}

// Tells a sender of an older term about ours, so that it does not go on.
void core::answer_stale(const message& m) {
  switch (m.type) {
    case message_type::vote:
      send(message_type::vote_resp, m.from).reject = true;
      return;
    case message_type::prevote:
      send(message_type::prevote_resp, m.from).reject = true;
      return;
    case message_type::heartbeat:
      send(message_type::heartbeat_resp, m.from);
      return;
    case message_type::append:
    case message_type::snapshot: {
      message& r = send(message_type::append_resp, m.from);
      r.reject = true;
      r.rejected = m.log_index;
      return;
    }
    case message_type::vote_resp:
    case message_type::prevote_resp:
    case message_type::append_resp:
    case message_type::heartbeat_resp:
    case message_type::timeout_now:
    case message_type::propose:
    case message_type::read_index:
    case message_type::read_index_resp:
    case message_type::transfer:
      return;
  }
}

tl::expected<void, refusal> core::dispatch(message& m) {
  // Two leaders in one term cannot be (section 5.2): not from a peer that runs this protocol.
  if (is_leader() && comes_from_leader(m.type)) return tl::unexpected(refusal::invalid);
  switch (m.type) {
    case message_type::vote:
    case message_type::prevote:
      on_vote_request(m);
      return {};
    case message_type::append:
      return on_append(m);
    case message_type::heartbeat:
      on_heartbeat(m);
      return {};
    case message_type::snapshot:
      on_snapshot(m);
      return {};
    case message_type::timeout_now:
      on_timeout_now();
      return {};
    case message_type::propose:
      on_forwarded_proposals(m);
      return {};
    case message_type::read_index:
      on_read_request(m);
      return {};
    case message_type::read_index_resp:
      on_read_response(m);
      return {};
    case message_type::transfer:
      if (is_leader()) (void)start_transfer(m.target);
      return {};
    case message_type::vote_resp:
    case message_type::prevote_resp:
    case message_type::append_resp:
    case message_type::heartbeat_resp:
      return dispatch_response(m);
  }
  return tl::unexpected(refusal::invalid);
}

tl::expected<void, refusal> core::dispatch_response(const message& m) {
  const bool vote = m.type == message_type::vote_resp || m.type == message_type::prevote_resp;
  if (vote) {
    on_vote_response(m);
    return {};
  }
  if (!is_leader()) return {};
  track_repair(*tracker_.find(m.from), m.repair);
  if (m.type == message_type::append_resp)
    on_append_response(m);
  else
    on_heartbeat_response(m);
  return {};
}

tl::expected<void, refusal> core::report(node_id peer, report_kind what) {
  progress* p = tracker_.find(peer);
  if (p == nullptr) return tl::unexpected(refusal::unknown_peer);
  if (!is_leader() || peer == config_.id) return {};
  if (what == report_kind::unreachable) {
    if (p->state == progress_state::replicate) p->become_probe();
    return {};
  }
  if (p->state != progress_state::snapshot) return {};
  if (what == report_kind::snapshot_failed) p->pending_snapshot = {};
  p->become_probe();
  // It has to say something first: its acknowledgement of the snapshot, or of a heartbeat.
  p->probe_sent = true;
  return {};
}

void core::set_snapshot(std::shared_ptr<const snapshot> snap) {
  latest_snapshot_ = newer(latest_snapshot_, snap);
}

tl::expected<void, refusal> core::compact(log_index first) {
  if (first <= log_.first()) return {};
  if (first > applied_.next() || first > gate_.untaken()) return tl::unexpected(refusal::invalid);
  log_.compact(first);
  return {};
}

}  // namespace blixard::raft
