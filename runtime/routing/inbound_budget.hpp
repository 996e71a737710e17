// How much of this node's memory clients may hold with what they send, in bytes, over all
// connections (half of --memory-cap; the other half is for what waits to be sent to them).
//
//   half frames   the first bytes of a body are here, and room is taken for all of it
//   requests      admitted, and not answered yet: in the lanes, waiting for a leader, forwarded,
//   ... held          requests that other nodes passed on, and that wait here for a leader
//
// Numbers of things are bounded elsewhere (credits, connections, lanes); but a thing may be some
// bytes or some megabytes, and memory is lost in bytes. Half frames get half of the whole at most:
// they bring the sender no answer, and must not crowd out what is complete. Where nothing is taken
// for a use, one thing of any size is granted, so that nothing is refused for ever.
//
// What Raft sends is in no budget: a peer is never refused for a client's sake.
//
// Two additions per request. Owner thread only; counters are readable by any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "messages/check.hpp"
#include "runtime/routing/tally.hpp"

namespace blixard::routing {

enum class inbound_use : std::uint8_t { half_frames, requests, held };
inline constexpr std::size_t inbound_use_count = 3;

class inbound_budget {
 public:
  explicit inbound_budget(std::size_t max_bytes) noexcept : max_bytes_(max_bytes) {}

  /// False, and counted as refused: there is no room for so many bytes.
  [[nodiscard]] bool take(inbound_use use, std::size_t bytes) noexcept {
    auto& u = of(use);
    const auto own_max = use == inbound_use::half_frames ? max_bytes_ / 2 : max_bytes_;
    const auto own = u.bytes.get();
    const bool fits = own + bytes <= own_max && used_ + bytes <= max_bytes_;
    if (!fits && own != 0) {
      u.refused.add();
      return false;
    }
    u.bytes.add(bytes);
    used_ += bytes;
    return true;
  }
  /// What was taken goes back, once.
  void give_back(inbound_use use, std::size_t bytes) noexcept {
    CHECK_GE(of(use).bytes.get(), bytes);
    of(use).bytes.sub(bytes);
    used_ -= bytes;
  }

  [[nodiscard]] std::size_t max_bytes() const noexcept { return max_bytes_; }
  /// Any thread.
  [[nodiscard]] const tally& bytes(inbound_use use) const noexcept {
    return uses_[static_cast<std::size_t>(use)].bytes;
  }
  [[nodiscard]] const tally& refused(inbound_use use) const noexcept {
    return uses_[static_cast<std::size_t>(use)].refused;
  }

 private:
  struct account {
    tally bytes;
    tally refused;
  };
  [[nodiscard]] account& of(inbound_use use) noexcept {
    return uses_[static_cast<std::size_t>(use)];
  }

  const std::size_t max_bytes_;
  std::size_t used_ = 0;
  std::array<account, inbound_use_count> uses_;
};

}  // namespace blixard::routing
