// Words and small shapes that text and JSON share (INTERNAL to formatting).
#pragma once

#include <string>

#include "messages/cluster.pb.h"

namespace blixard::repl {

[[nodiscard]] std::string phase_name(pb::Phase p);      // "running"
[[nodiscard]] std::string desired_name(pb::Desired d);  // "stopped"
[[nodiscard]] std::string backend_name(pb::Backend b);  // "qemu", "process", "auto"
[[nodiscard]] std::string state_name(pb::NodeState s);  // "ready"
[[nodiscard]] std::string strategy_name(pb::Strategy s);

}  // namespace blixard::repl
