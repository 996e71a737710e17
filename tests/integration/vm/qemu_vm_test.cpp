// The supervisor with real QEMU and the default guest: boot, pause, power-down, death, adoption.
//
// The guest comes from scripts/guest (made here when it is missing). Where QEMU is not installed
// the tests are skipped and say so.
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <cstdlib>

#include "runtime/vm/host.hpp"
#include "runtime/vm/qmp.hpp"
#include "runtime/vm/record.hpp"
#include "tests/unit/vm/support.hpp"

namespace blixard::vm {
namespace {

using namespace test;

std::shared_ptr<pb::Vm> guest_vm(std::uint64_t id) {
  auto vm = std::make_shared<pb::Vm>();
  vm->set_id(id);
  vm->set_generation(1);
  auto* spec = vm->mutable_spec();
  spec->set_name("guest" + std::to_string(id));
  spec->set_backend(pb::BACKEND_QEMU);
  spec->set_vcpus(1);
  spec->set_memory_bytes(192 * limits::MiB);
  spec->mutable_restart()->set_backoff_seconds(1);
  return vm;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// A port that was free a moment ago.
std::uint16_t free_port() {
  const unique_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  auto address = loopback(0);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

/// The answer to GET /, or nothing when there is none (yet).
std::string http_get(std::uint16_t port) {
  const unique_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const auto address = loopback(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return {};
  constexpr std::string_view request = "GET / HTTP/1.0\r\n\r\n";
  ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
  std::string answer;
  std::array<char, 1024> block{};
  for (ssize_t n = 0; (n = ::recv(fd.get(), block.data(), block.size(), 0)) > 0;)
    answer.append(block.data(), static_cast<std::size_t>(n));
  return answer;
}

class qemu_vm : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (detect_qemu().binary.empty()) return;
    ASSERT_EQ(std::system(SCRIPTS_GUEST), 0) << "scripts/guest failed";
  }
  void SetUp() override {
    if (detect_qemu().binary.empty()) GTEST_SKIP() << detect_qemu().why;
    begin();
  }
  void TearDown() override {
    if (supervisor_ == nullptr) return;
    supervisor_->retain({});
    EXPECT_TRUE(eventually([&] { return supervisor_->held().empty(); }));
  }
  /// Replaces the supervisor, as a restarted daemon would.
  void begin() {
    supervisor_.reset();
    supervisor_options o;
    o.data_dir = dir_.path();
    o.guard_argv = {VM_TEST_HELPER, "guard"};
    o.backends = available_backends();
    o.use_lease = false;
    o.boot_deadline_ms = boot_deadline_ms_;
    o.on_report = [this](const pb::VmReport_One& r) { reports_.add(r); };
    supervisor_ = std::make_unique<supervisor>(std::move(o));
    const auto started = supervisor_->start();
    ASSERT_TRUE(started) << started.error().message;
  }
  std::uint64_t run(const std::shared_ptr<pb::Vm>& vm) {
    const auto from = reports_.size();
    supervisor_->set_desired(vm);
    return reports_.at(reports_.wait_phase(pb::PHASE_RUNNING, from)).pid();
  }
  bool boots(std::uint64_t id) {
    return eventually([&] { return console(id).find("blixard guest ready") != std::string::npos; });
  }
  std::string console(std::uint64_t id) {
    std::string text;
    for (const auto& line : supervisor_->console_tail(vm_id{id}, 10'000)) text += line + "\n";
    return text;
  }

  temp_dir dir_;
  std::uint64_t boot_deadline_ms_ = 120'000;
  recorder reports_;
  std::unique_ptr<supervisor> supervisor_;
};

TEST_F(qemu_vm, the_default_guest_boots_and_its_serial_console_is_kept) {
  const auto vm = guest_vm(1);
  const auto pid = run(vm);
  const auto all = reports_.all();
  EXPECT_EQ(all.back().backend(), pb::BACKEND_QEMU);
  EXPECT_EQ(all.back().accelerator(), detect_qemu().accelerator);
  EXPECT_TRUE(is_alive(pid));
  ASSERT_TRUE(boots(1)) << console(1);
  EXPECT_NE(console(1).find("Linux version"), std::string::npos) << "the boot text is part of it";
}

/// The default guest with other last words of its boot: it never says that it is up.
void make_mute_guest(const temp_dir& to) {
  const auto guest = default_guest();
  ASSERT_TRUE(guest);
  const std::string command =
      "cp '" + guest->kernel + "' '" + (to / "vmlinuz") + "' && zcat '" + guest->initrd +
      "' | LC_ALL=C sed 's/blixard guest ready/blixard guest hangs/' | gzip -1 > '" +
      (to / "initrd.img") + "'";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

TEST_F(qemu_vm, a_guest_is_running_when_it_is_up_and_not_before) {
  run(guest_vm(1));
  EXPECT_NE(console(1).find(default_guest_ready), std::string::npos);
}

TEST_F(qemu_vm, a_guest_that_hangs_in_its_boot_is_killed_with_its_console_as_the_reason) {
  const temp_dir mute;
  make_mute_guest(mute);
  ::setenv("BLIXARD_GUEST_DIR", mute.path().c_str(), 1);
  boot_deadline_ms_ = 15'000;
  begin();
  supervisor_->set_desired(guest_vm(1));
  const auto failed = reports_.at(reports_.wait_phase(pb::PHASE_FAILED));
  ::unsetenv("BLIXARD_GUEST_DIR");
  EXPECT_NE(failed.reason().find("the guest did not come up within 15 s: "), std::string::npos)
      << failed.reason();
  EXPECT_NE(failed.reason().find("(restart 1 of 3"), std::string::npos) << failed.reason();
  for (const auto& r : reports_.all()) EXPECT_NE(r.phase(), pb::PHASE_RUNNING);
}

TEST_F(qemu_vm, power_down_lets_the_guest_shut_down) {
  const auto vm = guest_vm(1);
  run(vm);
  ASSERT_TRUE(boots(1)) << console(1);
  supervisor_->set_desired(but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_STOPPED); }));
  reports_.wait_phase(pb::PHASE_STOPPED);
  EXPECT_NE(console(1).find("blixard guest powers off"), std::string::npos) << console(1);
  const auto state = decode_state(read_file(dir_ / "vms/1/state.json").value_or(""));
  ASSERT_TRUE(state);
  EXPECT_EQ(state->exit_code, 0) << "QEMU was killed instead of powering down";
}

TEST_F(qemu_vm, pause_and_resume_through_qmp) {
  const auto vm = guest_vm(1);
  run(vm);
  const auto paused = but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_PAUSED); });
  supervisor_->set_desired(paused);
  reports_.wait_phase(pb::PHASE_PAUSED);
  supervisor_->set_desired(but(paused, [](pb::Vm& v) { v.set_desired(pb::DESIRED_RUNNING); }));
  reports_.wait(
      [](const auto& r) { return r.phase() == pb::PHASE_RUNNING && r.generation() == 3; });
  EXPECT_TRUE(boots(1)) << console(1);
}

TEST_F(qemu_vm, a_killed_qemu_is_noticed_and_started_again) {
  const auto vm = guest_vm(1);
  const auto pid = run(vm);
  const auto from = reports_.size();
  ::kill(static_cast<pid_t>(pid), SIGKILL);
  const auto failed = reports_.wait_phase(pb::PHASE_FAILED, from);
  EXPECT_EQ(reports_.at(failed).reason().rfind("killed by signal 9 (SIGKILL)", 0), 0U)
      << reports_.at(failed).reason();
  const auto again = reports_.wait_phase(pb::PHASE_RUNNING, failed);
  EXPECT_NE(reports_.at(again).pid(), pid);
}

TEST_F(qemu_vm, a_second_supervisor_adopts_a_running_guest) {
  const auto vm = guest_vm(1);
  const auto pid = run(vm);
  ASSERT_TRUE(boots(1)) << console(1);
  begin();
  EXPECT_TRUE(is_alive(pid));
  EXPECT_EQ(run(vm), pid);
  EXPECT_EQ(supervisor_->stats().adopted, 1U);
  EXPECT_EQ(supervisor_->stats().starts, 0U);
  supervisor_->set_desired(but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_STOPPED); }));
  reports_.wait_phase(pb::PHASE_STOPPED);
  EXPECT_FALSE(is_alive(pid));
}

TEST_F(qemu_vm, an_adopted_paused_guest_is_seen_as_paused) {
  const auto vm = guest_vm(1);
  run(vm);
  const auto paused = but(vm, [](pb::Vm& v) { v.set_desired(pb::DESIRED_PAUSED); });
  supervisor_->set_desired(paused);
  const auto from = reports_.wait_phase(pb::PHASE_PAUSED);
  begin();
  supervisor_->set_desired(paused);
  reports_.wait_phase(pb::PHASE_PAUSED, from);
  EXPECT_EQ(supervisor_->stats().starts, 0U);
}

TEST_F(qemu_vm, a_hung_qemu_is_killed_at_its_deadline_and_delays_nobody) {
  const auto hung = guest_vm(1);
  const auto pid = run(hung);
  ::kill(static_cast<pid_t>(pid), SIGSTOP);  // QMP does not answer any more
  supervisor_->set_desired(but(hung, [](pb::Vm& v) {
    v.set_desired(pb::DESIRED_STOPPED);
    v.set_force_stop(true);
  }));
  run(guest_vm(2));
  reports_.wait([](const auto& r) { return r.vm() == 1 && r.phase() == pb::PHASE_STOPPED; });
  EXPECT_FALSE(is_alive(pid));
}

TEST_F(qemu_vm, a_missing_kernel_is_named_and_not_tried_again_here) {
  auto vm = guest_vm(1);
  vm->mutable_spec()->mutable_qemu()->set_kernel("/no/such/kernel");
  supervisor_->set_desired(vm);
  const auto at = reports_.wait([](const auto& r) { return r.gave_up(); });
  EXPECT_EQ(reports_.at(at).reason(), "kernel /no/such/kernel: No such file or directory");
}

TEST_F(qemu_vm, a_kernel_that_is_none_ends_with_qemus_own_words) {
  auto vm = guest_vm(1);
  ASSERT_TRUE(write_file(dir_ / "kernel", "this is no kernel", false));
  vm->mutable_spec()->mutable_qemu()->set_kernel(dir_ / "kernel");
  vm->mutable_spec()->mutable_restart()->set_max_restarts(1);
  supervisor_->set_desired(vm);
  const auto at = reports_.wait([](const auto& r) { return r.gave_up(); });
  EXPECT_NE(reports_.at(at).reason().find("qemu"), std::string::npos) << reports_.at(at).reason();
  EXPECT_NE(reports_.at(at).reason().find("gave up after 1 restarts"), std::string::npos);
}

TEST_F(qemu_vm, a_guest_has_its_disk_image_and_its_scratch_disk) {
  auto vm = guest_vm(1);
  ASSERT_TRUE(write_file(dir_ / "disk,1.img", std::string(limits::MiB, '\0'), false));
  auto* spec = vm->mutable_spec();
  const auto guest = default_guest();
  ASSERT_TRUE(guest);
  spec->mutable_qemu()->set_kernel(guest->kernel);
  spec->mutable_qemu()->set_initrd(guest->initrd);
  spec->mutable_qemu()->set_disk_image(dir_ / "disk,1.img");
  spec->set_disk_bytes(2 * limits::MiB);
  run(vm);
  ASSERT_TRUE(boots(1)) << console(1);
  EXPECT_NE(console(1).find("[vda] 2048 512-byte logical blocks"), std::string::npos) << console(1);
  EXPECT_NE(console(1).find("[vdb] 4096 512-byte logical blocks"), std::string::npos) << console(1);
}

TEST_F(qemu_vm, a_forwarded_port_reaches_the_guest) {
  auto vm = guest_vm(1);
  const auto port = free_port();
  auto* forward = vm->mutable_spec()->add_ports();
  forward->set_host(port);
  forward->set_guest(80);
  run(vm);
  ASSERT_TRUE(boots(1)) << console(1);
  std::string page;
  EXPECT_TRUE(eventually([&] { return !(page = http_get(port)).empty(); }));
  EXPECT_NE(page.find("blixard guest"), std::string::npos) << page;
}

}  // namespace
}  // namespace blixard::vm
