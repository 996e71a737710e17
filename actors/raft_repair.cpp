// A node whose log was damaged: what its core cannot do alone. The protocol is the core's
// (runtime/raft/core_repair.cpp); here the disk is told when it is over, and a person when it
// cannot be done.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "actors/raft.hpp"
#include "runtime/base/config.hpp"

namespace blixard::actors {
namespace {
// So long the others may need to elect a leader; a leader ends the doubt.
constexpr std::uint64_t beyond_repair_patience_ns = 10'000'000'000;
}  // namespace

void raft_driver::log_is_repaired() {
  spdlog::info("the damaged log is repaired up to entry {}: this node is a full member again",
               core_.log().last().value());
  metrics_.recovering.set(0);
  metrics_.repairs.add();
  send(to_.wal, repaired_atom::value);
  publish_view();
}

void raft_driver::watch_repair() {
  if (!core_.beyond_repair()) {
    beyond_repair_ns_ = 0;
    return;
  }
  if (beyond_repair_ns_ == 0) {
    beyond_repair_ns_ = now();
    spdlog::error("too many logs are damaged: the members that are whole cannot elect a leader");
  }
  if (now() - beyond_repair_ns_ < beyond_repair_patience_ns) return;
  options_.fatal(
      static_cast<int>(exit_code::corruption),
      "the log of this node is damaged, and so are those of too many others: the members that are "
      "whole cannot elect a leader, and one of the damaged could lose what was committed. Nothing "
      "was deleted (damaged files are named *.bad). Restore the data directory of a damaged node "
      "from a copy of its disk, or build a new cluster from a backup");
}

}  // namespace blixard::actors
