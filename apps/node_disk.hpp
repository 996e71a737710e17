// What a node finds, or makes, in its data directory before anything else starts.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "actors/envelopes.hpp"
#include "runtime/base/config.hpp"
#include "runtime/net/tls_credentials.hpp"
#include "runtime/raft/types.hpp"
#include "runtime/state/machine.hpp"
#include "runtime/storage/file_system.hpp"
#include "runtime/storage/store.hpp"

namespace blixard::apps {

/// Why a node cannot start: the exit code and what a person is told.
struct start_error {
  int code = 0;
  std::string message;
};

template <class T>
using start_result = tl::expected<T, start_error>;

/// The recovered (or new) durable state, ready for the core and the state machine.
struct node_disk {
  std::unique_ptr<storage::file_system> files;
  std::unique_ptr<storage::store> store;
  cluster_id cluster;  // 0: has yet to join
  raft::disk_state raft;
  state::machine machine;                              // at the snapshot
  std::optional<storage::incoming_snapshot> incoming;  // what has arrived of a newer snapshot
  log_index last_index;
  blixard::term last_term;
  std::uint64_t truncated_bytes = 0;
  bool witness = false;  // votes, has no data
  std::uint64_t repair =
      0;  // not 0: the log is damaged, the peers repair it (raft::config::repair)
};

/// Opens config.data_dir. A fresh directory with --bootstrap becomes a cluster of one: a snapshot
/// at index 1, term 1, whose configuration is this node. A damaged log is repairable where other
/// members are known; else, and where term and vote are lost, that is exit code 10 and the
/// directory stays as it is.
[[nodiscard]] start_result<node_disk> open_disk(const node_config& config);

/// The members' addresses as last known, in `peers.json`: a hint for a restart, so that a node
/// finds its peers before it has heard from any. Missing or damaged: empty.
[[nodiscard]] std::vector<actors::member_address> load_peers(const std::string& data_dir);
/// `keep_others`: these are some of the members only.
void save_peers(const std::string& data_dir, const std::vector<actors::member_address>& members,
                bool keep_others = false);

/// The node's certificate, with which it also asks as a client; null: without TLS.
using tls_ptr = std::shared_ptr<net::tls_credentials>;

/// What a node learns when it is admitted.
struct admission_ticket {
  cluster_id cluster;
  std::vector<actors::member_address> members;
  /// This id was a member's before it asked, then or once: whatever it had acknowledged and voted
  /// is lost, in terms up to this one.
  bool was_member = false;
  blixard::term term;
};

/// For a node that comes back with an empty disk: durably, everything that it once acknowledged or
/// voted, in terms up to `known`, is lost. It runs as one whose log is damaged, and counts again
/// when its peers have brought it up. Why a forgotten vote is safe stands in actors/README.md.
[[nodiscard]] start_result<void> start_over(node_disk& disk, blixard::term known);

/// A start line may keep its --join. Error: who listens there is of another cluster than the data
/// of this node (exit 6). That nobody answers is none.
[[nodiscard]] start_result<void> check_join(const node_config& config, const tls_ptr& tls,
                                            cluster_id ours);

/// Asks the members in `config.join` to admit this node, again and again for up to a minute (the
/// cluster may be starting too). `disk`: pb::Node.disk. Errors: exit code 3 with what the last
/// member said, at once and 14 where TLS stands between the two.
[[nodiscard]] start_result<admission_ticket> ask_to_join(const node_config& config,
                                                         const tls_ptr& tls,
                                                         const std::string& advertise,
                                                         std::uint64_t disk);

}  // namespace blixard::apps
