// From what the cluster wants of a VM (pb::Vm) to what a guard is to do (launch_plan).
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "runtime/vm/lifecycle.hpp"
#include "runtime/vm/record.hpp"

namespace blixard::pb {
class Vm;
}

namespace blixard::vm {

/// What a node adds to a VM's spec.
struct launch_context {
  std::string directory;     // of the VM
  std::string lease;         // path of the lease page
  std::string guest_kernel;  // default guest; empty: default_guest()
  std::string guest_initrd;
  std::vector<backend_kind> backends;  // that this node offers
};

/// The wish behind a pb::Vm, with DOMAIN's defaults where the policy has zeros.
[[nodiscard]] desired_state desired_of(const pb::Vm& vm);

/// The backend a VM gets here: the one it names; for BACKEND_AUTO process where only a command is
/// given, else qemu where the node offers it and has something to boot, else process.
[[nodiscard]] backend_kind backend_of(const pb::Vm& vm, const launch_context& context);

/// One start of the VM, everything checked: files exist, the backend is offered. Makes the scratch
/// disk where `disk_bytes` asks for one. Every error means that this node cannot run the VM as it
/// is.
[[nodiscard]] tl::expected<launch_plan, error> make_plan(const pb::Vm& vm,
                                                         const launch_context& context);

}  // namespace blixard::vm
