#include "tests/sim/linear.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace blixard::sim {
namespace {

// The register after the operation, or nothing where its result contradicts the register.
std::optional<std::uint64_t> after(const operation& o, std::uint64_t state) {
  const bool known = o.result != op_result::unknown;
  switch (o.kind) {
    case op_kind::put:
      return o.value;
    case op_kind::get:
      return !known || o.value == state ? std::optional{state} : std::nullopt;
    case op_kind::erase: {
      const auto result = state == 0 ? op_result::not_found : op_result::ok;
      return !known || o.result == result ? std::optional<std::uint64_t>{0} : std::nullopt;
    }
    case op_kind::cas: {
      const auto result = state == 0            ? op_result::not_found
                          : state == o.expected ? op_result::ok
                                                : op_result::conflict;
      if (known && o.result != result) return std::nullopt;
      return result == op_result::ok ? o.value : state;
    }
  }
  return std::nullopt;
}

class search {
 public:
  search(std::vector<operation> history, std::uint64_t max_steps)
      : ops_(std::move(history)), done_(ops_.size(), false), left_(max_steps) {
    for (const auto& o : ops_) wanted_ += o.result != op_result::unknown ? 1 : 0;
  }

  verdict run() {
    if (explore(0)) return verdict::linearizable;
    return left_ == 0 ? verdict::too_hard : verdict::broken;
  }

 private:
  bool explore(std::uint64_t state) {
    if (wanted_ == 0) return true;
    if (left_ == 0 || !seen_.emplace(done_, state).second) return false;
    --left_;
    // Sorted by invocation: whatever was invoked after the first open return cannot be next.
    std::uint64_t limit = UINT64_MAX;
    for (std::size_t i = 0; i < ops_.size(); ++i) {
      if (done_[i]) continue;
      const auto& o = ops_[i];
      if (o.invoked > limit) break;
      limit = std::min(limit, o.returned);
    }
    for (std::size_t i = 0; i < ops_.size() && ops_[i].invoked <= limit; ++i)
      if (!done_[i] && take(i, state)) return true;
    return false;
  }

  bool take(std::size_t i, std::uint64_t state) {
    const auto next = after(ops_[i], state);
    if (!next) return false;
    const bool known = ops_[i].result != op_result::unknown;
    // Without an effect here, "later or never" says the same.
    if (!known && *next == state) return false;
    done_[i] = true;
    wanted_ -= known ? 1 : 0;
    if (explore(*next)) return true;
    done_[i] = false;
    wanted_ += known ? 1 : 0;
    return false;
  }

  std::vector<operation> ops_;
  std::vector<bool> done_;
  std::size_t wanted_ = 0;  // operations with a known outcome that are not placed yet
  std::uint64_t left_;
  std::set<std::pair<std::vector<bool>, std::uint64_t>> seen_;
};

}  // namespace

verdict check_register(std::vector<operation> history, std::uint64_t max_steps) {
  std::erase_if(history, [](const operation& o) {
    return o.kind == op_kind::get && o.result == op_result::unknown;
  });
  std::ranges::stable_sort(history, {}, &operation::invoked);
  return search{std::move(history), max_steps}.run();
}

std::string to_string(const operation& o) {
  constexpr const char* kinds[] = {"put ", "get ", "cas ", "delete"};
  constexpr const char* results[] = {"ok", "conflict", "not found", "unknown"};
  std::string out = kinds[static_cast<std::size_t>(o.kind)];
  if (o.kind == op_kind::cas) out += std::to_string(o.expected) + " by ";
  if (o.kind != op_kind::erase) out += std::to_string(o.value);
  return out + ": " + results[static_cast<std::size_t>(o.result)];
}

}  // namespace blixard::sim
