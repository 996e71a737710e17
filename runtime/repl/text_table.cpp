#include "runtime/repl/text_table.hpp"

#include <algorithm>

#include "messages/check.hpp"

namespace blixard::repl {

std::size_t display_width(std::string_view text) noexcept {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string printable(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\x";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

text_table::text_table(std::vector<std::string> titles) : titles_(std::move(titles)) {
  for (auto& t : titles_) {
    right_.push_back(t.starts_with('>'));
    if (right_.back()) t.erase(0, 1);
  }
}

void text_table::add(std::vector<std::string> cells) {
  CHECK_LE(cells.size(), titles_.size());
  for (auto& c : cells) c = printable(c);
  cells.resize(titles_.size());
  rows_.push_back(std::move(cells));
}

std::string text_table::str() const {
  std::vector<std::size_t> width;
  for (const auto& t : titles_) width.push_back(display_width(t));
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i)
      width[i] = std::max(width[i], display_width(row[i]));
  std::string out;
  const auto put = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string pad(width[i] - display_width(row[i]), ' ');
      line += (i == 0 ? "" : "  ") + (right_[i] ? pad + row[i] : row[i] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  put(titles_);
  for (const auto& row : rows_) put(row);
  return out;
}

void text_fields::add(std::string name, std::string value) {
  if (!value.empty()) rows_.emplace_back(std::move(name), printable(value));
}

std::string text_fields::str() const {
  std::size_t width = 0;
  for (const auto& [name, value] : rows_) width = std::max(width, name.size());
  std::string out;
  for (const auto& [name, value] : rows_)
    out += name + std::string(width - name.size() + 2, ' ') + value + "\n";
  return out;
}

}  // namespace blixard::repl
