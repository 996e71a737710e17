// What went over the wire, per class: plain counters with one writer (the loop) that a scrape
// reads.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "messages/frame.hpp"
#include "runtime/routing/tally.hpp"

namespace blixard::net {

/// Flag of a frame as a handler gets it, never on the wire: there was no memory for its body, which
/// was thrown away as it came (`length` is 0). Only requests of clients: they are to be answered.
inline constexpr std::uint8_t frame_shed = 0x80;

/// Why a connection was closed.
enum class close_reason : std::uint8_t {
  peer_closed,        // orderly end by the other side, between two frames
  truncated,          // end of stream inside a frame; with TLS, also without its last word
  io_error,           // reset, or another error of the socket
  bad_frame,          // wrong magic, version, kind, class or flags
  oversized,          // a length above the bound
  bad_handshake,      // no hello, or one that does not parse
  refused,            // hello refused: wrong cluster, wrong node, too many connections
  handshake_timeout,  // no hello in time
  unresponsive,       // pings stayed unanswered
  send_queue_full,    // the other side does not read (clients only; to a peer, frames are refused)
  idle,               // a bulk connection that was not used
  replaced,           // the peer's address changed, or it was removed
  local,              // closed by this node: close(), shutdown()
  connect_failed,     // never established
  tls_failed,         // see tls_failure
  crowded_out,        // no hello yet, and too many others came that have none either
  frame_timeout,      // a client's frame began, and did not end in time
};
inline constexpr std::size_t close_reason_count = 17;
[[nodiscard]] std::string_view to_string(close_reason r) noexcept;

/// Why a connection with TLS did not come about, or broke.
enum class tls_failure : std::uint8_t {
  plaintext,       // one of the two speaks no TLS
  closed,          // ended during the handshake
  protocol,        // not TLS 1.3 as both know it, or bytes that were changed on the way
  no_certificate,  // the other side has none
  expired,         // its certificate, or it is not valid yet
  untrusted,       // of another authority, or not for this use
  wrong_identity,  // it is somebody else's than it should be
  refused,         // the other side does not accept ours
};
inline constexpr std::size_t tls_failure_count = 8;
[[nodiscard]] std::string_view to_string(tls_failure f) noexcept;

struct class_traffic {
  routing::tally sent_frames;  // handed to the kernel (with TLS: sealed) completely
  routing::tally sent_bytes;
  routing::tally received_frames;
  routing::tally received_bytes;
  routing::tally dropped_frames;     // refused at a bound, no connection, or lost with a connection
  routing::tally superseded_frames;  // replaced by a newer one before they left
  routing::tally queued_bytes;       // accepted and not yet handed to the kernel, nor sealed; exact
};

/// Counters of one transport. Writer: the loop. Readers: any thread, relaxed.
struct transport_counters {
  std::array<class_traffic, priority_count> by_class;
  std::array<routing::tally, close_reason_count> closed;
  std::array<routing::tally, tls_failure_count> tls_failures;
  routing::tally accepted;               // connections that came in
  routing::tally dialled;                // connections that were tried
  routing::tally established;            // handshakes that succeeded, both directions
  routing::tally connections;            // open now, handshake done
  routing::tally clients;                // of clients, open now
  routing::tally clients_max;            // as configured
  routing::tally accept_pauses;          // out of descriptors: nobody was let in for a while
  routing::tally reads;                  // read system calls
  routing::tally writes;                 // gathered write system calls
  routing::tally copied_in_bytes;        // body bytes that had to be moved after the read
  routing::tally staged_bytes;           // header and small-piece bytes copied for a gathered write
  routing::tally packed_frames;          // large bodies that left compressed
  routing::tally packed_saved_bytes;     // by that
  routing::tally unpacked_frames;        // compressed bodies that came in
  routing::tally incompressible_frames;  // large bodies that were tried and did not shrink

  [[nodiscard]] class_traffic& of(priority p) noexcept {
    return by_class[static_cast<std::size_t>(p)];
  }
  [[nodiscard]] const class_traffic& of(priority p) const noexcept {
    return by_class[static_cast<std::size_t>(p)];
  }
};

}  // namespace blixard::net
