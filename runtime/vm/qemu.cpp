#include "runtime/vm/qemu.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "messages/limits.hpp"
#include "runtime/vm/files.hpp"
#include "runtime/vm/record.hpp"

namespace blixard::vm {
namespace {

constexpr std::uint32_t vcpus_max = 255;
constexpr std::uint64_t memory_min_bytes = 16 * limits::MiB;

using arguments = std::vector<std::string>;

error invalid(const std::string& what) { return make_error(errc::invalid_argument, what); }

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

tl::expected<void, error> check(const qemu_request& r) {
  for (const auto* text : {&r.binary, &r.name, &r.uuid, &r.kernel, &r.initrd, &r.append,
                           &r.disk_image, &r.disk_format, &r.scratch_disk})
    if (has_control_characters(*text))
      return tl::unexpected(invalid("control characters in a QEMU argument"));
  if (r.kernel.empty() && r.disk_image.empty())
    return tl::unexpected(invalid("neither a kernel nor a disk image to boot"));
  if (r.accelerator != "kvm" && r.accelerator != "tcg")
    return tl::unexpected(invalid("unknown accelerator '" + r.accelerator + "'"));
  if (r.disk_format != "raw" && r.disk_format != "qcow2")
    return tl::unexpected(invalid("unknown disk format '" + r.disk_format + "'"));
  if (r.vcpus == 0 || r.vcpus > vcpus_max)
    return tl::unexpected(invalid("1 to 255 vcpus, not " + std::to_string(r.vcpus)));
  if (r.memory_bytes < memory_min_bytes)
    return tl::unexpected(invalid("a QEMU VM needs at least 16M of memory"));
  std::set<std::uint16_t> seen;
  for (const auto& port : r.ports)
    if (port.host == 0 || port.guest == 0 || !seen.insert(port.host).second)
      return tl::unexpected(invalid("port forwards need two ports each and no host port twice"));
  return {};
}

void add_disk(arguments& argv, const std::string& node, const std::string& path,
              const std::string& format, bool microvm) {
  argv.insert(
      argv.end(),
      {"-blockdev", "driver=file,node-name=" + node + "-file,filename=" + escape_option(path),
       "-blockdev", "driver=" + format + ",node-name=" + node + ",file=" + node + "-file",
       "-device",
       std::string{microvm ? "virtio-blk-device" : "virtio-blk-pci"} + ",drive=" + node});
}

void add_network(arguments& argv, const std::vector<qemu_port>& ports, bool microvm) {
  // Restricted: the guest reaches neither the host's own services nor the outside.
  std::string network = "user,id=net0,restrict=on";
  for (const auto& port : ports)
    network +=
        ",hostfwd=tcp:127.0.0.1:" + std::to_string(port.host) + "-:" + std::to_string(port.guest);
  argv.insert(argv.end(),
              {"-netdev", network, "-device",
               std::string{microvm ? "virtio-net-device" : "virtio-net-pci"} + ",netdev=net0"});
}

void add_kernel(arguments& argv, const qemu_request& r) {
  argv.insert(argv.end(), {"-kernel", r.kernel});
  if (!r.initrd.empty()) argv.insert(argv.end(), {"-initrd", r.initrd});
  // Linux panics at boot when its check of the timer interrupt is slower than expected, as it can
  // be on a busy host; under KVM it skips the check by itself. What the user adds comes last, so
  // that it wins.
  std::string append = "panic=1 no_timer_check";
  if (r.append.find("console=") == std::string::npos) append = "console=ttyS0 " + append;
  if (!r.append.empty()) append += " " + r.append;
  // A guest that panics or reboots ends, and the restart policy decides.
  argv.insert(argv.end(), {"-append", append, "-no-reboot"});
}

}  // namespace

std::string escape_option(std::string_view value) {
  std::string result;
  for (const char c : value) result.append(c == ',' ? 2 : 1, c);
  return result;
}

tl::expected<std::vector<std::string>, error> qemu_argv(const qemu_request& r) {
  if (auto ok = check(r); !ok) return tl::unexpected(ok.error());
  const bool kvm = r.accelerator == "kvm";
  const bool microvm = kvm && !r.kernel.empty();
  const std::uint64_t mebibytes = (r.memory_bytes + limits::MiB - 1) / limits::MiB;
  arguments argv{r.binary,
                 "-name",
                 "guest=" + escape_option(r.name),
                 "-uuid",
                 r.uuid,
                 "-machine",
                 microvm ? "microvm,acpi=on" : "q35",
                 "-accel",
                 r.accelerator,
                 "-cpu",
                 kvm ? "host" : "max",
                 "-smp",
                 std::to_string(r.vcpus),
                 "-m",
                 "size=" + std::to_string(mebibytes) + "M",
                 "-nodefaults",
                 "-no-user-config",
                 "-display",
                 "none",
                 "-chardev",
                 "stdio,id=console,signal=off",
                 "-serial",
                 "chardev:console",
                 "-chardev",
                 std::string{"socket,id=qmp,server=on,wait=off,path="} + name_of::qmp,
                 "-mon",
                 "chardev=qmp,mode=control",
                 "-sandbox",
                 "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"};
  if (!r.kernel.empty()) add_kernel(argv, r);
  if (!r.disk_image.empty()) add_disk(argv, "disk0", r.disk_image, r.disk_format, microvm);
  if (!r.scratch_disk.empty()) add_disk(argv, "scratch", r.scratch_disk, "raw", microvm);
  if (!r.ports.empty()) add_network(argv, r.ports, microvm);
  return argv;
}

tl::expected<void, error> check_qemu_files(const qemu_request& r) {
  const std::pair<const char*, const std::string*> files[] = {
      {"kernel", &r.kernel}, {"initrd", &r.initrd}, {"disk image", &r.disk_image}};
  for (const auto& [what, path] : files) {
    if (path->empty()) continue;
    struct stat info {};
    if (::stat(path->c_str(), &info) != 0)
      return tl::unexpected(system_error(std::string{what} + " " + *path));
    if (!S_ISREG(info.st_mode))
      return tl::unexpected(invalid(std::string{what} + " " + *path + " is not a regular file"));
    if (::access(path->c_str(), R_OK) != 0)
      return tl::unexpected(system_error(std::string{what} + " " + *path));
  }
  return {};
}

tl::expected<std::string, error> disk_format_of(const std::string& path) {
  const auto head = read_file(path, 4);
  if (!head) return tl::unexpected(head.error());
  return std::string{*head == std::string_view{"QFI\xfb", 4} ? "qcow2" : "raw"};
}

}  // namespace blixard::vm
