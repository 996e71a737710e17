// How long what was asked of a VM took on this node: from the wish to the report that fulfils it.
//
//   wanted(vm)    begins start, stop, pause, resume, restart or delete; adopt of one that was found
//   seen(report)  ends it: what it was, its time, whether it failed
//
// A restart by the restart policy is a start that nobody asked for. Pure: times come in.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "messages/cluster.pb.h"
#include "messages/ids.hpp"
#include "metrics/catalogue.hpp"

namespace blixard::actors {

class vm_operations {
 public:
  struct ended {
    metrics::vm_operation what;
    std::uint64_t took_ns = 0;
    bool failed = false;
  };

  /// What the cluster wants of a VM of this node. `found`: it was there when the process started.
  void wanted(const pb::Vm& vm, bool found, std::uint64_t now_ns);
  /// What the node reports of it; at most one operation ends with a report.
  [[nodiscard]] std::optional<ended> seen(const pb::VmReport_One& r, std::uint64_t now_ns);

 private:
  struct one {
    std::uint64_t generation = 0;  // 0: not known yet
    std::uint64_t restarts = 0;
    pb::Desired desired = pb::DESIRED_STOPPED;
    std::optional<metrics::vm_operation> under_way;
    std::uint64_t since_ns = 0;
  };
  [[nodiscard]] static std::optional<metrics::vm_operation> asked(const one& before,
                                                                  const pb::Vm& vm, bool found);

  std::unordered_map<vm_id, one> vms_;
};

}  // namespace blixard::actors
