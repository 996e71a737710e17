// The raft lab: any number of cores in one process, driven by one JSON request per line.
//
// The lab adds nothing to the cores: each operation is one call. What the protocol calls `fatal` is
// a fired CHECK, which the lab turns into the loss of that one node.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "apps/raftlab/json.hpp"
#include "runtime/raft/core.hpp"

namespace blixard::raft::lab {

class laboratory {
 public:
  /// Answers one line; the answer has no line end.
  [[nodiscard]] std::string answer(const std::string& line);
  /// `bye` was said.
  [[nodiscard]] bool finished() const noexcept { return finished_; }

 private:
  struct hosted {
    std::unique_ptr<core> raft;
    output out;
    persist_seq newest;  // handed out
    log_index handed;    // may be applied
  };
  using handler = json (laboratory::*)(const json&);

  [[nodiscard]] json run(const json& request);
  [[nodiscard]] hosted& node_of(const json& request);

  json hello(const json& r);
  json start(const json& r);
  json drop(const json& r);
  json tick(const json& r);
  json set_timeout(const json& r);
  json campaign(const json& r);
  json propose(const json& r);
  json propose_conf(const json& r);
  json step(const json& r);
  json ready(const json& r);
  json persisted(const json& r);
  json applied(const json& r);
  json set_snapshot(const json& r);
  json compact(const json& r);
  json transfer(const json& r);
  json forget_leader(const json& r);
  json read_index(const json& r);
  json report(const json& r);
  json status(const json& r);
  json log(const json& r);
  json unit(const json& r);
  json bye(const json& r);
  static const std::map<std::string, handler>& operations();

  std::map<std::uint64_t, hosted> nodes_;
  contexts contexts_;
  std::uint64_t starts_ = 0;
  bool finished_ = false;
};

/// The `unit` operation: quorum arithmetic and configuration changes without a node.
[[nodiscard]] json run_unit(const json& request);

}  // namespace blixard::raft::lab
