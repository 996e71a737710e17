// The router actor: every frame of a node passes here, and is judged by its 32 header bytes alone.
//
//   socket ─► inbound ─► admission ─► lanes ─► drain ─┬─ raft frames ───────► raft
//                           │ overloaded              ├─ command, admin ────► raft, or the leader's
//                           node ▼                         ├─ query, planned ────► raft, cache, or
//                           the leader
//                         client                      ├─ local ─────────────► node-state, or
//                         `target`
//                                                     └─ answer ────────────► who asked here
//
// A node that does not lead passes a client's frame on with its body untouched, under a request id
// of its own, and passes the answer back. While no leader is known requests are held (bounded in
// number, bytes and time) instead of refused, since an election takes a fraction of a second; a
// held request has gone nowhere, so that its refusal is certain.
//
// Every request of a client or of an actor of this node is open here until its answer comes or its
// deadline does, whichever is first; then it is answered, once, and its credit comes back. Who
// works on it may hang, or answer too late: that answer finds nobody. So the number of requests
// that a node keeps for its askers is bounded whatever others do. So are the bytes of those that
// came from other processes: a client's are charged while it is open, a peer's while it is held.
#pragma once

#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "actors/hosted.hpp"
#include "actors/links.hpp"
#include "metrics/registry.hpp"
#include "runtime/net/transport.hpp"
#include "runtime/routing/admission.hpp"
#include "runtime/routing/inbound_budget.hpp"
#include "runtime/routing/lanes.hpp"
#include "runtime/routing/open_requests.hpp"

namespace blixard::actors {

class router final : public hosted<router_actor::base> {
 public:
  /// `io` and `loop` may be null in tests: then nothing is sent and time goes by ticks. `remember`
  /// keeps the members' addresses for the next start of the process. `budget`: of what clients'
  /// requests may hold, the transport's too; null: no bound.
  router(caf::actor_config& config, host* where, const links& to, shared_facts& facts,
         net::loop* loop, net::transport* io,
         std::function<void(const std::vector<member_address>&)> remember,
         routing::inbound_budget* budget = nullptr);

  behavior_type make_behavior() override;

  static constexpr std::size_t frames_per_drain = 512;
  static constexpr std::size_t held_max = 4096;
  static constexpr std::uint64_t hold_ns = 3'000'000'000;  // longest wait for a leader
  static constexpr std::uint64_t answer_ns = 150'000'000;  // for a tick, and an answer's way back
  static constexpr std::size_t forwarded_max = 16'384;
  static constexpr std::size_t local_max = 16'384;  // requests of this node's own actors
  static constexpr std::uint64_t tick_ns = 100'000'000;
  /// How long a request without a deadline is waited for.
  static constexpr std::uint64_t patience_ns = 60'000'000'000;

 private:
  struct arrival {
    connection_id connection;
    node_id peer;
    frame_ptr frame;
    routing::request_ticket ticket;  // of a client's request
    std::uint64_t deadline_ns = 0;   // from when it came, also if it waits in the lanes
  };
  /// Whose credit it is, and what it is charged with.
  struct client_request {
    connection_id connection;
    request_id request;
    std::size_t bytes = 0;
  };
  struct local_asker {
    caf::strong_actor_ptr who;
    request_id request;
  };
  /// A request that another node is working on.
  struct forwarded {
    origin from;
    frame_ptr frame;  // as it came
    node_id via;
    bool changes_state = false;
  };
  struct held {
    origin from;
    frame_ptr frame;
    std::uint64_t until_ns = 0;
    std::size_t charged = 0;
  };
  /// What one drain collected for each receiver: one message each, however many frames.
  struct collected {
    pooled_vector<raft_frames> critical;
    pooled_vector<raft_frames> raft;
    proposals commands;
    reads queries;
  };

  void receive(inbound& in);
  void enter(arrival a);
  void schedule_drain();
  void drain();
  void dispatch(arrival& a, collected& out);
  void dispatch_request(const origin& from, frame_ptr frame, collected& out);
  void hand_on(collected& out);
  void to_leader(const origin& from, frame_ptr frame, collected& out);
  [[nodiscard]] bool leader_is_reachable() const;
  void hold(const origin& from, frame_ptr frame);
  void release_held();
  void forward(const origin& from, const frame_ptr& frame, node_id to);
  void dispatch_again(reroute& r);
  void deliver_answer(node_id from, const frame_ptr& frame);
  void reply(const origin& to, const frame_ptr& answer);
  void refuse(const origin& to, const error& why);
  static void tell(const local_asker& asker, const frame_ptr& answer);
  void send_to_peers(const to_peers& out);
  void start_local(local_request& request);
  void set_leader(const leader_changed& change);
  void set_members(const members_changed& change);
  void closed(const connection_closed& c);
  void tick();
  void expire();
  [[nodiscard]] bool admit(arrival& a, priority cls);
  [[nodiscard]] bool charge(routing::inbound_use use, std::size_t bytes) noexcept;
  void give_back(routing::inbound_use use, std::size_t bytes) noexcept;
  [[nodiscard]] std::uint64_t deadline_of(const frame_header& h) const noexcept;
  void publish_links();
  [[nodiscard]] origin origin_of(const arrival& a) const;
  [[nodiscard]] std::uint64_t now() const noexcept;

  const links& to_;
  shared_facts& facts_;
  net::loop* loop_;
  net::transport* io_;
  std::function<void(const std::vector<member_address>&)> remember_;
  routing::lanes<arrival> lanes_;
  routing::admission admission_;
  routing::inbound_budget* budget_;
  routing::open_requests<client_request> clients_;  // one credit each
  routing::open_requests<local_asker> local_;
  std::uint64_t ticks_ = 0;
  bool drain_scheduled_ = false;
  bool stopping_ = false;
  node_id leader_;
  request_id last_forward_;  // begins at random: answers to a former life must find nothing
  // One element per forwarded request: its memory is used again.
  std::unordered_map<request_id, forwarded, std::hash<request_id>, std::equal_to<>,
                     pooled_allocator<std::pair<const request_id, forwarded>>>
      forwarded_;
  std::deque<held> held_;
  std::unordered_map<node_id, std::string> members_;
  std::unordered_map<node_id, connection_id> heard_on_;  // where a peer's frames came in last
  std::vector<metrics::registry::binding> bindings_;
  metrics::counter forwarded_count_;
  metrics::counter overloaded_count_;
  metrics::counter invalid_count_;
};

}  // namespace blixard::actors
