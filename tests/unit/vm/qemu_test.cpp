// QEMU's command line: what a typed request becomes, and what is refused.
#include "runtime/vm/qemu.hpp"

#include <algorithm>
#include <functional>

#include "tests/unit/vm/support.hpp"

namespace blixard::vm {
namespace {

using test::temp_dir;

qemu_request request() {
  qemu_request r;
  r.binary = "/usr/bin/qemu-system-x86_64";
  r.accelerator = "tcg";
  r.name = "web";
  r.uuid = "00000000-0000-4000-8000-000000000001";
  r.vcpus = 2;
  r.memory_bytes = 256 * limits::MiB;
  r.kernel = "/k/vmlinuz";
  r.initrd = "/k/initrd.img";
  return r;
}

/// The value behind an option, or "".
std::string option(const std::vector<std::string>& argv, const std::string& name) {
  const auto at = std::find(argv.begin(), argv.end(), name);
  return at == argv.end() || at + 1 == argv.end() ? "" : *(at + 1);
}
bool has(const std::vector<std::string>& argv, const std::string& word) {
  return std::find(argv.begin(), argv.end(), word) != argv.end();
}

TEST(qemu_argv, the_whole_line_of_the_default_guest) {
  const auto argv = qemu_argv(request());
  ASSERT_TRUE(argv);
  const std::vector<std::string> expected{
      "/usr/bin/qemu-system-x86_64",
      "-name",
      "guest=web",
      "-uuid",
      "00000000-0000-4000-8000-000000000001",
      "-machine",
      "q35",
      "-accel",
      "tcg",
      "-cpu",
      "max",
      "-smp",
      "2",
      "-m",
      "size=256M",
      "-nodefaults",
      "-no-user-config",
      "-display",
      "none",
      "-chardev",
      "stdio,id=console,signal=off",
      "-serial",
      "chardev:console",
      "-chardev",
      "socket,id=qmp,server=on,wait=off,path=qmp.sock",
      "-mon",
      "chardev=qmp,mode=control",
      "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      "-kernel",
      "/k/vmlinuz",
      "-initrd",
      "/k/initrd.img",
      "-append",
      "console=ttyS0 panic=1 no_timer_check",
      "-no-reboot"};
  EXPECT_EQ(*argv, expected);
}

TEST(qemu_argv, kvm_with_a_kernel_is_a_microvm_and_a_disk_alone_is_not) {
  auto r = request();
  r.accelerator = "kvm";
  EXPECT_EQ(option(*qemu_argv(r), "-machine"), "microvm,acpi=on");
  EXPECT_EQ(option(*qemu_argv(r), "-cpu"), "host");
  r.kernel.clear();
  r.disk_image = "/d.img";
  const auto argv = qemu_argv(r);
  EXPECT_EQ(option(*argv, "-machine"), "q35");
  EXPECT_FALSE(has(*argv, "-kernel"));
  EXPECT_FALSE(has(*argv, "-no-reboot")) << "an installed system may reboot";
  EXPECT_EQ(option(*argv, "-device"), "virtio-blk-pci,drive=disk0");
}

TEST(qemu_argv, a_users_text_stays_one_value) {
  auto r = request();
  r.append = "root=/dev/vda -monitor stdio,server";
  r.disk_image = "/d/a,readonly=off,b.img";
  r.disk_format = "qcow2";
  const auto argv = qemu_argv(r);
  ASSERT_TRUE(argv);
  EXPECT_EQ(option(*argv, "-append"),
            "console=ttyS0 panic=1 no_timer_check root=/dev/vda -monitor stdio,server");
  EXPECT_EQ(option(*argv, "-blockdev"),
            "driver=file,node-name=disk0-file,filename=/d/a,,readonly=off,,b.img");
  EXPECT_FALSE(has(*argv, "-monitor"));
  r.append = "console=hvc0";
  EXPECT_EQ(option(*qemu_argv(r), "-append"), "panic=1 no_timer_check console=hvc0");
}

TEST(qemu_argv, ports_are_forwarded_from_loopback_only_and_without_ports_there_is_no_network) {
  auto r = request();
  EXPECT_FALSE(has(*qemu_argv(r), "-netdev"));
  r.ports = {{8080, 80}, {2222, 22}};
  EXPECT_EQ(
      option(*qemu_argv(r), "-netdev"),
      "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:2222-:22");
}

TEST(qemu_argv, memory_is_rounded_up_to_whole_mebibytes) {
  auto r = request();
  r.memory_bytes = 64 * limits::MiB + 1;
  EXPECT_EQ(option(*qemu_argv(r), "-m"), "size=65M");
}

TEST(qemu_argv, what_is_refused) {
  struct row {
    const char* why;
    std::function<void(qemu_request&)> change;
  };
  const std::vector<row> rows{
      {"control characters", [](auto& r) { r.append = "a\nb"; }},
      {"control characters",
       [](auto& r) {
         r.name = std::string{"a\0b", 3};
       }},
      {"control characters", [](auto& r) { r.kernel = "/k\x7f"; }},
      {"neither a kernel nor a disk", [](auto& r) { r.kernel.clear(); }},
      {"accelerator", [](auto& r) { r.accelerator = "xen"; }},
      {"disk format", [](auto& r) { r.disk_format = "vmdk"; }},
      {"vcpus", [](auto& r) { r.vcpus = 0; }},
      {"vcpus", [](auto& r) { r.vcpus = 256; }},
      {"16M", [](auto& r) { r.memory_bytes = limits::MiB; }},
      {"port",
       [](auto& r) {
         r.ports = {{0, 80}};
       }},
      {"port",
       [](auto& r) {
         r.ports = {{80, 0}};
       }},
      {"port",
       [](auto& r) {
         r.ports = {{80, 1}, {80, 2}};
       }},
  };
  for (const auto& r : rows) {
    auto changed = request();
    r.change(changed);
    const auto argv = qemu_argv(changed);
    ASSERT_FALSE(argv) << r.why;
    EXPECT_EQ(argv.error().code, errc::invalid_argument);
    EXPECT_NE(argv.error().message.find(r.why), std::string::npos) << argv.error().message;
  }
}

TEST(qemu_files, each_missing_or_odd_file_is_named) {
  const temp_dir dir;
  ASSERT_TRUE(write_file(dir / "k", "kernel", false));
  auto r = request();
  r.kernel = dir / "k";
  r.initrd.clear();
  EXPECT_TRUE(check_qemu_files(r));
  r.initrd = dir / "none";
  EXPECT_EQ(check_qemu_files(r).error().message,
            "initrd " + dir.path() + "/none: No such file or directory");
  EXPECT_EQ(check_qemu_files(r).error().code, errc::not_found);
  r.initrd.clear();
  r.disk_image = dir.path();
  EXPECT_EQ(check_qemu_files(r).error().message,
            "disk image " + dir.path() + " is not a regular file");
}

TEST(qemu_files, the_disk_format_is_read_from_the_image) {
  const temp_dir dir;
  ASSERT_TRUE(write_file(dir / "q", std::string("QFI\xfb") + "rest", false));
  ASSERT_TRUE(write_file(dir / "r", "QFI", false));
  EXPECT_EQ(disk_format_of(dir / "q").value(), "qcow2");
  EXPECT_EQ(disk_format_of(dir / "r").value(), "raw");
  EXPECT_EQ(disk_format_of(dir / "none").error().code, errc::not_found);
}

}  // namespace
}  // namespace blixard::vm
