// Strong ids: integers that mean different things never convert into each other.
//
// `term` and `log_index` are Raft's (Ongaro & Ousterhout 2014, section 5); 0 means "none yet" for
// both, the first real value is 1. `node_id` 0 is nobody. All are monotonic where a comment says
// so.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace blixard {

/// An unsigned 64-bit quantity of one kind. Zero-initialised; ordered; hashable; explicit both
/// ways.
template <class Tag>
class strong_id {
 public:
  constexpr strong_id() noexcept = default;
  constexpr explicit strong_id(std::uint64_t value) noexcept : value_(value) {}

  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return value_ != 0; }
  [[nodiscard]] constexpr strong_id next() const noexcept { return strong_id{value_ + 1}; }
  /// The one before; the one before 0 is 0.
  [[nodiscard]] constexpr strong_id prev() const noexcept {
    return strong_id{value_ == 0 ? 0 : value_ - 1};
  }
  /// Moves forward by `n`.
  [[nodiscard]] constexpr strong_id plus(std::uint64_t n) const noexcept {
    return strong_id{value_ + n};
  }

  friend constexpr auto operator<=>(strong_id, strong_id) noexcept = default;

 private:
  std::uint64_t value_ = 0;
};

using term = strong_id<struct term_tag>;              // Raft term; never decreases on a node
using log_index = strong_id<struct log_index_tag>;    // position in the replicated log, from 1
using node_id = strong_id<struct node_id_tag>;        // a member of the cluster, from 1
using request_id = strong_id<struct request_id_tag>;  // unique per connection and direction
using cluster_id = strong_id<struct cluster_id_tag>;  // random, made at bootstrap
using vm_id = strong_id<struct vm_id_tag>;            // assigned at apply, never reused
using persist_seq =
    strong_id<struct persist_seq_tag>;  // one write to the disk; strictly increasing
using connection_id =
    strong_id<struct connection_id_tag>;  // a socket of this process, never reused

template <class Tag>
[[nodiscard]] std::string to_string(strong_id<Tag> id) {
  return std::to_string(id.value());
}

}  // namespace blixard

template <class Tag>
struct std::hash<blixard::strong_id<Tag>> {
  std::size_t operator()(blixard::strong_id<Tag> id) const noexcept {
    // Fibonacci mixing: ids are sequential, tables are powers of two.
    return static_cast<std::size_t>(id.value() * 0x9E3779B97F4A7C15ULL);
  }
};
