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
    case close_reason::tls_failed:
      return "tls_failed";
    case close_reason::crowded_out:
      return "crowded_out";
    case close_reason::frame_timeout:
      return "frame_timeout";
  }
  return "unknown";
}

std::string_view to_string(tls_failure f) noexcept {
  switch (f) {
    case tls_failure::plaintext:
      return "plaintext";
    case tls_failure::closed:
      return "closed";
    case tls_failure::protocol:
      return "protocol";
    case tls_failure::no_certificate:
      return "no_certificate";
    case tls_failure::expired:
      return "expired";
    case tls_failure::untrusted:
      return "untrusted";
    case tls_failure::wrong_identity:
      return "wrong_identity";
    case tls_failure::refused:
      return "refused";
  }
  return "unknown";
}

}  // namespace blixard::net
