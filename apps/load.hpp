// The load generator behind `blixard bench kv`: one thread, a few connections, many clients.
//
//   closed loop   every client has one request outstanding; the next follows its answer
//   open loop     --rate: requests start at their intended times whatever the answers do, and
//                 latency counts from the intended time (no coordinated omission)
//
// Requests are encoded before the clock starts: every key has one put and one get, ready to be
// sent. A request that fails is counted by its code; a closed client goes on after a short pause.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "apps/histogram.hpp"
#include "messages/errc.hpp"
#include "runtime/base/endpoint.hpp"
#include "runtime/net/tls_credentials.hpp"

namespace blixard::apps {

struct load_options {
  std::vector<endpoint> addresses;
  std::shared_ptr<net::tls_credentials> tls;  // null: without TLS
  std::size_t clients = 64;
  std::size_t connections = 8;  // shared by the clients
  std::size_t value_bytes = 256;
  std::size_t keys = 10'000;
  double reads = 0;  // share of gets
  bool stale = false;
  std::uint64_t duration_ms = 10'000;
  double rate = 0;  // operations per second; 0: closed loop
  std::uint32_t timeout_ms = 5'000;
  std::uint64_t seed = 1;  // of keys and of the choice between get and put
};

struct load_result {
  double seconds = 0;  // from the first request to the last counted answer
  histogram puts;      // nanoseconds
  histogram gets;
  std::uint64_t errors = 0;
  std::map<errc, std::uint64_t> errors_by_code;
  std::uint64_t unfinished = 0;      // still without an answer when time was up
  std::uint64_t late_starts = 0;     // open loop: could not start, too many outstanding
  std::uint64_t longest_gap_ns = 0;  // between two good answers: what an outage looked like

  [[nodiscard]] std::uint64_t operations() const noexcept { return puts.count() + gets.count(); }
};

/// Called a few times a second while the load runs: elapsed milliseconds, operations so far.
using load_progress = std::function<void(std::uint64_t elapsed_ms, std::uint64_t operations)>;

/// Runs the load to its end on the calling thread.
[[nodiscard]] load_result run_load(const load_options& options, const load_progress& progress);

}  // namespace blixard::apps
