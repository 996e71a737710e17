// A leader and two followers in one thread, no I/O: what the benchmark and the allocation test
// drive. Writes are durable at once; messages are delivered in order.
#pragma once

#include <array>
#include <memory>

#include "runtime/raft/core.hpp"

namespace blixard::raft {

class three_nodes {
 public:
  three_nodes() {
    auto boot = std::make_shared<snapshot>();
    boot->index = log_index{1};
    boot->term = term{1};
    boot->conf.voters = {node_id{1}, node_id{2}, node_id{3}};
    for (std::uint64_t id = 1; id <= 3; ++id) {
      config c;
      c.id = node_id{id};
      c.max_inflight_msgs = 256;
      c.max_inflight_bytes = 16 << 20;
      c.max_uncommitted_bytes = 64 << 20;
      nodes_[id - 1] = std::make_unique<core>(c, disk_state{{}, boot, {}}, log_index{1});
    }
    (void)leader().campaign();
    settle();
  }

  core& leader() { return *nodes_[0]; }
  core& at(std::size_t i) { return *nodes_[i]; }

  /// Until nothing moves any more.
  void settle() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t i = 0; i < 3; ++i) moved = drive(i) || moved;
    }
  }

  /// The state machine has a snapshot every now and then.
  void compact() {
    for (auto& n : nodes_)
      if (n->applied().value() > n->log().base().value() + kept)
        (void)n->compact(log_index{n->applied().value() - kept / 2});
  }

 private:
  static constexpr std::uint64_t kept = 20'000;

  bool drive(std::size_t i) {
    core& n = *nodes_[i];
    n.note_time(++clock_us_);
    if (!n.has_output()) return false;
    output& out = outputs_[i];
    n.take_output(out);
    if (out.seq) n.persisted(out.seq);
    if (!out.committed.empty()) n.applied(out.committed.back().index);
    for (message& m : out.messages) (void)nodes_[m.to.value() - 1]->step(std::move(m));
    return true;
  }

  std::array<std::unique_ptr<core>, 3> nodes_;
  std::array<output, 3> outputs_;
  std::uint64_t clock_us_ = 0;  // so that the windows adapt here, too
};

}  // namespace blixard::raft
