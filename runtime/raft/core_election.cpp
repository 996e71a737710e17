// Elections (Raft section 5.2, thesis chapter 3 and section 9.6) and leader transfer (thesis 3.10).
#include <algorithm>

#include "messages/check.hpp"
#include "runtime/base/planted.hpp"
#include "runtime/raft/core.hpp"

namespace blixard::raft {
namespace {
// A voter that answered in so many intervals one after the other is there to stay.
constexpr std::uint32_t settled_intervals = 10;
}  // namespace

std::uint32_t core::draw_timeout() {
  // splitmix64: one multiplication chain per draw, any seed is good.
  random_ += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = random_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  z ^= z >> 31;
  const std::uint64_t span = config_.election_max_ticks - config_.election_min_ticks + 1;
  return config_.election_min_ticks +
         static_cast<std::uint32_t>(z % span + span * config_.election_rank);
}

// A voter with a whole log, data included, whose configuration is the newest that it knows to be
// committed.
bool core::may_campaign() const {
  return !recovering() && tracker_.is_voter(config_.id) &&
         (!is_witness() || planted(bug::witness_leads)) &&
         (log_.confs(applied_, commit_).empty() || planted(bug::campaign_guard));
}

std::uint32_t core::promise_ticks() const noexcept {
  if (!config_.check_quorum) return 0;
  if (config_.promise_ticks != 0)
    return std::min(config_.promise_ticks, config_.election_min_ticks);
  return uses_leases() ? config_.election_min_ticks : 0;
}

std::uint64_t core::promise_us() const noexcept {
  const std::uint64_t ticks = promise_ticks();
  return (ticks - std::min<std::uint64_t>(ticks, config_.promise_slack_ticks)) * config_.tick_us;
}

bool core::in_lease() const noexcept {
  if (now_ < promised_until_) return true;
  return config_.check_quorum && lead_ && election_elapsed_ < config_.election_min_ticks;
}

// A leader appends a change of the configuration only when it has applied the one before. So all
// such entries of a log but the newest are committed, also where a crash kept the entries and lost
// the commit index that came with them. Without this, a node could win with a majority of a
// configuration that two later changes left behind.
void core::learn_commit_from_log() {
  const auto unsure = log_.confs(commit_, log_.last());
  if (unsure.size() > 1) commit_to(unsure[unsure.size() - 2]);
}

tl::expected<void, refusal> core::campaign() {
  if (is_leader()) return {};
  learn_commit_from_log();
  if (!may_campaign()) return tl::unexpected(refusal::not_promotable);
  if (config_.prevote)
    start_prevote();
  else
    start_election(false);
  return {};
}

// A node that boots from a snapshot has no term of its own yet: its first is not below the
// snapshot's.
term core::next_term() const { return std::max(term_.next(), log_.last_term()); }

void core::start_prevote() {
  role_ = raft::role::precandidate;
  lead_ = {};
  votes_.clear();
  self_vote_after_ = {};
  election_elapsed_ = 0;
  election_timeout_ = draw_timeout();
  request_votes(message_type::prevote, false, {});
  // Nothing is promised by a pre-vote: our own counts at once.
  record_vote(config_.id, true);
}

void core::start_election(bool force) {
  enter_term(next_term());
  role_ = raft::role::candidate;
  vote_ = config_.id;
  // Whoever grants us a vote trusts our term, our vote and the log that we advertise: all of it
  // must survive a crash of ours. The same holds for our own vote.
  self_vote_after_ = std::max(gate_.for_vote(), gate_.for_log(log_.last()));
  const bool ungated = planted(bug::vote_request_not_gated);
  request_votes(message_type::vote, force, ungated ? persist_seq{} : self_vote_after_);
}

void core::request_votes(message_type type, bool force, persist_seq after) {
  for (const progress& p : tracker_.all()) {
    if (p.id == config_.id || !tracker_.is_voter(p.id)) continue;
    message& m = send(type, p.id);
    if (type == message_type::prevote) m.term = next_term();
    m.log_index = log_.last();
    m.log_term = log_.last_term();
    m.force = force;
    m.after = after;
  }
}

void core::record_vote(node_id from, bool granted) {
  // The first answer counts: a repeated message changes nothing.
  if (std::ranges::find(votes_, from, &vote_record::from) != votes_.end()) return;
  votes_.push_back({from, granted});
  const auto result = tally(tracker_.conf(), [&](node_id id) {
    const auto v = std::ranges::find(votes_, id, &vote_record::from);
    if (v == votes_.end()) return vote_result::pending;
    return v->granted ? vote_result::won : vote_result::lost;
  });
  switch (result) {
    case vote_result::pending:
      return;
    case vote_result::lost:
      become_follower(term_, {});
      return;
    case vote_result::won:
      if (role_ == raft::role::precandidate)
        start_election(false);
      else
        become_leader();
      return;
  }
}

void core::on_vote_request(const message& m) {
  const bool pre = m.type == message_type::prevote;
  const bool free = vote_ == m.from || (!vote_ && !lead_) || (pre && m.term > term_) ||
                    planted(bug::two_votes_per_term);
  const bool promised = !m.force && now_ < promised_until_;
  const bool whole = (!recovering() || planted(bug::damaged_node_votes)) && m.repair == 0;
  const bool has_all = log_.is_up_to_date(m.log_term, m.log_index);
  const bool grant = free && !promised && whole && (has_all || planted(bug::election_restriction));
  if (grant && !pre) {
    election_elapsed_ = 0;
    if (vote_ != m.from) gate_.vote_changed();
    vote_ = m.from;
  }
  message& r = send(pre ? message_type::prevote_resp : message_type::vote_resp, m.from);
  r.commit = commit_;
  r.log_term = log_.term_at(commit_);
  r.reject = !grant;
  if (!grant) return;
  r.term = m.term;
  if (!pre && !planted(bug::vote_not_gated)) r.after = gate_.for_vote();
}

// Whoever is asked for a vote says what it knows to be committed. Without this, a voter could be
// left alone with a committed change of the configuration that it cannot know to be committed:
// those who know are no voters any more, so they do not campaign, and their logs are longer, so
// they do not vote for it. Or they do vote for it, since its log is longer than theirs, and that is
// no majority of the configuration that it believes in. That an entry is committed is true in any
// term.
void core::learn_commit(const message& m) {
  const bool vote = m.type == message_type::vote_resp || m.type == message_type::prevote_resp;
  if (!vote || is_leader() || m.commit <= commit_) return;
  if (!log_.matches(m.commit, m.log_term)) return;
  commit_to(m.commit);
  // The campaign was for votes of a configuration that may be over.
  if (role_ != raft::role::follower && !may_campaign()) become_follower(term_, {});
}

// Who refuses us may be the only one whose log can win, and not know that it is a voter: its last
// leader is gone, and with it who could tell that the change is committed. We know. It will not
// answer that, since it knows no more than we do.
void core::tell_of_change(const message& m) {
  if (!m.reject || !m.commit || m.commit >= commit_ || log_.confs(m.commit, commit_).empty())
    return;
  message& r = send(m.type, m.from);
  r.reject = true;
  r.commit = commit_;
  r.log_term = log_.term_at(commit_);
}

void core::on_vote_response(const message& m) {
  const bool pre = m.type == message_type::prevote_resp;
  const bool expected = role_ == (pre ? raft::role::precandidate : raft::role::candidate);
  // A grant of an older pre-vote names another term than the one that we would campaign for.
  const bool of_this_round = !pre || m.reject || m.term == next_term();
  if (expected) tell_of_change(m);
  if (expected && of_this_round) record_vote(m.from, !m.reject);
}

void core::on_timeout_now() {
  if (is_leader()) return;
  learn_commit_from_log();
  if (may_campaign()) start_election(true);
}

// ---------------------------------------------------------------- roles

void core::enter_term(blixard::term t) {
  CHECK_GE(t, term_);
  if (t != term_) {
    term_ = t;
    vote_ = {};
    agreed_ = {};
    if (!planted(bug::term_not_persisted)) gate_.vote_changed();
  }
  lead_ = {};
  election_elapsed_ = 0;
  election_timeout_ = draw_timeout();
  votes_.clear();
  self_vote_after_ = {};
  forwarded_reads_.clear();
  clear_leadership();
}

void core::clear_leadership() {
  heartbeat_elapsed_ = 0;
  term_start_ = {};
  transferee_ = {};
  timeout_now_sent_ = false;
  removal_ = {};
  uncommitted_bytes_ = 0;
  replicate_wanted_ = false;
  round_wanted_ = false;
  reads_.clear();
  early_reads_.clear();
  sent_rounds_.clear();
}

void core::become_follower(blixard::term t, node_id lead) {
  // Requests of a campaign that is over, and that have not left: the log that they advertise may be
  // cut before it is durable.
  if (role_ != raft::role::follower)
    std::erase_if(messages_, [](const message& m) { return asks_for_vote(m.type); });
  enter_term(t);
  role_ = raft::role::follower;
  lead_ = lead;
}

void core::follow(node_id lead) {
  if (role_ != raft::role::follower) become_follower(term_, lead);
  lead_ = lead;
  damaged_.clear();
  election_elapsed_ = 0;
  promised_until_ = std::max(promised_until_, now_ + promise_ticks());
}

void core::become_leader() {
  CHECK(role_ == raft::role::candidate);
  enter_term(term_);
  role_ = raft::role::leader;
  lead_ = config_.id;
  tracker_.reset(log_.last().next());
  progress& self = *tracker_.find(config_.id);
  self.become_replicate();
  self.acknowledge(gate_.durable());
  uncommitted_bytes_ = log_.bytes(commit_.next(), log_.last());
  // Entries of earlier terms commit with this one (section 5.4.2).
  term_start_ = append_own(entry_kind::normal, {});
}

// ---------------------------------------------------------------- transfer

tl::expected<void, refusal> core::transfer(node_id target) {
  if (is_leader()) return start_transfer(target);
  if (!lead_) return tl::unexpected(refusal::no_leader);
  if (!config_.forward) return tl::unexpected(refusal::not_leader);
  send(message_type::transfer, lead_).target = target;
  return {};
}

tl::expected<void, refusal> core::start_transfer(node_id target) {
  const progress* p = tracker_.find(target);
  if (p == nullptr) return tl::unexpected(refusal::unknown_peer);
  if (p->learner || p->witness) return tl::unexpected(refusal::invalid);
  if (p->repair != 0) return tl::unexpected(refusal::dropped);
  if (target == transferee_) return {};
  if (target == config_.id) {
    // Called back: whoever was to lead may still try, and proposals go on here.
    transferee_ = {};
    return {};
  }
  transferee_ = target;
  election_elapsed_ = 0;
  finish_transfer_if_caught_up(*p);
  replicate_wanted_ = true;
  return {};
}

void core::finish_transfer_if_caught_up(const progress& p) {
  if (p.id != transferee_ || p.match != log_.last() || p.repair != 0) return;
  timeout_now_sent_ = true;
  send(message_type::timeout_now, p.id);
}

// Election priority: who has a better rank leads, once it has proved to be there to stay.
void core::yield_to_better_rank() {
  if (config_.election_rank == 0 || transferee_) return;
  const progress* best = nullptr;
  for (const progress& p : tracker_.all()) {
    const bool able = p.state == progress_state::replicate && !p.learner && !p.witness &&
                      p.repair == 0 && p.active_intervals >= settled_intervals;
    const std::uint32_t bar = best == nullptr ? config_.election_rank : best->rank;
    if (able && p.id != config_.id && p.rank < bar) best = &p;
  }
  if (best != nullptr) (void)start_transfer(best->id);
}

void core::forget_leader() {
  // Our promise to the leader is what makes its lease reads right.
  if (!is_leader() && promise_ticks() == 0) lead_ = {};
}

}  // namespace blixard::raft
