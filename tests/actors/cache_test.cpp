// Claims about the cache actor: who gets which decision, and that one plan serves all who wait.
#include "actors/cache.hpp"

#include <gtest/gtest.h>

#include "actors/planner.hpp"
#include "runtime/state/machine.hpp"
#include "tests/actors/stubs.hpp"

namespace blixard::actors::test {
namespace {

struct cached : surroundings {
  state::machine machine;

  cached() {
    to.router = system.spawn<router_stub>(seen);
    to.raft = system.spawn<raft_stub>(seen);
    to.planner = system.spawn<planner_stub>(seen);
    to.cache = system.spawn<cache>(to, facts);
    register_node(1);
    register_node(2);
  }
  void apply(const pb::Command& c) {
    machine.apply(entry{term{1}, machine.applied_index().next(), entry_kind::normal, to_slice(c)});
    caf::anon_send(to.cache, inventory_changed{machine.inventory()});
    run();
  }
  void register_node(std::uint64_t id) {
    pb::Command c;
    auto& n = *c.mutable_node_register()->mutable_node();
    n.set_id(id);
    n.set_incarnation(1);
    n.mutable_capacity()->set_vcpus(8);
    n.mutable_capacity()->set_memory_bytes(8 * limits::GiB);
    n.add_backends(pb::BACKEND_PROCESS);
    apply(c);
  }
  static pb::Command create_command(const std::string& name) {
    pb::Command c;
    c.mutable_vm_create()->mutable_spec()->set_name(name);
    return c;
  }
  void create(const std::string& name, std::uint64_t request) {
    const auto frame = frame::make({.kind = frame_kind::planned}, to_slice(create_command(name)));
    caf::anon_send(to.cache, plan_command{asker(request), frame});
    run();
  }
  static origin asker(std::uint64_t request) {
    return {.where = origin::kind::connection, .request = request_id{request}};
  }
  /// The planner is done with the job.
  void finish(std::size_t i) {
    const auto job = seen.jobs.at(i);
    caf::anon_send(to.cache, plan_found{job, job->run()});
    run();
  }
  /// What was proposed, in order.
  std::vector<std::pair<origin, pb::Command>> proposed() const {
    std::vector<std::pair<origin, pb::Command>> out;
    for (const auto& batch : seen.proposals_batches)
      for (const auto& p : batch.list) {
        pb::Command c;
        EXPECT_TRUE(parse(c, p.frame->body()));
        out.emplace_back(p.from, std::move(c));
      }
    return out;
  }
  pb::CacheStats::One stats_of(const std::string& name) {
    caf::anon_send(to.cache, local_query{asker(99), nullptr});
    run();
    const auto a = answer_in(seen.answers.back().frame);
    for (const auto& one : a.caches().caches())
      if (one.name() == name) return one;
    ADD_FAILURE() << "no cache " << name;
    return {};
  }
};

TEST(cache_actor, a_create_is_proposed_with_the_planners_choice_and_why) {
  cached c;
  c.create("web", 5);
  ASSERT_EQ(c.seen.jobs.size(), 1U);
  EXPECT_TRUE(c.proposed().empty()) << "it waits for the plan";
  c.finish(0);
  const auto all = c.proposed();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].first.request, request_id{5});
  const auto& decision = all[0].second.vm_create().decision();
  EXPECT_EQ(decision.node(), 1U);
  EXPECT_EQ(decision.fitting(), 2U);
  ASSERT_EQ(decision.candidates_size(), 2) << "apply may choose again among the best";
  EXPECT_EQ(decision.candidates(0).node(), 1U);
  EXPECT_EQ(decision.candidates(1).node(), 2U);
  EXPECT_EQ(all[0].second.vm_create().spec().name(), "web");
}

TEST(cache_actor, a_thousand_creates_at_once_are_planned_once) {
  cached c;
  for (std::uint64_t i = 1; i <= 1000; ++i) c.create("vm" + std::to_string(i), i);
  ASSERT_EQ(c.seen.jobs.size(), 1U);
  EXPECT_EQ(c.stats_of("placement").in_flight(), 1U);
  EXPECT_EQ(c.stats_of("placement").waited(), 999U);
  c.finish(0);
  const auto all = c.proposed();
  ASSERT_EQ(all.size(), 1000U);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].first.request, request_id{i + 1}) << "in the order in which they asked";
    EXPECT_EQ(all[i].second.vm_create().decision().node(), 1U);
  }
  EXPECT_EQ(c.stats_of("placement").in_flight(), 0U);
  c.create("one-more", 1001);
  EXPECT_EQ(c.proposed().size(), 1001U) << "known by now: no plan, no wait";
  EXPECT_EQ(c.stats_of("placement").hits(), 1U);
}

TEST(cache_actor, creates_one_after_the_other_are_planned_once_though_each_changes_the_inventory) {
  cached c;
  for (std::uint64_t i = 1; i <= 10; ++i) {
    c.create("vm" + std::to_string(i), i);
    if (i == 1) c.finish(0);
    ASSERT_EQ(c.proposed().size(), i) << "nobody waited for a plan";
    const auto proposed = c.proposed().back().second;
    EXPECT_EQ(proposed.vm_create().decision().node(), 1 + (i - 1) % 2) << "the emptier one";
    c.apply(proposed);
  }
  EXPECT_EQ(c.seen.jobs.size(), 1U);
  EXPECT_EQ(c.stats_of("placement").hits(), 9U);
  EXPECT_EQ(c.stats_of("placement").misses(), 1U);
}

TEST(cache_actor, a_new_inventory_is_planned_anew_while_the_old_plan_is_under_way) {
  cached c;
  c.create("a", 1);
  auto taken = cached::create_command("b");
  taken.mutable_vm_create()->mutable_decision()->set_node(1);
  c.apply(taken);
  c.create("c", 2);
  ASSERT_EQ(c.seen.jobs.size(), 2U);
  c.finish(1);
  c.finish(0);
  const auto all = c.proposed();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].first.request, request_id{2});
  EXPECT_EQ(all[0].second.vm_create().decision().node(), 2U) << "node 1 has less by now";
  EXPECT_EQ(all[1].second.vm_create().decision().node(), 1U) << "apply checks it again";
}

TEST(cache_actor, a_vm_in_its_back_off_is_not_placed) {
  cached c;
  auto vm = std::make_shared<pb::Vm>();
  vm->set_id(1);
  vm->mutable_spec()->set_name("web");
  state::fill_defaults(*vm->mutable_spec());
  vm->add_gave_up(1);
  vm->add_gave_up(2);
  vm->set_retry_ms(INT64_MAX);
  caf::anon_send(c.to.cache, place_vm{vm});
  c.run();
  c.finish(0);
  EXPECT_TRUE(c.proposed().empty());
  auto later = std::make_shared<pb::Vm>(*vm);
  later->set_retry_ms(1);
  caf::anon_send(c.to.cache, place_vm{later});
  c.run();
  ASSERT_EQ(c.proposed().size(), 1U);
  EXPECT_EQ(c.proposed()[0].second.vm_place().decision().node(), 1U);
}

TEST(cache_actor, a_refusal_that_the_vm_shows_already_is_not_proposed_again) {
  cached c;
  auto vm = std::make_shared<pb::Vm>();
  vm->set_id(1);
  vm->mutable_spec()->set_name("web");
  vm->mutable_spec()->set_vcpus(100);
  state::fill_defaults(*vm->mutable_spec());
  caf::anon_send(c.to.cache, place_vm{vm});
  c.run();
  c.finish(0);
  ASSERT_EQ(c.proposed().size(), 1U);
  auto told = std::make_shared<pb::Vm>(*vm);
  const auto refusal = state::plan(*c.machine.inventory(), vm->spec());  // as apply writes it down
  *told->mutable_rejected() = refusal.rejected();
  told->set_fix(refusal.fix());
  caf::anon_send(c.to.cache, place_vm{told});
  c.run();
  EXPECT_EQ(c.proposed().size(), 1U);
}

TEST(cache_actor, explain_and_status_are_answered_to_who_asked) {
  cached c;
  auto create = cached::create_command("web");
  create.mutable_vm_create()->mutable_decision()->set_node(2);
  c.apply(create);
  const auto vm = c.machine.vm("default", "web");
  caf::anon_send(c.to.cache, complete_answer{cached::asker(7), std::make_shared<pb::Answer>(),
                                             c.machine.inventory(), vm});
  c.run();
  EXPECT_TRUE(c.seen.answers.empty());
  c.finish(0);
  ASSERT_EQ(c.seen.answers.size(), 1U);
  EXPECT_EQ(c.seen.answers[0].to.request, request_id{7});
  const auto explained = answer_in(c.seen.answers[0].frame);
  EXPECT_EQ(explained.decision().candidates_size(), 2);
  EXPECT_EQ(explained.decision().node(), 2U) << "where it is, not where it would go";

  caf::anon_send(c.to.cache, complete_answer{cached::asker(8), std::make_shared<pb::Answer>(),
                                             c.machine.inventory(), nullptr});
  c.run();
  ASSERT_EQ(c.seen.answers.size(), 2U);
  EXPECT_EQ(answer_in(c.seen.answers[1].frame).status().summary().nodes_total(), 2U);
}

TEST(cache_actor, what_is_known_of_a_link_goes_with_its_peer) {
  cached c;
  const auto quality_of_2 = [&] {
    auto partial = std::make_shared<pb::Answer>();
    partial->mutable_status()->add_members()->set_id(2);
    caf::anon_send(c.to.cache, complete_answer{cached::asker(1), std::move(partial),
                                               c.machine.inventory(), nullptr});
    c.run();
    return answer_in(c.seen.answers.back().frame).status().members(0).quality();
  };
  const auto view = [](std::vector<link_view::one> links) {
    return std::make_shared<const link_view>(link_view{std::move(links)});
  };
  EXPECT_EQ(quality_of_2(), "disconnected");
  c.facts.links.store(view({{node_id{2}, true, 300}}));
  EXPECT_EQ(quality_of_2(), "excellent");
  c.facts.links.store(view({}));
  EXPECT_EQ(quality_of_2(), "disconnected");
  EXPECT_EQ(c.stats_of("peer").size(), 0U);
}

TEST(cache_actor, what_is_no_create_is_refused) {
  cached c;
  caf::anon_send(c.to.cache, plan_command{cached::asker(4), kv_put("k")});
  c.run();
  ASSERT_EQ(c.seen.answers.size(), 1U);
  EXPECT_EQ(answer_in(c.seen.answers[0].frame).error(),
            static_cast<std::uint32_t>(errc::invalid_argument));
}

TEST(planner_actor, sends_back_what_it_found) {
  cached c;
  caf::anon_send_exit(c.to.planner, caf::exit_reason::user_shutdown);
  c.to.planner = c.system.spawn<planner>(c.to);
  c.create("web", 5);
  ASSERT_EQ(c.proposed().size(), 1U);
  EXPECT_EQ(c.proposed()[0].second.vm_create().decision().node(), 1U);
}

}  // namespace
}  // namespace blixard::actors::test
