// Which thread owns which slot. The table is the process's, like thread ids are: a slot belongs to
// a thread, not to a registry.
#include "metrics/instruments.hpp"

#include <array>

namespace blixard::metrics::detail {
namespace {

std::array<std::atomic<bool>, exclusive_slots> taken{};

/// Gives the slot back when its thread ends. What later thread-local destructors of that thread
/// count goes to the shared slot.
struct slot_owner {
  std::uint32_t slot = unassigned_slot;
  ~slot_owner() {
    if (slot >= exclusive_slots) return;
    thread_slot = exclusive_slots;
    // release: the next owner, which acquires, continues from this thread's last stores.
    taken[slot].store(false, std::memory_order_release);
  }
};
thread_local slot_owner owner;

}  // namespace

constinit thread_local std::uint32_t thread_slot = unassigned_slot;

std::uint32_t assign_slot() noexcept {
  std::uint32_t slot = 0;
  while (slot < exclusive_slots && taken[slot].exchange(true, std::memory_order_acquire)) ++slot;
  thread_slot = slot;
  owner.slot = slot;
  return slot;
}

std::size_t owned_slots() noexcept {
  std::size_t owned = 0;
  for (const auto& t : taken) owned += t.load(std::memory_order_relaxed) ? 1U : 0U;
  return owned;
}

}  // namespace blixard::metrics::detail
