// Aligned columns for people: numbers to the right, no lines, no trailing blanks.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace blixard::repl {

/// Columns a person sees: code points of UTF-8 text (not wide characters: names here are ASCII).
[[nodiscard]] std::size_t display_width(std::string_view text) noexcept;
/// `text` with control characters (\n as \\n, \t as \\t, others as \\xNN) and bytes that are not
/// UTF-8 made visible, so that a value can neither move the cursor nor spoil a column.
[[nodiscard]] std::string printable(std::string_view text);

/// The same for output of many lines: line ends and tabs stay. What a guest prints on its console
/// or somebody stored under a key must not command the terminal of whoever looks at it.
[[nodiscard]] std::string for_terminal(std::string_view text);

/// `text` with its middle left out where it is wider than `width`, which is at least 8: causes
/// stand at the beginning and what will be done about them at the end.
[[nodiscard]] std::string abridged(const std::string& text, std::size_t width);

/// As much of the beginning of `text` as has room in `width` columns; no character is cut in two.
[[nodiscard]] std::string first_columns(const std::string& text, std::size_t width);

/// The first lines of `text`, as many as a screen of that size shows above its last row, and there
/// how many more there are. All of it where it fits. `columns` is not 0.
[[nodiscard]] std::string first_rows(const std::string& text, std::size_t rows,
                                     std::size_t columns);

/// Words in as many columns as fit into `width`, down before across, as a shell lists names.
[[nodiscard]] std::string in_columns(const std::vector<std::string>& words, std::size_t width);

class text_table {
 public:
  /// A title that starts with '>' is a column of numbers, aligned to the right.
  explicit text_table(std::vector<std::string> titles);
  /// One row; missing cells are empty. Precondition: not more cells than titles.
  void add(std::vector<std::string> cells);
  [[nodiscard]] std::string str() const;
  [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }

 private:
  std::vector<std::string> titles_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

/// "name   value" lines, aligned; rows with an empty value are left out.
class text_fields {
 public:
  void add(std::string name, std::string value);
  [[nodiscard]] std::string str() const;

 private:
  std::vector<std::pair<std::string, std::string>> rows_;
};

}  // namespace blixard::repl
