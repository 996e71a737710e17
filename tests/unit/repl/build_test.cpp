// Claims about the requests that command lines become.
#include "runtime/repl/build.hpp"

#include "messages/cluster.pb.h"

namespace blixard::repl {
namespace {

constexpr std::uint64_t MiB = 1 << 20;

tl::expected<request, error> build_line(const std::string& line) {
  return split_words(line)
      .and_then([](const std::vector<std::string>& words) { return parse_command(words); })
      .and_then([](const invocation& i) {
        return i.spec->build(i, {1234, "me", 7, 500});
      });
}

pb::Command command_of(const std::string& line, frame_kind kind = frame_kind::command) {
  const auto r = build_line(line);
  EXPECT_TRUE(r) << line << ": " << r.error().message;
  pb::Command out;
  if (!r) return out;
  EXPECT_EQ(r->kind, kind) << line;
  EXPECT_TRUE(out.ParseFromArray(r->body.data(), static_cast<int>(r->body.size())));
  return out;
}

pb::Query query_of(const std::string& line, frame_kind kind) {
  const auto r = build_line(line);
  EXPECT_TRUE(r) << line << ": " << r.error().message;
  pb::Query out;
  if (!r) return out;
  EXPECT_EQ(r->kind, kind) << line;
  EXPECT_TRUE(out.ParseFromArray(r->body.data(), static_cast<int>(r->body.size())));
  return out;
}

pb::AdminRequest admin_of(const std::string& line) {
  const auto r = build_line(line);
  EXPECT_TRUE(r) << line;
  pb::AdminRequest out;
  EXPECT_EQ(r->kind, frame_kind::admin);
  EXPECT_TRUE(out.ParseFromArray(r->body.data(), static_cast<int>(r->body.size())));
  return out;
}

TEST(build, commands_carry_operation_id_and_the_proposers_time) {
  const auto c = command_of("kv put k v");
  EXPECT_EQ(c.client(), "me");
  EXPECT_EQ(c.seq(), 7u);
  EXPECT_EQ(c.time_ms(), 1234);
}

TEST(build, kv_commands) {
  EXPECT_EQ(command_of("kv put k v").kv_put().value(), "v");
  EXPECT_FALSE(command_of("kv put k v").kv_put().if_version_set());
  const auto put = command_of("kv put k v --if-version 0").kv_put();
  EXPECT_TRUE(put.if_version_set());
  EXPECT_EQ(put.if_version(), 0u);
  const auto cas = command_of("kv cas k old new").kv_cas();
  EXPECT_EQ(cas.expected(), "old");
  EXPECT_EQ(cas.value(), "new");
  EXPECT_EQ(command_of("kv delete k").kv_delete().key(), "k");
  EXPECT_EQ(query_of("kv list a/ --limit 5", frame_kind::query).kv_list().limit(), 5u);
  EXPECT_EQ(query_of("kv list", frame_kind::query).kv_list().prefix(), "");
}

TEST(build, reads_are_linearizable_unless_stale_is_given) {
  for (const std::string line : {"kv get k", "kv list", "vm list", "vm show web", "vm explain web",
                                 "vm logs web", "node list", "node show 1", "cluster status"}) {
    EXPECT_FALSE(query_of(line, frame_kind::query).stale()) << line;
    EXPECT_TRUE(query_of(line + " --stale", frame_kind::local).stale()) << line;
  }
}

TEST(build, what_is_about_one_node_is_asked_of_that_node) {
  EXPECT_EQ(query_of("cluster digest --at 42", frame_kind::local).digest().index(), 42u);
  EXPECT_EQ(query_of("metrics raft", frame_kind::local).metrics().filter(), "raft");
  EXPECT_TRUE(query_of("cache stats", frame_kind::local).has_cache_stats());
}

TEST(build, vm_create_fills_the_whole_spec) {
  const auto spec =
      command_of(
          "vm create web --vcpus 2 --memory 512M --disk 1G --kernel /k --initrd /i --append 'a b' "
          "--disk-image /d --node 2 --strategy manual --require zone=a --require !gpu --require "
          "disk!=hdd --anti-affinity g --max-per-node 2 --soft --label tier=front --priority 900 "
          "--no-preempt --restarts 5 --backoff 2 --port 8080:80 --stopped --tenant acme",
          frame_kind::planned)
          .vm_create()
          .spec();
  EXPECT_EQ(spec.name(), "web");
  EXPECT_EQ(spec.tenant(), "acme");
  EXPECT_EQ(spec.desired(), pb::DESIRED_STOPPED);
  EXPECT_EQ(spec.vcpus(), 2u);
  EXPECT_EQ(spec.memory_bytes(), 512 * MiB);
  EXPECT_EQ(spec.disk_bytes(), 1024 * MiB);
  EXPECT_EQ(spec.backend(), pb::BACKEND_QEMU);
  EXPECT_EQ(spec.qemu().append(), "a b");
  EXPECT_EQ(spec.qemu().disk_image(), "/d");
  const auto& p = spec.placement();
  EXPECT_EQ(p.strategy(), pb::STRATEGY_MANUAL);
  EXPECT_EQ(p.node(), 2u);
  ASSERT_EQ(p.constraints_size(), 3);
  EXPECT_EQ(p.constraints(0).value(), "a");
  EXPECT_TRUE(p.constraints(1).exists() && p.constraints(1).negate());
  EXPECT_EQ(p.constraints(1).key(), "gpu");
  EXPECT_TRUE(p.constraints(2).negate());
  EXPECT_EQ(p.constraints(2).key(), "disk");
  EXPECT_EQ(p.max_per_node(), 2u);
  EXPECT_TRUE(p.soft());
  EXPECT_EQ(spec.labels(0).key(), "tier");
  EXPECT_EQ(spec.priority(), 900u);
  EXPECT_TRUE(spec.not_preemptible());
  EXPECT_EQ(spec.restart().max_restarts(), 5u);
  EXPECT_EQ(spec.ports(0).guest(), 80u);
}

TEST(build, a_plain_vm_leaves_the_defaults_to_the_state_machine) {
  const auto spec = command_of("vm create web", frame_kind::planned).vm_create().spec();
  EXPECT_EQ(spec.tenant(), "default");
  EXPECT_EQ(spec.desired(), pb::DESIRED_RUNNING);
  EXPECT_EQ(spec.vcpus(), 0u);
  EXPECT_EQ(spec.memory_bytes(), 0u);
  EXPECT_EQ(spec.backend(), pb::BACKEND_AUTO);
  EXPECT_FALSE(spec.has_qemu());
  EXPECT_FALSE(spec.has_process());
  EXPECT_FALSE(spec.has_priority());
  EXPECT_FALSE(spec.restart().has_max_restarts());
}

TEST(build, a_priority_and_restarts_of_zero_are_values_and_not_the_default) {
  const auto spec =
      command_of("vm create web --priority 0 --restarts 0", frame_kind::planned).vm_create().spec();
  EXPECT_TRUE(spec.has_priority());
  EXPECT_EQ(spec.priority(), 0u);
  EXPECT_TRUE(spec.restart().has_max_restarts());
  EXPECT_EQ(spec.restart().max_restarts(), 0u);
}

TEST(build, a_command_makes_a_process_vm_of_its_words) {
  const auto spec =
      command_of("vm create p --command \"sh -c 'sleep 5'\" --env A=b=c", frame_kind::planned)
          .vm_create()
          .spec();
  EXPECT_EQ(spec.backend(), pb::BACKEND_PROCESS);
  ASSERT_EQ(spec.process().argv_size(), 3);
  EXPECT_EQ(spec.process().argv(2), "sleep 5");
  EXPECT_EQ(spec.process().env(0).value(), "b=c");
}

TEST(build, vm_actions) {
  const std::vector<std::pair<std::string, pb::VmActionKind>> cases{
      {"start", pb::VM_START}, {"stop", pb::VM_STOP},     {"restart", pb::VM_RESTART},
      {"pause", pb::VM_PAUSE}, {"resume", pb::VM_RESUME}, {"delete", pb::VM_DELETE}};
  for (const auto& [verb, kind] : cases) {
    const auto a = command_of("vm " + verb + " web").vm_action();
    EXPECT_EQ(a.action(), kind) << verb;
    EXPECT_EQ(a.name(), "web");
    EXPECT_EQ(a.tenant(), "default");
    EXPECT_FALSE(a.force());
  }
  EXPECT_TRUE(command_of("vm stop web --force").vm_action().force());
}

TEST(build, nodes_and_membership) {
  EXPECT_TRUE(command_of("node cordon 2").node_cordon().cordon());
  EXPECT_FALSE(command_of("node uncordon 2").node_cordon().cordon());
  EXPECT_EQ(admin_of("cluster join 4 127.0.0.1:7004").join().address(), "127.0.0.1:7004");
  EXPECT_EQ(admin_of("cluster remove 3").remove(), 3u);
  EXPECT_EQ(admin_of("cluster transfer 2").transfer(), 2u);
  EXPECT_TRUE(admin_of("cluster snapshot").has_snapshot());
}

struct refusal {
  std::string line;
  std::string message;
  errc code = errc::invalid_argument;
};

TEST(build, bad_values_never_leave) {
  const std::vector<refusal> cases{
      {"vm create Web", "vm: \"Web\" is not a name"},
      {"vm create -- -web", "is not a name"},
      {"vm create " + std::string(64, 'a'), "is not a name"},
      {"vm create web --tenant A", "--tenant: \"A\" is not a name"},
      {"vm create web --vcpus 0", "--vcpus is at least 1"},
      {"vm create web --vcpus many", "--vcpus: \"many\" is not a whole number"},
      {"vm create web --memory 12X", "--memory: \"12X\" is not a size"},
      {"vm create web --memory 0", "--memory is more than 0"},
      {"vm create web --command ''", "--command is empty"},
      {"vm create web --command \"'open\"", "--command: a ' is not closed"},
      {"vm create web --command x --kernel k", "--command and --env are for the process backend"},
      {"vm create web --command x --backend qemu", "process backend"},
      {"vm create web --kernel k --backend process", "for the qemu backend"},
      {"vm create web --initrd i", "--initrd needs --kernel"},
      {"vm create web --node x", "--node: \"x\" is not a node"},
      {"vm create web --strategy manual", "--strategy manual needs --node"},
      {"vm create web --label tier", "--label: \"tier\" is not KEY=VALUE"},
      {"vm create web --require =a", "--require: \"=a\" names no label"},
      {"vm create web --soft", "need --anti-affinity"},
      {"vm create web --backoff 0", "--backoff is at least 1"},
      {"vm create web --priority 1001", "--priority"},
      {"vm create web --label tier=a --label x=1 --label tier=b", "--label: tier is given twice"},
      {"vm create web --command x --env A=1 --env A=2", "--env: A is given twice"},
      {"vm create web --port 80:80 --port 80:81", "--port: the host's port 80 is given twice"},
      {"vm create web --command x --port 80:80", "--port is for the qemu backend"},
      {"vm create web --port 80", "--port: \"80\" is not HOST:GUEST"},
      {"vm create web --port 0:80", "is not HOST:GUEST"},
      {"vm stop Web", "is not a name"},
      {"vm logs web -n 0", "-n is at least 1"},
      {"node show x", "\"x\" is not a node"},
      {"node cordon 0", "\"0\" is not a node"},
      {"cluster join 4 nowhere", "is not an address"},
      {"cluster join 4 127.0.0.1:0", "port 0"},
      {"cluster digest --at 0", "--at is at least 1"},
      {"kv get ''", "the key is empty"},
      {"kv get " + std::string(1025, 'k'), "the key has 1025 bytes", errc::too_large},
      {"kv put k " + std::string(MiB + 1, 'v'), "the value has 1048577 bytes", errc::too_large},
      {"kv put k v --if-version x", "--if-version"},
      {"kv list --limit 0", "--limit is at least 1"},
  };
  for (const auto& c : cases) {
    const auto r = build_line(c.line);
    ASSERT_FALSE(r) << c.line.substr(0, 80);
    EXPECT_NE(r.error().message.find(c.message), std::string::npos) << r.error().message;
    EXPECT_EQ(r.error().code, c.code);
  }
}

TEST(build, keys_and_values_at_the_limit_pass) {
  EXPECT_TRUE(build_line("kv get " + std::string(1024, 'k')));
  EXPECT_TRUE(build_line("kv put k " + std::string(MiB, 'v')));
}

}  // namespace
}  // namespace blixard::repl
