#include "apps/node_disk.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "actors/frames.hpp"
#include "messages/cluster.pb.h"
#include "runtime/net/client.hpp"
#include "runtime/raft/codec.hpp"
#include "runtime/storage/packing.hpp"

namespace blixard::apps {
namespace {

using namespace std::chrono_literals;

tl::unexpected<start_error> fail(exit_code code, std::string message) {
  return tl::unexpected(start_error{static_cast<int>(code), std::move(message)});
}

tl::unexpected<start_error> fail(const storage::storage_error& e) {
  return tl::unexpected(start_error{storage::exit_code(e.code), e.message});
}

std::uint64_t random_id() {
  std::uint64_t value = 0;
  while (value == 0)
    if (getrandom(&value, sizeof value, 0) != sizeof value) value = 0;
  return value;
}

// The first snapshot of a new cluster: an empty state machine that has applied one empty entry.
start_result<void> bootstrap(const node_config& config, node_disk& disk) {
  disk.cluster = cluster_id{random_id()};
  if (auto r = disk.store->set_cluster(disk.cluster); !r) return fail(r.error());
  disk.machine.apply(entry{.term = term{1}, .index = log_index{1}});
  snapshot first{.index = log_index{1}, .term = term{1}, .conf = {.voters = {config.id}}};
  first.data = disk.machine.view().encode({disk.cluster, first.conf});
  disk.raft.hard = {.term = term{1}, .vote = node_id{}, .commit = log_index{1}};
  const storage::persist_batch batch{
      .seq = persist_seq{1}, .snap = &first, .entries = {}, .hard = disk.raft.hard};
  if (auto r = disk.store->write({&batch, 1}); !r) return fail(r.error());
  if (auto r = disk.store->sync(); !r) return fail(r.error());
  disk.last_index = first.index;
  disk.last_term = first.term;
  disk.raft.snapshot = std::make_shared<const snapshot>(std::move(first));
  spdlog::info("made a new cluster {:016x}", disk.cluster.value());
  return {};
}

// Somebody else is or was a member: by the addresses last known, or by what is left of the log.
bool knows_others(const node_config& config, const storage::recovery& found) {
  const auto is_other = [&](node_id id) { return id != config.id; };
  if (std::ranges::any_of(load_peers(config.data_dir), is_other, &actors::member_address::id) ||
      std::ranges::any_of(found.snap.conf.voters, is_other))
    return true;
  return std::ranges::any_of(found.entries, [&](const entry& e) {
    if (e.kind != entry_kind::conf) return false;
    const auto change = raft::decode_conf_change(e.data);
    return change &&
           std::ranges::any_of(change->changes, is_other, &raft::conf_change::single::node);
  });
}

// A damaged log is the peers' to repair. Where they cannot, nothing is touched, so that a copy of
// the damaged file can still take its place.
start_result<void> accept_damage(const node_config& config, storage::store::opened& opened) {
  const auto& found = opened.found;
  const auto what = fmt::format("{} is damaged at offset {}: {}", found.corrupt->file,
                                found.corrupt->offset, found.corrupt->what);
  if (!found.corrupt->repairable)
    return fail(exit_code::corruption,
                what +
                    ". Remove this node from the cluster and let it join again with an empty "
                    "data directory");
  if (found.owner.cluster.value() == 0 || !knows_others(config, found))
    return fail(exit_code::corruption,
                what +
                    ". No other member is known that could repair it: restore the file from a "
                    "copy of the disk");
  spdlog::error("{}. Until the other members have repaired it, this node does not vote", what);
  if (auto r = opened.disk->accept_damage(); !r) return fail(r.error());
  return {};
}

// Some configuration entry of the log makes this node that.
bool log_makes(node_id self, raft::conf_op op, const storage::recovery& found) {
  return std::ranges::any_of(found.entries, [&](const entry& e) {
    if (e.kind != entry_kind::conf) return false;
    const auto change = raft::decode_conf_change(e.data);
    const raft::conf_change::single made{op, self};
    return change && std::ranges::find(change->changes, made) != change->changes.end();
  });
}

// What a node was made, by its log or snapshot, stays, whatever flags a later start has.
start_result<bool> is_witness(const node_config& config, const storage::recovery& found) {
  const auto& conf = found.snap.conf;
  if (conf.is_witness(config.id) || log_makes(config.id, raft::conf_op::witness, found))
    return true;
  const bool has_data = conf.contains(config.id) ||
                        log_makes(config.id, raft::conf_op::learner, found) ||
                        log_makes(config.id, raft::conf_op::voter, found);
  if (!config.witness || !has_data) return config.witness;
  return fail(exit_code::configuration,
              "this node is a member with data: it cannot become a witness. Leave --witness out, "
              "or remove it and join with another id and an empty data directory");
}

std::string peers_path(const std::string& data_dir) { return data_dir + "/peers.json"; }

// What came of one question to the members.
struct attempt {
  std::optional<pb::Answer> answer;
  std::string why;
  errc code = errc::ok;
};

/// Whom to ask, and as whom.
struct members {
  const std::vector<endpoint>& addresses;
  const tls_ptr& tls;
};

attempt ask(const members& whom, frame_kind kind, const slice& body,
            std::uint32_t timeout_ms = 5000) {
  net::client client{{.addresses = whom.addresses, .tls = whom.tls}};
  attempt out;
  bool done = false;
  client.submit({.kind = kind, .body = body, .timeout_ms = timeout_ms},
                [&](const repl::reply& reply) {
                  done = true;
                  pb::Answer a;
                  if (!reply) {
                    out.why = reply.error().message;
                    if (reply.error().code == errc::unauthenticated) {
                      out.code = errc::unauthenticated;
                      if (!reply.error().hint.empty()) out.why += ": " + reply.error().hint;
                    }
                  } else if (!a.ParseFromArray(reply->data(), static_cast<int>(reply->size()))) {
                    out.why = "an answer that is not one";
                  } else if (a.error() != 0) {
                    out.why = a.message();
                    out.code = static_cast<errc>(a.error());
                  } else {
                    out.answer = std::move(a);
                  }
                });
  while (!done) client.poll(1000);
  return out;
}

bool lists_as_member(const pb::ClusterStatus& status, node_id id) {
  return std::ranges::any_of(status.members(), [&](const pb::MemberStatus& m) {
    return node_id{m.id()} == id && m.role() != "none";
  });
}

// Whether this id is a member's, or ever was one's; nothing: nobody could say so, see `last`.
std::optional<bool> ask_whether_known(const members& whom, node_id self, attempt& last) {
  pb::Query status;
  status.mutable_cluster_status();
  last = ask(whom, frame_kind::query, actors::to_slice(status));
  if (!last.answer) return std::nullopt;
  if (lists_as_member(last.answer->status(), self)) return true;
  // Who left stays in the inventory.
  pb::Query node;
  node.mutable_node_show()->set_id(self.value());
  last = ask(whom, frame_kind::query, actors::to_slice(node));
  if (last.code == errc::not_found) return false;
  return last.answer ? std::optional{true} : std::nullopt;
}

admission_ticket ticket_from(const pb::Answer& a, bool was_member) {
  admission_ticket t{.cluster = cluster_id{a.joined().cluster_id()},
                     .members = {},
                     .was_member = was_member,
                     .term = blixard::term{a.term()}};
  for (const auto& m : a.joined().members()) t.members.push_back({node_id{m.node()}, m.address()});
  return t;
}

}  // namespace

start_result<node_disk> open_disk(const node_config& config) {
  auto files = std::make_unique<storage::posix_file_system>();
  auto opened = storage::store::open(
      *files, config.data_dir,
      {.owner = {config.id, cluster_id{}}, .segment_bytes = config.segment_bytes});
  if (!opened) return fail(opened.error());
  auto& found = opened->found;
  for (const auto& w : found.warnings) spdlog::warn("{}", w);
  if (found.corrupt)
    if (auto r = accept_damage(config, *opened); !r) return tl::unexpected(r.error());
  const auto witness = is_witness(config, found);
  if (!witness) return tl::unexpected(witness.error());
  node_disk disk{.files = std::move(files),
                 .store = std::move(opened->disk),
                 .cluster = found.owner.cluster,
                 .last_index = found.last_index,
                 .last_term = found.last_term,
                 .truncated_bytes = found.truncated_bytes,
                 .witness = *witness,
                 .repair = found.corrupt || found.repair_to ? random_id() : 0};
  disk.raft.hard = found.hard;
  disk.raft.entries = std::move(found.entries);
  disk.incoming = std::move(found.incoming);
  if (!found.snap.empty()) {
    const auto raw = storage::unpack(found.snap.data);
    if (!raw) return fail(exit_code::corruption, raw.error().message);
    auto context = disk.machine.load(raw->bytes());
    if (!context) return fail(exit_code::corruption, "snapshot: " + context.error().message);
    // Parts of two data directories that were put together.
    if (context->cluster && disk.cluster && context->cluster != disk.cluster)
      return fail(
          exit_code::foreign_data,
          fmt::format("{}/snap holds the data of cluster {:016x}, {}/node.json says {:016x}",
                      config.data_dir, context->cluster.value(), config.data_dir,
                      disk.cluster.value()));
    disk.raft.snapshot = std::make_shared<const snapshot>(std::move(found.snap));
  }
  if (disk.cluster.value() != 0) return disk;
  if (config.bootstrap) {
    if (auto r = bootstrap(config, disk); !r) return tl::unexpected(r.error());
  } else if (config.join.empty()) {
    return fail(exit_code::configuration,
                config.data_dir +
                    " holds no cluster yet: start the first node with --bootstrap, "
                    "the others with --join HOST:PORT of a member");
  }
  return disk;
}

std::vector<actors::member_address> load_peers(const std::string& data_dir) {
  std::vector<actors::member_address> out;
  std::ifstream in{peers_path(data_dir)};
  const auto json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object()) return out;
  for (const auto& [id, address] : json.items())
    if (address.is_string())
      out.push_back({node_id{std::strtoull(id.c_str(), nullptr, 10)}, address});
  return out;
}

void save_peers(const std::string& data_dir, const std::vector<actors::member_address>& members,
                bool keep_others) {
  nlohmann::json json = nlohmann::json::object();
  if (keep_others)
    for (const auto& m : load_peers(data_dir)) json[to_string(m.id)] = m.address;
  for (const auto& m : members) json[to_string(m.id)] = m.address;
  const auto path = peers_path(data_dir);
  {
    std::ofstream out{path + ".tmp", std::ios::trunc};
    out << json.dump() << '\n';
    if (!out.flush()) return;  // a hint: the next change tries again
  }
  std::rename((path + ".tmp").c_str(), path.c_str());
}

start_result<void> start_over(node_disk& disk, blixard::term known) {
  spdlog::warn(
      "this node is or was a member and its data directory is empty: the others bring it up, until "
      "then it does not vote");
  if (auto r = disk.store->start_over(known); !r) return fail(r.error());
  disk.raft.hard.term = known;
  disk.repair = random_id();
  return {};
}

start_result<void> check_join(const node_config& config, const tls_ptr& tls, cluster_id ours) {
  pb::Query who;
  who.set_stale(true);
  who.mutable_cluster_status();
  const auto got = ask({config.join, tls}, frame_kind::local, actors::to_slice(who), 1000);
  const auto theirs = got.answer ? got.answer->status().cluster_id() : 0;
  if (theirs == 0 || cluster_id{theirs} == ours) return {};
  return fail(exit_code::foreign_data,
              fmt::format("{} holds the data of cluster {:016x}, and --join names a member of "
                          "cluster {:016x}: give this node an empty data directory",
                          config.data_dir, ours.value(), theirs));
}

start_result<admission_ticket> ask_to_join(const node_config& config, const tls_ptr& tls,
                                           const std::string& advertise, std::uint64_t disk) {
  const members whom{config.join, tls};
  pb::AdminRequest request;
  request.mutable_join()->set_node(config.id.value());
  request.mutable_join()->set_address(advertise);
  request.mutable_join()->set_witness(config.witness);
  request.mutable_join()->set_itself(true);
  if (config.witness) request.mutable_join()->set_disk(disk);
  // Whether this id is known already is asked before anything is changed, and only once: an
  // admission whose answer was lost must not look like a former life.
  std::optional<bool> was_member;
  std::string why;
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (std::chrono::steady_clock::now() < until) {
    attempt got;
    if (was_member) {
      got = ask(whom, frame_kind::admin, actors::to_slice(request));
      if (got.answer) return ticket_from(*got.answer, *was_member);
    } else {
      was_member = ask_whether_known(whom, config.id, got);
      if (was_member) continue;
    }
    if (got.why != why) spdlog::info("not admitted yet: {}", got.why);
    why = std::move(got.why);
    if (got.code == errc::unauthenticated)
      return fail(exit_code::tls, "the cluster did not admit this node: " + why);
    // A host that went down without a word looks for a while as if it were still there.
    const auto now = std::chrono::steady_clock::now();
    if (got.code == errc::invalid_argument || (got.code == errc::conflict && until - now < 50s))
      break;
    std::this_thread::sleep_for(200ms);
  }
  return fail(exit_code::configuration, "the cluster did not admit this node: " + why);
}

}  // namespace blixard::apps
