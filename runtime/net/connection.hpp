// One connection: frames in, frames out, nothing about what they mean.
//
//   connecting ─► opening ─► open ─► finishing ─► closed
//                 (hello      (all     (sends what is queued, then end of stream;
//                  only)      frames)   what comes in is thrown away)
//
// Sending: frames wait in four strict-priority lanes and leave in gathered writes, at the end of a
// loop turn or when the socket takes more. What a write did not begin goes back to its lane, so a
// critical frame overtakes everything except the one frame that is half sent. A class may fill the
// queue only up to its share, so that a more urgent one always finds room:
//   critical 16/16 of the bound, high 15/16, normal 14/16, low 8/16.
//
// Half-closed: when the other side has sent everything (end of stream between two frames), reading
// stops and sending goes on; the owner decides for how long.
//
// Loop thread only. After `closed` the object is inert; the owner deletes it, but not from inside
// one of its callbacks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/net/byte_stream.hpp"
#include "runtime/net/frame_reader.hpp"
#include "runtime/net/loop.hpp"
#include "runtime/net/packing.hpp"
#include "runtime/net/traffic.hpp"
#include "runtime/net/write_batch.hpp"
#include "runtime/routing/lanes.hpp"

namespace blixard::net {

class connection;

class connection_owner {
 public:
  /// An outgoing connect succeeded; the hello leaves now.
  virtual void on_open(connection&) = 0;
  /// All frames of one readiness event, at least one. The vector is scratch: the owner may take
  /// frames out.
  virtual void on_frames(connection&, std::vector<frame_ptr>&) = 0;
  /// The other side will send nothing more. Only once, only between two frames.
  virtual void on_half_closed(connection&) = 0;
  /// The first bytes were TLS, and this connection has none: the owner says so and finishes.
  virtual void on_tls_spoken(connection&) = 0;
  /// Has something to flush: call flush() at the end of this turn. Called once until then.
  virtual void on_dirty(connection&) = 0;
  /// Closed, for `reason`. Called once.
  virtual void on_closed(connection&, close_reason reason) = 0;

 protected:
  ~connection_owner() = default;
};

/// What all connections of one loop share: scratch space and counters.
struct connection_shared {
  connection_shared(loop& l, routing::buffer_pool& pool, routing::inbound_budget* of_clients = {})
      : io(l), arena(pool), packer(pool, counters), budget(of_clients) {}
  loop& io;
  read_arena arena;
  write_batch batch;
  transport_counters counters;
  packing packer;
  std::vector<frame_ptr> received;
  routing::inbound_budget* budget;  // of all clients; null: no bound
  // Read from clients in this turn. What is read waits for the turn's end outside of any bound, so
  // beyond turn_read_max_bytes the rest stays in the kernel until the next turn.
  std::size_t turn_read_bytes = 0;
  static constexpr std::size_t turn_read_max_bytes = 16 * limits::MiB;
};

struct connection_bounds {
  frame_reader::bounds frames;
  std::size_t queue_max_bytes = 0;
  std::size_t queue_max_items = std::size_t{1} << 18;
};

class connection final : public io_handler {
 public:
  enum class state : std::uint8_t { connecting, opening, open, finishing, closed };

  /// `already_connected`: accepted (or a socket pair); else the connect is still going on.
  connection(connection_shared& shared, connection_owner& owner,
             std::unique_ptr<byte_stream> stream, const connection_bounds& bounds,
             bool already_connected);
  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// Starts to watch the socket. False if the loop cannot (then the connection is useless).
  [[nodiscard]] bool start();

  /// The frame that leaves before all others, also before `set_open`. Once.
  void send_hello(frame_ptr f);
  /// The handshake is done: queued frames may leave.
  void set_open();
  /// Queues a frame. False and counted as dropped: its class's share is full, or the connection is
  /// finishing or closed.
  [[nodiscard]] bool send(frame_ptr f, std::uint64_t supersede_key = 0);
  /// Writes as much as the socket takes.
  void flush();
  /// Sends what is queued, then ends the stream; `reason` is reported when the other side closes.
  void finish(close_reason reason);
  /// At once; queued frames are lost and counted as dropped.
  void close(close_reason reason);

  /// The other side is a peer: what it sends is in no bound that is made for clients.
  void trust() noexcept;
  /// Which frame of the stream is half here, see frame_reader; 0: none.
  [[nodiscard]] std::uint64_t half_frame() const noexcept { return reader_.half_frame(); }

  [[nodiscard]] state now() const noexcept { return state_; }
  [[nodiscard]] bool half_closed() const noexcept { return half_closed_; }
  /// Accepted and not yet handed to the kernel, in bytes.
  [[nodiscard]] std::size_t queued_bytes() const noexcept {
    return lanes_.bytes() + (head_ ? head_->wire_size() - head_sent_ : 0) + held_;
  }
  /// How many bytes of that class may still be queued.
  [[nodiscard]] std::size_t room(priority cls) const noexcept;

  void on_io(std::uint32_t events) noexcept override;

 private:
  using queue = routing::lanes<frame_ptr>;

  void finish_connect();
  void read();
  [[nodiscard]] std::optional<close_reason> read_some(bool& more);
  void discard_input();
  void on_end_of_stream();
  [[nodiscard]] bool fill_batch();
  void account_sent(std::size_t bytes);
  void note_held(std::size_t bytes);
  void note_sent(const frame& f, std::size_t bytes, bool last);
  void note_flushed();
  void mark_dirty();
  void update_interest();
  void drop_queue();

  connection_shared& shared_;
  connection_owner& owner_;
  std::unique_ptr<byte_stream> stream_;
  const connection_bounds bounds_;
  frame_reader reader_;
  queue lanes_;
  frame_ptr head_;             // the frame that is being sent (or the hello), before the lanes
  std::size_t head_sent_ = 0;  // bytes of it that the kernel has
  std::size_t held_ = 0;       // sealed by TLS, and the kernel has not taken it
  std::vector<queue::item> popped_;  // in the batch that is being written
  state state_;
  close_reason finish_reason_ = close_reason::local;
  std::uint32_t interest_ = 0;
  bool watching_ = false;
  bool want_write_ = false;
  bool want_read_ = false;  // before anything can be written: TLS is not through its handshake
  bool dirty_ = false;
  bool trusted_ = false;
  bool half_closed_ = false;
  bool end_sent_ = false;
};

}  // namespace blixard::net
