// What the tests of the state machine share: entries from commands, a machine with nodes, queries.
#pragma once

#include <string>
#include <utility>

#include "messages/cluster.pb.h"
#include "messages/errc.hpp"
#include "messages/limits.hpp"
#include "runtime/state/machine.hpp"
#include "runtime/state/placement.hpp"

namespace blixard::state::testing {

inline constexpr std::uint64_t MiB = limits::MiB;
inline constexpr std::uint64_t GiB = limits::GiB;

inline errc code_of(const pb::Answer& a) { return static_cast<errc>(a.error()); }

/// A machine that is fed commands as entries of term 1.
class fixture {
 public:
  machine sm;
  std::int64_t clock_ms = 1234;  // the proposer's, of commands that do not say

  applied_result apply_bytes(std::string_view bytes, entry_kind kind = entry_kind::normal) {
    return sm.apply(entry{term{1}, sm.applied_index().next(), kind, slice::copy_of(bytes)});
  }
  applied_result apply(pb::Command c) {
    if (c.time_ms() == 0) c.set_time_ms(clock_ms);
    return apply_bytes(c.SerializeAsString());
  }

  pb::Answer run(const pb::Command& c) { return *apply(c).answer; }
  pb::Answer ask(const pb::Query& q) const { return sm.answer(q); }

  // --- keys
  static pb::Command put_command(std::string key, std::string value) {
    pb::Command c;
    c.mutable_kv_put()->set_key(std::move(key));
    c.mutable_kv_put()->set_value(std::move(value));
    return c;
  }
  pb::Answer put(std::string key, std::string value) {
    return run(put_command(std::move(key), std::move(value)));
  }
  pb::Answer put_if(std::string key, std::string value, std::uint64_t version) {
    auto c = put_command(std::move(key), std::move(value));
    c.mutable_kv_put()->set_if_version_set(true);
    c.mutable_kv_put()->set_if_version(version);
    return run(c);
  }
  pb::Answer cas(std::string key, std::string expected, std::string value) {
    pb::Command c;
    c.mutable_kv_cas()->set_key(std::move(key));
    c.mutable_kv_cas()->set_expected(std::move(expected));
    c.mutable_kv_cas()->set_value(std::move(value));
    return run(c);
  }
  pb::Answer del(std::string key) {
    pb::Command c;
    c.mutable_kv_delete()->set_key(std::move(key));
    return run(c);
  }
  pb::Answer get(std::string key) const {
    pb::Query q;
    q.mutable_kv_get()->set_key(std::move(key));
    return ask(q);
  }

  // --- nodes
  static pb::Node node_of(std::uint64_t id, std::uint64_t vcpus = 8,
                          std::uint64_t memory = 8 * GiB) {
    pb::Node n;
    n.set_id(id);
    n.set_name("n" + std::to_string(id));
    n.set_address("127.0.0.1:" + std::to_string(7000 + id));
    n.mutable_capacity()->set_vcpus(vcpus);
    n.mutable_capacity()->set_memory_bytes(memory);
    n.mutable_capacity()->set_disk_bytes(100 * GiB);
    n.add_backends(pb::BACKEND_QEMU);
    n.add_backends(pb::BACKEND_PROCESS);
    n.set_incarnation(1);
    n.set_version("0.1");
    return n;
  }
  pb::Answer register_node(const pb::Node& n) {
    pb::Command c;
    *c.mutable_node_register()->mutable_node() = n;
    return run(c);
  }
  pb::Answer register_node(std::uint64_t id, std::uint64_t incarnation = 1) {
    auto n = node_of(id);
    n.set_incarnation(incarnation);
    return register_node(n);
  }
  applied_result node_down(std::uint64_t id, std::uint64_t incarnation = 1) {
    pb::Command c;
    c.mutable_node_down()->set_node(id);
    c.mutable_node_down()->set_incarnation(incarnation);
    return apply(c);
  }
  pb::Answer cordon(std::uint64_t id, bool on = true) {
    pb::Command c;
    c.mutable_node_cordon()->set_node(id);
    c.mutable_node_cordon()->set_cordon(on);
    return run(c);
  }
  pb::Node node(std::uint64_t id) const {
    pb::Query q;
    q.mutable_node_show()->set_id(id);
    const auto a = ask(q);
    return a.nodes().nodes_size() == 1 ? a.nodes().nodes(0) : pb::Node{};
  }

  // --- VMs
  static pb::VmSpec spec_of(std::string name) {
    pb::VmSpec s;
    s.set_name(std::move(name));
    return s;
  }
  static pb::Command create_command(const pb::VmSpec& spec, std::uint64_t decided = 0) {
    pb::Command c;
    *c.mutable_vm_create()->mutable_spec() = spec;
    c.mutable_vm_create()->mutable_decision()->set_node(decided);
    return c;
  }
  pb::Answer create(const pb::VmSpec& spec, std::uint64_t decided = 0) {
    return run(create_command(spec, decided));
  }
  pb::Answer create(std::string name, std::uint64_t decided = 0) {
    return create(spec_of(std::move(name)), decided);
  }
  pb::Answer act(std::string name, pb::VmActionKind what, bool force = false) {
    pb::Command c;
    c.mutable_vm_action()->set_name(std::move(name));
    c.mutable_vm_action()->set_action(what);
    c.mutable_vm_action()->set_force(force);
    return run(c);
  }
  pb::Answer place(std::uint64_t vm, std::uint64_t generation, std::uint64_t node) {
    pb::Command c;
    c.mutable_vm_place()->set_vm(vm);
    c.mutable_vm_place()->set_generation(generation);
    c.mutable_vm_place()->mutable_decision()->set_node(node);
    return run(c);
  }
  /// A report about a VM as the node knows it now; change it before it is sent.
  pb::VmReport::One one_of(const std::string& name, pb::Phase phase) const {
    pb::VmReport::One one;
    const auto v = vm(name);
    one.set_vm(v.id());
    one.set_generation(v.generation());
    one.set_phase(phase);
    one.set_backend(pb::BACKEND_QEMU);
    if (phase == pb::PHASE_RUNNING) one.set_pid(4711);
    return one;
  }
  pb::Answer report(std::uint64_t node, const pb::VmReport::One& one) {
    pb::Command c;
    c.mutable_vm_report()->set_node(node);
    *c.mutable_vm_report()->add_vms() = one;
    return run(c);
  }
  /// The VM's node reports that phase.
  pb::Answer observe(const std::string& name, pb::Phase phase) {
    return report(vm(name).node(), one_of(name, phase));
  }
  /// The VM, or an empty one.
  pb::Vm vm(const std::string& name) const {
    const auto v = sm.vm("default", name);
    return v ? *v : pb::Vm{};
  }
};

}  // namespace blixard::state::testing
