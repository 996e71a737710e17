// The raft actor's instruments, resolved once.
#pragma once

#include "metrics/peer_gauges.hpp"
#include "metrics/registry.hpp"
#include "runtime/base/published.hpp"

namespace blixard::actors {

struct raft_metrics {
  using metric = metrics::metric;
  using outcome = metrics::proposal_outcome;
  using event = metrics::snapshot_event;

  explicit raft_metrics(metrics::registry& r)
      : term(r.gauge<metric::raft_term>()),
        is_leader(r.gauge<metric::raft_is_leader>()),
        has_leader(r.gauge<metric::raft_has_leader>()),
        leader(r.gauge<metric::raft_leader_id>()),
        commit(r.gauge<metric::raft_commit_index>()),
        applied(r.gauge<metric::raft_applied_index>()),
        last(r.gauge<metric::raft_last_index>()),
        pending(r.gauge<metric::raft_proposals_pending>()),
        voters(r.gauge<metric::raft_members>(metrics::member_kind::voter)),
        learners(r.gauge<metric::raft_members>(metrics::member_kind::learner)),
        witnesses(r.gauge<metric::raft_members>(metrics::member_kind::witness)),
        outgoing(r.gauge<metric::raft_outgoing>()),
        recovering(r.gauge<metric::raft_recovering>()),
        rank(r.gauge<metric::raft_election_rank>()),
        leader_changes(r.counter<metric::raft_leader_changes>()),
        elections(r.counter<metric::raft_elections>()),
        applied_proposals(r.counter<metric::raft_proposals>(outcome::applied)),
        refused(r.counter<metric::raft_proposals>(outcome::refused)),
        unknown(r.counter<metric::raft_proposals>(outcome::unknown)),
        read_rounds(r.counter<metric::raft_read_rounds>()),
        reads(r.counter<metric::raft_reads>(metrics::read_kind::read_index)),
        lease_reads(r.counter<metric::raft_reads>(metrics::read_kind::lease)),
        repairs(r.counter<metric::raft_repairs>()),
        snapshots_taken(r.counter<metric::raft_snapshots>(event::taken)),
        snapshot_bytes(r.counter<metric::raft_snapshot_bytes>()),
        snapshots_sent(r.counter<metric::raft_snapshots>(event::sent)),
        snapshots_installed(r.counter<metric::raft_snapshots>(event::installed)),
        persist_waits(r.counter<metric::raft_persist_waits>()),
        payload_copies(r.counter<metric::raft_payload_copies>()),
        entries_encoded(r.counter<metric::raft_entries_encoded>()),
        command_encodes(r.counter<metric::raft_command_encodes>()),
        invalid(r.counter<metric::router_invalid>()),
        commit_duration(r.histogram<metric::raft_commit_duration>()),
        heartbeat_gap(r.histogram<metric::raft_heartbeat_gap>()) {}

  void set(const published_raft& p, std::size_t proposals) const {
    term.set(p.term.value());
    is_leader.set(p.role == published_role::leader ? 1 : 0);
    has_leader.set(p.leader ? 1 : 0);
    leader.set(p.leader.value());
    commit.set(p.commit.value());
    last.set(p.last.value());
    pending.set(proposals);
  }

  metrics::gauge term, is_leader, has_leader, leader, commit, applied, last, pending, voters,
      learners, witnesses, outgoing, recovering, rank;
  metrics::counter leader_changes, elections, applied_proposals, refused, unknown, read_rounds,
      reads, lease_reads, repairs, snapshots_taken, snapshot_bytes, snapshots_sent,
      snapshots_installed, persist_waits, payload_copies, entries_encoded, command_encodes, invalid;
  metrics::histogram commit_duration, heartbeat_gap;
};

}  // namespace blixard::actors
