// A leader and two followers in one thread, no I/O: what the benchmarks and the allocation test
// drive. Writes are durable at once; messages are delivered in order.
//
// `Way` says what becomes of an output between two cores: here nothing, the messages are handed
// over as they are. wire.hpp has ways that make bytes of everything, as a node must.
#pragma once

#include <array>
#include <memory>

#include "runtime/raft/core.hpp"

namespace blixard::raft {

/// Hands over objects.
struct as_objects {
  static void persist(const output& /*written*/) {}
  static void carry(message& m, core& to) { (void)to.step(std::move(m)); }
};

template <class Way>
class three_cores {
 public:
  three_cores() {
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
    ways_[i].persist(out);
    if (out.seq) n.persisted(out.seq);
    if (!out.committed.empty()) n.applied(out.committed.back().index);
    for (message& m : out.messages) ways_[i].carry(m, *nodes_[m.to.value() - 1]);
    return true;
  }

  std::array<std::unique_ptr<core>, 3> nodes_;
  std::array<output, 3> outputs_;
  std::array<Way, 3> ways_;
  std::uint64_t clock_us_ = 0;  // so that the windows adapt here, too
};

using three_nodes = three_cores<as_objects>;

}  // namespace blixard::raft
