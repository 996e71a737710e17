// Who may start another request: credits per connection and per class, taken before anything is
// sent to an actor.
//
// Mailboxes are unbounded (DESIGN 8), so the bound is kept at the door: a request takes one credit
// of its connection and one of its class, and gives both back when it is answered, its deadline
// passes (the owner watches that: open_requests.hpp) or its connection goes. Without a credit the
// request is answered `overloaded` at once, with the time after which trying again makes sense: the
// backlog divided by the rate at which requests of the class were finished lately.
//
// Pure: time comes in as nanoseconds of a monotonic clock. O(1); no allocation after the first
// request of a connection. Owner thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "messages/frame.hpp"
#include "messages/ids.hpp"
#include "messages/limits.hpp"

namespace blixard::routing {

struct admission_config {
  // Outstanding requests of one connection, over all classes.
  std::size_t per_connection_max = limits::client_outstanding_max;
  // Outstanding requests of one class, over all connections.
  std::array<std::size_t, priority_count> per_class_max = {
      limits::proposals_max, limits::proposals_max, limits::proposals_max, 64};
  std::uint32_t retry_after_min_ms = 5;
  std::uint32_t retry_after_max_ms = 2'000;
};

struct admission_result {
  bool admitted = false;
  std::uint32_t retry_after_ms = 0;  // only when refused
};

class admission {
 public:
  explicit admission(const admission_config& config = {});

  /// Takes one credit of the connection and one of the class, or none. `now_ns`: monotonic clock.
  [[nodiscard]] admission_result admit(connection_id from, priority cls, std::uint64_t now_ns);

  /// Gives back what `admit` took. Ignored for a connection that was dropped in between (its
  /// credits went back then).
  void release(connection_id from, priority cls, std::uint64_t now_ns) noexcept;

  /// The connection is gone: all its credits go back.
  void drop(connection_id from, std::uint64_t now_ns) noexcept;

  [[nodiscard]] std::size_t outstanding(connection_id from) const noexcept;
  [[nodiscard]] std::size_t outstanding(priority cls) const noexcept;
  /// Connections with at least one admitted request since they came.
  [[nodiscard]] std::size_t connections() const noexcept { return accounts_.size(); }

 private:
  struct account {
    std::array<std::uint32_t, priority_count> by_class{};
    std::uint32_t total = 0;
  };
  struct class_state {
    std::size_t outstanding = 0;
    std::uint64_t last_release_ns = 0;
    std::uint64_t release_gap_ns = 0;  // smoothed time between two finished requests; 0: unknown
  };

  [[nodiscard]] class_state& state(priority cls) noexcept {
    return classes_[static_cast<std::size_t>(cls)];
  }
  [[nodiscard]] std::uint32_t retry_after(const class_state& c, std::size_t backlog) const noexcept;
  void give_back(class_state& c, std::size_t n, std::uint64_t now_ns) noexcept;

  admission_config config_;
  std::array<class_state, priority_count> classes_;
  std::unordered_map<connection_id, account> accounts_;
};

}  // namespace blixard::routing
