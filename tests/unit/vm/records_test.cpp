// Console files, records on disk, and the way from a pb::Vm to a launch plan.
#include <algorithm>
#include <functional>

#include "runtime/vm/child.hpp"
#include "runtime/vm/console.hpp"
#include "runtime/vm/host.hpp"
#include "runtime/vm/launch.hpp"
#include "runtime/vm/record.hpp"
#include "tests/unit/vm/support.hpp"

namespace blixard::vm {
namespace {

using test::temp_dir;
using lines = std::vector<std::string>;

// ---------------------------------------------------------------- console

TEST(console, keeps_the_newest_output_within_its_files_whatever_is_written) {
  const temp_dir dir;
  const console_limits small{100, 3};
  auto writer = console_writer::open(dir / "c", small);
  ASSERT_TRUE(writer);
  for (int i = 0; i < 1000; ++i) writer->append("line " + std::to_string(i) + "\n");
  std::uintmax_t total = 0;
  for (const auto& f : std::filesystem::directory_iterator{dir.path()}) {
    EXPECT_LE(f.file_size(), small.file_bytes);
    total += f.file_size();
  }
  EXPECT_LE(total, small.file_bytes * small.files);
  EXPECT_EQ(read_tail(dir / "c", 3, small), (lines{"line 997", "line 998", "line 999"}));
  EXPECT_EQ(writer->lost_bytes(), 0U);
}

TEST(console, one_write_larger_than_all_files_is_cut_into_them) {
  const temp_dir dir;
  const console_limits small{10, 2};
  auto writer = console_writer::open(dir / "c", small);
  std::string text(95, 'a');
  text.append("\nend");
  writer->append(text);
  EXPECT_EQ(read_tail(dir / "c", 1, small), lines{"end"});
  EXPECT_EQ(std::filesystem::file_size(dir / "c.1"), 10U);
}

TEST(console, goes_on_in_the_file_of_an_earlier_guard) {
  const temp_dir dir;
  const console_limits small{1000, 2};
  console_writer::open(dir / "c", small)->append("one\ntw");
  auto second = console_writer::open(dir / "c", small);
  second->append("o\n");
  EXPECT_EQ(read_tail(dir / "c", 9, small), (lines{"one", "two"}));
}

TEST(console, the_tail_reaches_back_over_files_and_no_further_than_asked) {
  const temp_dir dir;
  const console_limits small{40, 2};
  auto writer = console_writer::open(dir / "c", small);
  for (int i = 10; i < 25; ++i) writer->append(std::to_string(i) + "\n");
  EXPECT_EQ(read_tail(dir / "c", 4, small), (lines{"21", "22", "23", "24"}));
  EXPECT_EQ(read_tail(dir / "c", 100, small).size(), 15U);
  EXPECT_EQ(read_tail(dir / "c", 0, small), lines{});
  EXPECT_EQ(read_tail(dir / "none", 5, small), lines{});
  std::filesystem::rename(dir / "c", dir / "c.1");  // in the middle of a rotation
  EXPECT_EQ(read_tail(dir / "c", 1, small), lines{"24"});
}

TEST(console, notes_stand_on_lines_of_their_own) {
  const temp_dir dir;
  auto writer = console_writer::open(dir / "c", {});
  writer->append("unfinished");
  writer->note("end: x");
  EXPECT_EQ(read_tail(dir / "c", 9), (lines{"unfinished", "[blixard] end: x"}));
}

TEST(console, a_full_disk_loses_output_and_nothing_else) {
  auto writer = console_writer::open("/dev/full", {1000, 1});
  ASSERT_TRUE(writer);
  writer->append("abc");
  EXPECT_EQ(writer->lost_bytes(), 3U);
}

TEST(console, lines_are_cleaned_of_what_drives_a_terminal) {
  const std::vector<std::pair<std::string, std::string>> rows{
      {"plain", "plain"},
      {"cr\r", "cr"},
      {"tab\there", "tab here"},
      {"\x1b[31mred\x1b[0m", "red"},
      {"\x1b]0;title\x07 text", " text"},
      {"\x1b]0;title\x1b\\text", "text"},
      {"\x1b[6n", ""},
      {"\x1b", ""},
      {"\x1b[12;", ""},
      {"\x1b(Bx", "Bx"},
      {"bell\a\b", "bell"},
      {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
      {"bad \xff\xc3", "bad ??"},
      {"c1 \xc2\x9b"
       "31m",
       "c1 ??31m"},
      {"overlong \xc0\xaf \xe0\x80\xaf", "overlong ?? ???"},
      {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
      {std::string(10'000, 'x'), std::string(4096, 'x')},
  };
  for (const auto& [raw, expected] : rows) EXPECT_EQ(clean_line(raw), expected);
}

// ---------------------------------------------------------------- records

TEST(record, plan_and_state_survive_a_round_trip_with_every_field) {
  launch_plan p;
  p.vm = 1;
  p.generation = 2;
  p.restarts = 3;
  p.failures = 4;
  p.name = "web \"1\"";
  p.backend = backend_kind::qemu;
  p.accelerator = "tcg";
  p.uuid = "u";
  p.argv = {"a", "b c", ""};
  p.env = {"K=v"};
  p.vcpus = 5;
  p.memory_bytes = 6;
  p.lease = "/l";
  p.ready_text = "up";
  const auto q = decode_plan(encode(p));
  ASSERT_TRUE(q);
  EXPECT_EQ(encode(*q), encode(p));
  EXPECT_EQ(q->argv, p.argv);
  EXPECT_EQ(q->backend, backend_kind::qemu);

  for (const auto phase :
       {guard_phase::starting, guard_phase::running, guard_phase::paused, guard_phase::exited}) {
    for (const auto by : {ended_by::itself, ended_by::command, ended_by::lease, ended_by::start}) {
      const guard_state s{phase, 1, 2, 3, 4, 5, "/c", "none", true, by, 7, 9, "why"};
      const auto t = decode_state(encode(s));
      ASSERT_TRUE(t);
      EXPECT_EQ(encode(*t), encode(s));
      EXPECT_EQ(t->phase, phase);
      EXPECT_EQ(t->by, by);
      EXPECT_TRUE(t->ready);
      EXPECT_EQ(t->reason, "why");
    }
  }
}

TEST(record, damaged_text_is_an_error_never_a_guess) {
  for (const char* text : {"", "{", "[]", "7", "{}", R"({"vm": "x", "argv": ["a"]})",
                           R"({"vm": 1, "argv": []})", R"({"vm": 1, "argv": [1]})"})
    EXPECT_FALSE(decode_plan(text)) << text;
  for (const char* text : {"", "{", "[]", "{}", R"({"phase": "flying"})", R"({"phase": 1})",
                           R"({"phase": "exited", "by": "nobody"})"})
    EXPECT_FALSE(decode_state(text)) << text;
}

TEST(record, a_number_that_is_not_whole_or_does_not_fit_is_an_error) {
  for (const char* number : {"1e30", "99999999999999999999999999", "-1", "1.5", "4294967296"}) {
    const auto with = std::string{number};
    EXPECT_FALSE(decode_plan(R"({"vm": 1, "argv": ["a"], "vcpus": )" + with + "}")) << number;
  }
  EXPECT_FALSE(decode_state(R"({"phase": "exited", "signal": 1e30})"));
  EXPECT_FALSE(decode_state(R"({"phase": "exited", "pid": -1})"));
  EXPECT_FALSE(decode_plan(R"({"vm": 1e30, "argv": ["a"]})"));
  EXPECT_TRUE(decode_state(R"({"phase": "exited", "exit_code": -1})"));
}

TEST(record, unknown_keys_are_ignored) {
  EXPECT_TRUE(decode_state(R"({"phase": "running", "later": [1]})"));
}

// ---------------------------------------------------------------- launch

launch_context context(const temp_dir& dir) {
  return {dir.path(), dir / "lease", "", "", {backend_kind::process}};
}

TEST(launch, defaults_of_the_restart_policy_are_filled_in) {
  pb::Vm vm;
  EXPECT_EQ(desired_of(vm).policy, (restart_policy{3, 5'000, 300'000}));
  vm.mutable_spec()->mutable_restart()->set_max_restarts(7);
  vm.mutable_spec()->mutable_restart()->set_backoff_seconds(2);
  vm.mutable_spec()->mutable_restart()->set_backoff_max_seconds(9);
  EXPECT_EQ(desired_of(vm).policy, (restart_policy{7, 2'000, 9'000}));
  vm.mutable_spec()->mutable_restart()->set_max_restarts(0);
  EXPECT_EQ(desired_of(vm).policy.max_restarts, 0u) << "never is not the default";
}

TEST(launch, the_backend_follows_the_spec_then_what_the_node_offers) {
  const temp_dir empty;
  ::setenv("BLIXARD_GUEST_DIR", empty.path().c_str(), 1);  // no default guest
  launch_context both{.guest_kernel = "/boot/k",
                      .backends = {backend_kind::qemu, backend_kind::process}};
  const launch_context one{.backends = {backend_kind::process}};
  pb::Vm vm;
  EXPECT_EQ(backend_of(vm, both), backend_kind::qemu);
  EXPECT_EQ(backend_of(vm, one), backend_kind::process);
  both.guest_kernel.clear();
  EXPECT_EQ(backend_of(vm, both), backend_kind::process) << "there is nothing that QEMU could boot";
  vm.mutable_spec()->mutable_qemu()->set_disk_image("/x.qcow2");
  EXPECT_EQ(backend_of(vm, both), backend_kind::qemu);
  vm.mutable_spec()->clear_qemu();
  both.backends = {backend_kind::qemu};
  EXPECT_EQ(backend_of(vm, both), backend_kind::qemu) << "the plan says what is missing";
  both = {.guest_kernel = "/boot/k", .backends = {backend_kind::qemu, backend_kind::process}};
  vm.mutable_spec()->mutable_process()->add_argv("true");
  EXPECT_EQ(backend_of(vm, both), backend_kind::process) << "only a command is given";
  vm.mutable_spec()->mutable_qemu();
  EXPECT_EQ(backend_of(vm, both), backend_kind::qemu);
  vm.mutable_spec()->set_backend(pb::BACKEND_PROCESS);
  EXPECT_EQ(backend_of(vm, both), backend_kind::process);
  ::unsetenv("BLIXARD_GUEST_DIR");
}

TEST(launch, a_process_plan_has_its_command_a_clean_environment_and_its_limits) {
  const temp_dir dir;
  auto vm = test::shell_vm(3, "x");
  vm->mutable_spec()->set_vcpus(2);
  vm->mutable_spec()->set_memory_bytes(5);
  auto* variable = vm->mutable_spec()->mutable_process()->add_env();
  variable->set_key("LANG");
  variable->set_value("de");
  const auto plan = make_plan(*vm, context(dir));
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->argv, (std::vector<std::string>{"/bin/sh", "-c", "x"}));
  EXPECT_EQ(std::count(plan->env.begin(), plan->env.end(), "LANG=de"), 1);
  EXPECT_EQ(std::count(plan->env.begin(), plan->env.end(), "LANG=C.UTF-8"), 0);
  EXPECT_EQ(plan->vcpus, 2U);
  EXPECT_EQ(plan->memory_bytes, 5U);
  EXPECT_NE(make_plan(*vm, context(dir))->uuid, plan->uuid);
  variable->set_key("A=B");
  EXPECT_EQ(make_plan(*vm, context(dir)).error().code, errc::invalid_argument);
}

// ---------------------------------------------------------------- capacity

TEST(disk_capacity, is_the_same_however_full_the_disks_of_vms_are) {
  constexpr auto gib = limits::GiB;
  EXPECT_EQ(disk_capacity(10 * gib, 0), 10 * gib);
  EXPECT_EQ(disk_capacity(4 * gib, 6 * gib), 10 * gib);
}

TEST(disk_capacity, is_whole_gibibytes_where_there_is_one) {
  constexpr auto gib = limits::GiB;
  EXPECT_EQ(disk_capacity(10 * gib + 123, 0), 10 * gib);
  EXPECT_EQ(disk_capacity(11 * gib - 1, 0), 10 * gib);
  EXPECT_EQ(disk_capacity(64 * limits::MiB + 1, 2), 64 * limits::MiB + 3);
  EXPECT_EQ(disk_capacity(0, 0), 0U);
}

TEST(scratch_disks, count_as_what_they_hold_and_not_as_what_they_may_hold) {
  const temp_dir dir;
  EXPECT_EQ(scratch_disk_bytes(dir.path()), 0U);
  for (const char* vm : {"7", "8"}) {
    const std::string folder = dir / "vms" + "/" + vm;
    std::filesystem::create_directories(folder);
    ASSERT_TRUE(write_file(folder + "/disk.raw", std::string(limits::MiB, 'x'), true));
    std::filesystem::resize_file(folder + "/disk.raw", limits::GiB);
    ASSERT_TRUE(write_file(folder + "/console.log", std::string(limits::MiB, 'x'), true));
  }
  EXPECT_GE(scratch_disk_bytes(dir.path()), 2 * limits::MiB);
  EXPECT_LT(scratch_disk_bytes(dir.path()), 3 * limits::MiB);
}

// ---------------------------------------------------------------- limits

TEST(limits_of_a_process, cgroup_files_are_written_where_they_exist) {
  const temp_dir dir;
  EXPECT_EQ(vm_cgroup::make("", "x", 1, 1).path(), "");
  EXPECT_EQ(vm_cgroup::make(dir / "none", "x", 1, 1).path(), "");
  // A directory that looks like a cgroup with the memory and cpu controllers.
  auto first = vm_cgroup::make(dir.path(), "tag", 0, 0);
  const std::string& path = first.path();
  ASSERT_FALSE(path.empty());
  EXPECT_FALSE(first.limits_memory());
  for (const char* file : {"/memory.max", "/cpu.max", "/cgroup.kill"})
    ASSERT_TRUE(write_file(path + file, "", false));
  const auto group = vm_cgroup::make(dir.path(), "tag", 64 * limits::MiB, 2);
  EXPECT_TRUE(group.limits_memory());
  EXPECT_TRUE(group.limits_cpu());
  EXPECT_EQ(read_file(path + "/memory.max").value(), "67108864");
  EXPECT_EQ(read_file(path + "/cpu.max").value(), "200000 100000");
  group.kill();
  EXPECT_EQ(read_file(path + "/cgroup.kill").value(), "1");
}

}  // namespace
}  // namespace blixard::vm
