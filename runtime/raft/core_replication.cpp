// Log replication (Raft sections 5.3, 5.4): proposals, appends and their answers, commit.
#include <algorithm>
#include <utility>

#include "messages/check.hpp"
#include "runtime/base/planted.hpp"
#include "runtime/raft/codec.hpp"
#include "runtime/raft/core.hpp"

namespace blixard::raft {

// ---------------------------------------------------------------- proposals

tl::expected<log_index, refusal> core::may_append(std::size_t bytes) const {
  // A leader that was removed only waits until the others know; one that hands over stands still,
  // so that the target can catch up.
  if (!tracker_.is_voter(config_.id) || transferee_) return tl::unexpected(refusal::dropped);
  const std::uint64_t limit = config_.max_uncommitted_bytes;
  if (limit != 0 && bytes != 0 && uncommitted_bytes_ != 0 && uncommitted_bytes_ + bytes > limit)
    return tl::unexpected(refusal::dropped);
  return log_.last().next();
}

log_index core::append_own(entry_kind kind, slice data) {
  const log_index index = log_.last().next();
  uncommitted_bytes_ += data.size();
  log_.append({term_, index, kind, std::move(data)});
  if (planted(bug::own_log_not_gated)) tracker_.find(config_.id)->acknowledge(index);
  replicate_wanted_ = true;
  return index;
}

tl::expected<log_index, refusal> core::propose(slice data) {
  if (is_leader()) {
    if (auto ok = may_append(data.size()); !ok) return ok;
    return append_own(entry_kind::normal, std::move(data));
  }
  if (!lead_) return tl::unexpected(refusal::no_leader);
  if (!config_.forward) return tl::unexpected(refusal::not_leader);
  const bool batch = !messages_.empty() && messages_.back().type == message_type::propose &&
                     messages_.back().to == lead_;
  message& m = batch ? messages_.back() : send(message_type::propose, lead_);
  m.entries.push_back({{}, {}, entry_kind::normal, std::move(data)});
  return log_index{};
}

// A proposal that cannot be accepted here is lost, like a message: it is not passed on, so that two
// nodes that take each other for the leader do not play ball with it.
void core::on_forwarded_proposals(message& m) {
  if (!is_leader()) return;
  for (entry& e : m.entries) {
    if (!may_append(e.data.size())) return;
    if (e.kind == entry_kind::normal) {
      append_own(entry_kind::normal, std::move(e.data));
    } else if (const auto change = decode_conf_change(e.data)) {
      append_conf(*change, std::move(e.data));
    }
  }
}

// ---------------------------------------------------------------- followers

tl::expected<void, refusal> core::on_append(message& m) {
  follow(m.from);
  learn_repair_target(m);
  if (m.log_index < commit_) {
    // Old, or a duplicate: what is committed is the same on both sides.
    agree_with(m.from, commit_);
    return {};
  }
  if (!log_.matches(m.log_index, m.log_term)) {
    // The newest place where the logs can still agree: not behind our end, not with a term above
    // the leader's there. Below our commit index they do agree.
    const log_index agree =
        std::max(log_.newest_with_term_at_most(m.log_index, m.log_term), commit_);
    message& r = send(message_type::append_resp, m.from);
    r.reject = true;
    r.rejected = m.log_index;
    r.log_index = agree;
    r.log_term = log_.term_at(agree);
    return {};
  }
  const log_index last_new = store_entries(m);
  commit_to(std::min(m.commit, last_new));
  // To answer a notice would tell the leader nothing that it was not told.
  if (!m.notice || last_new > agreed_ || recovering()) agree_with(m.from, last_new);
  return {};
}

// Our log is the leader's up to `index`.
void core::agree_with(node_id leader, log_index index) {
  agreed_ = std::max(agreed_, index);
  acknowledge(leader, index);
  finish_repair();
}

// Appends what is not there yet; the first entry with another term ends our version of the log.
log_index core::store_entries(message& m) {
  log_index last_new = m.log_index;
  for (entry& e : m.entries) {
    last_new = e.index;
    if (e.index <= log_.last()) {
      if (log_.term_at(e.index) == e.term) continue;
      CHECK_GT(e.index, commit_);  // Leader Completeness (section 5.4.3)
      log_.truncate(e.index);
      gate_.log_changed(e.index);
      retract_acknowledgements(e.index);
    }
    log_.append(std::move(e));
  }
  if (planted(bug::stale_append_truncates) && last_new < log_.last()) {
    log_.truncate(last_new.next());
    gate_.log_changed(last_new.next());
  }
  return last_new;
}

// Entries from `first` on are gone. What acknowledges them to an earlier leader and has not left
// yet must not: they never become durable.
void core::retract_acknowledgements(log_index first) {
  std::erase_if(messages_, [&](const message& m) {
    return m.type == message_type::append_resp && !m.reject && m.match >= first;
  });
}

void core::acknowledge(node_id to, log_index match) {
  // Acknowledgements of one batch melt into one.
  const bool same = !messages_.empty() && messages_.back().type == message_type::append_resp &&
                    messages_.back().to == to && messages_.back().term == term_ &&
                    !messages_.back().reject;
  message& r = same ? messages_.back() : send(message_type::append_resp, to);
  r.match = std::max(r.match, match);
  r.promise_us = promise_us();
  r.repair = repair_;
  r.after = std::max({r.after, gate_.for_log(match), gate_.for_vote()});
}

void core::on_heartbeat(const message& m) {
  follow(m.from);
  learn_repair_target(m);
  finish_repair();
  // The leader says no more than we acknowledged. If it is more than we have, our disk lost it:
  // then we do not know that our log is the committed one.
  if (m.commit <= known_to_agree()) commit_to(m.commit);
  message& r = send(message_type::heartbeat_resp, m.from);
  r.context = m.context;
  r.rank = config_.election_rank;
  r.after = gate_.for_commit();
  r.promise_us = promise_us();
  // A promise must be seen by a restart: somebody was followed, so there is a term.
  if (r.promise_us != 0) r.after = std::max(r.after, gate_.for_vote());
}

void core::on_snapshot(const message& m) {
  follow(m.from);
  install(m.snapshot);
  agree_with(m.from, commit_);
}

void core::install(const std::shared_ptr<const snapshot>& snap) {
  if (snap->index <= commit_) return;
  if (log_.matches(snap->index, snap->term)) {
    // We have all of it as entries, and maybe more: it only tells us what is committed.
    commit_to(snap->index);
    return;
  }
  retract_acknowledgements(commit_.next());
  log_.restore(snap->index, snap->term);
  gate_.snapshot_installed(snap->index);
  commit_ = applied_ = handed_ = snap->index;
  use_conf(snap->conf);
  installed_ = snap;
  set_snapshot(snap);
}

// ---------------------------------------------------------------- answers

void core::on_append_response(const message& m) {
  progress& p = *tracker_.find(m.from);
  p.recent_active = true;
  if (!m.reject) {
    if (m.match <= log_.last()) on_accepted(p, m);
    return;
  }
  // Both sides skip by term: the follower named its newest candidate, we go back to our newest
  // entry whose term is not above that one's. A divergent tail costs one probe per term, not per
  // entry.
  const log_index agree = log_.newest_with_term_at_most(m.log_index, m.log_term);
  if (p.reject(m.rejected, agree)) replicate_wanted_ = true;
}

void core::on_accepted(progress& p, const message& m) {
  const log_index match = m.match;
  const bool news = p.acknowledge(match);
  if (!news && !(p.state == progress_state::probe && match == p.match)) return;
  switch (p.state) {
    case progress_state::probe:
      extend_lease(p, {match, p.probe_at}, m.promise_us);
      p.become_replicate();
      break;
    case progress_state::replicate:
      extend_lease(p, p.window.free_to(match, moment()), m.promise_us);
      break;
    case progress_state::snapshot:
      if (p.match >= log_.base()) p.become_replicate();
      break;
  }
  replicate_wanted_ = true;
  if (p.match > commit_) maybe_commit();
  if (removal_ && p.match >= removal_ && p.removal_round == 0) round_wanted_ = true;
  finish_transfer_if_caught_up(p);
}

void core::on_heartbeat_response(const message& m) {
  progress& p = *tracker_.find(m.from);
  p.recent_active = true;
  p.rank = m.rank;
  // It is there, so an append without an answer may be lost: try again.
  p.probe_sent = false;
  if (p.state == progress_state::probe || p.match < log_.last()) {
    p.ping = true;
    replicate_wanted_ = true;
  }
  if (m.context != 0 && m.context <= round_) on_round_acknowledged(p, m);
}

// ---------------------------------------------------------------- commit

void core::commit_to(log_index index) {
  if (index <= commit_) return;
  CHECK_LE(index, log_.last());
  // A restarted node must not fall back behind a configuration that others rely on it to know.
  if (!log_.confs(commit_, index).empty()) gate_.commit_must_sync();
  if (is_leader() && config_.max_uncommitted_bytes != 0)
    uncommitted_bytes_ -= std::min(uncommitted_bytes_, log_.bytes(commit_.next(), index));
  commit_ = index;
}

// The largest index that a quorum holds, if it is of our own term (section 5.4.2). We are one voice
// of the quorum, as far as our disk is; the others can be enough without us.
void core::maybe_commit() {
  const log_index held{
      tracker_.quorum_of([](const progress& p) { return p.repair == 0 ? p.match.value() : 0; })};
  const log_index index = std::min(held, held <= commit_ ? held : data_limit());
  if (index <= commit_ || index > log_.last()) return;
  if (log_.term_at(index) != term_ && !planted(bug::old_term_committed)) return;
  const bool first_of_term = !committed_in_term();
  commit_to(index);
  replicate_wanted_ = true;
  if (!first_of_term) return;
  for (const waiting_read& read : std::exchange(early_reads_, {})) admit_read(read);
}

// ---------------------------------------------------------------- sending

void core::replicate() {
  replicate_wanted_ = false;
  for (progress& p : tracker_.all())
    if (p.id != config_.id) replicate_to(p);
}

void core::replicate_to(progress& p) {
  switch (p.state) {
    case progress_state::snapshot:
      return;
    case progress_state::probe:
      if (!p.probe_sent) send_append(p, carries::entries);
      return;
    case progress_state::replicate:
      break;
  }
  const log_index before = p.next;
  const log_index end = sendable_to(p);
  while (p.state == progress_state::replicate && p.next <= end && !p.window.full())
    send_append(p, carries::entries);
  // Nothing to send, or no room: the commit index still gets through, and a lost append is noticed.
  const bool lost_maybe = p.ping && p.match.next() < p.next;
  if (p.state == progress_state::replicate && p.next == before &&
      (lost_maybe || p.commit_sent < commit_))
    send_append(p, lost_maybe ? carries::question : carries::notice);
  p.ping = false;
}

// A place without data must not outlive the data: a witness that knows it would refuse its vote to
// everybody who is left.
log_index core::sendable_to(const progress& p) const {
  return p.witness ? data_limit() : log_.last();
}

// What a witness gets: places and terms, and the configurations. Returns the bytes that are left.
std::uint64_t core::leave_out_data(std::vector<entry>& entries) {
  std::uint64_t bytes = 0;
  for (entry& e : entries) {
    if (e.kind == entry_kind::normal) e.data = {};
    bytes += e.data.size();
  }
  return bytes;
}

std::uint64_t core::send_append(progress& p, carries what) {
  const log_index previous = p.next.prev();
  if (!log_.knows_term(previous)) {
    send_snapshot(p);
    return 0;
  }
  message& m = send(message_type::append, p.id);
  m.log_index = previous;
  m.log_term = log_.term_at(previous);
  m.commit = commit_;
  m.notice = what == carries::notice;
  p.commit_sent = commit_;
  repeat_repair(p, m);
  std::uint64_t bytes = 0;
  const log_index end = sendable_to(p);
  if (what == carries::entries && p.next <= end) {
    m.entries = spare_entries();
    bytes = log_.copy(p.next, end, config_.max_msg_bytes, m.entries);
    if (p.witness) bytes = leave_out_data(m.entries);
    p.newest_sent = std::max(p.newest_sent, m.entries.back().index);
  }
  if (p.state == progress_state::probe) {
    p.probe_sent = true;
    if (p.probe_at == 0) p.probe_at = now_;
  } else if (!m.entries.empty()) {
    p.next = m.entries.back().index.next();
    p.window.add(p.next.prev(), bytes, moment());
  }
  return bytes;
}

void core::send_snapshot(progress& p) {
  const bool usable = latest_snapshot_ && latest_snapshot_->index >= log_.base();
  if (!usable) {
    // None that fits yet: ask again when it next shows signs of life.
    p.become_probe();
    p.probe_sent = true;
    return;
  }
  const auto& s = *latest_snapshot_;
  send(message_type::snapshot, p.id).snapshot =
      p.witness ? std::make_shared<const snapshot>(snapshot{s.index, s.term, s.conf, {}})
                : latest_snapshot_;
  p.newest_sent = std::max(p.newest_sent, s.index);
  p.become_snapshot(s.index);
}

}  // namespace blixard::raft
