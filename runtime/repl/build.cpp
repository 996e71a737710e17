#include "runtime/repl/build.hpp"

#include <google/protobuf/message_lite.h>

#include <algorithm>

#include "messages/cluster.pb.h"
#include "messages/limits.hpp"
#include "runtime/base/endpoint.hpp"
#include "runtime/base/names.hpp"
#include "runtime/base/units.hpp"

namespace blixard::repl::build {
namespace {

using checked = tl::expected<void, error>;

tl::unexpected<error> refuse(std::string message, std::string_view hint = {},
                             errc code = errc::invalid_argument) {
  return tl::unexpected(make_error(code, std::move(message), std::string(hint)));
}

/// The one encoding of a request (DESIGN 2).
slice encode(const google::protobuf::MessageLite& message) {
  const auto size = message.ByteSizeLong();
  auto bytes = buffer::make(size);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(bytes->data()));
  const auto* data = bytes->data();
  return {std::move(bytes), data, size};
}

request_context waiting(std::uint32_t timeout_ms) {
  request_context c;
  c.timeout_ms = timeout_ms;
  return c;
}

request make_request(frame_kind kind, const google::protobuf::MessageLite& body,
                     const request_context& c) {
  return {.kind = kind, .body = encode(body), .target = {}, .timeout_ms = c.timeout_ms};
}

request propose(frame_kind kind, pb::Command& command, const request_context& c) {
  command.set_client(c.client);
  command.set_seq(c.seq);
  command.set_time_ms(c.now_ms);
  return make_request(kind, command, c);
}

/// Linearizable, or from the asked node's own state with --stale.
request ask(pb::Query& query, const invocation& i, const request_context& c) {
  const bool stale = i.has("--stale");
  query.set_stale(stale);
  return make_request(stale ? frame_kind::local : frame_kind::query, query, c);
}

std::string tenant_of(const invocation& i) { return i.value("--tenant").value_or("default"); }

checked check_name(std::string_view what, std::string_view name) {
  if (is_dns_label(name)) return {};
  return refuse(std::string(what) + ": \"" + std::string(name) + "\" is not a name",
                dns_label_hint);
}

checked check_vm(const invocation& i) {
  if (auto ok = check_name("vm", i.arg(0)); !ok) return ok;
  return check_name("--tenant", tenant_of(i));
}

tl::expected<std::uint64_t, error> node_number(std::string_view text) {
  const auto n = parse_unsigned(text);
  if (!n || *n == 0)
    return refuse("\"" + std::string(text) + "\" is not a node",
                  "nodes are numbers from 1; see node list");
  return *n;
}

/// Adds "FLAG: " in front of what a value's parser says.
tl::unexpected<error> at_flag(std::string_view flag, error e) {
  e.message = std::string(flag) + ": " + e.message;
  return tl::unexpected(std::move(e));
}

struct bounds {
  std::uint64_t min = 0;
  std::uint64_t max = UINT64_MAX;
};

/// The number of a flag in its bounds, or `absent`.
tl::expected<std::uint64_t, error> number_flag(const invocation& i, std::string_view flag, bounds b,
                                               std::uint64_t absent) {
  const auto text = i.value(flag);
  if (!text) return absent;
  const auto n = parse_unsigned(*text, b.max);
  if (!n) return at_flag(flag, n.error());
  if (*n < b.min) return refuse(std::string(flag) + " is at least " + std::to_string(b.min));
  return *n;
}

tl::expected<std::uint64_t, error> size_flag(const invocation& i, std::string_view flag) {
  const auto text = i.value(flag);
  if (!text) return 0;
  const auto n = parse_size(*text);
  if (!n) return at_flag(flag, n.error());
  if (*n == 0) return refuse(std::string(flag) + " is more than 0");
  return *n;
}

// ---------------------------------------------------------------- vm create

checked fill_resources(const invocation& i, pb::VmSpec& spec) {
  const auto vcpus = number_flag(i, "--vcpus", {1, 1024}, 0);
  if (!vcpus) return tl::unexpected(vcpus.error());
  const auto memory = size_flag(i, "--memory");
  if (!memory) return tl::unexpected(memory.error());
  const auto disk = size_flag(i, "--disk");
  if (!disk) return tl::unexpected(disk.error());
  spec.set_vcpus(static_cast<std::uint32_t>(*vcpus));
  spec.set_memory_bytes(*memory);
  spec.set_disk_bytes(*disk);
  return {};
}

checked add_pairs(const invocation& i, std::string_view flag,
                  google::protobuf::RepeatedPtrField<pb::Label>& to) {
  for (const auto& text : i.values(flag)) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      return refuse(std::string(flag) + ": \"" + text + "\" is not KEY=VALUE", "such as tier=web");
    const auto key = std::string_view(text).substr(0, equals);
    if (std::ranges::find(to, key, &pb::Label::key) != to.end())
      return refuse(std::string(flag) + ": " + std::string(key) + " is given twice",
                    "each key has one value");
    auto& label = *to.Add();
    label.set_key(text.substr(0, equals));
    label.set_value(text.substr(equals + 1));
  }
  return {};
}

checked fill_image(const invocation& i, pb::VmSpec& spec) {
  const auto backend = i.value("--backend");
  const bool program = i.has("--command") || i.has("--env");
  const bool guest =
      i.has("--kernel") || i.has("--initrd") || i.has("--append") || i.has("--disk-image");
  if (program && (guest || backend == "qemu"))
    return refuse("--command and --env are for the process backend, the others for qemu",
                  "give either --command or --kernel, --initrd, --append, --disk-image");
  if (guest && backend == "process")
    return refuse("--kernel, --initrd, --append and --disk-image are for the qemu backend");
  if (backend == "process" || program) {
    spec.set_backend(pb::BACKEND_PROCESS);
  } else if (backend == "qemu" || guest) {
    spec.set_backend(pb::BACKEND_QEMU);
  }
  if (i.has("--initrd") && !i.has("--kernel"))
    return refuse("--initrd needs --kernel", "the default guest has an initrd of its own");
  if (const auto v = i.value("--kernel")) spec.mutable_qemu()->set_kernel(*v);
  if (const auto v = i.value("--initrd")) spec.mutable_qemu()->set_initrd(*v);
  if (const auto v = i.value("--append")) spec.mutable_qemu()->set_append(*v);
  if (const auto v = i.value("--disk-image")) spec.mutable_qemu()->set_disk_image(*v);
  if (const auto v = i.value("--command")) {
    const auto words = split_words(*v);
    if (!words) return at_flag("--command", words.error());
    if (words->empty()) return refuse("--command is empty", "such as --command \"sleep 60\"");
    for (const auto& w : *words) spec.mutable_process()->add_argv(w);
  }
  if (i.has("--env")) return add_pairs(i, "--env", *spec.mutable_process()->mutable_env());
  return {};
}

/// "K=V", "K", "!K" or "K!=V".
checked add_constraint(std::string_view text, pb::Placement& placement) {
  auto& c = *placement.add_constraints();
  const std::string whole(text);
  if (text.starts_with('!')) {
    c.set_negate(true);
    text.remove_prefix(1);
  }
  const auto equals = text.find('=');
  auto key = text.substr(0, equals);
  if (equals != std::string_view::npos && key.ends_with('!')) {
    c.set_negate(!c.negate());
    key.remove_suffix(1);
  }
  if (key.empty())
    return refuse("--require: \"" + whole + "\" names no label", "write K=V, K, !K or K!=V");
  c.set_key(std::string(key));
  if (equals == std::string_view::npos)
    c.set_exists(true);
  else
    c.set_value(std::string(text.substr(equals + 1)));
  return {};
}

pb::Strategy strategy_of(std::string_view name) {
  if (name == "least_available") return pb::STRATEGY_LEAST_AVAILABLE;
  if (name == "round_robin") return pb::STRATEGY_ROUND_ROBIN;
  if (name == "manual") return pb::STRATEGY_MANUAL;
  return pb::STRATEGY_MOST_AVAILABLE;
}

checked fill_placement(const invocation& i, pb::VmSpec& spec) {
  auto& placement = *spec.mutable_placement();
  placement.set_strategy(strategy_of(i.value("--strategy").value_or("most_available")));
  if (const auto text = i.value("--node")) {
    const auto node = node_number(*text);
    if (!node) return at_flag("--node", node.error());
    placement.set_node(*node);
  } else if (placement.strategy() == pb::STRATEGY_MANUAL) {
    return refuse("--strategy manual needs --node", "--node N says where");
  }
  for (const auto& text : i.values("--require"))
    if (auto ok = add_constraint(text, placement); !ok) return ok;
  const auto group = i.value("--anti-affinity");
  if (!group && (i.has("--max-per-node") || i.has("--soft")))
    return refuse("--max-per-node and --soft need --anti-affinity");
  if (group) placement.set_anti_affinity_group(*group);
  const auto most = number_flag(i, "--max-per-node", {1, 10'000}, 0);
  if (!most) return tl::unexpected(most.error());
  placement.set_max_per_node(static_cast<std::uint32_t>(*most));
  placement.set_soft(i.has("--soft"));
  return {};
}

checked add_port(std::string_view text, pb::VmSpec& spec) {
  const auto colon = text.find(':');
  const auto host = parse_unsigned(text.substr(0, colon), 65535);
  const auto guest = colon == std::string_view::npos
                         ? tl::expected<std::uint64_t, error>{0}
                         : parse_unsigned(text.substr(colon + 1), 65535);
  if (!host || !guest || *host == 0 || *guest == 0)
    return refuse("--port: \"" + std::string(text) + "\" is not HOST:GUEST", "such as 8080:80");
  if (std::ranges::find(spec.ports(), *host, &pb::PortForward::host) != spec.ports().end())
    return refuse("--port: the host's port " + std::to_string(*host) + " is given twice");
  auto& port = *spec.add_ports();
  port.set_host(static_cast<std::uint32_t>(*host));
  port.set_guest(static_cast<std::uint32_t>(*guest));
  return {};
}

checked fill_policy(const invocation& i, pb::VmSpec& spec) {
  const auto priority = number_flag(i, "--priority", {0, 1000}, 0);
  if (!priority) return tl::unexpected(priority.error());
  const auto restarts = number_flag(i, "--restarts", {0, 1000}, 0);
  if (!restarts) return tl::unexpected(restarts.error());
  const auto backoff = number_flag(i, "--backoff", {1, 300}, 0);
  if (!backoff) return tl::unexpected(backoff.error());
  // What is not given is left to the state machine; 0 is a value.
  if (i.has("--priority")) spec.set_priority(static_cast<std::uint32_t>(*priority));
  spec.set_not_preemptible(i.has("--no-preempt"));
  if (i.has("--restarts"))
    spec.mutable_restart()->set_max_restarts(static_cast<std::uint32_t>(*restarts));
  if (i.has("--backoff"))
    spec.mutable_restart()->set_backoff_seconds(static_cast<std::uint32_t>(*backoff));
  if (i.has("--port") && spec.backend() == pb::BACKEND_PROCESS)
    return refuse("--port is for the qemu backend", "a process listens on the host's ports itself");
  for (const auto& text : i.values("--port"))
    if (auto ok = add_port(text, spec); !ok) return ok;
  return add_pairs(i, "--label", *spec.mutable_labels());
}

// ---------------------------------------------------------------- the other vm commands

result vm_action(const invocation& i, const request_context& c, pb::VmActionKind kind) {
  if (auto ok = check_vm(i); !ok) return tl::unexpected(ok.error());
  pb::Command command;
  auto& action = *command.mutable_vm_action();
  action.set_tenant(tenant_of(i));
  action.set_name(i.args[0]);
  action.set_action(kind);
  action.set_force(i.has("--force"));
  return propose(frame_kind::command, command, c);
}

result cordon(const invocation& i, const request_context& c, bool on) {
  const auto node = node_number(i.arg(0));
  if (!node) return tl::unexpected(node.error());
  pb::Command command;
  command.mutable_node_cordon()->set_node(*node);
  command.mutable_node_cordon()->set_cordon(on);
  return propose(frame_kind::command, command, c);
}

checked check_key(std::string_view key) {
  if (key.empty()) return refuse("the key is empty");
  if (key.size() > limits::key_max_bytes)
    return refuse("the key has " + std::to_string(key.size()) + " bytes",
                  "keys have at most 1024 bytes", errc::too_large);
  return {};
}

checked check_value(std::string_view value) {
  if (value.size() <= limits::value_max_bytes) return {};
  return refuse("the value has " + std::to_string(value.size()) + " bytes",
                "values have at most 1 MiB", errc::too_large);
}

}  // namespace

result vm_create(const invocation& i, const request_context& c) {
  pb::Command command;
  auto& spec = *command.mutable_vm_create()->mutable_spec();
  spec.set_name(i.args[0]);
  spec.set_tenant(tenant_of(i));
  spec.set_desired(i.has("--stopped") ? pb::DESIRED_STOPPED : pb::DESIRED_RUNNING);
  const auto ok = check_vm(i)
                      .and_then([&] { return fill_resources(i, spec); })
                      .and_then([&] { return fill_image(i, spec); })
                      .and_then([&] { return fill_placement(i, spec); })
                      .and_then([&] { return fill_policy(i, spec); });
  if (!ok) return tl::unexpected(ok.error());
  return propose(frame_kind::planned, command, c);
}

result vm_start(const invocation& i, const request_context& c) {
  return vm_action(i, c, pb::VM_START);
}
result vm_stop(const invocation& i, const request_context& c) {
  return vm_action(i, c, pb::VM_STOP);
}
result vm_restart(const invocation& i, const request_context& c) {
  return vm_action(i, c, pb::VM_RESTART);
}
result vm_pause(const invocation& i, const request_context& c) {
  return vm_action(i, c, pb::VM_PAUSE);
}
result vm_resume(const invocation& i, const request_context& c) {
  return vm_action(i, c, pb::VM_RESUME);
}
result vm_delete(const invocation& i, const request_context& c) {
  return vm_action(i, c, pb::VM_DELETE);
}

result vm_list(const invocation& i, const request_context& c) {
  pb::Query query;
  query.mutable_vm_list()->set_tenant(i.value("--tenant").value_or(""));
  return ask(query, i, c);
}

result vm_show(const invocation& i, const request_context& c) {
  if (auto ok = check_vm(i); !ok) return tl::unexpected(ok.error());
  pb::Query query;
  query.mutable_vm_show()->set_tenant(tenant_of(i));
  query.mutable_vm_show()->set_name(i.args[0]);
  return ask(query, i, c);
}

result vm_logs(const invocation& i, const request_context& c) {
  if (auto ok = check_vm(i); !ok) return tl::unexpected(ok.error());
  const auto lines = number_flag(i, "-n", {1, 100'000}, 100);
  if (!lines) return tl::unexpected(lines.error());
  pb::Query query;
  auto& logs = *query.mutable_vm_logs();
  logs.set_tenant(tenant_of(i));
  logs.set_name(i.args[0]);
  logs.set_lines(static_cast<std::uint32_t>(*lines));
  return ask(query, i, c);
}

result vm_explain(const invocation& i, const request_context& c) {
  if (auto ok = check_vm(i); !ok) return tl::unexpected(ok.error());
  pb::Query query;
  query.mutable_vm_explain()->set_tenant(tenant_of(i));
  query.mutable_vm_explain()->set_name(i.args[0]);
  return ask(query, i, c);
}

result node_list(const invocation& i, const request_context& c) {
  pb::Query query;
  query.mutable_node_list();
  return ask(query, i, c);
}

result node_show(const invocation& i, const request_context& c) {
  const auto node = node_number(i.arg(0));
  if (!node) return tl::unexpected(node.error());
  pb::Query query;
  query.mutable_node_show()->set_id(*node);
  return ask(query, i, c);
}

result node_cordon(const invocation& i, const request_context& c) { return cordon(i, c, true); }
result node_uncordon(const invocation& i, const request_context& c) { return cordon(i, c, false); }

result cluster_status(const invocation& i, const request_context& c) {
  pb::Query query;
  query.mutable_cluster_status();
  return ask(query, i, c);
}

result cluster_join(const invocation& i, const request_context& c) {
  const auto node = node_number(i.arg(0));
  if (!node) return tl::unexpected(node.error());
  const auto address = parse_endpoint(i.arg(1));
  if (!address) return tl::unexpected(address.error());
  if (address->port == 0) return refuse("port 0 cannot be dialled");
  pb::AdminRequest admin;
  admin.mutable_join()->set_node(*node);
  admin.mutable_join()->set_address(to_string(*address));
  return make_request(frame_kind::admin, admin, c);
}

result cluster_remove(const invocation& i, const request_context& c) {
  const auto node = node_number(i.arg(0));
  if (!node) return tl::unexpected(node.error());
  pb::AdminRequest admin;
  admin.set_remove(*node);
  return make_request(frame_kind::admin, admin, c);
}

result cluster_transfer(const invocation& i, const request_context& c) {
  const auto node = node_number(i.arg(0));
  if (!node) return tl::unexpected(node.error());
  pb::AdminRequest admin;
  admin.set_transfer(*node);
  return make_request(frame_kind::admin, admin, c);
}

result cluster_digest(const invocation& i, const request_context& c) {
  const auto index = number_flag(i, "--at", {1, UINT64_MAX}, 0);
  if (!index) return tl::unexpected(index.error());
  pb::Query query;
  query.set_stale(true);  // of the node that is asked: that is what the command is for
  query.mutable_digest()->set_index(*index);
  return make_request(frame_kind::local, query, c);
}

result cluster_snapshot(const invocation& /*i*/, const request_context& c) {
  pb::AdminRequest admin;
  admin.mutable_snapshot();
  return make_request(frame_kind::admin, admin, c);
}

result kv_get(const invocation& i, const request_context& c) {
  if (auto ok = check_key(i.arg(0)); !ok) return tl::unexpected(ok.error());
  pb::Query query;
  query.mutable_kv_get()->set_key(i.args[0]);
  return ask(query, i, c);
}

result kv_put(const invocation& i, const request_context& c) {
  if (auto ok = check_key(i.arg(0)).and_then([&] { return check_value(i.arg(1)); }); !ok)
    return tl::unexpected(ok.error());
  const auto version = number_flag(i, "--if-version", {}, 0);
  if (!version) return tl::unexpected(version.error());
  pb::Command command;
  auto& put = *command.mutable_kv_put();
  put.set_key(i.args[0]);
  put.set_value(i.args[1]);
  put.set_if_version_set(i.has("--if-version"));
  put.set_if_version(*version);
  return propose(frame_kind::command, command, c);
}

result kv_cas(const invocation& i, const request_context& c) {
  const auto ok = check_key(i.arg(0)).and_then([&] { return check_value(i.arg(1)); }).and_then([&] {
    return check_value(i.arg(2));
  });
  if (!ok) return tl::unexpected(ok.error());
  pb::Command command;
  auto& cas = *command.mutable_kv_cas();
  cas.set_key(i.args[0]);
  cas.set_expected(i.args[1]);
  cas.set_value(i.args[2]);
  return propose(frame_kind::command, command, c);
}

result kv_delete(const invocation& i, const request_context& c) {
  if (auto ok = check_key(i.arg(0)); !ok) return tl::unexpected(ok.error());
  pb::Command command;
  command.mutable_kv_delete()->set_key(i.args[0]);
  return propose(frame_kind::command, command, c);
}

result kv_list(const invocation& i, const request_context& c) {
  const auto limit = number_flag(i, "--limit", {1, limits::list_max_items}, 0);
  if (!limit) return tl::unexpected(limit.error());
  pb::Query query;
  query.mutable_kv_list()->set_prefix(std::string(i.arg(0)));
  query.mutable_kv_list()->set_limit(static_cast<std::uint32_t>(*limit));
  return ask(query, i, c);
}

result metrics(const invocation& i, const request_context& c) {
  pb::Query query;
  query.set_stale(true);
  query.mutable_metrics()->set_filter(std::string(i.arg(0)));
  return make_request(frame_kind::local, query, c);
}

/// All metrics: what is made of them is this side's business (hotpaths.hpp).
result hotpaths(const invocation& /*i*/, const request_context& c) {
  pb::Query query;
  query.set_stale(true);
  query.mutable_metrics();
  return make_request(frame_kind::local, query, c);
}

result cache_stats(const invocation& /*i*/, const request_context& c) {
  pb::Query query;
  query.set_stale(true);
  query.mutable_cache_stats();
  return make_request(frame_kind::local, query, c);
}

bool changes_state(const invocation& i) {
  if (i.spec->build == nullptr) return false;
  const auto r = i.spec->build(i, {});
  return r && r->kind != frame_kind::query && r->kind != frame_kind::local;
}

request live_names(completes kind, std::string_view prefix, std::uint32_t timeout_ms) {
  pb::Query query;
  query.set_stale(true);
  auto& complete = *query.mutable_complete();
  complete.set_what(kind == completes::vm     ? pb::Complete::VMS
                    : kind == completes::node ? pb::Complete::NODES
                                              : pb::Complete::KEYS);
  complete.set_prefix(std::string(prefix));
  return make_request(frame_kind::local, query, waiting(timeout_ms));
}

request local_status(std::uint32_t timeout_ms) {
  pb::Query query;
  query.set_stale(true);
  query.mutable_cluster_status();
  return make_request(frame_kind::local, query, waiting(timeout_ms));
}

}  // namespace blixard::repl::build
