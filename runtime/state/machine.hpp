// The replicated state machine: VMs, nodes, keys and remembered answers.
//
//   committed entry ──apply──► answer for the client, and what changed
//
// Deterministic: no clock, no randomness, no I/O. Ids and times come from the entry, decisions are
// checked again here with the planner's own code, and every node that applied the same entries has
// the same bytes in its snapshot and the same digest. An entry that makes no sense is answered with
// an error, the same on every node; nothing in an entry can stop the process.
//
// One thread owns a machine. What it hands out (VMs, inventories, snapshot views) is immutable and
// may be read by any thread.
//
// Which command does what to a VM stands as a table in runtime/state/README.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "messages/entry.hpp"
#include "messages/errc.hpp"
#include "messages/ids.hpp"
#include "runtime/state/hash.hpp"
#include "runtime/state/inventory.hpp"

namespace blixard::pb {
class Answer;
class Node;
class Query;
class Vm;
}  // namespace blixard::pb

namespace blixard::state {

/// What one entry changed, so that nobody has to look through the state for it.
struct changes {
  std::vector<vm_id> vms;      // created, changed or removed; each once
  std::vector<node_id> nodes;  // registered or with another state; each once; not mere allocation
  bool kv = false;             // a key was written or deleted
  bool inventory = false;      // inventory version moved: plans for pending VMs may come out better
  bool summary = false;        // summary version moved
};

/// The outcome of one entry. Reusable: `apply` overwrites it and keeps its memory.
struct applied_result {
  applied_result();
  ~applied_result();
  applied_result(applied_result&&) noexcept;
  applied_result& operator=(applied_result&&) noexcept;

  std::unique_ptr<pb::Answer> answer;  // never null; index and term are the entry's
  changes changed;
  bool duplicate = false;  // a remembered (client, seq): answer is the first result
};

/// Takes the next piece of a snapshot; false stops the writing.
using byte_sink = std::function<bool(std::span<const std::byte>)>;

/// What a snapshot's header says besides the machine's own state.
struct snapshot_context {
  blixard::cluster_id cluster;
  conf_state conf;
};

/// A consistent view of the machine at one index, taken in O(1): it shares every object with the
/// machine, which copies what it changes later (cow_tree.hpp). Write it on any thread, and let the
/// last copy of it go there (let_go): what only the view still holds is freed then, O(what changed
/// since).
class snapshot_view {
 public:
  struct parts;  // internal
  explicit snapshot_view(std::shared_ptr<parts> p) noexcept : parts_(std::move(p)) {}

  [[nodiscard]] log_index index() const noexcept;
  [[nodiscard]] blixard::term term() const noexcept;
  /// Writes the state as length-delimited pb::SnapshotRecord (runtime/state/README.md), in pieces
  /// of about 64 KiB; equal states give equal bytes. False if the sink stopped it.
  bool write(const snapshot_context& context, const byte_sink& sink) const;
  /// The same, as one slice. Precondition: less than 4 GiB.
  [[nodiscard]] slice encode(const snapshot_context& context) const;
  /// Ends this view. Where it is the last copy, with a call of `between` after each few dozen
  /// objects that are freed, so that this takes its time (base/background.hpp).
  void let_go(const std::function<void()>& between);

 private:
  std::shared_ptr<parts> parts_;  // never changed but by let_go()
};

class machine {
 public:
  machine();
  ~machine();
  machine(machine&&) noexcept;
  machine& operator=(machine&&) noexcept;

  /// Applies the next entry. Precondition: its index is applied_index() + 1.
  void apply(const entry& e, applied_result& out);
  applied_result apply(const entry& e);

  /// A witness's machine takes a place behind entries whose data it never had. Precondition: it has
  /// applied nothing with data, and less than `index`.
  void stand_at(log_index index, blixard::term term) noexcept;

  /// Index and term of the last entry applied; part of the state.
  [[nodiscard]] log_index applied_index() const noexcept;
  [[nodiscard]] blixard::term applied_term() const noexcept;

  /// Answers a query from the state as it is: kv_get, kv_list, vm_list, vm_show, vm_explain,
  /// node_list, node_show, digest, complete, cluster_status. `index` is the applied index; of
  /// cluster_status the members' id, address, state and version and the summary are filled in, the
  /// raft fields are the caller's. Other queries: errc::unsupported. A digest at an index other
  /// than 0 and the applied one: errc::unavailable (not applied yet, or passed).
  void answer(const pb::Query& query, pb::Answer& out) const;
  [[nodiscard]] pb::Answer answer(const pb::Query& query) const;

  /// The inventory as it is now; the same pointer until one of its versions moves.
  [[nodiscard]] std::shared_ptr<const state::inventory> inventory() const;

  /// A VM by id, or null. The object never changes; a later state is another object.
  [[nodiscard]] std::shared_ptr<const pb::Vm> vm(vm_id id) const;
  [[nodiscard]] std::shared_ptr<const pb::Vm> vm(std::string_view tenant,
                                                 std::string_view name) const;
  /// The VMs assigned to a node, by id. O(result).
  [[nodiscard]] std::vector<std::shared_ptr<const pb::Vm>> vms_on(node_id node) const;
  /// The VMs that wait for a node (phase pending) with ids above `after`, by id, at most `max`.
  [[nodiscard]] std::vector<std::shared_ptr<const pb::Vm>> pending_vms(vm_id after,
                                                                       std::size_t max) const;
  /// A node as registered, or null; `allocated` is not set (see inventory()).
  [[nodiscard]] std::shared_ptr<const pb::Node> node(node_id id) const;

  struct sizes {
    std::size_t keys = 0;
    std::size_t vms = 0;
    std::size_t nodes = 0;
    std::size_t sessions = 0;         // clients that are remembered
    std::size_t session_results = 0;  // answers that are remembered
  };
  [[nodiscard]] sizes size() const noexcept;

  /// The rolling digest of the whole replicated state, 128 bits; O(1).
  [[nodiscard]] hash128 digest() const;
  /// The same, computed from every object; for tests and self-checks. O(state).
  [[nodiscard]] hash128 digest_from_scratch() const;

  /// A consistent view for a snapshot; O(1).
  [[nodiscard]] snapshot_view view() const;

  /// Replaces the whole state by a snapshot's. On an error (errc::internal: the bytes are damaged
  /// or do not add up to their digest; errc::unsupported: a newer format) the state is unchanged.
  tl::expected<snapshot_context, error> load(std::span<const std::byte> bytes);

 private:
  struct tables;
  std::unique_ptr<tables> t_;
};

}  // namespace blixard::state
