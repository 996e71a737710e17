#include "apps/raftlab/json.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "runtime/raft/codec.hpp"

namespace blixard::raft::lab {
namespace {

[[noreturn]] void refuse(const std::string& why) { throw bad_request(why); }

// The position of a name in a list of names.
template <std::size_t N>
std::size_t choice(const std::array<std::string_view, N>& names, const std::string& name,
                   const char* what) {
  const auto at = std::ranges::find(names, name);
  if (at == names.end()) refuse(std::string("unknown ") + what + ": " + name);
  return static_cast<std::size_t>(at - names.begin());
}

constexpr std::array<std::string_view, 5> ops{"voter", "learner", "remove", "update", "witness"};
constexpr std::array<std::string_view, 3> transitions{"auto", "implicit", "explicit"};
constexpr std::array<std::string_view, 2> kinds{"normal", "conf"};

slice bytes(const std::string& s) { return slice::copy_of(std::string_view{s}); }

// [term, index]
json position(term t, log_index i) { return json::array({t.value(), i.value()}); }

std::pair<term, log_index> read_position(const json& from, const char* key) {
  const json& p = part(from, key);
  if (!p.is_array() || p.size() != 2 || !p[0].is_number_unsigned() || !p[1].is_number_unsigned())
    refuse(std::string(key) + " must be [term, index]");
  return {term{p[0].get<std::uint64_t>()}, log_index{p[1].get<std::uint64_t>()}};
}

json ids_json(const std::vector<node_id>& ids) {
  json out = json::array();
  for (const node_id id : ids) out.push_back(id.value());
  return out;
}

std::vector<node_id> read_ids(const json& from, const char* key) {
  std::vector<node_id> out;
  const json& list = part(from, key);
  if (list.is_null()) return out;
  if (!list.is_array()) refuse(std::string(key) + " must be a list of node ids");
  for (const json& id : list) {
    if (!id.is_number_unsigned()) refuse(std::string(key) + " must be a list of node ids");
    out.emplace_back(id.get<std::uint64_t>());
  }
  std::ranges::sort(out);
  return out;
}

// Two numbers in one opaque string, "a:b"; zeros if it is not that.
std::pair<std::uint64_t, std::uint64_t> read_pair(const std::string& x) {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  const char* end = x.data() + x.size();
  const auto first = std::from_chars(x.data(), end, a);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ':') return {};
  const auto second = std::from_chars(first.ptr + 1, end, b);
  if (second.ec != std::errc{} || second.ptr != end) return {};
  return {a, b};
}

std::uint64_t read_round(const json& value) {
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  if (!value.is_string()) return 0;
  const auto& s = value.get_ref<const std::string&>();
  std::uint64_t v = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), v);
  return r.ec == std::errc{} && r.ptr == s.data() + s.size() ? v : 0;
}

}  // namespace

// ---------------------------------------------------------------- contexts

std::uint64_t contexts::intern(const json& value) {
  const auto [at, is_new] = numbers_.try_emplace(value.dump(), values_.size());
  if (is_new) values_.push_back(value);
  return at->second;
}

const json& contexts::value(std::uint64_t context) const {
  return values_[context < values_.size() ? context : 0];
}

json contexts::round(std::uint64_t round) const {
  if (values_.size() > 1 && values_.back().is_number()) return round;
  return std::to_string(round);
}

// ---------------------------------------------------------------- plain values

const json& part(const json& from, const char* key) {
  static const json nothing(nullptr);
  if (!from.is_object()) refuse("an object is expected");
  const auto at = from.find(key);
  return at == from.end() ? nothing : *at;
}

std::uint64_t number(const json& from, const char* key, std::uint64_t otherwise) {
  const json& v = part(from, key);
  if (v.is_null()) return otherwise;
  if (!v.is_number_unsigned()) refuse(std::string(key) + " must be a number that is not negative");
  return v.get<std::uint64_t>();
}

bool flag(const json& from, const char* key, bool otherwise) {
  const json& v = part(from, key);
  if (v.is_null()) return otherwise;
  if (!v.is_boolean()) refuse(std::string(key) + " must be true or false");
  return v.get<bool>();
}

std::string string(const json& from, const char* key, const char* otherwise) {
  const json& v = part(from, key);
  if (v.is_null()) return otherwise;
  if (!v.is_string()) refuse(std::string(key) + " must be a string");
  return v.get<std::string>();
}

// ---------------------------------------------------------------- writing

json to_json(const conf_state& conf) {
  json out{{"voters", ids_json(conf.voters)},
           {"outgoing", ids_json(conf.outgoing)},
           {"learners", ids_json(conf.learners)},
           {"learners_next", ids_json(conf.learners_next)},
           {"auto_leave", conf.auto_leave}};
  // Beyond the protocol page: only where there are any.
  if (!conf.witnesses.empty()) out["witnesses"] = ids_json(conf.witnesses);
  return out;
}

json to_json(const conf_change& change) {
  json singles = json::array();
  for (const auto& s : change.changes)
    singles.push_back({{"op", ops[static_cast<std::size_t>(s.op)]}, {"node", s.node.value()}});
  return {{"changes", std::move(singles)},
          {"transition", transitions[static_cast<std::size_t>(change.transition)]}};
}

json to_json(const entry& e) {
  json out{{"term", e.term.value()},
           {"index", e.index.value()},
           {"kind", kinds[static_cast<std::size_t>(e.kind)]}};
  if (e.kind == entry_kind::conf) {
    out["conf"] = to_json(decode_conf_change(e.data).value_or(conf_change{}));
  } else if (!e.data.empty()) {
    out["data"] = std::string(e.data.text());
  }
  return out;
}

json to_json(const std::vector<entry>& entries) {
  json out = json::array();
  for (const entry& e : entries) out.push_back(to_json(e));
  return out;
}

json to_json(const snapshot& snap) {
  return {{"index", snap.index.value()},
          {"term", snap.term.value()},
          {"conf", to_json(snap.conf)},
          {"data", std::string(snap.data.text())}};
}

json to_json(const hard_state& hard) {
  return {
      {"term", hard.term.value()}, {"vote", hard.vote.value()}, {"commit", hard.commit.value()}};
}

json to_json(const status& s) {
  json out{{"role", to_string(s.role)}, {"lead", s.lead.value()},
           {"hard", to_json(s.hard)},   {"applied", s.applied.value()},
           {"conf", to_json(s.conf)},   {"voter", s.voter},
           {"first", s.first.value()},  {"last", position(s.last_term, s.last)},
           {"stable", s.stable.value()}};
  if (s.role != role::leader) return out;
  json peers = json::object();
  for (const peer_status& p : s.peers)
    peers[to_string(p.id)] = {
        {"state", to_string(p.state)},      {"match", p.match.value()},
        {"next", p.next.value()},           {"paused", p.paused},
        {"inflight", p.inflight},           {"pending_snapshot", p.pending_snapshot.value()},
        {"recent_active", p.recent_active}, {"learner", p.learner}};
  out["progress"] = std::move(peers);
  return out;
}

namespace {

void write_append_response(const message& m, json& out) {
  if (!m.reject) {
    out["match"] = m.match.value();
    return;
  }
  out["reject"] = true;
  out["rejected"] = m.rejected.value();
  out["hint"] = position(m.log_term, m.log_index);
}

void write_body(const message& m, const contexts& known, json& out) {
  switch (m.type) {
    case message_type::vote:
    case message_type::prevote:
      out["last"] = position(m.log_term, m.log_index);
      if (m.force) out["force"] = true;
      return;
    case message_type::vote_resp:
    case message_type::prevote_resp:
      out["reject"] = m.reject;
      out["x"] = to_string(m.log_term) + ":" + to_string(m.commit);
      return;
    case message_type::append:
      out["prev"] = position(m.log_term, m.log_index);
      out["entries"] = to_json(m.entries);
      out["commit"] = m.commit.value();
      if (m.notice) out["x"] = "notice";
      return;
    case message_type::append_resp:
      write_append_response(m, out);
      return;
    case message_type::heartbeat:
      out["commit"] = m.commit.value();
      [[fallthrough]];
    case message_type::heartbeat_resp:
      if (m.context != 0) out["ctx"] = known.round(m.context);
      if (m.rank != 0) out["x"] = std::to_string(m.rank);
      return;
    case message_type::snapshot:
      out["snapshot"] = to_json(*m.snapshot);
      return;
    case message_type::timeout_now:
      return;
    case message_type::propose:
      out["entries"] = to_json(m.entries);
      return;
    case message_type::read_index_resp:
      out["index"] = m.log_index.value();
      [[fallthrough]];
    case message_type::read_index:
      out["ctx"] = known.value(m.context);
      if (m.nonce != 0) out["x"] = std::to_string(m.nonce);
      return;
    case message_type::transfer:
      out["target"] = m.target.value();
      return;
  }
}

}  // namespace

json to_json(const message& m, const contexts& known) {
  json out{{"type", to_string(m.type)},
           {"from", m.from.value()},
           {"to", m.to.value()},
           {"term", m.term.value()}};
  write_body(m, known, out);
  out["after"] = m.after.value();
  return out;
}

// ---------------------------------------------------------------- reading

conf_state read_conf(const json& from) {
  if (from.is_null()) return {};
  return {read_ids(from, "voters"),        read_ids(from, "outgoing"), read_ids(from, "learners"),
          read_ids(from, "learners_next"), flag(from, "auto_leave"),   read_ids(from, "witnesses")};
}

std::vector<conf_change::single> read_singles(const json& from) {
  std::vector<conf_change::single> out;
  if (from.is_null()) return out;
  if (!from.is_array()) refuse("changes must be a list");
  for (const json& s : from)
    out.push_back(
        {static_cast<conf_op>(choice(ops, string(s, "op"), "op")), node_id{number(s, "node")}});
  return out;
}

conf_change read_change(const json& from) {
  if (from.is_null()) return {};
  const auto transition = choice(transitions, string(from, "transition", "auto"), "transition");
  return {read_singles(part(from, "changes")), static_cast<conf_transition>(transition), {}};
}

entry read_entry(const json& from) {
  entry e;
  e.term = term{number(from, "term")};
  e.index = log_index{number(from, "index")};
  e.kind = static_cast<entry_kind>(choice(kinds, string(from, "kind", "normal"), "kind"));
  e.data = e.kind == entry_kind::conf ? encode_conf_change(read_change(part(from, "conf")))
                                      : bytes(string(from, "data"));
  return e;
}

std::vector<entry> read_entries(const json& from) {
  std::vector<entry> out;
  if (from.is_null()) return out;
  if (!from.is_array()) refuse("entries must be a list");
  for (const json& e : from) out.push_back(read_entry(e));
  return out;
}

std::shared_ptr<const snapshot> read_snapshot(const json& from) {
  if (from.is_null()) return nullptr;
  auto s = std::make_shared<snapshot>();
  s->index = log_index{number(from, "index")};
  s->term = term{number(from, "term")};
  s->conf = read_conf(part(from, "conf"));
  s->data = bytes(string(from, "data"));
  return s->empty() ? nullptr : s;
}

disk_state read_disk(const json& from) {
  if (from.is_null()) return {};
  disk_state d;
  if (const json& hard = part(from, "hard"); !hard.is_null())
    d.hard = {term{number(hard, "term")}, node_id{number(hard, "vote")},
              log_index{number(hard, "commit")}};
  d.snapshot = read_snapshot(part(from, "snapshot"));
  d.entries = read_entries(part(from, "entries"));
  return d;
}

config read_config(node_id id, const json& from) {
  config c;
  c.id = id;
  const json none = json::object();
  const json& f = from.is_null() ? none : from;
  const auto small = [&](const char* key, std::uint64_t otherwise) {
    const std::uint64_t v = number(f, key, otherwise);
    if (v > 1'000'000) refuse(std::string(key) + " is too large");
    return static_cast<std::uint32_t>(v);
  };
  c.election_min_ticks = small("election_ticks", 10);
  c.election_max_ticks = c.election_min_ticks == 0 ? 0 : 2 * c.election_min_ticks - 1;
  c.heartbeat_ticks = small("heartbeat_ticks", 1);
  c.election_rank = small("election_rank", 0);
  c.seed = number(f, "seed", id.value());
  c.prevote = flag(f, "prevote");
  c.check_quorum = flag(f, "check_quorum");
  constexpr std::array<std::string_view, 2> modes{"safe", "lease"};
  c.reads = static_cast<read_mode>(choice(modes, string(f, "read_only", "safe"), "read_only"));
  c.max_inflight_msgs = small("max_inflight_msgs", 0);
  c.max_inflight_bytes = number(f, "max_inflight_bytes");
  c.max_msg_bytes = number(f, "max_msg_bytes");
  c.max_committed_bytes = number(f, "max_committed_bytes");
  c.max_uncommitted_bytes = number(f, "max_uncommitted_bytes");
  c.step_down_on_removal = flag(f, "step_down_on_removal");
  // As `hello` says. The core need not know of async_persist: it takes any number of outstanding
  // writes, also one.
  (void)flag(f, "async_persist");
  c.commit_persisted = true;
  return c;
}

namespace {

message_type read_type(const std::string& name) {
  for (int i = 0; i < message_type_count; ++i)
    if (to_string(static_cast<message_type>(i)) == name) return static_cast<message_type>(i);
  refuse("unknown message type: " + name);
}

void read_append_response(const json& from, message& m) {
  m.reject = flag(from, "reject");
  if (!m.reject) {
    m.match = log_index{number(from, "match")};
    return;
  }
  m.rejected = log_index{number(from, "rejected")};
  std::tie(m.log_term, m.log_index) = read_position(from, "hint");
}

void read_vote_response(const json& from, message& m) {
  m.reject = flag(from, "reject");
  const auto [t, commit] = read_pair(string(from, "x"));
  m.log_term = term{t};
  m.commit = log_index{commit};
}

void read_body(const json& from, contexts& known, message& m) {
  switch (m.type) {
    case message_type::vote:
    case message_type::prevote:
      std::tie(m.log_term, m.log_index) = read_position(from, "last");
      m.force = flag(from, "force");
      return;
    case message_type::vote_resp:
    case message_type::prevote_resp:
      read_vote_response(from, m);
      return;
    case message_type::append:
      std::tie(m.log_term, m.log_index) = read_position(from, "prev");
      m.entries = read_entries(part(from, "entries"));
      m.commit = log_index{number(from, "commit")};
      m.notice = string(from, "x") == "notice";
      return;
    case message_type::append_resp:
      read_append_response(from, m);
      return;
    case message_type::heartbeat:
      m.commit = log_index{number(from, "commit")};
      [[fallthrough]];
    case message_type::heartbeat_resp:
      m.context = read_round(part(from, "ctx"));
      m.rank = static_cast<std::uint32_t>(read_round(part(from, "x")));
      return;
    case message_type::snapshot:
      m.snapshot = read_snapshot(part(from, "snapshot"));
      return;
    case message_type::timeout_now:
      return;
    case message_type::propose:
      m.entries = read_entries(part(from, "entries"));
      return;
    case message_type::read_index_resp:
      m.log_index = log_index{number(from, "index")};
      [[fallthrough]];
    case message_type::read_index:
      m.context = known.intern(part(from, "ctx"));
      m.nonce = read_round(part(from, "x"));
      return;
    case message_type::transfer:
      m.target = node_id{number(from, "target")};
      return;
  }
}

}  // namespace

message read_message(const json& from, contexts& known) {
  if (!from.is_object()) refuse("msg must be an object");
  message m;
  m.type = read_type(string(from, "type"));
  m.from = node_id{number(from, "from")};
  m.to = node_id{number(from, "to")};
  m.term = term{number(from, "term")};
  read_body(from, known, m);
  return m;
}

}  // namespace blixard::raft::lab
