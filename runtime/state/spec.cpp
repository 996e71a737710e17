// What a VM's spec must look like, and its defaults (DOMAIN "VM"); see placement.hpp.
#include <algorithm>
#include <string_view>

#include "messages/cluster.pb.h"
#include "messages/limits.hpp"
#include "runtime/state/placement.hpp"
#include "runtime/state/spec.hpp"
#include "runtime/state/text.hpp"

namespace blixard::state {
namespace {

tl::unexpected<error> invalid(std::string message, std::string hint = {}) {
  return tl::unexpected(make_error(errc::invalid_argument, std::move(message), std::move(hint)));
}

bool is_alnum(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

using checked = tl::expected<void, error>;

checked check_sizes(const pb::VmSpec& s) {
  if (s.vcpus() > spec_limits::vcpus)
    return invalid("vcpus is " + std::to_string(s.vcpus()) + ", at most " +
                   std::to_string(spec_limits::vcpus));
  if (s.memory_bytes() < spec_limits::memory_min || s.memory_bytes() > spec_limits::memory_max)
    return invalid("memory is " + size_text(s.memory_bytes()) + ", must be " +
                   size_text(spec_limits::memory_min) + " to " +
                   size_text(spec_limits::memory_max));
  if (s.disk_bytes() > spec_limits::disk_max)
    return invalid("disk is " + size_text(s.disk_bytes()) + ", at most " +
                   size_text(spec_limits::disk_max));
  if (s.priority() > spec_limits::priority)
    return invalid("priority is " + std::to_string(s.priority()) + ", must be 0 to 1000");
  return {};
}

checked check_labels(const pb::VmSpec& s) {
  if (s.labels_size() > spec_limits::labels) return invalid("too many labels, at most 64");
  for (const auto& l : s.labels())
    if (l.key().empty() || l.key().size() + l.value().size() > spec_limits::label_bytes)
      return invalid("label " + quote(l.key()) + " is empty or longer than 1 KiB");
  return {};
}

checked check_backend(const pb::VmSpec& s) {
  if (!pb::Backend_IsValid(s.backend())) return invalid("unknown backend");
  if (s.backend() == pb::BACKEND_PROCESS && s.process().argv().empty())
    return invalid("the process backend needs a command", "give --command \"...\"");
  for (const auto& p : s.ports())
    if (p.host() == 0 || p.host() > 65535 || p.guest() == 0 || p.guest() > 65535)
      return invalid("ports are 1 to 65535");
  return {};
}

checked check_placement(const pb::Placement& p) {
  if (!pb::Strategy_IsValid(p.strategy())) return invalid("unknown placement strategy");
  if (p.strategy() == pb::STRATEGY_MANUAL && p.node() == 0)
    return invalid("the manual strategy needs a node", "give --node N");
  if (p.constraints_size() > spec_limits::labels)
    return invalid("too many constraints, at most 64");
  for (const auto& c : p.constraints())
    if (c.key().empty()) return invalid("a placement constraint has no label key");
  if (!p.anti_affinity_group().empty() && !is_dns_label(p.anti_affinity_group()))
    return invalid("anti-affinity group " + quote(p.anti_affinity_group()) + name_rule);
  return {};
}

}  // namespace

bool is_dns_label(std::string_view s) noexcept {
  if (s.empty() || s.size() > limits::name_max_bytes) return false;
  if (!is_alnum(s.front()) || !is_alnum(s.back())) return false;
  return std::ranges::all_of(s, [](char c) { return is_alnum(c) || c == '-'; });
}

void fill_defaults(pb::VmSpec& s) {
  if (s.tenant().empty()) s.set_tenant("default");
  if (s.vcpus() == 0) s.set_vcpus(1);
  if (s.memory_bytes() == 0) s.set_memory_bytes(256 * limits::MiB);
  if (!s.has_priority()) s.set_priority(500);
  auto& restart = *s.mutable_restart();
  if (!restart.has_max_restarts()) restart.set_max_restarts(3);
  if (restart.backoff_seconds() == 0) restart.set_backoff_seconds(5);
  if (restart.backoff_max_seconds() == 0) restart.set_backoff_max_seconds(300);
  // A command can only be meant for the process backend, a kernel or disk only for QEMU.
  if (s.backend() != pb::BACKEND_AUTO) return;
  if (!s.qemu().kernel().empty() || !s.qemu().disk_image().empty())
    s.set_backend(pb::BACKEND_QEMU);
  else if (!s.process().argv().empty())
    s.set_backend(pb::BACKEND_PROCESS);
}

tl::expected<void, error> validate(const pb::VmSpec& s) {
  if (!is_dns_label(s.name())) return invalid("name " + quote(s.name()) + name_rule);
  if (!is_dns_label(s.tenant())) return invalid("tenant " + quote(s.tenant()) + name_rule);
  if (s.desired() != pb::DESIRED_RUNNING && s.desired() != pb::DESIRED_STOPPED)
    return invalid("a VM is created running or stopped");
  return check_sizes(s)
      .and_then([&] { return check_labels(s); })
      .and_then([&] { return check_backend(s); })
      .and_then([&] { return check_placement(s.placement()); });
}

}  // namespace blixard::state
