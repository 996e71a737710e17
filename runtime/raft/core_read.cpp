// Linearizable reads (thesis section 6.4) and the heartbeats that confirm them.
//
// A read gets the commit index of its arrival and waits for a round: heartbeats with a round number
// above all earlier ones. Once a quorum acknowledged that round, this node was still leading after
// the read arrived. All reads that came since the last round share the next one.
#include <algorithm>

#include "runtime/base/planted.hpp"
#include "runtime/raft/core.hpp"

namespace blixard::raft {

tl::expected<void, refusal> core::read_index(std::uint64_t context) {
  if (!is_leader() && !lead_) return tl::unexpected(refusal::no_leader);
  // Whoever counts its contexts up never asks again, and pays nothing for those who may.
  if (context > newest_context_)
    newest_context_ = context;
  else
    forget_read(context);
  if (is_leader()) {
    admit_read({0, config_.id, context, 0, {}});
    return {};
  }
  forwarded_reads_.push_back({context, next_nonce_});
  message& m = send(message_type::read_index, lead_);
  m.context = context;
  m.nonce = next_nonce_++;
  return {};
}

// Asked again: only the answer to the new question counts. What was committed between the two may
// be missing from the other one, and who gets an answer cannot tell them apart.
void core::forget_read(std::uint64_t context) {
  const auto same = [context](const auto& r) { return r.context == context; };
  const auto ours = [&](const waiting_read& r) { return r.from == config_.id && same(r); };
  std::erase_if(answered_reads_, same);
  std::erase_if(forwarded_reads_, same);
  std::erase_if(early_reads_, ours);
  for (auto left = reads_.size(); left > 0; --left) {
    const waiting_read oldest = reads_.front();
    reads_.pop_front();
    if (!ours(oldest)) reads_.push_back(oldest);
  }
}

void core::on_read_request(const message& m) {
  if (is_leader()) admit_read({0, m.from, m.context, m.nonce, {}});
}

std::vector<core::forwarded_read>::const_iterator core::question_of(const message& m) const {
  return std::ranges::find_if(forwarded_reads_, [&](const forwarded_read& r) {
    return r.context == m.context && (m.nonce == 0 || r.nonce == m.nonce);
  });
}

// A leader may have become a member behind what this node has applied: it was asked, so its answer
// counts.
bool core::is_unasked(const message& m) const {
  return m.type == message_type::read_index_resp && question_of(m) == forwarded_reads_.end();
}

void core::on_read_response(const message& m) {
  const auto asked = question_of(m);
  if (asked == forwarded_reads_.end()) return;
  forwarded_reads_.erase(asked);
  answered_reads_.push_back({m.context, m.log_index});
}

void core::admit_read(const waiting_read& read) {
  // Before the first commit of the term our commit index may be behind what earlier leaders
  // answered.
  if (!committed_in_term() && !planted(bug::read_before_commit)) {
    early_reads_.push_back(read);
    return;
  }
  waiting_read r = read;
  r.index = commit_;
  const bool alone = tracker_.is_only_voter(config_.id);
  if (alone || lease_valid() || planted(bug::read_without_quorum)) {
    answer_read(r, !alone);
    return;
  }
  r.round = round_ + 1;
  round_wanted_ = true;
  reads_.push_back(r);
}

void core::answer_read(const waiting_read& read, bool by_lease) {
  if (read.from == config_.id) {
    answered_reads_.push_back({read.context, read.index, by_lease});
    return;
  }
  message& m = send(message_type::read_index_resp, read.from);
  m.log_index = read.index;
  m.context = read.context;
  m.nonce = read.nonce;
}

// A quorum heard from us so recently that none of them votes for another leader yet, whatever the
// clocks do within the declared drift.
bool core::lease_valid() const {
  if (!uses_leases()) return false;
  if (timeout_now_sent_ && !planted(bug::lease_after_transfer)) return false;
  const std::uint64_t until = tracker_.quorum_of(
      [&](const progress& p) { return p.id == config_.id ? now_ : p.lease_until; });
  return until >= now_;
}

// It got what left at tick `since` (0: none is known) and promised so much from then on, by its
// clock. Which of our ticks are surely before the end of that?
void core::extend_lease(progress& p, std::uint64_t since, std::uint64_t promise_us) const noexcept {
  if (!uses_leases() || since == 0 || promise_us == 0) return;
  // More than any election timeout is not meant, and could not be multiplied.
  const std::uint64_t promise = std::min<std::uint64_t>(promise_us, std::uint64_t{1} << 40);
  const std::uint64_t ticks =
      promise * 100 / (std::uint64_t{config_.tick_us} * (100 + config_.clock_drift_percent));
  if (planted(bug::lease_without_drift)) p.lease_until = since + promise / config_.tick_us;
  if (ticks != 0) p.lease_until = std::max(p.lease_until, since + ticks - 1);
}

void core::send_heartbeats() {
  const bool dated = uses_leases();
  const bool fresh = round_wanted_ || dated || removal_;
  if (fresh) ++round_;
  round_wanted_ = false;
  if (dated) {
    sent_rounds_.push_back({round_, now_});
    while (sent_rounds_.front().at + config_.election_max_ticks < now_) sent_rounds_.pop_front();
  }
  const std::uint64_t context = fresh || !reads_.empty() ? round_ : 0;
  for (progress& p : tracker_.all()) {
    if (p.id == config_.id) continue;
    message& m = send(message_type::heartbeat, p.id);
    m.commit = planted(bug::heartbeat_commit) ? commit_ : std::min(p.match, commit_);
    m.context = context;
    repeat_repair(p, m);
    if (removal_ && m.commit >= removal_ && p.removal_round == 0) p.removal_round = round_;
  }
}

// An acknowledgement does not say which message it answers. But who has an entry of our term has
// got it from us, and not before we sent it for the first time.
void core::extend_lease(progress& p, inflights::arrival sent,
                        std::uint64_t promise_us) const noexcept {
  if (sent.last > p.sent_before && sent.last >= term_start_) extend_lease(p, sent.at, promise_us);
}

void core::on_round_acknowledged(progress& p, const message& m) {
  const std::uint64_t round = m.context;
  p.round = std::max(p.round, planted(bug::read_by_old_answers) ? round_ : round);
  for (std::size_t i = 0; i < sent_rounds_.size() && sent_rounds_[i].round <= round; ++i)
    if (sent_rounds_[i].round == round) extend_lease(p, sent_rounds_[i].at, m.promise_us);
  answer_confirmed_reads();
  if (p.removal_round == 0 || round < p.removal_round) return;
  p.knows_removal = true;
  step_down_if_removal_known();
}

void core::answer_confirmed_reads() {
  if (reads_.empty()) return;
  const std::uint64_t confirmed =
      tracker_.quorum_of([&](const progress& p) { return p.id == config_.id ? round_ : p.round; });
  while (!reads_.empty() && reads_.front().round <= confirmed) {
    answer_read(reads_.front(), false);
    reads_.pop_front();
  }
}

}  // namespace blixard::raft
