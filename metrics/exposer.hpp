// The HTTP side of a node's metrics address: /metrics, /livez, /readyz (CLIENT "HTTP on the metrics
// address").
//
// One thread with a poll loop, GET and HEAD only. Everything is bounded: connections, bytes of a
// request, time to send one, time to take an answer, idle time between two. It never asks an actor:
// the callbacks read atomics.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"

namespace blixard::metrics {

/// Whether the node can serve, and if not, why: short lower-case phrases for a person and a script.
/// Ready exactly if there is no reason against it.
struct readiness {
  std::vector<std::string> reasons;
};

struct exposer_limits {
  std::size_t connections_max = 64;          // more are accepted and closed at once
  std::size_t request_max_bytes = 8 * 1024;  // line and headers; more is answered with 431
  std::chrono::milliseconds request_timeout = std::chrono::seconds(5);  // to send a whole request
  std::chrono::milliseconds answer_timeout = std::chrono::seconds(10);  // to take the answer
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(1);     // between two requests
  std::chrono::milliseconds drain_timeout =
      std::chrono::seconds(1);  // to close after the last answer
};

/// What the exposer shows. Called on its thread only; must be quick and take no lock for long.
struct exposer_sources {
  /// Reasons to take the process for hung (it never depends on a quorum). Empty function: never
  /// hung as long as this thread answers.
  std::function<readiness()> live;
  std::function<std::string()> metrics;  // Prometheus text: registry::text
  std::function<readiness()> ready;
};

class exposer {
 public:
  /// Listens on "HOST:PORT" ("[::1]:0"; port 0: any free one) and starts the thread.
  /// Errors: invalid_argument (not an address), unavailable (taken or not ours; the message says
  /// which), internal (out of descriptors).
  [[nodiscard]] static tl::expected<std::unique_ptr<exposer>, error> start(
      const std::string& address, exposer_sources sources, exposer_limits limits = {});
  /// Stops listening, closes every connection and joins the thread.
  ~exposer();
  exposer(const exposer&) = delete;
  exposer& operator=(const exposer&) = delete;

  /// Where it listens, with the port that was really bound: "127.0.0.1:9464".
  [[nodiscard]] const std::string& address() const noexcept;

 private:
  class server;
  explicit exposer(std::unique_ptr<server> s) noexcept;
  std::unique_ptr<server> server_;
};

}  // namespace blixard::metrics
