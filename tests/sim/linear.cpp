#include "tests/sim/linear.hpp"

#include <algorithm>
#include <bit>
#include <optional>
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

/// Rows of words of one length, each once: a hash table whose rows lie one after the other.
class row_set {
 public:
  explicit row_set(std::size_t words) : words_(words), slots_(64, 0) {}

  /// False: it was there.
  bool add(const std::vector<std::uint64_t>& row) {
    if (2 * ++count_ > slots_.size()) grow();
    auto* const slot = find(row.data());
    if (*slot != 0) {
      --count_;
      return false;
    }
    rows_.insert(rows_.end(), row.begin(), row.end());
    *slot = static_cast<std::uint32_t>(count_);
    return true;
  }

 private:
  [[nodiscard]] std::uint64_t hash(const std::uint64_t* row) const noexcept {
    std::uint64_t h = 0;
    for (std::size_t i = 0; i < words_; ++i) {
      h = (h ^ row[i]) * 0x9E3779B97F4A7C15ULL;
      h ^= h >> 32;
    }
    return h;
  }
  // Where it is, or the free place for it.
  [[nodiscard]] std::uint32_t* find(const std::uint64_t* row) noexcept {
    for (auto at = hash(row);; ++at) {
      auto& slot = slots_[at & (slots_.size() - 1)];
      if (slot == 0 || std::equal(row, row + words_, rows_.data() + (slot - 1) * words_))
        return &slot;
    }
  }
  void grow() {
    const auto rows = static_cast<std::uint32_t>(rows_.size() / words_);
    slots_.assign(2 * slots_.size(), 0);
    for (std::uint32_t i = 0; i < rows; ++i) *find(rows_.data() + i * words_) = i + 1;
  }

  std::size_t words_;
  std::size_t count_ = 0;
  std::vector<std::uint64_t> rows_;
  std::vector<std::uint32_t> slots_;  // number of a row, from 1; 0: free
};

class search {
 public:
  search(std::vector<operation> history, std::uint64_t max_steps)
      : ops_(std::move(history)),
        now_((ops_.size() + 63) / 64 + 1),
        left_(max_steps),
        seen_(now_.size()) {
    for (const auto& o : ops_) wanted_ += o.result != op_result::unknown ? 1 : 0;
  }

  verdict run() {
    if (explore(0)) return verdict::linearizable;
    return left_ == 0 ? verdict::too_hard : verdict::broken;
  }

 private:
  bool explore(std::uint64_t state) {
    if (wanted_ == 0) return true;
    now_.back() = state;
    if (left_ == 0 || !seen_.add(now_)) return false;
    --left_;
    // Sorted by invocation: whatever was invoked after the first open return cannot be next.
    std::uint64_t limit = UINT64_MAX;
    const auto first = first_open();
    for (auto i = first; i < ops_.size(); ++i) {
      if (is_done(i)) continue;
      const auto& o = ops_[i];
      if (o.invoked > limit) break;
      limit = std::min(limit, o.returned);
    }
    for (auto i = first; i < ops_.size() && ops_[i].invoked <= limit; ++i)
      if (!is_done(i) && take(i, state)) return true;
    return false;
  }

  [[nodiscard]] bool is_done(std::size_t i) const noexcept {
    return (now_[i / 64] >> (i % 64) & 1) != 0;
  }
  void turn(std::size_t i) noexcept { now_[i / 64] ^= std::uint64_t{1} << (i % 64); }
  [[nodiscard]] std::size_t first_open() const noexcept {
    for (std::size_t word = 0; word + 1 < now_.size(); ++word)
      if (~now_[word] != 0)
        return 64 * word + static_cast<std::size_t>(std::countr_one(now_[word]));
    return ops_.size();
  }

  bool take(std::size_t i, std::uint64_t state) {
    const auto next = after(ops_[i], state);
    if (!next) return false;
    const bool known = ops_[i].result != op_result::unknown;
    // Without an effect here, "later or never" says the same.
    if (!known && *next == state) return false;
    turn(i);
    wanted_ -= known ? 1 : 0;
    if (explore(*next)) return true;
    turn(i);
    wanted_ += known ? 1 : 0;
    return false;
  }

  std::vector<operation> ops_;
  std::vector<std::uint64_t> now_;  // what is done, a bit each; at the end the register
  std::size_t wanted_ = 0;          // operations with a known outcome that are not placed yet
  std::uint64_t left_;
  row_set seen_;
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
