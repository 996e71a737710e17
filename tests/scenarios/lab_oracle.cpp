#include "tests/scenarios/lab_oracle.hpp"

#include <set>
#include <stdexcept>

namespace blixard::raft::lab {
namespace {

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

std::string str(std::uint64_t n) { return std::to_string(n); }

json without_place(json e) {
  e.erase("term");
  e.erase("index");
  return e;
}

}  // namespace

std::uint64_t lab_oracle::view::term_at(std::uint64_t index) const {
  if (index == base) return base_term;
  return index > base && index <= last() ? terms[index - base - 1] : 0;
}

void lab_oracle::started(node id, const lab_disk& disk, std::uint64_t applied, const json& status) {
  view v;
  v.base = disk.base();
  v.base_term = disk.term_at(v.base);
  for (auto i = v.base + 1; i <= disk.last(); ++i) v.terms.push_back(disk.term_at(i));
  v.handed = std::max(applied, v.base);
  require(status["last"] == json({v.term_at(v.last()), v.last()}), "R3: the log is not the disk's");
  const auto commit = status["hard"]["commit"].get<std::uint64_t>();
  require(commit >= v.base && commit <= v.last(), "R3: commit is not clamped to the log");
  // A node that boots from a snapshot alone, without a term of its own, stays below its term.
  const bool boots = disk.term() == 0 && v.terms.empty();
  require(boots || status["hard"]["term"] >= v.term_at(v.last()),
          "R3: term below the last entry's");
  require(commit <= std::max(committed(), v.base), "a restart made up a commit index");
  const json conf = conf_at(v.handed);
  require(conf.is_null() || status["conf"] == conf,
          "the configuration does not follow from snapshot and log");
  nodes_[id] = std::move(v);
}

void lab_oracle::took(node id, const json& ready, const json& status, const json& log,
                      const std::map<node, lab_disk>& disks) {
  view& v = nodes_.at(id);
  const bool is_leader = status["role"] == "leader";
  const auto term = status["hard"]["term"].get<std::uint64_t>();
  const bool led_before = is_leader && v.leads_in == term;
  v.witness = v.witness || is_witness(id);
  wrote(v, ready, led_before);
  require(status["last"] == json({v.term_at(v.last()), v.last()}),
          "status and what was handed to the disk are not one log");
  if (is_leader && !led_before) leads(id, v, status, log);
  v.leads_in = is_leader ? term : 0;
  knows(id, status, disks);
  handed_out(v, ready);
  answered(v, ready);
}

void lab_oracle::wrote(view& v, const json& ready, bool leads) {
  if (ready.contains("snapshot")) {
    const json& s = ready["snapshot"];
    v.base = s["index"];
    v.base_term = s["term"];
    v.terms.clear();
    require(v.base >= v.handed, "a snapshot goes back behind what was handed out");
    v.handed = v.base;
    const auto known = chosen_.find(v.base);
    require(known == chosen_.end() || known->second == v.base_term,
            "a snapshot of another history");
    const json conf = conf_at(v.base);
    require(conf.is_null() || conf == s["conf"], "a snapshot with another configuration");
  }
  const json& entries = ready["entries"];
  if (entries.empty()) return;
  const auto first = entries[0]["index"].get<std::uint64_t>();
  require(first <= v.last() + 1 && first > v.base, "a gap in what is to be written");
  require(!leads || first == v.last() + 1, "Leader Append-Only");
  v.terms.resize(first - v.base - 1);
  for (const json& e : entries) wrote_entry(v, e);
}

void lab_oracle::wrote_entry(view& v, const json& e) {
  const position at{e["term"], e["index"]};
  require(at.second == v.last() + 1, "entries are not consecutive");
  std::pair<json, std::uint64_t> is{without_place(e), v.term_at(v.last())};
  if (v.witness && !e.contains("data") && entries_.contains(at)) is.first = entries_[at].first;
  const auto [known, fresh] = entries_.try_emplace(at, is);
  require(fresh || known->second == is,
          "Log Matching: two entries or two predecessors at " + e.dump());
  v.terms.push_back(at.first);
}

// Some configuration names it: it gets entries without data from then on.
bool lab_oracle::is_witness(node id) const {
  return std::ranges::any_of(confs_, [&](const auto& c) {
    return c.second.contains("witnesses") &&
           std::ranges::find(c.second["witnesses"], json(id)) != c.second["witnesses"].end();
  });
}

void lab_oracle::leads(node id, view& v, const json& status, const json& log) {
  const auto term = status["hard"]["term"].get<std::uint64_t>();
  const auto [known, fresh] = leaders_.emplace(term, id);
  require(fresh, "Election Safety: node " + str(id) + " and node " + str(known->second) +
                     " lead in term " + str(term));
  for (const auto& [index, chosen_term] : chosen_)
    require(index <= v.base || v.term_at(index) == chosen_term,
            "Leader Completeness: the leader of term " + str(term) + " lacks entry " + str(index));
  for (const json& e : log["entries"])
    require(e["term"] == v.term_at(e["index"]), "the log is not what was written");
}

void lab_oracle::knows(node id, const json& status, const std::map<node, lab_disk>& disks) {
  const view& v = nodes_.at(id);
  // Entries that it has and did not hand to the disk yet come with the next output.
  const auto commit = std::min(status["hard"]["commit"].get<std::uint64_t>(), v.last());
  const auto durable = [&](node member) {
    const auto disk = disks.find(member);
    return disk != disks.end() &&
           (disk->second.base() >= commit || disk->second.term_at(commit) == v.term_at(commit));
  };
  if (status["role"] == "leader" && commit > committed())
    require(quorum_holds(status["conf"], durable),
            "entry " + str(commit) + " is committed, not durable");
  for (auto i = std::max(v.base + 1, chosen_.empty() ? 0 : chosen_.begin()->first); i <= commit;
       ++i) {
    const auto [known, fresh] = chosen_.emplace(i, v.term_at(i));
    require(fresh || known->second == v.term_at(i), "State Machine Safety at " + str(i));
  }
}

void lab_oracle::handed_out(view& v, const json& ready) {
  for (const json& e : ready["committed"]) {
    const auto index = e["index"].get<std::uint64_t>();
    require(index == v.handed + 1, "R5: committed is not contiguous at " + str(index));
    v.handed = index;
    const auto chosen = chosen_.find(index);
    require(chosen != chosen_.end() && chosen->second == e["term"],
            "R5: handed out, not committed");
    require((v.witness && !e.contains("data")) ||
                entries_.at({e["term"], index}).first == without_place(e),
            "R5: another entry");
  }
}

void lab_oracle::applied(std::uint64_t index, const json& answer) {
  applied_ = std::max(applied_, index);
  if (!answer.contains("conf")) return;
  const auto [known, fresh] = confs_.emplace(index, answer["conf"]);
  require(fresh || known->second == answer["conf"],
          "State Machine Safety: two configurations behind entry " + str(index));
}

json lab_oracle::conf_at(std::uint64_t index) const {
  const auto above = confs_.upper_bound(index);
  return above == confs_.begin() ? json(nullptr) : std::prev(above)->second;
}

void lab_oracle::leaves(const json& msg, const lab_disk& disk) const {
  const auto term = msg["term"].get<std::uint64_t>();
  const std::string& type = msg["type"].get_ref<const std::string&>();
  const auto holds = [&](node vote) {
    return disk.term() > term || (disk.term() == term && disk.vote() == vote);
  };
  require(msg["to"] != msg["from"], "R2: a message to itself");
  if (type == "vote") {
    require(holds(msg["from"]), "R1: a vote request before the own vote is durable");
    const auto index = msg["last"][1].get<std::uint64_t>();
    require(index <= disk.base() || disk.term_at(index) == msg["last"][0],
            "R1: a vote request advertises what is not durable");
  } else if (type == "vote_resp" && !msg["reject"].get<bool>()) {
    require(holds(msg["to"]), "R1: a vote before it is durable");
  } else if (type == "append_resp" && msg.contains("match")) {
    const auto match = msg["match"].get<std::uint64_t>();
    require(disk.term() >= term, "R1: an acknowledgement in a term that is not durable");
    require(disk.last() >= match, "R1: an acknowledgement before the disk");
  }
}

void lab_oracle::asked(node id, const std::string& ctx) { nodes_.at(id).reads[ctx] = committed(); }

void lab_oracle::answered(view& v, const json& ready) {
  if (!ready.contains("reads")) return;
  for (const json& r : ready["reads"]) {
    const auto asked = v.reads.find(r["ctx"].get<std::string>());
    require(asked != v.reads.end(), "a read is answered that nobody asked, or twice");
    require(r["index"] >= asked->second, "a stale read");
    v.reads.erase(asked);
    ++reads_answered_;
  }
}

void lab_oracle::check_empty_entries() const {
  std::map<std::uint64_t, std::uint64_t> empty;  // the first of a term
  for (const auto& [index, term] : chosen_) {
    const auto e = entries_.find({term, index});
    if (e == entries_.end()) continue;
    const bool first = !empty.contains(term);
    const bool is_empty = e->second.first["kind"] == "normal" && !e->second.first.contains("data");
    require(!first || is_empty, "R7: term " + str(term) + " does not begin with an empty entry");
    empty.emplace(term, index);
  }
}

}  // namespace blixard::raft::lab
