// Finds out that another data directory has taken over this node's id.
//
// A node that hangs for longer than its lease is declared down, and then a process with an empty
// disk may join under its id (actors/README.md). From there on the members speak to that one: what
// the former one sends is answered to somebody else, and it would look for a leader for ever. So
// while it knows none it asks the members as a client, who gets the answers on the connection that
// it made: from which disk is my id registered?
//
//   here, applied up to i       this id is registered from this disk
//   a member, applied up to j   it is registered from another one, and j > i
//
// Both are committed states of one log, so the other disk came later, and for good: one answer is
// enough. An older or equal state, this disk, no answer: nothing is known. VMs need no care: the
// other disk could register only when the lease of this one had ended (machine::node_register).
//
// A witness registers no disk, and has no state to compare with. Its admission brings the disk, and
// the members keep those that it replaced (`former_disks`): a witness that is named among them was
// replaced, whatever else the member who says so has missed.
//
// Limits: 16 former disks are kept.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "actors/links.hpp"
#include "messages/cluster.pb.h"
#include "runtime/net/tls_credentials.hpp"

namespace blixard::apps {

/// Whether a member's answer to "who is this node" says that another disk came after `disk`, which
/// was registered at `applied` or before.
[[nodiscard]] bool names_successor(const pb::Answer& answer, node_id self, std::uint64_t disk,
                                   log_index applied);

/// The same for a witness: whether that answer lists `disk` among those that others have replaced.
[[nodiscard]] bool names_as_former(const pb::Answer& answer, node_id self, std::uint64_t disk);

/// Looks every two seconds, in a thread of its own, and asks at the second look without a leader.
class succession_watch {
 public:
  /// `facts` outlives this object; `disk` is that of this node's lease page. `found` is called in
  /// the thread, once, with the reason for a person. `tls`: as whom to ask; null: without TLS.
  succession_watch(const actors::shared_facts& facts, std::uint64_t disk,
                   std::shared_ptr<net::tls_credentials> tls,
                   std::function<void(const std::string&)> found);
  /// Returns within half a second.
  ~succession_watch();
  succession_watch(const succession_watch&) = delete;
  succession_watch& operator=(const succession_watch&) = delete;

 private:
  void run();
  [[nodiscard]] bool wait();
  [[nodiscard]] bool is_lonely() const;
  [[nodiscard]] bool ask_members();

  const actors::shared_facts& facts_;
  const std::uint64_t disk_;
  const std::shared_ptr<net::tls_credentials> tls_;
  const std::function<void(const std::string&)> found_;
  std::mutex lock_;
  std::condition_variable changed_;
  bool ended_ = false;  // under lock_
  std::thread thread_;
};

}  // namespace blixard::apps
