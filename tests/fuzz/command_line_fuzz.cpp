// What a person types: words and commands; any word can be quoted; what completes is text.
#include "runtime/repl/build.hpp"
#include "runtime/repl/commands.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {

void one(input in) {
  const std::string line{in.rest()};
  // A line has no line end and no NUL: the terminal and the reader of lines see to that.
  if (line.find_first_of(std::string_view{"\0\n", 2}) == std::string::npos) {
    for (const std::string& quoted : {repl::quote_word(line), repl::escape_word(line)}) {
      const auto back = repl::split_words(quoted);
      CHECK(back.has_value());
      if (!line.empty()) CHECK(back->size() == 1 && back->front() == line);
    }
  }
  const auto words = repl::split_words(line);
  if (!words || words->empty()) return;
  const auto parsed = repl::parse_command(*words);
  if (!parsed) {
    CHECK(!parsed.error().message.empty());
    return;
  }
  if (parsed->spec->build == nullptr) return;
  const repl::request_context context{1000, "c", 7, 1000};
  const auto built = parsed->spec->build(*parsed, context);
  if (!built) CHECK(!built.error().message.empty());
  (void)repl::help_text(*words);
}

std::vector<std::string> examples() {
  std::vector<std::string> out;
  for (const repl::command_spec& c : repl::command_table()) out.emplace_back(c.example);
  out.emplace_back(R"(kv put "a b\"" 'c d' \e # comment)");
  return out;
}

}  // namespace blixard::fuzz
