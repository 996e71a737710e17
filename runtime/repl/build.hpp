// From a parsed command to the bytes that travel (INTERNAL to the command table). Values of flags
// are checked here, so that a wrong one never reaches a node.
#pragma once

#include "runtime/repl/commands.hpp"

namespace blixard::repl::build {

using result = tl::expected<request, error>;

result vm_create(const invocation& i, const request_context& c);
result vm_start(const invocation& i, const request_context& c);
result vm_stop(const invocation& i, const request_context& c);
result vm_restart(const invocation& i, const request_context& c);
result vm_pause(const invocation& i, const request_context& c);
result vm_resume(const invocation& i, const request_context& c);
result vm_delete(const invocation& i, const request_context& c);
result vm_list(const invocation& i, const request_context& c);
result vm_show(const invocation& i, const request_context& c);
result vm_logs(const invocation& i, const request_context& c);
result vm_explain(const invocation& i, const request_context& c);

result node_list(const invocation& i, const request_context& c);
result node_show(const invocation& i, const request_context& c);
result node_cordon(const invocation& i, const request_context& c);
result node_uncordon(const invocation& i, const request_context& c);

result cluster_status(const invocation& i, const request_context& c);
result cluster_join(const invocation& i, const request_context& c);
result cluster_remove(const invocation& i, const request_context& c);
result cluster_transfer(const invocation& i, const request_context& c);
result cluster_digest(const invocation& i, const request_context& c);
result cluster_snapshot(const invocation& i, const request_context& c);

result kv_get(const invocation& i, const request_context& c);
result kv_put(const invocation& i, const request_context& c);
result kv_cas(const invocation& i, const request_context& c);
result kv_delete(const invocation& i, const request_context& c);
result kv_list(const invocation& i, const request_context& c);

result metrics(const invocation& i, const request_context& c);
result hotpaths(const invocation& i, const request_context& c);
result cache_stats(const invocation& i, const request_context& c);

/// True where the command asks for a change, so that an unknown outcome matters; false for reads
/// and for commands of the shell itself.
[[nodiscard]] bool changes_state(const invocation& i);

/// The names of one kind that the node knows, for completion. `kind`: vm, node or key.
request live_names(completes kind, std::string_view prefix, std::uint32_t timeout_ms);
/// `cluster status` as the node that is asked sees it, for the prompt.
request local_status(std::uint32_t timeout_ms);

}  // namespace blixard::repl::build
