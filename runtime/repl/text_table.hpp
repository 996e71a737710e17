// Aligned columns for people: numbers to the right, no lines, no trailing blanks.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace blixard::repl {

/// Columns a person sees: code points of UTF-8 text (not wide characters: names here are ASCII).
[[nodiscard]] std::size_t display_width(std::string_view text) noexcept;
/// `text` with control characters made visible (\n as \\n, others as \\xNN), so that a value cannot
/// move the cursor.
[[nodiscard]] std::string printable(std::string_view text);

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
