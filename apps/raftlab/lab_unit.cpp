// Operations of the lab that need no node: quorums, configuration changes and other pure functions
// of the core.
#include <algorithm>
#include <charconv>
#include <map>

#include "apps/raftlab/lab.hpp"
#include "runtime/raft/confchange.hpp"
#include "runtime/raft/quorum.hpp"

namespace blixard::raft::lab {
namespace {

std::vector<node_id> read_voters(const json& request, const char* key) {
  const json& list = part(request, key);
  json conf = json::object();
  if (!list.is_null()) conf["voters"] = list;
  std::vector<node_id> voters = read_conf(conf).voters;
  voters.erase(std::unique(voters.begin(), voters.end()), voters.end());
  return voters;
}

// An object with node ids as keys.
template <class Read>
auto read_by_node(const json& from, const Read& read) {
  std::map<node_id, decltype(read(from))> out;
  if (from.is_null()) return out;
  if (!from.is_object()) throw bad_request("an object with node ids as keys is expected");
  for (const auto& [key, value] : from.items()) {
    std::uint64_t id = 0;
    const char* end = key.data() + key.size();
    if (const auto r = std::from_chars(key.data(), end, id); r.ec != std::errc{} || r.ptr != end)
      throw bad_request("not a node id: " + key);
    out[node_id{id}] = read(value);
  }
  return out;
}

json committed(const json& r) {
  const auto acked = read_by_node(part(r, "acked"), [](const json& v) {
    if (v.is_null()) return std::uint64_t{0};
    if (!v.is_number_unsigned()) throw bad_request("an index is expected");
    return v.get<std::uint64_t>();
  });
  conf_state conf;
  conf.voters = read_voters(r, "cfg");
  conf.outgoing = read_voters(r, "cfgj");
  const std::uint64_t index = quorum_index(conf, [&](node_id id) {
    const auto at = acked.find(id);
    return at == acked.end() ? 0 : at->second;
  });
  // Nobody's agreement is needed: no index is the largest.
  return {{"index", index == unbounded ? json(nullptr) : json(index)}};
}

json vote(const json& r) {
  const auto votes = read_by_node(part(r, "votes"), [](const json& v) {
    if (v.is_null()) return vote_result::pending;
    if (!v.is_boolean()) throw bad_request("true or false is expected");
    return v.get<bool>() ? vote_result::won : vote_result::lost;
  });
  conf_state conf;
  conf.voters = read_voters(r, "cfg");
  conf.outgoing = read_voters(r, "cfgj");
  const vote_result result = tally(conf, [&](node_id id) {
    const auto at = votes.find(id);
    return at == votes.end() ? vote_result::pending : at->second;
  });
  switch (result) {
    case vote_result::pending:
      return {{"result", "pending"}};
    case vote_result::won:
      return {{"result", "won"}};
    case vote_result::lost:
      return {{"result", "lost"}};
  }
  return {};
}

json conf(const json& r) {
  const conf_state from = read_conf(part(r, "conf"));
  const auto changes = read_singles(part(r, "changes"));
  const std::string kind = string(r, "kind");
  conf_result result = tl::unexpected<std::string>("unknown kind: " + kind);
  if (kind == "simple")
    result = change_simple(from, changes);
  else if (kind == "enter")
    result = enter_joint(from, changes, flag(r, "auto_leave"));
  else if (kind == "leave")
    result = leave_joint(from);
  if (!result) throw bad_request(result.error());
  return {{"conf", to_json(*result)}};
}

}  // namespace

json run_unit(const json& request) {
  const std::string fn = string(request, "fn");
  if (fn == "committed") return committed(request);
  if (fn == "vote") return vote(request);
  if (fn == "conf") return conf(request);
  throw bad_request("unknown fn: " + fn);
}

}  // namespace blixard::raft::lab
