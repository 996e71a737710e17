// A node that a test plays: listens on loopback, greets, keeps what is asked, answers when told to.
// Driven by the test's own thread: turn() does what can be done without blocking.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "messages/cluster.pb.h"
#include "messages/frame.hpp"
#include "runtime/base/endpoint.hpp"

namespace blixard::repl::test {

class fake_node {
 public:
  struct asked {
    int connection = -1;
    frame_header header;
    std::string body;

    [[nodiscard]] pb::Command command() const;
    [[nodiscard]] pb::Query query() const;
  };

  explicit fake_node(std::uint64_t id = 1);
  ~fake_node();
  fake_node(const fake_node&) = delete;
  fake_node& operator=(const fake_node&) = delete;

  [[nodiscard]] endpoint where() const;
  /// Accepts, reads, greets and collects; returns at once.
  void turn();

  /// What came and was not taken yet, in order.
  std::deque<asked> requests;
  /// Requests are read but hello is never answered.
  bool mute = false;
  /// Hello is answered with this error.
  std::string refuse_with;
  std::uint64_t connections_seen = 0;
  /// Of these, closed by the client.
  std::uint64_t connections_ended = 0;

  void answer(const asked& to, pb::Answer a);
  /// Bytes as they are, on every connection.
  void send_raw(const std::string& bytes);
  /// Closes every connection, and the listener, too.
  void drop_connections();
  void stop_listening();

 private:
  struct peer;
  void read_from(int key, peer& p);

  std::uint64_t id_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  int next_key_ = 0;
  std::map<int, std::unique_ptr<peer>> peers_;
};

}  // namespace blixard::repl::test
