// The inside of the state machine: its tables, and one member function per command and query.
//
// Commands fill in an answer and change the tables; those that refuse change nothing. The files:
// machine.cpp (dispatch, sessions), apply_kv.cpp, apply_vm.cpp, apply_report.cpp, apply_node.cpp,
// query.cpp, snapshot.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "messages/cluster.pb.h"
#include "messages/limits.hpp"
#include "runtime/state/command_view.hpp"
#include "runtime/state/fleet.hpp"
#include "runtime/state/history.hpp"
#include "runtime/state/kv_store.hpp"
#include "runtime/state/machine.hpp"
#include "runtime/state/sessions.hpp"

namespace blixard::state {

struct machine::tables {
  log_index applied;
  blixard::term applied_term;
  std::int64_t time_ms = 0;  // of the command that is being applied
  std::uint64_t next_vm_id = 1;
  kv_store kv;
  fleet vms_and_nodes;
  session_table sessions{
      {limits::sessions_max, limits::session_results_max, limits::session_window}};
  pb::Command scratch;  // parsed into again and again: keeps its memory

  // --- machine.cpp
  void apply(const entry& e, applied_result& out);
  [[nodiscard]] hash128 digest() const;
  [[nodiscard]] hash128 digest_from_scratch() const;
  [[nodiscard]] hash128 counters_hash() const;

  // --- apply_kv.cpp
  void kv_put(const kv_put_view& put, pb::Answer& answer, changes& changed);
  void kv_cas(const pb::KvCas& cas, pb::Answer& answer, changes& changed);
  void kv_delete(const pb::KvDelete& del, pb::Answer& answer, changes& changed);

  // --- apply_vm.cpp
  void vm_create(const pb::VmCreate& create, pb::Answer& answer);
  void vm_action(const pb::VmAction& action, pb::Answer& answer);
  void vm_place(const pb::VmPlace& request, pb::Answer& answer);

  // --- apply_report.cpp
  void vm_report(const pb::VmReport& report, pb::Answer& answer);

  // --- apply_node.cpp
  void node_register(const pb::NodeRegister& reg, pb::Answer& answer);
  void node_down(const pb::NodeDown& down, pb::Answer& answer);
  void node_cordon(const pb::NodeCordon& cordon, pb::Answer& answer);
  void learn_address(const pb::ConfChange& change);
  void forget_removed(const pb::ConfChange& change);

  // --- query.cpp
  void answer(const pb::Query& query, pb::Answer& out) const;

  // --- snapshot.cpp
  [[nodiscard]] snapshot_view view() const;

 private:
  // machine.cpp
  void execute(const entry& e, applied_result& out);
  template <class Run>  // void(pb::Answer&)
  void execute_once(std::string_view client, std::uint64_t seq, applied_result& out, Run&& run);
  void dispatch(const pb::Command& command, applied_result& out);

  // apply_vm.cpp
  [[nodiscard]] moment now() const noexcept { return {applied, time_ms}; }
  [[nodiscard]] bool place(pb::Vm& vm, const pb::Decision& proposed, pb::Decision& verdict);
  void assign(pb::Vm& vm, node_id node) const;
  [[nodiscard]] pb::Vm told(const pb::Vm& vm, std::string_view what) const;
  void vm_start(const vm_ptr& vm, pb::Answer& answer);
  void vm_stop(const vm_ptr& vm, bool force, pb::Answer& answer);
  void vm_restart(const vm_ptr& vm, pb::Answer& answer);
  void vm_pause(const vm_ptr& vm, pb::Answer& answer);
  void vm_resume(const vm_ptr& vm, pb::Answer& answer);
  void vm_delete(const vm_ptr& vm, bool force, pb::Answer& answer);
  void store(pb::Vm vm, pb::Answer& answer);

  // apply_report.cpp
  [[nodiscard]] std::string take_report(node_id from, const pb::VmReport::One& one);
  [[nodiscard]] pb::Vm given_up(const pb::Vm& vm, const pb::VmReport::One& one) const;
  [[nodiscard]] pb::Vm observed(const pb::Vm& vm, const pb::VmReport::One& one) const;

  // apply_node.cpp
  void release_vms_of(node_id node, const std::string& why);
  [[nodiscard]] pb::Vm without_node(const pb::Vm& vm, const std::string& why) const;

  // query.cpp
  void kv_get(const pb::KvGet& q, pb::Answer& out) const;
  void kv_list(const pb::KvList& q, pb::Answer& out) const;
  void vm_list(const pb::VmList& q, pb::Answer& out) const;
  void vm_show(const pb::VmRef& q, pb::Answer& out) const;
  void vm_explain(const pb::VmExplain& q, pb::Answer& out) const;
  void node_list(pb::Answer& out) const;
  void node_show(const pb::NodeRef& q, pb::Answer& out) const;
  void cluster_status(pb::Answer& out) const;
  void digest_at(const pb::DigestAt& q, pb::Answer& out) const;
  void complete(const pb::Complete& q, pb::Answer& out) const;
};

/// Turns the answer into an error; what was in it is dropped.
void refuse(pb::Answer& answer, errc code, std::string message, std::string hint = {});
/// errc::not_found for a VM.
void no_such_vm(pb::Answer& answer, std::string_view tenant, std::string_view name);
/// Writes a node with what is allocated on it.
void write_node(const node_usage& n, pb::Node& out);
/// A tenant's name, where none was given.
[[nodiscard]] inline std::string_view tenant_or_default(std::string_view tenant) noexcept {
  return tenant.empty() ? std::string_view{"default"} : tenant;
}

}  // namespace blixard::state
