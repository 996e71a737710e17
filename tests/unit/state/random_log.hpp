// Random logs of commands, seeded: the material of the property tests.
//
// Names, keys, nodes and clients are few, so that commands meet each other's objects; what an actor
// knows (generations, ids) is mostly right and sometimes stale. Some entries are garbage.
#pragma once

#include <random>
#include <string>

#include "messages/cluster.pb.h"
#include "messages/entry.hpp"
#include "runtime/state/machine.hpp"
#include "tests/unit/state/helpers.hpp"

namespace blixard::state::testing {

class random_log {
 public:
  explicit random_log(std::uint64_t seed) : random_(seed) {}

  /// The next entry for a machine in this state.
  entry next(const machine& sm) {
    entry e;
    e.index = sm.applied_index().next();
    e.term = term{1 + e.index.value() / 50};
    const auto what = below(100);
    if (what == 0) {
      e.data = slice::copy_of(std::string(1 + below(20), static_cast<char>(below(256))));
    } else if (what == 1) {
      e.kind = entry_kind::conf;
      e.data = slice::copy_of(conf());
    } else if (what != 2) {
      e.data = slice::copy_of(command(sm).SerializeAsString());
    }
    return e;
  }

  std::uint64_t below(std::uint64_t n) { return random_() % n; }

 private:
  std::string name(const char* stem, std::uint64_t n) { return stem + std::to_string(below(n)); }

  std::string conf() {
    pb::NodeAddress who;
    who.set_node(1 + below(6));
    who.set_address(name("127.0.0.1:70", 10));
    pb::ConfChange change;
    if (below(3) == 0) {
      auto& one = *change.add_changes();
      one.set_op(pb::CONF_REMOVE);
      one.set_node(who.node());
      return change.SerializeAsString();
    }
    change.set_context(who.SerializeAsString());
    return change.SerializeAsString();
  }

  pb::Command command(const machine& sm) {
    pb::Command c;
    if (below(2) == 0) {
      c.set_client(name("client", 4));
      c.set_seq(1 + below(40));
    }
    c.set_time_ms(static_cast<std::int64_t>(below(1'000'000)));
    const auto what = below(20);
    if (what < 5)
      key_command(c);
    else if (what < 9)
      create(*c.mutable_vm_create());
    else if (what < 12)
      action(*c.mutable_vm_action());
    else if (what < 14)
      place(sm, *c.mutable_vm_place());
    else if (what < 17)
      report(sm, *c.mutable_vm_report());
    else
      node_command(c);
    return c;
  }

  void key_command(pb::Command& c) {
    const std::string key = name("key", 30);
    const auto what = below(4);
    if (what < 2) {
      c.mutable_kv_put()->set_key(key);
      c.mutable_kv_put()->set_value(std::string(below(300), 'v'));
      c.mutable_kv_put()->set_if_version_set(below(4) == 0);
    } else if (what == 2) {
      c.mutable_kv_cas()->set_key(key);
      c.mutable_kv_cas()->set_expected(std::string(below(3), 'v'));
      c.mutable_kv_cas()->set_value(std::string(below(3), 'v'));
    } else {
      c.mutable_kv_delete()->set_key(key);
    }
  }

  void create(pb::VmCreate& create) {
    auto& s = *create.mutable_spec();
    s.set_name(name("vm", 25));
    if (below(5) == 0) s.set_tenant("other");
    s.set_vcpus(static_cast<std::uint32_t>(below(4)));
    s.set_memory_bytes(below(4) * GiB);
    s.set_desired(below(4) == 0 ? pb::DESIRED_STOPPED : pb::DESIRED_RUNNING);
    auto& p = *s.mutable_placement();
    p.set_strategy(static_cast<pb::Strategy>(below(3)));
    if (below(4) == 0) p.set_anti_affinity_group("g");
    p.set_soft(below(2) == 0);
    if (below(8) == 0) p.set_node(1 + below(6));
    create.mutable_decision()->set_node(below(7));
  }

  void action(pb::VmAction& action) {
    action.set_name(name("vm", 25));
    action.set_action(static_cast<pb::VmActionKind>(below(7)));  // one more than there are
    action.set_force(below(4) == 0);
  }

  std::shared_ptr<const pb::Vm> some_vm(const machine& sm) {
    const auto vm = sm.vm("default", name("vm", 25));
    return vm ? vm : std::make_shared<const pb::Vm>();
  }

  void place(const machine& sm, pb::VmPlace& place) {
    const auto waiting = sm.pending_vms(vm_id{}, 8);
    const auto vm = waiting.empty() ? some_vm(sm) : waiting[below(waiting.size())];
    place.set_vm(vm->id());
    place.set_generation(vm->generation() - (below(8) == 0 ? 1 : 0));
    place.mutable_decision()->set_node(below(7));
  }

  void report(const machine& sm, pb::VmReport& report) {
    for (int i = 0; i < 3; ++i) {
      const auto vm = some_vm(sm);
      report.set_node(vm->node());
      auto& one = *report.add_vms();
      one.set_vm(vm->id());
      one.set_generation(vm->generation() - (below(8) == 0 ? 1 : 0));
      one.set_phase(static_cast<pb::Phase>(below(9)));
      one.set_pid(below(100));
      one.set_gave_up(below(10) == 0);
      one.set_gone(below(2) == 0);
    }
  }

  void node_command(pb::Command& c) {
    const auto id = 1 + below(6);
    const auto what = below(8);
    if (what < 4) {
      auto n = fixture::node_of(id, 4 + below(8));
      n.set_incarnation(1 + below(3));
      *c.mutable_node_register()->mutable_node() = n;
    } else if (what < 6) {
      c.mutable_node_cordon()->set_node(id);
      c.mutable_node_cordon()->set_cordon(below(3) == 0);
    } else if (what == 6) {
      c.mutable_node_down()->set_node(id);
      c.mutable_node_down()->set_incarnation(1 + below(3));
    } else {
      c.mutable_node_cordon()->set_node(id);
    }
  }

  std::mt19937_64 random_;
};

}  // namespace blixard::state::testing
