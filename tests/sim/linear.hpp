// Is a history of one key linearizable (Herlihy & Wing 1990)?
//
// The search of Wing & Gong 1993 with Lowe's memory of visited configurations (2017): take any
// operation that nobody else finished before, apply it to a register, undo on a dead end. An
// operation without a known outcome may take effect at any time after its start, or never.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blixard::sim {

enum class op_kind : std::uint8_t { put, get, cas, erase };
enum class op_result : std::uint8_t { ok, conflict, not_found, unknown };

/// Values are numbers; 0 is "no such key".
struct operation {
  op_kind kind = op_kind::put;
  std::uint64_t value = 0;     // put, cas: what is written. get: what was seen
  std::uint64_t expected = 0;  // cas
  op_result result = op_result::unknown;
  std::uint64_t invoked = 0;
  std::uint64_t returned = UINT64_MAX;  // with unknown: never
};

/// For a person: "cas 3 by 5: conflict".
[[nodiscard]] std::string to_string(const operation& o);

enum class verdict : std::uint8_t { linearizable, broken, too_hard };

/// `max_steps` bounds the search; beyond it the answer is too_hard.
[[nodiscard]] verdict check_register(std::vector<operation> history, std::uint64_t max_steps);

}  // namespace blixard::sim
