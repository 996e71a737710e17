// What the command line speaks through: one request out, one answer back.
//
// The same commands run in `blixard ctl`, in a remote shell and inside a node. They see a `port`:
// `net::client` behind a socket outside, the REPL actor behind a mailbox inside.
//
//     runner ── submit(request, done) ──► port ──► node
//        ▲                                  │
//        └────── process() calls done ◄─────┘     poll(wait_fd, wait_ms), then process()
//
// A port belongs to one thread: submit, cancel and process are called there, and `done` is called
// there, from inside process (or never, after cancel).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <tl/expected.hpp>

#include "messages/buffer.hpp"
#include "messages/errc.hpp"
#include "messages/frame.hpp"

namespace blixard::repl {

/// One request as it goes on the wire: the body is encoded (pb::Command, pb::Query or
/// pb::AdminRequest, by kind) and is never encoded again.
struct request {
  frame_kind kind = frame_kind::query;
  slice body;
  node_id target;                    // 0: whoever is responsible
  std::uint32_t timeout_ms = 10000;  // how long the asker waits; also the frame's deadline
};

/// The bytes of a pb::Answer, or why there is none. A local error with outcome_of(code) == fail
/// means that no byte of the request left; connection_lost and timeout mean that some may have. The
/// bytes are valid during the callback only.
using reply = tl::expected<std::span<const std::byte>, error>;
using reply_fn = std::function<void(const reply&)>;

/// Names a submitted request of one port; never 0, never reused.
using call_id = std::uint64_t;

class port {
 public:
  virtual ~port() = default;

  /// Starts a request; never blocks. `done` is called exactly once, later, by process(), at the
  /// latest shortly after request.timeout_ms (within 50 ms of process being called on time).
  virtual call_id submit(const request& r, reply_fn done) = 0;
  /// Forgets a request: its `done` is not called any more. What was sent stays sent.
  virtual void cancel(call_id id) = 0;
  /// Readable when process() has something to do.
  [[nodiscard]] virtual int wait_fd() const = 0;
  /// Milliseconds until process() must be called even if nothing is readable; -1: no limit.
  [[nodiscard]] virtual int wait_ms() const = 0;
  /// Does what can be done without blocking, and calls what is done.
  virtual void process() = 0;
};

}  // namespace blixard::repl
