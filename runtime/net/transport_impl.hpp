// Inside the transport: the listener, the table of connections, the peers. Internal to runtime/net.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "runtime/net/backoff.hpp"
#include "runtime/net/connection.hpp"
#include "runtime/net/loop.hpp"
#include "runtime/net/session.hpp"
#include "runtime/net/tls_stream.hpp"
#include "runtime/net/transport.hpp"

namespace blixard::net {

/// A few lines per period for what a stranger can cause as often as it likes.
struct line_allowance {
  std::uint64_t period_begin_ns = 0;
  unsigned told = 0;
  std::uint64_t untold = 0;

  /// True: this one may be told (and `untold` others were not).
  [[nodiscard]] bool take(std::uint64_t now_ns) noexcept {
    constexpr std::uint64_t period_ns = 10'000'000'000;
    constexpr unsigned lines = 5;
    if (now_ns - period_begin_ns >= period_ns) {
      period_begin_ns = now_ns;
      told = 0;
    }
    if (told == lines) {
      ++untold;
      return false;
    }
    ++told;
    return true;
  }
};

class transport::impl final : public io_handler, public turn_hook {
 public:
  impl(loop& l, routing::buffer_pool& pool, transport_handler& handler, transport_config config);
  ~impl();

  // --- the public interface, see transport.hpp
  [[nodiscard]] tl::expected<address, error> listen();
  void set_cluster(cluster_id id) { config_.cluster = id; }
  void set_peer(node_id id, const address& where);
  void remove_peer(node_id id);
  void set_dial_override(node_id id, const address& where);
  [[nodiscard]] bool send(connection_id to, frame_ptr f, std::uint64_t key);
  [[nodiscard]] bool send_to(node_id to, channel c, frame_ptr f, std::uint64_t key);
  [[nodiscard]] std::size_t room(node_id to, channel c, priority cls) const;
  void close(connection_id id);
  void shutdown(std::uint32_t linger_ms, std::function<void()> done);
  [[nodiscard]] bool connected(node_id id) const;
  [[nodiscard]] std::optional<connection_info> info(connection_id id) const;
  [[nodiscard]] std::optional<peer_status> status(node_id id) const;
  [[nodiscard]] std::vector<peer_status> peers() const;

  // --- for sessions
  [[nodiscard]] const transport_config& config() const noexcept { return config_; }
  [[nodiscard]] connection_shared& shared() noexcept { return shared_; }
  [[nodiscard]] transport_handler& handler() noexcept { return handler_; }
  [[nodiscard]] transport_counters& counters() noexcept { return shared_.counters; }
  [[nodiscard]] local_identity identity() const noexcept { return {config_.self, config_.cluster}; }
  [[nodiscard]] hello own_hello() const;
  /// Whether the bounds have room for who says this hello; then it counts as what it says it is.
  [[nodiscard]] bool let_in(session& s, const hello& theirs);
  /// Whether one that is refused may stay until it has read why.
  [[nodiscard]] bool may_wait_until_told(session& s);
  void mark_dirty(session& s) { dirty_.push_back(&s); }
  void session_closed(session& s);
  /// Tells the handler why a peer that was dialled did not let us in, or we it; the same reason
  /// again after a while only.
  void tell_refused(link& l, const error& why);
  /// TLS has failed before the session was announced, either way.
  void note_tls_failure(session& s, tls_failure what, const error& why);
  /// The peer itself has dialled: it is there, no need to wait any longer.
  void peer_is_back(node_id id);

  void on_io(std::uint32_t events) noexcept override;
  void end_of_turn() noexcept override;

 private:
  struct peer {
    address known;                     // from set_peer
    std::optional<address> override_;  // from set_dial_override
    bool member = false;               // set_peer was called and remove_peer was not
    link main;
    link bulk;
    [[nodiscard]] const address& where() const noexcept { return override_ ? *override_ : known; }
    [[nodiscard]] link& of(channel c) noexcept { return c == channel::main ? main : bulk; }
    [[nodiscard]] const link& of(channel c) const noexcept {
      return c == channel::main ? main : bulk;
    }
  };

  // A connection id is a serial number and the place in the table: found in O(1), never reused.
  static constexpr unsigned place_bits = 20;

  [[nodiscard]] session* find(connection_id id) const noexcept;
  session& open_session(connection_info about, unique_fd fd, link* out);
  [[nodiscard]] std::unique_ptr<byte_stream> make_stream(unique_fd fd, const link* out,
                                                         std::shared_ptr<tls_outcome>& outcome);
  void discard(session& s);
  void accept_waiting();
  void count_as(session& s, standing next);
  void crowd_out();
  [[nodiscard]] std::size_t fair_share() const noexcept;
  [[nodiscard]] bool let_peer_in(const session& s, const hello& theirs);
  void pause_accepting();

  [[nodiscard]] peer& peer_of(node_id id);
  void dial(link& l);
  void link_lost(link& l, close_reason reason);
  void note_unreachable(const link& l);
  void schedule_retry(link& l);
  void hang_up(link& l, close_reason reason);
  void redial(peer& p);
  [[nodiscard]] peer_status status_of(node_id id, const peer& p) const;

  void tick();
  void release_closed();
  void finish_shutdown();
  template <class F>
  void for_each_session(F&& f);

  loop& loop_;
  transport_handler& handler_;
  transport_config config_;
  connection_shared shared_;
  tls_scratch tls_scratch_;       // empty without TLS
  std::string tls_plain_answer_;  // to one that speaks without TLS
  line_allowance stranger_lines_;
  jitter random_;
  unique_fd listener_;
  bool listening_ = false;  // the loop watches it
  timer_id tick_;
  timer_id resume_accepting_;
  timer_id linger_;
  std::vector<std::unique_ptr<session>> table_;
  std::vector<std::size_t> free_places_;
  std::uint64_t serial_ = 0;
  std::vector<connection_id> greeting_;  // the oldest first
  std::size_t refused_ = 0;
  std::unordered_map<node_id, peer> peers_;
  std::vector<session*> dirty_;   // to be flushed at the end of the turn
  std::vector<session*> closed_;  // to be reported and deleted at the end of the turn
  std::vector<session*> scratch_;
  bool stopping_ = false;
  std::function<void()> stopped_;
};

}  // namespace blixard::net
