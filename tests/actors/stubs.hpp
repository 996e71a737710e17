// Actors that only write down what they got, and a system whose scheduler the test steps.
#pragma once

#include <caf/actor_registry.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/send.hpp>

#include "actors/frames.hpp"
#include "actors/links.hpp"
#include "messages/cluster.pb.h"
#include "metrics/registry.hpp"

namespace blixard::actors::test {

/// What the stubs wrote down, in order of arrival per kind.
struct record {
  std::vector<answered> answers;
  std::vector<peer_frame> peer_frames;
  std::vector<leader_changed> leaders;
  std::vector<reroute> reroutes;
  std::vector<proposals> proposals_batches;
  std::vector<reads> read_batches;
  std::vector<std::string> raft_order;  // kinds of messages at the raft stub
  std::vector<persist_request> persists;
  std::vector<committed> commits;
  std::vector<ready_reads> evaluated;
  std::vector<status_query> status_queries;
  std::vector<persisted> acknowledged;
  std::vector<bool> disk_full;
  int repaired = 0;
  int snapshots_wanted = 0;
  std::vector<log_index> offered;    // snapshots, to the WAL
  std::vector<log_index> snapshots;  // stored
  std::vector<keep_chunk> kept;
  std::vector<log_index> compacted;
  std::vector<frame_ptr> local_requests;
  std::vector<members_changed> members;
  std::vector<plan_job_ptr> jobs;
  std::vector<lease_frame> renewals;
};

class router_stub final : public router_actor::base {
 public:
  router_stub(caf::actor_config& c, record& r) : router_actor::base(c), r_(r) {}
  behavior_type make_behavior() override {
    return {[](inbound&) {},
            [this](const to_peers& m) {
              r_.peer_frames.insert(r_.peer_frames.end(), m.frames.begin(), m.frames.end());
            },
            [this](const answers& m) {
              r_.answers.insert(r_.answers.end(), m.list.begin(), m.list.end());
            },
            [this](const local_request& m) { r_.local_requests.push_back(m.frame); },
            [](drain_atom) {},
            [this](const leader_changed& m) { r_.leaders.push_back(m); },
            [this](const reroute& m) { r_.reroutes.push_back(m); },
            [this](const members_changed& m) { r_.members.push_back(m); },
            [](const connection_closed&) {},
            [](tick_atom) {},
            [](stop_atom) {}};
  }

 private:
  record& r_;
};

class raft_stub final : public raft_actor::base {
 public:
  raft_stub(caf::actor_config& c, record& r) : raft_actor::base(c), r_(r) {}
  behavior_type make_behavior() override {
    return {[this](const raft_frames& m) {
              r_.raft_order.push_back(
                  m.frames.front()->header().cls == priority::critical ? "critical" : "raft");
            },
            [this](const proposals& m) {
              r_.raft_order.emplace_back("proposals");
              r_.proposals_batches.push_back(m);
            },
            [this](const persisted& m) { r_.acknowledged.push_back(m); },
            [](flush_atom) {},
            [this](const disk_space& d) { r_.disk_full.push_back(d.full); },
            [this](const reads& m) { r_.read_batches.push_back(m); },
            [](const applied_up_to&) {},
            [](tick_atom) {},
            [](const admin_request&) {},
            [this](const lease_frame& m) { r_.renewals.push_back(m); },
            [](const removed_notice&) {},
            [](const leaseholders&) {},
            [this](const snapshot_stored& m) { r_.snapshots.push_back(m.snap.index); },
            [](const status_query&) {},
            [](stop_atom) {}};
  }

 private:
  record& r_;
};

class wal_stub final : public wal_actor::base {
 public:
  wal_stub(caf::actor_config& c, record& r) : wal_actor::base(c), r_(r) {}
  behavior_type make_behavior() override {
    return {[this](const persist_request& m) { r_.persists.push_back(m); },
            [](sync_atom) {},
            [this](const store_snapshot& m) { r_.offered.push_back(m.snap.index); },
            [](const snapshot_filed&) {},
            [this](const keep_chunk& m) { r_.kept.push_back(m); },
            [this](const compact_request& m) { r_.compacted.push_back(m.through); },
            [this](repaired_atom) { ++r_.repaired; }};
  }

 private:
  record& r_;
};

class state_stub final : public state_actor::base {
 public:
  state_stub(caf::actor_config& c, record& r) : state_actor::base(c), r_(r) {}
  behavior_type make_behavior() override {
    return {[this](const committed& m) { r_.commits.push_back(m); },
            [this](const ready_reads& m) { r_.evaluated.push_back(m); },
            [](const local_query&) {},
            [](const install_snapshot&) {},
            [](const machine_loaded&) {},
            [this](const take_snapshot&) { ++r_.snapshots_wanted; },
            [](tick_atom) {},
            [this](const status_query& m) { r_.status_queries.push_back(m); },
            [](const local_answer&) {}};
  }

 private:
  record& r_;
};

/// Keeps the jobs: the test says when one is done.
class planner_stub final : public planner_actor::base {
 public:
  planner_stub(caf::actor_config& c, record& r) : planner_actor::base(c), r_(r) {}
  behavior_type make_behavior() override {
    return {[this](const plan_wanted& m) { r_.jobs.push_back(m.job); }};
  }

 private:
  record& r_;
};

class testing_config : public caf::actor_system_config {
 public:
  testing_config() { set("scheduler.policy", caf::atom("testing")); }
};

/// One node's surroundings: nothing runs until `run()`.
struct surroundings {
  // Behind these: an actor that a delayed message refers to lives as long as the system.
  record seen;
  metrics::registry registry{"test"};
  published flags;
  testing_config config;
  caf::actor_system system{config};
  shared_facts facts;
  links to;

  surroundings() {
    facts.self = node_id{1};
    facts.cluster = cluster_id{7};
    facts.flags = &flags;
    facts.registry = &registry;
  }
  ~surroundings() {
    for (const auto& a :
         {caf::actor_cast<caf::actor>(to.router), caf::actor_cast<caf::actor>(to.raft),
          caf::actor_cast<caf::actor>(to.wal), caf::actor_cast<caf::actor>(to.state),
          caf::actor_cast<caf::actor>(to.cache), caf::actor_cast<caf::actor>(to.planner),
          caf::actor_cast<caf::actor>(to.vm)})
      if (a) caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
    to = {};
    run();
  }
  void run() { dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler()).run(); }
};

inline frame_ptr kv_put(const std::string& key, const std::string& value, request_id request) {
  pb::Command c;
  c.mutable_kv_put()->set_key(key);
  c.mutable_kv_put()->set_value(value);
  return frame::make({.kind = frame_kind::command, .deadline_ms = 1000, .request = request},
                     to_slice(c));
}
inline frame_ptr kv_put(const std::string& key, request_id request = request_id{1}) {
  return kv_put(key, "v", request);
}

inline pb::Answer answer_in(const frame_ptr& f) {
  pb::Answer a;
  EXPECT_TRUE(parse(a, f->body()));
  return a;
}

}  // namespace blixard::actors::test
