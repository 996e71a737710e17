#include "runtime/net/traffic.hpp"

namespace blixard::net {

std::string_view to_string(close_reason r) noexcept {
  switch (r) {
    case close_reason::peer_closed:
      return "peer_closed";
    case close_reason::truncated:
      return "truncated";
    case close_reason::io_error:
      return "io_error";
    case close_reason::bad_frame:
      return "bad_frame";
    case close_reason::oversized:
      return "oversized";
    case close_reason::bad_handshake:
      return "bad_handshake";
    case close_reason::refused:
      return "refused";
    case close_reason::handshake_timeout:
      return "handshake_timeout";
    case close_reason::unresponsive:
      return "unresponsive";
    case close_reason::send_queue_full:
      return "send_queue_full";
    case close_reason::idle:
      return "idle";
    case close_reason::replaced:
      return "replaced";
    case close_reason::local:
      return "local";
    case close_reason::connect_failed:
      return "connect_failed";
  }
  return "unknown";
}

}  // namespace blixard::net
