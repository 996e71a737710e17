#include "runtime/repl/text_table.hpp"

#include <algorithm>

#include "messages/check.hpp"
#include "runtime/repl/utf8.hpp"

namespace blixard::repl {
namespace {

/// C0, DEL and C1 (two bytes in UTF-8): what a terminal may take as a command.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (first < 0x20 || first == 0x7F) return true;
  return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

void put_hex(std::string& out, std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += "\\x";
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
}

/// `text` with everything but printable characters and `kept` made visible.
std::string made_visible(std::string_view text, std::string_view kept) {
  std::string out;
  while (!text.empty()) {
    const auto length = utf8_length(text);
    const auto character = text.substr(0, std::max<std::size_t>(length, 1));
    text.remove_prefix(character.size());
    if (length == 1 && kept.find(character[0]) != std::string_view::npos)
      out += character;
    else if (character == "\n")
      out += "\\n";
    else if (character == "\t")
      out += "\\t";
    else if (length == 0 || is_control(character))
      put_hex(out, character);
    else
      out += character;
  }
  return out;
}

}  // namespace

std::size_t display_width(std::string_view text) noexcept {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string printable(std::string_view text) { return made_visible(text, ""); }

std::string for_terminal(std::string_view text) { return made_visible(text, "\n\t"); }

std::string abridged(const std::string& text, std::size_t width) {
  constexpr std::string_view gap = " ... ";
  const auto whole = display_width(text);
  if (whole <= width) return text;
  const std::size_t tail = (width - gap.size()) / 2;
  const std::size_t head = width - gap.size() - tail;
  std::string out;
  std::size_t column = 0;
  for (const char c : text) {
    column += (c & 0xC0) != 0x80 ? 1 : 0;  // the column that this byte belongs to, from 1
    if (column <= head || column > whole - tail) out += c;
    if (column == head + 1 && (c & 0xC0) != 0x80) out += gap;
  }
  return out;
}

std::string first_columns(const std::string& text, std::size_t width) {
  std::size_t column = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    column += (text[at] & 0xC0) != 0x80 ? 1 : 0;
    if (column > width) return text.substr(0, at);
  }
  return text;
}

std::string first_rows(const std::string& text, std::size_t rows, std::size_t columns) {
  std::size_t used = 0;
  std::size_t kept = 0;      // bytes that leave a row for the last line
  std::size_t left_out = 0;  // lines behind these
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    const auto width = display_width(std::string_view(text).substr(at, end - at));
    used += std::max<std::size_t>(1, (width + columns - 1) / columns);
    at = std::min(end + 1, text.size());
    if (used + 1 < rows)
      kept = at;
    else
      ++left_out;
  }
  if (used < rows) return text;
  return text.substr(0, kept) + "... " + std::to_string(left_out) + " more lines\n";
}

std::string in_columns(const std::vector<std::string>& words, std::size_t width) {
  std::size_t widest = 0;
  for (const auto& w : words) widest = std::max(widest, display_width(w));
  const std::size_t columns = std::max<std::size_t>(1, (width + 2) / (widest + 2));
  const std::size_t rows = (words.size() + columns - 1) / columns;
  std::string out;
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = row; i < words.size(); i += rows) {
      out += words[i];
      if (i + rows < words.size()) out += std::string(widest - display_width(words[i]) + 2, ' ');
    }
    out += '\n';
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
