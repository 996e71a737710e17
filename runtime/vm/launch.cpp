#include "runtime/vm/launch.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "messages/cluster.pb.h"
#include "runtime/vm/files.hpp"
#include "runtime/vm/qemu.hpp"

namespace blixard::vm {
namespace {

constexpr const char* default_path =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What runs where a process VM names no command: says that it lives, ends when asked to.
constexpr const char* default_command =
    "trap 'echo stopping; exit 0' TERM; n=0; echo \"$BLIXARD_VM ready\"; "
    "while :; do n=$((n+1)); echo \"$BLIXARD_VM tick $n\"; sleep 1 & wait $!; done";

want want_of(pb::Desired d) {
  switch (d) {
    case pb::DESIRED_STOPPED:
      return want::stopped;
    case pb::DESIRED_PAUSED:
      return want::paused;
    case pb::DESIRED_DELETED:
      return want::deleted;
    case pb::DESIRED_RUNNING:
    case pb::Desired_INT_MIN_SENTINEL_DO_NOT_USE_:
    case pb::Desired_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return want::running;
}

bool offers(const std::vector<backend_kind>& backends, backend_kind kind) {
  return std::find(backends.begin(), backends.end(), kind) != backends.end();
}

std::string absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

/// A sparse file of that size, made once and kept over restarts.
tl::expected<std::string, error> scratch_disk(const std::string& directory, std::uint64_t bytes) {
  const std::string path = absolute(directory + "/disk.raw");
  const unique_fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!fd) return tl::unexpected(system_error("cannot create " + path));
  if (::lseek(fd.get(), 0, SEEK_END) >= static_cast<off_t>(bytes)) return path;
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
    return tl::unexpected(system_error("cannot size " + path));
  return path;
}

/// Fills in kernel and initrd: the VM's, the node's, the default guest's. The last of these says on
/// its console when it is up, unless it is told to use another init or console: that goes into the
/// plan.
tl::expected<void, error> choose_kernel(launch_plan& plan, qemu_request& r,
                                        const launch_context& context) {
  if (!r.kernel.empty() || !r.disk_image.empty()) return {};
  if (!context.guest_kernel.empty()) {
    r.kernel = absolute(context.guest_kernel);
    r.initrd = absolute(context.guest_initrd);
    return {};
  }
  auto guest = default_guest();
  if (!guest) return tl::unexpected(guest.error());
  r.kernel = guest->kernel;
  r.initrd = guest->initrd;
  const auto told = [&r](std::string_view word) {
    return r.append.find(word) != std::string::npos;
  };
  if (!told("init=") && !told("console=")) plan.ready_text = default_guest_ready;
  return {};
}

tl::expected<void, error> plan_qemu(launch_plan& plan, const pb::VmSpec& spec,
                                    const launch_context& context) {
  const qemu_info& host = detect_qemu();
  if (host.binary.empty()) return tl::unexpected(make_error(errc::unsupported, host.why));
  qemu_request r;
  r.binary = host.binary;
  r.accelerator = host.accelerator;
  r.name = spec.name();
  r.uuid = plan.uuid;
  r.vcpus = std::max(spec.vcpus(), 1U);
  r.memory_bytes = spec.memory_bytes();
  r.kernel = absolute(spec.qemu().kernel());
  r.initrd = absolute(spec.qemu().initrd());
  r.append = spec.qemu().append();
  r.disk_image = absolute(spec.qemu().disk_image());
  for (const auto& port : spec.ports()) {
    if (port.host() > UINT16_MAX || port.guest() > UINT16_MAX)
      return tl::unexpected(make_error(errc::invalid_argument, "ports go up to 65535"));
    r.ports.push_back(
        {static_cast<std::uint16_t>(port.host()), static_cast<std::uint16_t>(port.guest())});
  }
  if (auto chosen = choose_kernel(plan, r, context); !chosen) return chosen;
  if (auto there = check_qemu_files(r); !there) return there;
  if (!r.disk_image.empty()) {
    auto format = disk_format_of(r.disk_image);
    if (!format) return tl::unexpected(format.error());
    r.disk_format = *format;
  }
  if (spec.disk_bytes() != 0) {
    auto disk = scratch_disk(context.directory, spec.disk_bytes());
    if (!disk) return tl::unexpected(disk.error());
    r.scratch_disk = *disk;
  }
  auto argv = qemu_argv(r);
  if (!argv) return tl::unexpected(argv.error());
  plan.argv = std::move(*argv);
  plan.accelerator = r.accelerator;
  plan.env = {default_path, "HOME=/nonexistent", "LANG=C.UTF-8"};
  return {};
}

tl::expected<void, error> plan_process(launch_plan& plan, const pb::VmSpec& spec,
                                       const launch_context& context) {
  plan.argv.assign(spec.process().argv().begin(), spec.process().argv().end());
  if (plan.argv.empty()) plan.argv = {"/bin/sh", "-c", default_command};
  if (plan.argv.front().empty())
    return tl::unexpected(make_error(errc::invalid_argument, "the command is empty"));
  plan.env = {default_path, "LANG=C.UTF-8",
              "HOME=" + absolute(context.directory + "/" + name_of::work),
              "BLIXARD_VM=" + spec.name()};
  for (const auto& variable : spec.process().env()) {
    if (variable.key().empty() || variable.key().find('=') != std::string::npos)
      return tl::unexpected(
          make_error(errc::invalid_argument, "bad environment variable '" + variable.key() + "'"));
    const std::string prefix = variable.key() + "=";
    std::erase_if(plan.env, [&](const auto& have) { return have.rfind(prefix, 0) == 0; });
    plan.env.push_back(prefix + variable.value());
  }
  plan.vcpus = spec.vcpus();
  plan.memory_bytes = spec.memory_bytes();
  return {};
}

}  // namespace

desired_state desired_of(const pb::Vm& vm) {
  desired_state d;
  d.state = want_of(vm.desired());
  d.generation = vm.generation();
  d.restarts = vm.restarts();
  d.force = vm.force_stop();
  const auto& policy = vm.spec().restart();
  if (policy.has_max_restarts()) d.policy.max_restarts = policy.max_restarts();
  if (policy.backoff_seconds() != 0) d.policy.backoff_ms = policy.backoff_seconds() * 1000ULL;
  if (policy.backoff_max_seconds() != 0)
    d.policy.backoff_max_ms = policy.backoff_max_seconds() * 1000ULL;
  return d;
}

backend_kind backend_of(const pb::Vm& vm, const launch_context& context) {
  const auto& spec = vm.spec();
  if (spec.backend() == pb::BACKEND_QEMU) return backend_kind::qemu;
  if (spec.backend() == pb::BACKEND_PROCESS) return backend_kind::process;
  if (spec.process().argv_size() > 0 && !spec.has_qemu()) return backend_kind::process;
  if (!offers(context.backends, backend_kind::qemu)) return backend_kind::process;
  const bool only_qemu = !offers(context.backends, backend_kind::process);
  const auto& image = spec.qemu();
  const bool boots = !image.kernel().empty() || !image.disk_image().empty() ||
                     !context.guest_kernel.empty() || default_guest();
  return only_qemu || boots ? backend_kind::qemu : backend_kind::process;
}

tl::expected<launch_plan, error> make_plan(const pb::Vm& vm, const launch_context& context) {
  launch_plan plan;
  plan.vm = vm.id();
  plan.generation = vm.generation();
  plan.restarts = vm.restarts();
  plan.name = vm.spec().name();
  plan.uuid = random_uuid();
  plan.lease = context.lease;
  plan.backend = backend_of(vm, context);
  if (!offers(context.backends, plan.backend)) {
    const bool missing = plan.backend == backend_kind::qemu && detect_qemu().binary.empty();
    return tl::unexpected(make_error(
        errc::unsupported,
        missing ? detect_qemu().why
                : std::string{"this node does not offer the backend "} + to_string(plan.backend)));
  }
  auto planned = plan.backend == backend_kind::qemu ? plan_qemu(plan, vm.spec(), context)
                                                    : plan_process(plan, vm.spec(), context);
  if (!planned) return tl::unexpected(planned.error());
  return plan;
}

}  // namespace blixard::vm
