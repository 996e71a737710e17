// The raft actor between stubs of its neighbours, with the other members played by the test.
#pragma once

#include <gtest/gtest.h>

#include "actors/raft.hpp"
#include "tests/actors/stubs.hpp"

namespace blixard::actors::test {

/// A message to this node.
inline raft::message message_from(std::uint64_t id, raft::message_type type, term in = term{2}) {
  raft::message m{type, node_id{id}, {}};
  m.term = in;
  return m;
}

struct raft_node : surroundings {
  int exit_code = 0;
  std::uint64_t ticked = 0;

  explicit raft_node(std::vector<node_id> voters, std::uint64_t repair = 0,
                     std::uint64_t tick_ns = 0, std::vector<node_id> learners = {}) {
    to.router = system.spawn<router_stub>(seen);
    to.wal = system.spawn<wal_stub>(seen);
    to.state = system.spawn<state_stub>(seen);
    raft::config core;
    core.id = facts.self;
    core.election_min_ticks = 3;
    core.election_max_ticks = 3;
    core.heartbeat_ticks = 1;
    core.forward = false;
    core.repair = repair;
    raft::disk_state disk;
    disk.hard = {.term = term{1}, .vote = {}, .commit = log_index{1}};
    disk.snapshot = std::make_shared<const snapshot>(
        snapshot{.index = log_index{1},
                 .term = term{1},
                 .conf = {.voters = std::move(voters), .learners = std::move(learners)}});
    to.raft = system.spawn<raft_driver>(
        static_cast<host*>(nullptr), to, facts, static_cast<net::loop*>(nullptr),
        raft_options{.tick_ns = tick_ns,
                     .fatal = [this](int code, const std::string&) { exit_code = code; }},
        core, disk, log_index{1});
    run();
  }
  void tick(int n) {
    for (int i = 0; i < n; ++i) {
      ++ticked;
      caf::anon_send<caf::message_priority::high>(to.raft, tick_atom::value);
      run();
    }
  }
  /// The disk has everything that was handed to it.
  void sync() {
    if (!seen.persists.empty())
      caf::anon_send<caf::message_priority::high>(to.raft, persisted{seen.persists.back().seq});
    run();
  }
  void lead() {
    tick(8);
    sync();
    sync();
    ASSERT_TRUE(flags.is_leader());
  }
  void receive(raft::message m) {
    m.to = facts.self;
    std::vector<slice> pieces;
    raft::encode(m, pieces);
    caf::anon_send(
        to.raft, raft_frames{m.from, {frame::make({.kind = frame_kind::raft}, std::move(pieces))}});
    run();
  }
  /// Of three, with the vote of one of the others.
  void become_leader_of_three(std::uint64_t voter = 2) {
    tick(4);
    receive(message_from(voter, raft::message_type::prevote_resp));
    sync();
    receive(message_from(voter, raft::message_type::vote_resp));
    sync();
  }
  /// The same, and everybody has the first entry of the term.
  void lead_three() {
    become_leader_of_three();
    others_acknowledge(2);
    apply(2);
    ASSERT_TRUE(flags.is_leader());
  }
  void others_acknowledge(std::uint64_t match, term in = term{2}) {
    for (const std::uint64_t id : {2, 3}) {
      auto m = message_from(id, raft::message_type::append_resp, in);
      m.match = log_index{match};
      receive(std::move(m));
    }
  }
  /// Both answer the newest heartbeat.
  void others_answer_heartbeat() {
    std::uint64_t context = 0;
    for (const auto& f : seen.peer_frames)
      if (const auto m = raft::decode(f.frame->body());
          m && m->msg.type == raft::message_type::heartbeat)
        context = m->msg.context;
    for (const std::uint64_t id : {2, 3}) {
      auto m = message_from(id, raft::message_type::heartbeat_resp);
      m.context = context;
      receive(std::move(m));
    }
  }
  void apply(std::uint64_t index) {
    caf::anon_send(to.raft, applied_up_to{log_index{index}});
    run();
  }
  /// Appends to node 2 that bring a commit index and no entries.
  std::size_t notices() const {
    std::size_t n = 0;
    for (const auto& f : seen.peer_frames) {
      const auto m = raft::decode(f.frame->body());
      n += f.to == node_id{2} && m && m->msg.type == raft::message_type::append &&
           m->msg.entries.empty();
    }
    return n;
  }
  void propose(const frame_ptr& f, request_id request) {
    proposals p;
    p.list.push_back({origin{.where = origin::kind::connection, .request = request}, f});
    caf::anon_send(to.raft, std::move(p));
  }
  std::size_t committed_commands() const {
    std::size_t n = 0;
    for (const auto& c : seen.commits)
      for (const auto& e : c.entries) n += e.data.empty() ? 0 : 1;
    return n;
  }
};

}  // namespace blixard::actors::test
