#include "runtime/vm/record.hpp"

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <utility>

namespace blixard::vm {
namespace {

using nlohmann::json;

constexpr std::array phase_names{"starting", "running", "paused", "exited"};
constexpr std::array ended_names{"itself", "command", "lease", "start"};

template <class Enum, std::size_t N>
std::optional<Enum> by_name(const std::array<const char*, N>& names, const std::string& name) {
  for (std::size_t i = 0; i < N; ++i)
    if (name == names[i]) return static_cast<Enum>(i);
  return std::nullopt;
}

/// Invalid UTF-8 (a name of a file, a line of stderr) is replaced, never an exception.
std::string dump(const json& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }

error malformed(const std::string& what) {
  return make_error(errc::internal, "malformed record: " + what);
}

/// A number that is a whole one and fits; the library would convert any.
template <class T>
T whole(const json& j, const char* key, T otherwise) {
  const auto at = j.find(key);
  if (at == j.end()) return otherwise;
  if (at->is_number_unsigned() && std::in_range<T>(at->get<std::uint64_t>())) return at->get<T>();
  if (at->is_number_integer() && !at->is_number_unsigned() &&
      std::in_range<T>(at->get<std::int64_t>()))
    return at->get<T>();
  throw std::out_of_range(std::string(key) + " is not a number that can be");
}

}  // namespace

std::string encode(const launch_plan& p) {
  return dump(json{{"vm", p.vm},
                   {"generation", p.generation},
                   {"restarts", p.restarts},
                   {"failures", p.failures},
                   {"name", p.name},
                   {"backend", to_string(p.backend)},
                   {"accelerator", p.accelerator},
                   {"uuid", p.uuid},
                   {"argv", p.argv},
                   {"env", p.env},
                   {"vcpus", p.vcpus},
                   {"memory_bytes", p.memory_bytes},
                   {"lease", p.lease},
                   {"ready_text", p.ready_text}});
}

std::string encode(const guard_state& s) {
  return dump(json{{"phase", phase_names.at(static_cast<std::size_t>(s.phase))},
                   {"guard_pid", s.guard_pid},
                   {"guard_start", s.guard_start},
                   {"pid", s.pid},
                   {"pid_start", s.pid_start},
                   {"boot", s.boot},
                   {"cgroup", s.cgroup},
                   {"limits", s.limits},
                   {"ready", s.ready},
                   {"by", ended_names.at(static_cast<std::size_t>(s.by))},
                   {"exit_code", s.exit_code},
                   {"signal", s.signal},
                   {"reason", s.reason}});
}

tl::expected<launch_plan, error> decode_plan(std::string_view text) try {
  const json j = json::parse(text);
  launch_plan p;
  p.vm = whole(j, "vm", std::uint64_t{0});
  if (p.vm == 0) return tl::unexpected(malformed("no vm"));
  p.generation = whole(j, "generation", std::uint64_t{0});
  p.restarts = whole(j, "restarts", std::uint64_t{0});
  p.failures = whole(j, "failures", 0U);
  p.name = j.value("name", "");
  p.backend = j.value("backend", "") == "qemu" ? backend_kind::qemu : backend_kind::process;
  p.accelerator = j.value("accelerator", "");
  p.uuid = j.value("uuid", "");
  p.argv = j.at("argv").get<std::vector<std::string>>();
  p.env = j.value("env", std::vector<std::string>{});
  p.vcpus = whole(j, "vcpus", 0U);
  p.memory_bytes = whole(j, "memory_bytes", std::uint64_t{0});
  p.lease = j.value("lease", "");
  p.ready_text = j.value("ready_text", "");
  if (p.argv.empty()) return tl::unexpected(malformed("no argv"));
  return p;
} catch (const json::exception& e) {
  return tl::unexpected(malformed(e.what()));
} catch (const std::out_of_range& e) {
  return tl::unexpected(malformed(e.what()));
}

tl::expected<guard_state, error> decode_state(std::string_view text) try {
  const json j = json::parse(text);
  guard_state s;
  const auto phase = by_name<guard_phase>(phase_names, j.at("phase").get<std::string>());
  const auto by = by_name<ended_by>(ended_names, j.value("by", "itself"));
  if (!phase || !by) return tl::unexpected(malformed("unknown phase or cause"));
  s.phase = *phase;
  s.by = *by;
  s.guard_pid = whole(j, "guard_pid", std::uint64_t{0});
  s.guard_start = whole(j, "guard_start", std::uint64_t{0});
  s.pid = whole(j, "pid", std::uint64_t{0});
  s.pid_start = whole(j, "pid_start", std::uint64_t{0});
  s.boot = whole(j, "boot", std::uint64_t{0});
  s.cgroup = j.value("cgroup", "");
  s.limits = j.value("limits", "");
  s.ready = j.value("ready", false);
  s.exit_code = whole(j, "exit_code", -1);
  s.signal = whole(j, "signal", 0);
  s.reason = j.value("reason", "");
  return s;
} catch (const json::exception& e) {
  return tl::unexpected(malformed(e.what()));
} catch (const std::out_of_range& e) {
  return tl::unexpected(malformed(e.what()));
}

}  // namespace blixard::vm
