// Inside the transport: one connection with what the transport knows about it.
//
// Turns the events of a connection into the handshake, pings and the handler's calls. Internal to
// runtime/net.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/net/connection.hpp"
#include "runtime/net/handshake.hpp"
#include "runtime/net/round_trip.hpp"
#include "runtime/net/tls_stream.hpp"
#include "runtime/net/transport.hpp"

namespace blixard::net {

struct link;

/// A peer as it is dialled: one link per channel.
struct link {
  enum class state : std::uint8_t {
    idle,     // not dialled, will be when it is needed
    waiting,  // the last attempt failed: not before the back-off is over
    dialling,
    up,
  };
  node_id peer;
  channel chan = channel::main;
  state now = state::idle;
  class session* via = nullptr;  // while dialling or up
  timer_id retry;
  std::uint32_t failures = 0;  // attempts in a row
  std::uint64_t used_ns = 0;   // last frame
  std::string refusal;         // as it was told last
  std::uint64_t refusal_ns = 0;
};

/// What an accepted connection counts as. Each has a bound of its own: no number of clients, nor of
/// strangers that say nothing, keeps a peer out.
enum class standing : std::uint8_t {
  dialled,   // by this node: no bound
  greeting,  // has not said hello
  client,
  peer,
  refused,  // told so, and not gone yet
};

class session final : public connection_owner {
 public:
  /// `tls`: what the stream finds out about the other side; null without TLS.
  session(transport::impl& t, connection_info about, std::unique_ptr<byte_stream> stream, link* out,
          std::shared_ptr<const tls_outcome> tls);
  ~session() = default;

  /// Watches the socket and arms the handshake's deadline. False: the loop cannot watch it.
  [[nodiscard]] bool start(std::uint32_t deadline_ms);
  [[nodiscard]] bool send(frame_ptr f, std::uint64_t supersede_key);
  void close(close_reason reason) { conn_.close(reason); }
  /// Sends what is queued, then closes; at the latest after the handshake timeout.
  void finish(close_reason reason);
  void flush() { conn_.flush(); }
  /// Once per ping interval.
  void tick(std::uint64_t now_ns);

  [[nodiscard]] const connection_info& info() const noexcept { return info_; }
  [[nodiscard]] const connection& conn() const noexcept { return conn_; }
  [[nodiscard]] bool open() const noexcept { return conn_.now() == connection::state::open; }
  /// on_connected was called for it.
  [[nodiscard]] bool announced() const noexcept { return announced_; }
  [[nodiscard]] std::uint64_t rtt_ns() const noexcept { return round_trip_.ns(); }
  [[nodiscard]] link* out() const noexcept { return link_; }
  [[nodiscard]] standing counts_as() const noexcept { return standing_; }
  void set_standing(standing s) noexcept { standing_ = s; }  // the transport's: it counts them
  [[nodiscard]] close_reason why_closed() const noexcept { return why_closed_; }

  void on_open(connection&) override;
  void on_frames(connection&, std::vector<frame_ptr>& frames) override;
  void on_half_closed(connection&) override;
  void on_tls_spoken(connection&) override;
  void on_dirty(connection&) override;
  void on_closed(connection&, close_reason reason) override;

 private:
  void greet(const frame& first);
  void greet_dialler(const hello& theirs);
  void greet_listener(const hello& theirs);
  void refuse(const error& why);
  void announce();
  void take_pings(std::vector<frame_ptr>& frames);
  [[nodiscard]] bool unpack(std::vector<frame_ptr>& frames);
  void ping(std::uint64_t now_ns);
  [[nodiscard]] bool is_too_slow(std::uint64_t now_ns);
  void arm_deadline(std::uint32_t ms, close_reason reason);

  transport::impl& transport_;
  connection_info info_;
  connection conn_;
  link* link_;  // null for an accepted connection
  const std::shared_ptr<const tls_outcome> tls_;
  timer_id deadline_;
  std::uint64_t hello_ns_ = 0;  // when ours left (dialler)
  std::uint64_t heard_ns_ = 0;  // last read with a frame
  std::uint64_t ping_ns_ = 0;   // the ping that is unanswered; 0: none
  round_trip round_trip_;
  std::uint64_t half_closed_ns_ = 0;  // when the other side stopped sending; 0: it did not
  std::uint64_t half_frame_ = 0;      // as of the last tick, and since when
  std::uint64_t half_frame_ns_ = 0;
  std::uint32_t outstanding_ = 0;  // requests of a client that have no answer yet
  close_reason why_closed_ = close_reason::local;
  standing standing_ = standing::dialled;
  bool announced_ = false;
  bool packs_ = false;  // a peer that has said so
};

}  // namespace blixard::net
