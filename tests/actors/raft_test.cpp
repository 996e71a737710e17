// Claims about the raft actor: what it lets out, and when.
#include <set>

#include "tests/actors/raft_node.hpp"

namespace blixard::actors::test {
namespace {

TEST(raft_actor, a_single_voter_commits_only_what_its_disk_has) {
  raft_node n({node_id{1}});
  n.lead();
  n.propose(kv_put("a"), request_id{3});
  n.run();
  EXPECT_EQ(n.committed_commands(), 0u) << "nothing is durable yet";
  n.sync();
  ASSERT_EQ(n.committed_commands(), 1u);
  ASSERT_EQ(n.seen.commits.back().origins.size(), 1u);
  EXPECT_EQ(n.seen.commits.back().origins.front().second.request, request_id{3});
}

TEST(raft_actor, what_is_proposed_after_leading_again_is_not_taken_for_what_was_lost_before) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}});
  n.lead_three();
  for (std::uint64_t i = 0; i < 4; ++i) n.propose(kv_put("lost"), request_id{10 + i});
  n.run();
  // Another leader, whose log is shorter, replaces them; then this node leads again.
  auto m = message_from(2, raft::message_type::append, term{3});
  m.log_index = log_index{2};
  m.log_term = term{2};
  m.entries = {{.term = term{3}, .index = log_index{3}}};
  n.receive(std::move(m));
  n.sync();
  n.tick(8);
  n.receive(message_from(2, raft::message_type::prevote_resp, term{4}));
  n.sync();
  n.receive(message_from(2, raft::message_type::vote_resp, term{4}));
  n.sync();
  ASSERT_TRUE(n.flags.is_leader());
  n.propose(kv_put("kept"), request_id{20});
  n.propose(kv_put("kept"), request_id{21});
  n.run();
  n.others_acknowledge(6, term{4});
  std::set<std::uint64_t> refused;
  for (const auto& a : n.seen.answers) refused.insert(a.to.request.value());
  EXPECT_EQ(refused, (std::set<std::uint64_t>{10, 11, 12, 13}));
  std::set<std::uint64_t> applied;
  for (const auto& c : n.seen.commits)
    for (const auto& [index, to] : c.origins) applied.insert(to.request.value());
  EXPECT_EQ(applied, (std::set<std::uint64_t>{20, 21}));
}

// Members that are behind several changes of the configuration do not know their leader.
TEST(raft_actor, a_leader_is_not_sent_away_by_members_that_are_behind) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}}, 0, 100'000'000);
  n.lead_three();
  for (int i = 0; i < 60; ++i) {
    n.tick(1);
    n.others_answer_heartbeat();
    for (const std::uint64_t id : {2, 3}) caf::anon_send(n.to.raft, removed_notice{node_id{id}});
    n.run();
  }
  EXPECT_TRUE(n.flags.is_leader());
  EXPECT_EQ(n.exit_code, 0);
}

TEST(raft_actor, a_leader_of_which_nothing_is_known_here_is_not_told_that_it_was_removed) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}}, 0, 100'000'000);
  n.apply(1);
  for (int i = 0; i < 20; ++i) {
    n.receive(message_from(9, raft::message_type::heartbeat));
    n.tick(1);
  }
  const auto told = std::ranges::count_if(n.seen.peer_frames, [](const peer_frame& f) {
    return f.to == node_id{9} && f.frame->header().kind == frame_kind::removed;
  });
  EXPECT_LE(told, 1) << "before it was heard as a leader";
}

void ask_to_remove_itself(raft_node& n) {
  pb::AdminRequest remove;
  remove.set_remove(1);
  const auto frame = frame::make({.kind = frame_kind::admin}, to_slice(remove));
  caf::anon_send(n.to.raft, admin_request{{.where = origin::kind::connection}, frame});
  n.run();
}

TEST(raft_actor, a_leader_that_is_to_be_removed_hands_over_and_lets_the_next_one_do_it) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}});
  n.lead_three();
  n.others_answer_heartbeat();
  const auto written = n.seen.persists.size();
  ask_to_remove_itself(n);
  const auto asked = [](const peer_frame& f) {
    const auto m = raft::decode(f.frame->body());
    return m && m->msg.type == raft::message_type::timeout_now;
  };
  EXPECT_EQ(std::ranges::count_if(n.seen.peer_frames, asked), 1);
  EXPECT_EQ(n.seen.persists.size(), written) << "it proposes nothing meanwhile";
  EXPECT_TRUE(n.seen.reroutes.empty());
  n.receive(message_from(2, raft::message_type::heartbeat, term{3}));
  EXPECT_FALSE(n.flags.is_leader());
  ASSERT_EQ(n.seen.reroutes.size(), 1U) << "its clients have a leader to be passed on to";
  EXPECT_EQ(n.seen.reroutes[0].frame->header().kind, frame_kind::admin);
  n.tick(2);
  EXPECT_EQ(n.seen.reroutes.size(), 1U);
}

TEST(raft_actor, a_new_leader_changes_members_once_it_has_committed_something) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}});
  n.become_leader_of_three();
  pb::AdminRequest remove;
  remove.set_remove(3);
  const auto frame = frame::make({.kind = frame_kind::admin}, to_slice(remove));
  caf::anon_send(n.to.raft, admin_request{{.where = origin::kind::connection}, frame});
  n.run();
  n.tick(1);
  EXPECT_EQ(n.seen.persists.back().entries.back().index, log_index{2}) << "only its empty entry";
  EXPECT_TRUE(n.seen.answers.empty());
  n.others_acknowledge(2);
  n.apply(2);
  n.tick(1);
  EXPECT_EQ(n.seen.persists.back().entries.back().kind, entry_kind::conf);
}

TEST(raft_actor, a_change_that_waited_for_the_first_commit_until_it_was_late_is_not_made) {
  constexpr std::uint64_t tick_ns = 1000;
  raft_node n({node_id{1}, node_id{2}, node_id{3}}, 0, tick_ns);
  n.become_leader_of_three();
  pb::AdminRequest remove;
  remove.set_remove(3);
  const auto frame = frame::make({.kind = frame_kind::admin}, to_slice(remove));
  caf::anon_send(n.to.raft, admin_request{{.where = origin::kind::connection,
                                           .deadline_ns = (n.ticked + 1) * tick_ns},
                                          frame});
  n.run();
  n.tick(2);
  n.others_acknowledge(2);
  n.apply(2);
  n.tick(1);
  ASSERT_TRUE(n.flags.is_leader());
  EXPECT_EQ(n.seen.persists.back().entries.back().index, log_index{2}) << "only its empty entry";
}

TEST(raft_actor, a_removed_leader_leads_until_those_who_stay_know_and_then_goes) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}});
  n.lead_three();
  ask_to_remove_itself(n);
  for (int i = 0; i < 7; ++i) {  // nobody takes over
    n.tick(1);
    n.others_answer_heartbeat();
  }
  n.others_acknowledge(3);
  n.apply(3);
  EXPECT_EQ(n.exit_code, 0) << "nobody else knows that it is committed: they could not elect";
  EXPECT_TRUE(n.flags.is_leader());
  n.others_acknowledge(3);
  n.others_answer_heartbeat();
  n.tick(2);
  n.others_answer_heartbeat();
  EXPECT_FALSE(n.flags.is_leader());
  EXPECT_EQ(n.exit_code, 0) << "the others may lose their leader before all of them know";
  n.tick(16);
  EXPECT_EQ(n.exit_code, 13);
}

TEST(raft_actor, the_others_hear_of_a_commit_once_its_command_is_applied_and_answered) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}});
  n.lead_three();
  n.propose(kv_put("a"), request_id{3});
  n.run();
  const auto before = n.notices();
  n.others_acknowledge(3);
  ASSERT_EQ(n.committed_commands(), 1u) << "a quorum has it, whatever the leader's own disk does";
  EXPECT_EQ(n.notices(), before);
  n.apply(3);
  EXPECT_EQ(n.notices(), before + 1);
}

TEST(raft_actor, a_commit_index_alone_is_no_write_of_its_own_for_a_tenth_of_a_second) {
  raft_node n({node_id{1}});
  n.lead();
  n.propose(kv_put("a"), request_id{3});
  n.run();
  const auto written = n.seen.persists.size();
  n.sync();
  ASSERT_EQ(n.committed_commands(), 1u);
  EXPECT_EQ(n.seen.persists.size(), written);
  n.tick(10);
  ASSERT_EQ(n.seen.persists.size(), written + 1);
  EXPECT_FALSE(n.seen.persists.back().must_sync);
  ASSERT_TRUE(n.seen.persists.back().hard);
  EXPECT_EQ(n.seen.persists.back().hard->commit, log_index{3});
}

TEST(raft_actor, what_arrives_in_one_turn_is_one_write) {
  raft_node n({node_id{1}});
  n.lead();
  const auto before = n.seen.persists.size();
  for (std::uint64_t i = 0; i < 100; ++i) n.propose(kv_put("k" + std::to_string(i)), request_id{i});
  n.run();
  ASSERT_EQ(n.seen.persists.size(), before + 1);
  EXPECT_EQ(n.seen.persists.back().entries.size(), 100u);
}

TEST(raft_actor, a_lone_small_entry_does_not_hold_the_chunk_it_came_in) {
  raft_node n({node_id{1}});
  n.lead();
  const auto f = kv_put("a");
  n.propose(f, request_id{1});
  n.run();
  ASSERT_EQ(n.seen.persists.back().entries.size(), 1u);
  const auto& kept = n.seen.persists.back().entries.back().data;
  EXPECT_EQ(kept, f->body());
  EXPECT_NE(kept.data(), f->body().data());
  EXPECT_LE(kept.owner()->capacity(), kept.size());
}

TEST(raft_actor, an_entry_of_a_full_batch_keeps_the_bytes_of_the_frame_it_came_in) {
  raft_node n({node_id{1}});
  n.lead();
  const auto f = kv_put(std::string(raft_driver::sparse_bytes, 'k'));
  n.propose(f, request_id{1});
  n.run();
  ASSERT_EQ(n.seen.persists.back().entries.size(), 1u);
  EXPECT_EQ(n.seen.persists.back().entries.back().data.data(), f->body().data());
  n.sync();
  EXPECT_EQ(n.seen.commits.back().entries.back().data.data(), f->body().data());
}

TEST(raft_actor, a_vote_request_waits_for_the_disk) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}});
  n.tick(4);  // pre-votes leave at once: they promise nothing
  ASSERT_EQ(n.seen.peer_frames.size(), 2u);
  const auto before = n.seen.peer_frames.size();
  n.receive(message_from(2, raft::message_type::prevote_resp));
  ASSERT_FALSE(n.seen.persists.empty());
  EXPECT_EQ(n.seen.persists.back().hard->vote, node_id{1});
  EXPECT_EQ(n.seen.peer_frames.size(), before) << "vote requests left before the vote was durable";
  n.sync();
  EXPECT_EQ(n.seen.peer_frames.size(), before + 2);
}

TEST(raft_actor, who_does_not_lead_sends_commands_and_reads_back_untouched) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}});
  n.propose(kv_put("a"), request_id{1});
  reads r;
  r.list.push_back(
      {origin{.where = origin::kind::connection, .request = request_id{2}}, kv_put("q")});
  caf::anon_send(n.to.raft, std::move(r));
  n.run();
  ASSERT_EQ(n.seen.reroutes.size(), 2u);
  EXPECT_FALSE(n.seen.reroutes[0].target);
  EXPECT_TRUE(n.seen.persists.empty());
}

TEST(raft_actor, more_proposals_than_the_bound_are_overloaded_with_a_time) {
  raft_node n({node_id{1}});
  n.lead();
  const auto f = kv_put("a");
  for (std::uint64_t i = 0; i < limits::proposals_max + 1; ++i) n.propose(f, request_id{i});
  n.run();
  ASSERT_EQ(n.seen.answers.size(), 1u);
  const auto a = answer_in(n.seen.answers.front().frame);
  EXPECT_EQ(a.error(), static_cast<std::uint32_t>(errc::overloaded));
  EXPECT_GT(a.retry_after_ms(), 0u);
}

// Two learners of one voter: not two voters meanwhile, of whom none may fail.
TEST(raft_actor, learners_that_have_caught_up_become_voters_together) {
  raft_node n({node_id{1}}, 0, 0, {node_id{2}, node_id{3}});
  n.lead();
  n.apply(2);
  const auto proposed = [&] {
    std::vector<raft::conf_change> out;
    for (const auto& p : n.seen.persists)
      for (const auto& e : p.entries)
        if (e.kind == entry_kind::conf) out.push_back(*raft::decode_conf_change(e.data));
    return out;
  };
  const auto members = [&](const std::string& kind, int count) {
    const auto shown = n.facts.registry->text("blixard_raft_members");
    return shown.find("blixard_raft_members{kind=\"" + kind + "\"} " + std::to_string(count) +
                      "\n") != std::string::npos;
  };
  const auto pass_time = [&](std::uint64_t acknowledged) {
    for (int i = 0; i < 30; ++i) {
      n.others_acknowledge(acknowledged, term{3});
      n.tick(1);
    }
  };
  pass_time(2);
  n.sync();
  ASSERT_EQ(proposed().size(), 1u);
  EXPECT_EQ(proposed()[0].changes,
            (std::vector<raft::conf_change::single>{{raft::conf_op::voter, node_id{2}},
                                                    {raft::conf_op::voter, node_id{3}}}));
  // Applied: joint, where the old half still decides too, and left at once.
  n.apply(3);
  const auto outgoing = [&] { return n.facts.registry->text("blixard_raft_outgoing_voters"); };
  EXPECT_THAT(outgoing(), testing::HasSubstr("blixard_raft_outgoing_voters 1\n"));
  EXPECT_TRUE(members("voter", 3));
  EXPECT_TRUE(members("learner", 0));
  ASSERT_EQ(proposed().size(), 2u);
  EXPECT_TRUE(proposed()[1].changes.empty());
  pass_time(3);
  EXPECT_EQ(proposed().size(), 2u);  // nothing else is changed meanwhile
  n.sync();
  n.others_acknowledge(4, term{3});
  n.apply(4);
  EXPECT_THAT(outgoing(), testing::HasSubstr("blixard_raft_outgoing_voters 0\n"));
  EXPECT_TRUE(members("voter", 3));
}

TEST(raft_actor, each_member_is_counted_in_one_kind) {
  raft_node n({node_id{1}}, 0, 0, {node_id{2}});
  n.lead();
  n.apply(2);
  pb::AdminRequest admission;
  admission.mutable_join()->set_node(4);
  admission.mutable_join()->set_address("127.0.0.1:7004");
  admission.mutable_join()->set_witness(true);
  const auto frame = frame::make({.kind = frame_kind::admin}, to_slice(admission));
  caf::anon_send(n.to.raft, admin_request{{.where = origin::kind::connection}, frame});
  n.run();
  n.sync();
  n.apply(3);
  const auto shown = n.facts.registry->text("blixard_raft_members");
  for (const auto* kind : {"voter", "learner", "witness"})
    EXPECT_THAT(shown, testing::HasSubstr("{kind=\"" + std::string(kind) + "\"} 1\n"));
}

TEST(raft_actor, a_read_of_a_single_voter_is_evaluated_behind_what_it_must_see) {
  raft_node n({node_id{1}});
  n.lead();
  n.propose(kv_put("a"), request_id{1});
  n.run();
  n.sync();
  reads r;
  r.list.push_back(
      {origin{.where = origin::kind::connection, .request = request_id{2}}, kv_put("q")});
  caf::anon_send(n.to.raft, std::move(r));
  n.run();
  ASSERT_EQ(n.seen.evaluated.size(), 1u);
  EXPECT_EQ(n.seen.evaluated.front().index, n.seen.commits.back().entries.back().index);
}

TEST(raft_actor, a_question_about_the_cluster_gets_a_view_of_its_own_moment) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}});
  n.lead_three();
  for (std::uint64_t i = 0; i < 5; ++i) n.propose(kv_put("a"), request_id{i + 1});
  n.run();
  n.sync();
  n.others_acknowledge(7);
  caf::anon_send(n.to.raft, status_query{origin{.request = request_id{9}}, kv_put("q")});
  n.run();
  ASSERT_EQ(n.seen.status_queries.size(), 1u);
  EXPECT_EQ(n.seen.status_queries.front().from.request, request_id{9});
  const auto view = n.facts.raft.load();
  EXPECT_EQ(view->commit, log_index{7});
  ASSERT_EQ(view->peers.size(), 3u);
  for (const auto& p : view->peers) EXPECT_EQ(p.match, log_index{7}) << p.id.value();
}

void ask(raft_node& n, std::size_t count, std::uint64_t deadline_ns) {
  reads r;
  const auto query = kv_put("q");
  for (std::size_t i = 0; i < count; ++i)
    r.list.push_back({origin{.where = origin::kind::connection,
                             .request = request_id{i + 1},
                             .deadline_ns = deadline_ns},
                      query});
  caf::anon_send(n.to.raft, std::move(r));
  n.run();
}

TEST(raft_actor, reads_in_rounds_that_nobody_confirms_are_bounded_and_end_with_their_deadlines) {
  constexpr std::uint64_t tick_ns = 10'000'000;
  raft_node n({node_id{1}, node_id{2}, node_id{3}}, 0, tick_ns);
  n.lead_three();
  for (int round = 0; round < 3; ++round) {
    n.seen.answers.clear();
    // Two rounds of the core; all in them give up within the next ticks.
    const auto deadline = (n.ticked + 2) * tick_ns;
    ask(n, limits::reads_max - 1, deadline);
    ask(n, 1, deadline);
    EXPECT_TRUE(n.seen.answers.empty());
    ask(n, 1, deadline);
    ASSERT_EQ(n.seen.answers.size(), 1u) << "one too many";
    EXPECT_EQ(answer_in(n.seen.answers.front().frame).error(),
              static_cast<std::uint32_t>(errc::overloaded));
    for (int i = 0; i < 20; ++i) {
      n.tick(1);
      n.others_acknowledge(2);  // it goes on leading
    }
    ASSERT_TRUE(n.flags.is_leader());
  }
}

TEST(raft_actor, a_lease_outlives_the_queries_of_its_round_that_gave_up) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}}, 0, 10'000'000);
  n.lead_three();
  caf::anon_send(n.to.raft, leaseholders{{{node_id{2}, 7, false}}});
  pb::LeaseRenewal wanted;
  wanted.set_node(2);
  wanted.set_incarnation(7);
  caf::anon_send(n.to.raft, lease_frame{node_id{2}, frame::make({}, to_slice(wanted))});
  ask(n, 1, (n.ticked + 2) * 10'000'000);
  for (int i = 0; i < 20; ++i) {
    n.tick(1);
    n.others_acknowledge(2);  // a quorum that takes its time
  }
  n.others_answer_heartbeat();
  EXPECT_EQ(n.seen.peer_frames.back().frame->header().kind, frame_kind::lease_grant);
}

// The entries from 2 through 3 of leader 2 in term 2, with the number of our repair and its last.
raft::message repairing_append(std::uint64_t repair, std::uint64_t last) {
  auto m = message_from(2, raft::message_type::append);
  m.log_index = log_index{1};
  m.log_term = term{1};
  for (const std::uint64_t i : {2, 3})
    m.entries.push_back({.term = term{2}, .index = log_index{i}});
  m.repair = repair;
  m.match = log_index{last};
  return m;
}

TEST(raft_actor, a_damaged_log_is_shown_until_it_is_repaired_and_then_the_disk_is_told) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}}, 77);
  n.tick(20);
  EXPECT_TRUE(n.facts.raft.load()->recovering);
  const auto shown = n.facts.registry->text("blixard_raft_recovering");
  EXPECT_NE(shown.find("blixard_raft_recovering 1"), std::string::npos) << shown;
  EXPECT_FALSE(n.flags.is_leader());
  n.receive(repairing_append(77, 3));
  EXPECT_EQ(n.seen.repaired, 0) << "its own disk has not got it yet";
  n.sync();
  EXPECT_EQ(n.seen.repaired, 1);
  EXPECT_FALSE(n.facts.raft.load()->recovering);
}

TEST(raft_actor, a_leader_shows_which_member_is_recovering) {
  raft_node n({node_id{1}, node_id{2}, node_id{3}});
  n.lead_three();
  auto m = message_from(3, raft::message_type::heartbeat_resp);
  m.repair = 77;
  n.receive(std::move(m));
  n.tick(10);
  for (const auto& p : n.facts.raft.load()->peers) {
    EXPECT_EQ(p.recovering, p.id == node_id{3});
  }
}

}  // namespace
}  // namespace blixard::actors::test
