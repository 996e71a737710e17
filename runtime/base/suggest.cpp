#include "runtime/base/suggest.hpp"

#include <algorithm>
#include <vector>

namespace blixard {
namespace {

/// The one candidate that begins with `word`; empty where there are none or several.
std::string completed(std::string_view word, std::span<const std::string> candidates) {
  constexpr std::size_t shortest_word = 3;  // besides dashes: less says too little
  if (word.size() < shortest_word + std::min(word.find_first_not_of('-'), word.size())) return {};
  const auto begins = [word](const std::string& c) { return c.starts_with(word); };
  const auto found = std::ranges::find_if(candidates, begins);
  if (found == candidates.end() || std::ranges::count_if(candidates, begins) != 1) return {};
  return *found;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> previous(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, previous);
    std::swap(previous, row);
  }
  return previous[b.size()];
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  constexpr std::size_t longest_word = 64;  // nobody mistypes a longer one by a few letters
  if (word.size() > longest_word) return {};
  std::string best;
  std::size_t best_distance = SIZE_MAX;
  for (const auto& c : candidates) {
    // "-o" is one letter away from every other flag of one letter.
    if (c.size() == 2 && c[0] == '-') continue;
    const auto distance = edit_distance(word, c);
    const auto allowed = std::max<std::size_t>(1, std::max(word.size(), c.size()) / 3);
    if (distance <= allowed && distance < best_distance) {
      best = c;
      best_distance = distance;
    }
  }
  return best.empty() ? completed(word, candidates) : best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const auto near = nearest(word, candidates);
  return near.empty() ? std::string{} : "did you mean " + near + "?";
}

}  // namespace blixard
