// Claims about actors that live on the I/O loop, and about flags that outlive a hanging actor
// system.
#include "actors/hosted.hpp"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "tests/actors/stubs.hpp"

namespace blixard::actors::test {
namespace {

using probe_actor = caf::typed_actor<caf::reacts_to<tick_atom>, caf::reacts_to<flush_atom>>;

class probe final : public hosted<probe_actor::base> {
 public:
  probe(caf::actor_config& c, host* where, std::vector<std::string>* out,
        std::promise<std::thread::id>* ran)
      : hosted(c, where), out_(out), ran_(ran) {}
  behavior_type make_behavior() override {
    return {[this](tick_atom) { out_->emplace_back("tick"); },
            [this](flush_atom) {
              out_->emplace_back("flush");
              if (ran_ != nullptr) ran_->set_value(std::this_thread::get_id());
            }};
  }

 private:
  std::vector<std::string>* out_;
  std::promise<std::thread::id>* ran_;
};

class sharing_config : public caf::actor_system_config {
 public:
  sharing_config() {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", std::size_t{1});
  }
};

TEST(hosted_actor, runs_on_the_loop_thread_and_urgent_messages_first) {
  sharing_config config;
  caf::actor_system system{config};
  net::loop loop;
  host where{system, loop};
  std::vector<std::string> order;
  std::promise<std::thread::id> ran;
  auto actor = spawn_hosted<probe>(system, where, &order, &ran);
  // Queued before the loop runs: the urgent one overtakes a thousand others.
  for (int i = 0; i < 1000; ++i) caf::anon_send(actor, tick_atom::value);
  caf::anon_send<caf::message_priority::high>(actor, flush_atom::value);
  std::thread thread{[&] { loop.run(); }};
  const auto id = thread.get_id();
  EXPECT_EQ(ran.get_future().get(), id);
  caf::anon_send<caf::message_priority::high>(
      caf::actor_cast<caf::actor>(actor),
      caf::exit_msg{actor->address(), caf::exit_reason::user_shutdown});
  actor = nullptr;
  while (system.registry().running() > 0) std::this_thread::yield();
  loop.stop();
  thread.join();
  ASSERT_FALSE(order.empty());
  EXPECT_EQ(order.front(), "flush");
}

TEST(hosted_actor, without_a_loop_runs_under_the_test_coordinator) {
  surroundings s;
  std::vector<std::string> order;
  auto actor = s.system.spawn<probe>(static_cast<host*>(nullptr), &order, nullptr);
  caf::anon_send(actor, tick_atom::value);
  EXPECT_TRUE(order.empty());
  s.run();
  EXPECT_EQ(order, std::vector<std::string>{"tick"});
  caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
}

class blocker final : public caf::event_based_actor {
 public:
  blocker(caf::actor_config& c, std::promise<void>* blocked, std::shared_future<void> until)
      : caf::event_based_actor(c), blocked_(blocked), until_(std::move(until)) {}
  caf::behavior make_behavior() override {
    return {[this](tick_atom) {
      blocked_->set_value();
      until_.wait();
      quit();
    }};
  }

 private:
  std::promise<void>* blocked_;
  std::shared_future<void> until_;
};

TEST(published_flags, are_readable_from_a_plain_thread_while_the_actor_system_is_blocked) {
  sharing_config config;
  caf::actor_system system{config};
  net::loop loop;
  published flags;
  flags.set_raft({.term = term{5},
                  .leader = node_id{1},
                  .commit = log_index{9},
                  .role = published_role::leader,
                  .cluster_size = 3});
  flags.set_state({.applied = log_index{9}, .initialized = 1});

  std::promise<void> release;
  const auto until = release.get_future().share();
  std::promise<void> scheduler_blocked, loop_blocked;
  auto actor = system.spawn<blocker>(&scheduler_blocked, until);
  caf::anon_send(actor, tick_atom::value);
  loop.post([&] {
    loop_blocked.set_value();
    until.wait();
  });
  std::thread io{[&] { loop.run(); }};
  scheduler_blocked.get_future().wait();
  loop_blocked.get_future().wait();
  // The one scheduler thread and the loop both hang now.
  std::thread reader{[&] {
    EXPECT_TRUE(flags.is_leader());
    EXPECT_TRUE(flags.initialized());
    const auto status = flags.read();
    EXPECT_EQ(status.raft.term, term{5});
    EXPECT_EQ(status.state.applied, log_index{9});
  }};
  reader.join();
  release.set_value();
  loop.stop();
  io.join();
}

}  // namespace
}  // namespace blixard::actors::test
