// Answers as JSON: one object per line, the shapes of CLIENT.md (fields may be added, none goes).
#include <nlohmann/json.hpp>

#include "runtime/base/names.hpp"
#include "runtime/repl/format.hpp"
#include "runtime/repl/hotpaths.hpp"
#include "runtime/repl/shapes.hpp"
#include "runtime/repl/utf8.hpp"

namespace blixard::repl {
namespace {

using json = nlohmann::ordered_json;

constexpr std::string_view base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out += k <= n ? base64_digits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

/// Keys and values are bytes: what is not UTF-8 is sent a second time, exactly, as base64.
void put_bytes(json& to, const std::string& name, const std::string& bytes) {
  to[name] = bytes;
  if (!is_utf8(bytes)) to[name + "_base64"] = base64(bytes);
}

json resources_json(const pb::Resources& r) {
  return {{"vcpus", r.vcpus()}, {"memory_bytes", r.memory_bytes()}, {"disk_bytes", r.disk_bytes()}};
}

json labels_json(const google::protobuf::RepeatedPtrField<pb::Label>& labels) {
  json out = json::object();
  for (const auto& l : labels) out[l.key()] = l.value();
  return out;
}

json rejected_json(const google::protobuf::RepeatedPtrField<pb::NodeReason>& rejected) {
  json out = json::array();
  for (const auto& r : rejected) {
    json reasons = json::array();
    for (const auto& reason : r.reasons()) reasons.push_back(reason);
    out.push_back({{"node", r.node()}, {"reasons", std::move(reasons)}});
  }
  return out;
}

json kv_json(const pb::KvItem& item) {
  json out = json::object();
  put_bytes(out, "key", item.key());
  put_bytes(out, "value", item.value());
  out["version"] = item.version();
  return out;
}

json events_json(const google::protobuf::RepeatedPtrField<pb::VmEvent>& events) {
  json out = json::array();
  for (const auto& e : events)
    out.push_back({{"index", e.index()}, {"time_ms", e.time_ms()}, {"text", e.text()}});
  return out;
}

json vm_json(const pb::Vm& vm) {
  const auto& spec = vm.spec();
  return {
      {"name", spec.name()},
      {"tenant", spec.tenant()},
      {"id", vm.id()},
      {"generation", vm.generation()},
      {"desired", desired_name(vm.desired())},
      {"phase", phase_name(vm.phase())},
      {"node", vm.node()},
      {"backend", backend_name(vm.backend() != pb::BACKEND_AUTO ? vm.backend() : spec.backend())},
      {"pid", vm.pid()},
      {"reason", vm.reason()},
      {"accelerator", vm.accelerator()},
      {"vcpus", spec.vcpus()},
      {"memory_bytes", spec.memory_bytes()},
      {"disk_bytes", spec.disk_bytes()},
      {"labels", labels_json(spec.labels())},
      {"priority", spec.priority()},
      {"restarts", vm.restarts()},
      {"crashes", vm.crashes()},
      {"phase_ms", vm.phase_ms()},
      {"created_index", vm.created_index()},
      {"created_ms", vm.created_ms()},
      {"rejected", rejected_json(vm.rejected())},
      {"fix", vm.fix()},
      {"gave_up", json(std::vector(vm.gave_up().begin(), vm.gave_up().end()))},
      {"retry_ms", vm.retry_ms()},
      {"events", events_json(vm.events())}};
}

json node_json(const pb::Node& node) {
  json backends = json::array();
  for (const auto b : node.backends())
    backends.push_back(backend_name(static_cast<pb::Backend>(b)));
  return {{"id", node.id()},
          {"name", node.name()},
          {"address", node.address()},
          {"state", state_name(node.state())},
          {"cordoned", node.cordoned()},
          {"capacity", resources_json(node.capacity())},
          {"allocated", resources_json(node.allocated())},
          {"labels", labels_json(node.labels())},
          {"backends", std::move(backends)},
          {"accelerator", node.accelerator()},
          {"version", node.version()},
          {"incarnation", node.incarnation()}};
}

json decision_json(const pb::Decision& d, std::string_view name, log_index index) {
  json candidates = json::array();
  for (const auto& c : d.candidates())
    candidates.push_back({{"node", c.node()}, {"score", c.score()}});
  return {{"name", name},
          {"node", d.node()},
          {"index", index.value()},
          {"candidates", std::move(candidates)},
          {"rejected", rejected_json(d.rejected())},
          {"fix", d.fix()}};
}

json summary_json(const pb::Summary& s) {
  json phases = json::object();
  for (int i = 0; i < s.vms_by_phase_size(); ++i)
    phases[phase_name(static_cast<pb::Phase>(i))] = s.vms_by_phase(i);
  return {{"at_index", s.at_index()},           {"nodes_total", s.nodes_total()},
          {"nodes_healthy", s.nodes_healthy()}, {"nodes_leaving", s.nodes_leaving()},
          {"total", resources_json(s.total())}, {"used", resources_json(s.used())},
          {"vms_by_phase", std::move(phases)}};
}

json status_json(const pb::ClusterStatus& s) {
  json nodes = json::array();
  for (const auto& m : s.members())
    nodes.push_back({{"id", m.id()},
                     {"address", m.address()},
                     {"role", m.role()},
                     {"state", m.state()},
                     {"match_index", m.match_index()},
                     {"version", m.version()},
                     {"quality", m.quality()},
                     {"rtt_us", m.rtt_us()},
                     {"rank", m.rank()},
                     {"progress", m.progress()},
                     {"inflight", m.inflight()},
                     {"window_messages", m.window_messages()},
                     {"window_bytes", m.window_bytes()},
                     {"inflight_bytes", m.inflight_bytes()},
                     {"ack_delay_us", m.ack_delay_us()}});
  json out{{"cluster_id", hex_digits(s.cluster_id())},
           {"leader", s.leader()},
           {"term", s.term()},
           {"commit_index", s.commit_index()},
           {"applied_index", s.applied_index()},
           {"reads", s.reads()},
           {"nodes", std::move(nodes)}};
  if (s.has_summary()) out["summary"] = summary_json(s.summary());
  return out;
}

json caches_json(const pb::CacheStats& stats) {
  json caches = json::array();
  for (const auto& c : stats.caches())
    caches.push_back({{"name", c.name()},
                      {"hits", c.hits()},
                      {"misses", c.misses()},
                      {"evictions", c.evictions()},
                      {"invalidations", c.invalidations()},
                      {"in_flight", c.in_flight()},
                      {"waited", c.waited()},
                      {"size", c.size()},
                      {"capacity", c.capacity()}});
  return {{"caches", std::move(caches)}};
}

json kv_items_json(const pb::KvItems& items) {
  json list = json::array();
  for (const auto& item : items.items()) list.push_back(kv_json(item));
  return {{"items", std::move(list)}, {"truncated", items.truncated()}};
}

template <class Items, class One>
json list_json(const char* name, const Items& items, One one) {
  json list = json::array();
  for (const auto& item : items) list.push_back(one(item));
  return {{name, std::move(list)}};
}

json joined_json(const pb::JoinResult& joined) {
  json out = list_json("members", joined.members(), [](const pb::NodeAddress& m) {
    return json{{"node", m.node()}, {"address", m.address()}};
  });
  out["cluster_id"] = hex_digits(joined.cluster_id());
  return out;
}

/// `kv put` and `kv cas` answer with the version alone.
bool is_write(const invocation* inv) {
  return inv != nullptr && inv->spec->group == "kv" && inv->spec->verb != "get" &&
         inv->spec->verb != "list";
}

/// A ratio of nothing is null.
json hotpaths_json(const samples& values) {
  json out = json::array();
  for (const auto& f : hotpath_figures(values))
    out.push_back({{"area", f.row->area},
                   {"what", f.row->what},
                   {"value", f.value ? json(*f.value) : json(nullptr)}});
  return {{"hotpaths", std::move(out)}};
}

json result_json(const command_result& r, const invocation* inv) {
  if (!r.answer) return r.text.empty() ? json::object() : json{{"text", r.text}};
  const auto& a = *r.answer;
  switch (a.result_case()) {
    case pb::Answer::kKv:
      return is_write(inv) ? json{{"version", a.kv().version()}} : kv_json(a.kv());
    case pb::Answer::kKvItems:
      return kv_items_json(a.kv_items());
    case pb::Answer::kVm:
      return vm_json(a.vm());
    case pb::Answer::kVms:
      return list_json("vms", a.vms().vms(), vm_json);
    case pb::Answer::kDecision:
      return decision_json(a.decision(), inv == nullptr ? "" : inv->arg(0), r.index);
    case pb::Answer::kLines:
      if (inv != nullptr && inv->spec->verb == "hotpaths")
        return hotpaths_json(read_samples(a.lines().lines()));
      return list_json("lines", a.lines().lines(), [](const std::string& l) { return json(l); });
    case pb::Answer::kNodes:
      // `node show` asks for one and gets that one.
      if (inv != nullptr && inv->spec->verb == "show" && a.nodes().nodes_size() == 1)
        return node_json(a.nodes().nodes(0));
      return list_json("nodes", a.nodes().nodes(), node_json);
    case pb::Answer::kStatus:
      return status_json(a.status());
    case pb::Answer::kDigest:
      return {{"index", a.digest().index()}, {"digest", a.digest().digest()}};
    case pb::Answer::kCaches:
      return caches_json(a.caches());
    case pb::Answer::kJoined:
      return joined_json(a.joined());
    case pb::Answer::kDone:
    case pb::Answer::RESULT_NOT_SET:
      return json::object();
  }
  return json::object();
}

json error_json(const error& e) {
  json out{{"code", to_string(e.code)},
           {"message", e.message.empty() ? std::string(to_string(e.code)) : e.message}};
  if (!e.hint.empty()) out["hint"] = e.hint;
  if (e.code == errc::overloaded || e.retry_after_ms != 0) out["retry_after_ms"] = e.retry_after_ms;
  return out;
}

std::string_view op_name(errc code) {
  switch (outcome_of(code)) {
    case outcome::ok:
      return "ok";
    case outcome::fail:
      return "fail";
    case outcome::info:
      return "info";
  }
  return "info";
}

}  // namespace

std::string render_json(const command_result& r, const invocation* inv, std::string_view id) {
  json out = json::object();
  if (!id.empty()) out["id"] = json::parse(id, nullptr, false);
  out["op"] = op_name(r.failure.code);
  if (!r.ok()) out["error"] = error_json(r.failure);
  if (r.index || r.ok()) out["index"] = r.index.value();
  if (r.term || r.ok()) out["term"] = r.term.value();
  if (r.node) out["node"] = r.node.value();
  // A refused create still says why, per node; every other failure has no result.
  const bool has_result = r.answer && r.answer->result_case() != pb::Answer::RESULT_NOT_SET;
  if (r.ok() || has_result) out["result"] = result_json(r, inv);
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string fatal_event(int exit_code, std::string_view message) {
  const json out{{"event", "fatal"}, {"code", exit_code}, {"error", message}};
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace blixard::repl
