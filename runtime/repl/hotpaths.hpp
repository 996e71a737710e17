// `hotpaths`: a node's metrics, read as the costs of its five hot paths.
//
// One table of rows, each a number or a ratio of sums of metrics since the process started. The
// node counts, this side divides: a new row needs no change of the protocol or of the node.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace blixard::repl {

/// Metrics by series, as Prometheus writes them: `name` or `name{label="value"}`.
using samples = std::map<std::string, double, std::less<>>;

/// One line of the view. `above` and `below` are series; a name without labels stands for all its
/// series. With `below` the value is a ratio, and there is none while `below` is zero.
struct hotpath_row {
  std::string_view area;
  std::string_view what;
  std::span<const std::string_view> above;
  std::span<const std::string_view> below;
};

[[nodiscard]] std::span<const hotpath_row> hotpath_rows();

struct hotpath_figure {
  const hotpath_row* row = nullptr;
  std::optional<double> value;
};

/// A figure per row, in the order of the table.
[[nodiscard]] std::vector<hotpath_figure> hotpath_figures(const samples& values);
[[nodiscard]] std::string hotpaths_text(const samples& values);

/// Reads the lines of an exposition; comments and what is no sample are skipped.
void read_sample(std::string_view line, samples& into);
[[nodiscard]] samples read_samples(const auto& lines) {
  samples out;
  for (const auto& line : lines) read_sample(line, out);
  return out;
}

}  // namespace blixard::repl
