// The client's side of the protocol: a few connections, many requests in flight, one thread.
//
// Each lane is one connection: TCP, our hello, the node's hello, then frames, pipelined. Answers
// come back in any order and are matched by request id. Frames of one turn are gathered into one
// write.
//
// When a node is gone (refused, silent, hello refused, connection lost) the lane goes to the next
// address; each address is tried once per round. A request moves with the lane only while none of
// its bytes was given to the kernel; after that its outcome is unknown and it fails with
// errc::connection_lost. There is no other retry. When a round fails, what waits fails with
// errc::unavailable: surely not sent.
//
// A node may also hang with its connections open. When a request gets no answer in time, and
// nothing at all came on its connection since it was sent, the lane goes to the next address with
// what is new (back to the same one only when no other can be reached). The old connection stays
// for what is outstanding there, until that is answered or late, too. With one address nothing of
// this happens.
//
// With TLS the other side must have a node's certificate; which node is up to the address. What the
// two hold against each other is told as errc::unauthenticated, with the remedy.
//
// Not thread-safe: one thread submits and processes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "messages/limits.hpp"
#include "runtime/base/endpoint.hpp"
#include "runtime/repl/port.hpp"

namespace blixard::net {

class tls_credentials;

struct client_options {
  std::vector<endpoint> addresses;          // at least one
  std::size_t lanes = 1;                    // connections; lane i starts at address i mod n
  std::uint32_t connect_timeout_ms = 1000;  // per address until the node's hello, at most
  std::size_t max_frame_bytes = limits::frame_max_bytes;
  cluster_id cluster;                    // whose nodes alone may answer; 0: any
  std::shared_ptr<tls_credentials> tls;  // null: without TLS
};

class client final : public repl::port {
 public:
  explicit client(client_options options);
  ~client() override;
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// On lane 0.
  repl::call_id submit(const repl::request& r, repl::reply_fn done) override;
  /// On a given lane (modulo their number).
  repl::call_id submit(const repl::request& r, std::size_t lane, repl::reply_fn done);
  void cancel(repl::call_id id) override;
  [[nodiscard]] int wait_fd() const override;
  [[nodiscard]] int wait_ms() const override;
  void process() override;
  /// Waits at most `timeout_ms` (-1: no limit) for something to do and does it.
  void poll(int timeout_ms);

  /// Requests that wait for an answer.
  [[nodiscard]] std::size_t outstanding() const noexcept;
  /// The node that lane 0 is connected to, from its hello; 0: not connected.
  [[nodiscard]] node_id connected_node() const noexcept;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace blixard::net
