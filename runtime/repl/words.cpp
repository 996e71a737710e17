// How a line becomes words, and a word becomes text that reads back. Shell rules without expansion.
#include "runtime/repl/commands.hpp"

namespace blixard::repl {
namespace {

constexpr std::string_view special = " \t\r\n'\"\\#";

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

tl::unexpected<error> refuse(std::string message, std::string hint) {
  return tl::unexpected(make_error(errc::invalid_argument, std::move(message), std::move(hint)));
}

/// One pass over a line: where it is, and the word that is being read.
class splitter {
 public:
  explicit splitter(std::string_view line) : line_(line) {}

  tl::expected<std::vector<std::string>, error> run() {
    while (at_ < line_.size()) {
      const char c = line_[at_];
      if (is_blank(c)) {
        finish_word();
        ++at_;
      } else if (c == '#' && !in_word_) {
        break;
      } else if (c == '\'' || c == '"') {
        if (!quoted(c))
          return refuse(std::string("a ") + c + " is not closed", "quotes come in pairs");
      } else if (c == '\\') {
        if (at_ + 1 == line_.size())
          return refuse("the line ends with a backslash", "write \\\\ for a backslash itself");
        take(line_[at_ + 1]);
        at_ += 2;
      } else {
        take(c);
        ++at_;
      }
    }
    finish_word();
    return std::move(words_);
  }

 private:
  void take(char c) {
    in_word_ = true;
    word_ += c;
  }
  void finish_word() {
    if (in_word_) words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = false;
  }
  /// Reads up to the closing quote; false where there is none.
  bool quoted(char quote) {
    in_word_ = true;
    for (++at_; at_ < line_.size(); ++at_) {
      char c = line_[at_];
      if (c == quote) {
        ++at_;
        return true;
      }
      const bool escapes = quote == '"' && c == '\\' && at_ + 1 < line_.size() &&
                           (line_[at_ + 1] == '"' || line_[at_ + 1] == '\\');
      if (escapes) c = line_[++at_];
      word_ += c;
    }
    return false;
  }

  std::string_view line_;
  std::size_t at_ = 0;
  bool in_word_ = false;
  std::string word_;
  std::vector<std::string> words_;
};

}  // namespace

tl::expected<std::vector<std::string>, error> split_words(std::string_view line) {
  return splitter(line).run();
}

std::string escape_word(std::string_view word) {
  std::string out;
  for (const char c : word) {
    if (special.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string quote_word(std::string_view word) {
  if (!word.empty() && word.find_first_of(special) == std::string_view::npos)
    return std::string(word);
  if (word.find('\'') == std::string_view::npos) return "'" + std::string(word) + "'";
  std::string out = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace blixard::repl
