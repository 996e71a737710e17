// The transport: a listener, the connections that came in, and the connections to the peers.
//
//   node 1                                     node 2
//   dialled MAIN  ───── frames 1 -> 2 ─────►   accepted          Each node dials its own
//   connections dialled BULK  ───── (on demand)  ──────►   accepted          for what it sends.
//   What came in is accepted      ◄──── frames 2 -> 1 ──────   dialled MAIN      read only, so two
//   nodes that dial
//                                                                each other never have to agree on
//   client        ◄───► requests, answers                        which connection is the one.
//
// Handshake: the dialler sends a pb::Hello, the listener answers with its own, or with one that
// carries an error and closes. Checked: cluster id (where both know one), the node that was meant,
// that the sender is not the receiver. Frames may be queued behind the hello at once.
//
// Peers: MAIN is dialled as soon as the peer is known and again after a jittered back-off whenever
// it is lost (at once when the peer itself has just dialled us: it is back). BULK is dialled by the
// first frame for it and closed when it was idle. One attempt at a time per channel.
//
// Delivery: at most once, in order within a class and a connection, never between classes. A frame
// that `send` accepted may be lost with its connection. A ping once a second measures the round
// trip and finds peers that vanished without a word.
//
// Thread: the loop's (or one thread while the loop does not run), except where stated.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "messages/frame.hpp"
#include "messages/ids.hpp"
#include "messages/limits.hpp"
#include "runtime/net/address.hpp"
#include "runtime/net/traffic.hpp"
#include "runtime/routing/buffer_pool.hpp"
#include "runtime/routing/inbound_budget.hpp"

namespace blixard::net {

class loop;
class tls_credentials;

enum class peer_role : std::uint8_t { client = 0, peer = 1 };
enum class channel : std::uint8_t { main = 0, bulk = 1 };

/// A connection whose handshake is done. Stays the same for the connection's life.
struct connection_info {
  connection_id id;
  peer_role role = peer_role::client;  // of the other side
  channel chan = channel::main;
  node_id node;           // of the other side; 0 for a client
  bool outgoing = false;  // dialled by this node
  address remote;
};

/// Gets what comes in. All calls on the loop thread. Calling `transport::send*` and `close` from
/// inside is allowed; destroying the transport is not.
class transport_handler {
 public:
  /// All frames of one socket read, at most once per read, in order of arrival. The span is valid
  /// during the call; the frames may be kept. Kind hello never appears.
  virtual void on_frames(const connection_info& from, std::span<const frame_ptr> frames) = 0;
  virtual void on_connected(const connection_info&) {}
  /// After this no frame of the connection comes, and `send` to it returns false.
  virtual void on_disconnected(const connection_info&, close_reason) {}
  /// A peer refused this node's hello (wrong cluster, wrong node), or one of the two the other's
  /// certificate: worth a line in the log. The transport keeps trying, at the slowest back-off, and
  /// tells the same reason once a minute.
  virtual void on_refused(node_id /*peer*/, const error&) {}
  /// Somebody was not let in, because of TLS: worth a line in the log. Called for a few of them
  /// only; `untold` more since the last call.
  virtual void on_stranger(const address& /*from*/, const error&, std::uint64_t /*untold*/) {}
  /// The first attempt to reach a peer failed; the transport keeps trying. Not called for a peer
  /// that was reached before: that one was lost.
  virtual void on_unreachable(node_id /*peer*/, const address&) {}

 protected:
  ~transport_handler() = default;
};

struct transport_config {
  node_id self;
  cluster_id cluster;      // 0: not known yet, see set_cluster
  address bind;            // port 0: any free one
  std::string advertise;   // told to others in the hello
  std::string version;     // of the program, told to others
  std::uint64_t seed = 1;  // of the back-off's jitter

  std::size_t frame_max_bytes = limits::frame_max_bytes;  // body; longer: connection closed
  std::size_t pack_min_bytes = 64 * limits::KiB;  // compress bodies to peers from there on; 0: none
  std::size_t send_queue_max_bytes = limits::send_queue_max_bytes;  // per connection
  std::size_t send_total_max_bytes = 512 * limits::MiB;             // all queues; clients make room
  std::size_t clients_max = limits::connections_max;                // connections of clients

  std::uint32_t handshake_timeout_ms = 5'000;
  std::uint32_t connect_timeout_ms = 3'000;
  std::uint32_t backoff_min_ms = 20;
  std::uint32_t backoff_max_ms = 1'000;
  std::uint32_t ping_interval_ms = 1'000;
  std::uint32_t ping_timeout_ms = 5'000;  // unanswered that long: closed as unresponsive
  std::uint32_t bulk_idle_ms = 30'000;
  std::uint32_t frame_timeout_ms = 20'000;  // for a client's frame, from its first byte to its last

  // What half frames of clients are charged to; outlives the transport. Null: no bound.
  routing::inbound_budget* inbound = nullptr;

  // Mutual TLS on all connections, in and out; null: on none.
  std::shared_ptr<tls_credentials> tls;
};

struct peer_status {
  node_id node;
  address where;  // dialled there (the override where there is one)
  bool connected = false;
  std::uint32_t rtt_us = 0;        // smoothed; 0: not measured yet
  std::uint64_t queued_bytes = 0;  // both channels
};

class transport {
 public:
  /// `l`, `pool` and `handler` must outlive the transport. Nothing is opened yet. The pool must be
  /// used by the loop's thread only.
  transport(loop& l, routing::buffer_pool& pool, transport_handler& handler,
            transport_config config);
  /// Closes everything without a word; `shutdown` first for an orderly end.
  ~transport();
  transport(const transport&) = delete;
  transport& operator=(const transport&) = delete;

  /// Binds and listens. Returns where (with the real port). Errors: unavailable with the address
  /// and the reason (in use, not ours, not permitted).
  [[nodiscard]] tl::expected<address, error> listen();

  /// The id from the first handshake or bootstrap on; connections that were made without it stay.
  void set_cluster(cluster_id id);

  /// Adds a peer or changes its address; dials MAIN. Nothing happens for the node itself or where
  /// nothing changed.
  void set_peer(node_id id, const address& where);
  /// Closes the connections to it. An override for it stays.
  void remove_peer(node_id id);
  /// Where this process dials that peer, whatever set_peer says (proxies, NAT).
  void set_dial_override(node_id id, const address& where);

  /// Queues a frame on a connection (an answer to a client; also valid for a peer's). False: gone,
  /// closing or its queue is full (a client that is full is closed, because it does not read).
  [[nodiscard]] bool send(connection_id to, frame_ptr f, std::uint64_t supersede_key = 0);

  /// Queues a frame for a peer. False, and counted as dropped: not a peer, not connected (BULK is
  /// then being dialled where possible and takes frames as soon as the attempt has begun), or the
  /// class's queue is full. `supersede_key` != 0 on a critical frame replaces a waiting one with
  /// the same key to the same peer.
  [[nodiscard]] bool send_to(node_id to, channel c, frame_ptr f, std::uint64_t supersede_key = 0);

  /// Room in the queue towards a peer, in bytes: what a sender of bulk data may still hand over.
  /// 0 when not connected.
  [[nodiscard]] std::size_t room(node_id to, channel c, priority cls) const;

  void close(connection_id id);

  /// Stops listening and dialling, sends what is queued for at most `linger_ms`, closes, then calls
  /// `done` (on the loop).
  void shutdown(std::uint32_t linger_ms, std::function<void()> done);

  /// True when frames for the peer's MAIN channel leave at once.
  [[nodiscard]] bool connected(node_id id) const;
  [[nodiscard]] std::optional<connection_info> info(connection_id id) const;
  [[nodiscard]] std::optional<peer_status> status(node_id id) const;
  [[nodiscard]] std::vector<peer_status> peers() const;

  /// Any thread.
  [[nodiscard]] const transport_counters& counters() const noexcept;

 private:
  friend class session;
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace blixard::net
