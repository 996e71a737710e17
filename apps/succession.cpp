#include "apps/succession.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "actors/frames.hpp"
#include "runtime/net/client.hpp"
#include "runtime/net/loop.hpp"

namespace blixard::apps {
namespace {

using namespace std::chrono_literals;
constexpr auto look_every = 2s;
constexpr std::uint32_t patience_ms = 400;  // per member

struct asker {
  cluster_id cluster;
  const std::shared_ptr<net::tls_credentials>& tls;
};

std::optional<pb::Answer> ask(const endpoint& where, const asker& as, const slice& question) {
  net::client client{{.addresses = {where},
                      .connect_timeout_ms = patience_ms,
                      .cluster = as.cluster,
                      .tls = as.tls}};
  std::optional<pb::Answer> out;
  client.submit({.kind = frame_kind::local, .body = question, .timeout_ms = patience_ms},
                [&](const repl::reply& reply) {
                  pb::Answer a;
                  if (reply && a.ParseFromArray(reply->data(), static_cast<int>(reply->size())))
                    out = std::move(a);
                });
  while (client.outstanding() > 0) client.poll(static_cast<int>(patience_ms));
  return out;
}

}  // namespace

bool names_successor(const pb::Answer& answer, node_id self, std::uint64_t disk,
                     log_index applied) {
  if (answer.error() != 0 || answer.nodes().nodes_size() != 1) return false;
  const auto& node = answer.nodes().nodes(0);
  return node_id{node.id()} == self && node.disk() != 0 && node.disk() != disk &&
         log_index{answer.index()} > applied;
}

bool names_as_former(const pb::Answer& answer, node_id self, std::uint64_t disk) {
  if (answer.error() != 0 || answer.nodes().nodes_size() != 1) return false;
  const auto& node = answer.nodes().nodes(0);
  return node_id{node.id()} == self &&
         std::ranges::find(node.former_disks(), disk) != node.former_disks().end();
}

succession_watch::succession_watch(const actors::shared_facts& facts, std::uint64_t disk,
                                   std::shared_ptr<net::tls_credentials> tls,
                                   std::function<void(const std::string&)> found)
    : facts_(facts), disk_(disk), tls_(std::move(tls)), found_(std::move(found)), thread_([this] {
        run();
      }) {}

succession_watch::~succession_watch() {
  {
    const std::lock_guard guard(lock_);
    ended_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void succession_watch::run() {
  prctl(PR_SET_NAME, "blixard-succ");
  bool was_lonely = false;
  while (wait()) {
    const bool lonely = is_lonely();
    if (std::exchange(was_lonely, lonely) && lonely && ask_members()) {
      found_("node " + to_string(facts_.self) +
             " has started with another data directory while this process was away: this one is no "
             "member any more. Remove its data directory, or start it with an empty one and an id "
             "of its own");
      return;
    }
  }
}

/// Returns whether there is a next look.
bool succession_watch::wait() {
  std::unique_lock guard(lock_);
  return !changed_.wait_for(guard, look_every, [this] { return ended_; });
}

bool succession_watch::is_lonely() const {
  if (facts_.witness) {
    // It never campaigns, so it goes on to believe in a leader of which it hears nothing.
    const auto heard = facts_.flags->read().raft.leader_contact_ns;
    const auto now = net::monotonic_ns();
    return std::chrono::nanoseconds(now - std::min(now, heard)) > look_every;
  }
  return !facts_.flags->leader() && facts_.registered_disk.load(std::memory_order_acquire) == disk_;
}

bool succession_watch::ask_members() {
  // Before anybody is asked: what this node applied up to here had this disk in it.
  const auto applied = facts_.flags->state().applied;
  const auto links = facts_.links.load();
  if (!links) return false;
  pb::Query who;
  who.set_stale(true);
  who.mutable_node_show()->set_id(facts_.self.value());
  const auto question = actors::to_slice(who);
  for (const auto& l : links->links) {
    {
      const std::lock_guard guard(lock_);
      if (ended_) return false;
    }
    const auto where = parse_endpoint(l.where.to_string());
    if (!where) continue;
    const auto answer = ask(*where, {facts_.cluster, tls_}, question);
    if (!answer) continue;
    if (facts_.witness ? names_as_former(*answer, facts_.self, disk_)
                       : names_successor(*answer, facts_.self, disk_, applied))
      return true;
  }
  return false;
}

}  // namespace blixard::apps
