// How the actors of one node find each other, and what they share without messages.
//
// Both structs belong to the node (apps/node.cpp) and outlive every actor. `links` is filled before
// the first message is sent and emptied after the last actor ended; in between it is only read.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "actors/interfaces.hpp"
#include "messages/ids.hpp"
#include "runtime/base/published.hpp"
#include "runtime/base/replaced.hpp"
#include "runtime/net/address.hpp"
#include "runtime/raft/types.hpp"

namespace blixard::metrics {
class registry;
}

namespace blixard::actors {

struct links {
  router_actor router;
  raft_actor raft;
  wal_actor wal;
  state_actor state;
  cache_actor cache;
  planner_actor planner;
  vm_actor vm;
};

/// What the raft actor knows about the members, as an immutable value that is replaced whole.
struct raft_view {
  node_id leader;
  blixard::term term;
  log_index commit;
  conf_state conf;
  bool recovering = false;               // this node's log is being repaired
  bool lease_reads = false;              // a leader here answers reads by its lease
  std::vector<raft::peer_status> peers;  // on the leader only
};

/// A link to a peer as the transport sees it; replaced whole by the router.
struct link_view {
  struct one {
    node_id node;
    bool connected = false;
    std::uint32_t rtt_us = 0;
    net::address where;
  };
  std::vector<one> links;
};

/// Facts that any thread may read at any time, without a lock, also while the actor system hangs.
/// Writers: see each.
struct shared_facts {
  node_id self;
  cluster_id cluster;
  std::string version;
  bool witness = false;                   // this node votes and has no data
  published* flags = nullptr;             // groups written by raft and by node-state
  metrics::registry* registry = nullptr;  // handles resolved by each actor at start
  replaced<raft_view> raft;               // writer: raft
  replaced<link_view> links;              // writer: router
  /// The highest index that a leader called committed, also while this node's log ends before it.
  std::atomic<std::uint64_t> committed_elsewhere{0};  // writer: raft
  /// The disk (pb::Node.disk) that this node's id is registered from, as of the published applied
  /// index or an earlier one; 0: none. Writer: node-state (release, after it published the index).
  std::atomic<std::uint64_t> registered_disk{0};
  /// Nothing is left to be done, and the process ends: large memory need not be freed any more.
  std::atomic<bool> process_ends{false};  // writer: the node
};

}  // namespace blixard::actors
