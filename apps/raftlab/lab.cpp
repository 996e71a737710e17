#include "apps/raftlab/lab.hpp"

#include <algorithm>
#include <utility>

#include "messages/check.hpp"
#include "runtime/base/nesting.hpp"

namespace blixard::raft::lab {
namespace {

// A CHECK fired inside a core.
struct check_fired : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void throw_check(const std::string& what) { throw check_fired(what); }

// The core said no.
struct refused {
  refusal why;
  node_id lead;
};

json failure(const json& id, std::string_view err, const std::string& msg) {
  return {{"id", id}, {"ok", false}, {"err", err}, {"msg", msg}};
}

json nothing() { return json::object(); }

template <class T>
T granted(tl::expected<T, refusal> result, const core& raft) {
  if (!result) throw refused{result.error(), raft.lead()};
  if constexpr (!std::is_void_v<T>) return *result;
}

// Nothing on this disk came from a leader: it was made to boot from.
bool looks_fresh(const disk_state& disk) {
  const term boot = disk.snapshot ? disk.snapshot->term : term{};
  return !disk.hard.vote && disk.entries.empty() && disk.hard.term <= boot;
}

json index_or_nothing(log_index index) {
  // A forwarded proposal has no index here.
  return index ? json{{"index", index.value()}} : nothing();
}

}  // namespace

const std::map<std::string, laboratory::handler>& laboratory::operations() {
  static const std::map<std::string, handler> table{
      {"hello", &laboratory::hello},
      {"new", &laboratory::start},
      {"drop", &laboratory::drop},
      {"tick", &laboratory::tick},
      {"set_timeout", &laboratory::set_timeout},
      {"campaign", &laboratory::campaign},
      {"propose", &laboratory::propose},
      {"propose_conf", &laboratory::propose_conf},
      {"step", &laboratory::step},
      {"ready", &laboratory::ready},
      {"persisted", &laboratory::persisted},
      {"applied", &laboratory::applied},
      {"set_snapshot", &laboratory::set_snapshot},
      {"compact", &laboratory::compact},
      {"transfer", &laboratory::transfer},
      {"forget_leader", &laboratory::forget_leader},
      {"read_index", &laboratory::read_index},
      {"report", &laboratory::report},
      {"status", &laboratory::status},
      {"log", &laboratory::log},
      {"unit", &laboratory::unit},
      {"bye", &laboratory::bye},
  };
  return table;
}

std::string laboratory::answer(const std::string& line) {
  json id = nullptr;
  json out;
  try {
    // What is answered is written by recursion.
    if (nests_too_deeply(line)) throw bad_request("the request nests too deeply");
    const json request = json::parse(line);
    if (!request.is_object()) throw bad_request("a request is an object");
    id = part(request, "id");
    json fields = run(request);
    out = {{"id", id}, {"ok", true}};
    out.update(fields);
  } catch (const json::exception& e) {
    out = failure(id, "invalid", e.what());
  } catch (const bad_request& e) {
    out = failure(id, "invalid", e.what());
  } catch (const refused& r) {
    out = failure(id, to_string(r.why), "the node refused");
    if (r.why == refusal::not_leader) out["lead"] = r.lead.value();
  } catch (const check_fired& e) {
    out = failure(id, "fatal", e.what());
  } catch (const std::exception& e) {
    out = failure(id, "invalid", e.what());
  }
  // What was not UTF-8 in the request may stand in the error's text.
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

json laboratory::run(const json& request) {
  set_check_handler(&throw_check);
  const std::string op = string(request, "op");
  const auto found = operations().find(op);
  if (found == operations().end()) throw refused{refusal::unsupported, {}};
  try {
    return (this->*found->second)(request);
  } catch (const check_fired&) {
    // Its invariants are broken: that node is lost, the others are not touched.
    nodes_.erase(number(request, "node"));
    throw;
  }
}

laboratory::hosted& laboratory::node_of(const json& request) {
  const auto found = nodes_.find(number(request, "node"));
  if (found == nodes_.end()) throw bad_request("no such node");
  return found->second;
}

// ---------------------------------------------------------------- life

json laboratory::hello(const json&) {
  return {{"proto", 1},
          {"caps",
           {"prevote", "check_quorum", "read_index", "lease_read", "transfer", "joint", "learners",
            "auto_leave", "snapshot", "async_persist", "inflight_msgs", "inflight_bytes", "forward",
            "forget_leader", "step_down_on_removal", "max_committed_bytes", "quorum_unit",
            "conf_unit"}},
          {"conv",
           {{"conf_effective", "apply"},
            {"conf_refused", "noop_entry"},
            {"heartbeat", "separate"},
            {"prevote_term", "next"},
            {"commit_persisted", true},
            {"prevote_sticky", false},
            {"conf_needs_term_commit", true}}}};
}

json laboratory::start(const json& r) {
  const node_id id{number(r, "node")};
  config conf = read_config(id, part(r, "config"));
  conf.incarnation = ++starts_;
  const disk_state disk = read_disk(part(r, "disk"));
  conf.restarted = !looks_fresh(disk);
  const log_index applied{number(r, "applied")};
  auto latest = read_snapshot(part(r, "latest_snapshot"));
  if (auto ok = check_start(conf, disk, applied, latest); !ok) throw bad_request(ok.error());
  hosted fresh;
  fresh.raft = std::make_unique<core>(conf, disk, applied, std::move(latest));
  fresh.handed = fresh.raft->applied();
  nodes_[id.value()] = std::move(fresh);
  return nothing();
}

json laboratory::drop(const json& r) {
  (void)node_of(r);
  nodes_.erase(number(r, "node"));
  return nothing();
}

json laboratory::bye(const json&) {
  finished_ = true;
  return nothing();
}

// ---------------------------------------------------------------- inputs

json laboratory::tick(const json& r) {
  core& raft = *node_of(r).raft;
  const std::uint64_t n = number(r, "n", 1);
  if (n > 1'000'000) throw bad_request("n is too large");
  for (std::uint64_t i = 0; i < n; ++i) raft.tick();
  return nothing();
}

json laboratory::set_timeout(const json& r) {
  core& raft = *node_of(r).raft;
  const std::uint64_t ticks = number(r, "ticks");
  if (ticks == 0 || ticks > 1'000'000) throw bad_request("ticks must be in [1, 1000000]");
  raft.set_election_timeout(static_cast<std::uint32_t>(ticks));
  return nothing();
}

json laboratory::campaign(const json& r) {
  core& raft = *node_of(r).raft;
  granted(raft.campaign(), raft);
  return nothing();
}

json laboratory::propose(const json& r) {
  core& raft = *node_of(r).raft;
  const std::string data = string(r, "data");
  return index_or_nothing(granted(raft.propose(slice::copy_of(std::string_view{data})), raft));
}

json laboratory::propose_conf(const json& r) {
  core& raft = *node_of(r).raft;
  const conf_change change = read_change(part(r, "change"));
  // The old form names exactly one node and takes effect in one step.
  if (flag(r, "legacy") &&
      (change.changes.size() != 1 || change.transition != conf_transition::automatic))
    throw bad_request("a legacy change has one change and no transition");
  return index_or_nothing(granted(raft.propose_conf(change), raft));
}

json laboratory::step(const json& r) {
  core& raft = *node_of(r).raft;
  message m = read_message(part(r, "msg"), contexts_);
  // The protocol has no field for what lease reads are promised: an answer counts for what its
  // sender promises, and where that is not in this laboratory, for what the receiver would.
  const auto sender = nodes_.find(m.from.value());
  const bool known = sender != nodes_.end() && sender->second.raft != nullptr;
  m.promise_us = (known ? *sender->second.raft : raft).promise_us();
  granted(raft.step(std::move(m)), raft);
  return nothing();
}

json laboratory::persisted(const json& r) {
  hosted& n = node_of(r);
  const persist_seq seq{number(r, "seq")};
  if (seq > n.newest) throw bad_request("no such seq was handed out");
  n.raft->persisted(seq);
  return nothing();
}

json laboratory::applied(const json& r) {
  hosted& n = node_of(r);
  const log_index index{number(r, "index")};
  if (index > n.handed) throw bad_request("that was not handed out as committed");
  const conf_state* conf = n.raft->applied(index);
  return conf == nullptr ? nothing() : json{{"conf", to_json(*conf)}};
}

json laboratory::set_snapshot(const json& r) {
  core& raft = *node_of(r).raft;
  auto snap = read_snapshot(part(r, "snapshot"));
  if (snap == nullptr) throw bad_request("a snapshot is needed");
  raft.set_snapshot(std::move(snap));
  return nothing();
}

json laboratory::compact(const json& r) {
  core& raft = *node_of(r).raft;
  granted(raft.compact(log_index{number(r, "first")}), raft);
  return nothing();
}

json laboratory::transfer(const json& r) {
  core& raft = *node_of(r).raft;
  granted(raft.transfer(node_id{number(r, "target")}), raft);
  return nothing();
}

json laboratory::forget_leader(const json& r) {
  node_of(r).raft->forget_leader();
  return nothing();
}

json laboratory::read_index(const json& r) {
  core& raft = *node_of(r).raft;
  granted(raft.read_index(contexts_.intern(part(r, "ctx"))), raft);
  return nothing();
}

json laboratory::report(const json& r) {
  core& raft = *node_of(r).raft;
  const std::string what = string(r, "what");
  const node_id peer{number(r, "peer")};
  if (what == "unreachable")
    granted(raft.report(peer, report_kind::unreachable), raft);
  else if (what == "snapshot_ok")
    granted(raft.report(peer, report_kind::snapshot_ok), raft);
  else if (what == "snapshot_failed")
    granted(raft.report(peer, report_kind::snapshot_failed), raft);
  else
    throw bad_request("unknown report: " + what);
  return nothing();
}

// ---------------------------------------------------------------- outputs

json laboratory::ready(const json& r) {
  hosted& n = node_of(r);
  output& o = n.out;
  n.raft->take_output(o);
  if (o.seq) n.newest = o.seq;
  if (o.snapshot) n.handed = std::max(n.handed, o.snapshot->index);
  if (!o.committed.empty()) n.handed = std::max(n.handed, o.committed.back().index);

  const bool has =
      o.seq || o.soft || o.conf || !o.committed.empty() || !o.messages.empty() || !o.reads.empty();
  json out{{"has", has}, {"seq", o.seq.value()}, {"must_sync", o.must_sync}};
  if (o.soft) out["soft"] = {{"role", to_string(o.soft->role)}, {"lead", o.soft->lead.value()}};
  if (o.hard) out["hard"] = to_json(*o.hard);
  if (o.snapshot) out["snapshot"] = to_json(*o.snapshot);
  out["entries"] = to_json(o.entries);
  out["committed"] = to_json(o.committed);
  out["messages"] = json::array();
  for (const message& m : o.messages) out["messages"].push_back(to_json(m, contexts_));
  if (!o.reads.empty()) out["reads"] = json::array();
  for (const read_state& read : o.reads)
    out["reads"].push_back({{"ctx", contexts_.value(read.context)}, {"index", read.index.value()}});
  if (o.conf) out["conf"] = to_json(*o.conf);
  return out;
}

json laboratory::status(const json& r) { return to_json(node_of(r).raft->status()); }

json laboratory::log(const json& r) {
  const entry_log& log = node_of(r).raft->log();
  std::vector<entry> all;
  if (log.first() <= log.last()) log.copy(log.first(), log.last(), 0, all);
  return {{"entries", to_json(all)}};
}

json laboratory::unit(const json& r) { return run_unit(r); }

}  // namespace blixard::raft::lab
