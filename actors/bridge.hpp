// Hands what the transport reads to the router: one message per socket read, however many frames.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

#include "actors/links.hpp"
#include "actors/post.hpp"
#include "runtime/net/transport.hpp"

namespace blixard::actors {

class bridge final : public net::transport_handler {
 public:
  explicit bridge(const links& to) : to_(to) {}

  void on_frames(const net::connection_info& from, std::span<const frame_ptr> frames) override {
    post(to_.router, inbound{from.id, from.node, {frames.begin(), frames.end()}});
  }
  void on_connected(const net::connection_info& c) override {
    if (c.node && c.outgoing)
      spdlog::log(level_of(c), "connected to node {}{}", c.node.value(), name_of(c.chan));
  }
  void on_disconnected(const net::connection_info& c, net::close_reason why) override {
    // What this node closed itself was not lost.
    const bool ours = why == net::close_reason::idle || why == net::close_reason::local ||
                      why == net::close_reason::replaced;
    if (c.node && c.outgoing)
      spdlog::log(ours ? spdlog::level::debug : level_of(c), "{} the connection to node {}{}: {}",
                  ours ? "closed" : "lost", c.node.value(), name_of(c.chan), net::to_string(why));
    if (c.chan == net::channel::main) post(to_.router, connection_closed{c.id, c.node});
  }
  void on_refused(node_id peer, const error& e) override {
    if (e.code == errc::unauthenticated)  // either of the two
      spdlog::warn("no connection to node {}: {}{}", peer.value(), e.message, hint_of(e));
    else
      spdlog::warn("node {} refused the connection: {}", peer.value(), e.message);
  }
  void on_stranger(const net::address& from, const error& e, std::uint64_t untold) override {
    spdlog::warn("refused {}: {}{}{}", from.to_string(), e.message, hint_of(e),
                 untold == 0 ? "" : ", and " + std::to_string(untold) + " more like it");
  }
  void on_unreachable(node_id peer, const net::address& where) override {
    spdlog::info("node {} cannot be reached at {} yet", peer.value(), where.to_string());
  }

 private:
  static std::string hint_of(const error& e) { return e.hint.empty() ? "" : ": " + e.hint; }
  /// Connections for bulk come and go with what there is to send.
  static spdlog::level::level_enum level_of(const net::connection_info& c) {
    return c.chan == net::channel::main ? spdlog::level::info : spdlog::level::debug;
  }
  static const char* name_of(net::channel c) { return c == net::channel::main ? "" : " (bulk)"; }

  const links& to_;
};

}  // namespace blixard::actors
