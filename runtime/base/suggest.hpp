// The nearest right spelling of a word that was not understood.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace blixard {

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours,
/// each costing 1. O(|a| |b|).
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, where it is near enough to be meant (a third of the longer
/// one's length, at least 1); the first of equals. Where none is, the only one that begins with
/// `word` (three letters or more). Flags of one letter ("-o") are not suggested. Empty: none.
[[nodiscard]] std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// "did you mean X?", or empty where nothing is near.
[[nodiscard]] std::string did_you_mean(std::string_view word,
                                       std::span<const std::string> candidates);

}  // namespace blixard
