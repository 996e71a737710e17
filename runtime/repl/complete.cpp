#include "runtime/repl/complete.hpp"

#include <algorithm>

namespace blixard::repl {
namespace {

using strings = std::vector<std::string>;

void keep_matching(completion& c) {
  std::erase_if(c.candidates, [&c](const std::string& s) { return !s.starts_with(c.word); });
  std::ranges::sort(c.candidates);
  auto& all = c.candidates;
  all.erase(std::unique(all.begin(), all.end()), all.end());
}

/// First or second word of a command.
completion complete_name(std::span<const std::string> before, std::string word) {
  completion out{std::move(word), {}, completes::nothing};
  for (const auto& c : command_table()) {
    if (before.empty())
      out.candidates.emplace_back(c.group.empty() ? c.verb : c.group);
    else if (before.size() == 1 && c.group == before[0])
      out.candidates.emplace_back(c.verb);
  }
  keep_matching(out);
  return out;
}

const command_spec* command_of(std::span<const std::string> words) {
  for (const auto& c : command_table()) {
    if (c.group.empty() ? (!words.empty() && words[0] == c.verb)
                        : (words.size() > 1 && words[0] == c.group && words[1] == c.verb))
      return &c;
  }
  return nullptr;
}

const flag_spec* flag_of(const command_spec& c, std::string_view name) {
  for (const auto flags : {c.flags, common_flags()})
    for (const auto& f : flags)
      if (f.name == name) return &f;
  return nullptr;
}

completion complete_value(completes kind, std::string_view choices, std::string word) {
  completion out{std::move(word), {}, completes::nothing};
  if (kind == completes::choice) out.candidates = split_choices(choices);
  const bool elsewhere = kind == completes::vm || kind == completes::node ||
                         kind == completes::key || kind == completes::file;
  if (elsewhere) out.live = kind;
  keep_matching(out);
  return out;
}

completion complete_flag(const command_spec& c, std::string word) {
  // "--backend=q": the value behind the sign.
  if (const auto equals = word.find('='); equals != std::string::npos) {
    const auto* f = flag_of(c, word.substr(0, equals));
    if (f == nullptr) return {std::move(word), {}, completes::nothing};
    return complete_value(f->kind, f->choices, word.substr(equals + 1));
  }
  completion out{std::move(word), {}, completes::nothing};
  for (const auto flags : {c.flags, common_flags()})
    for (const auto& f : flags) out.candidates.emplace_back(f.name);
  keep_matching(out);
  return out;
}

completion complete_words(std::span<const std::string> before, std::string word);

completion complete_argument(const command_spec& c, std::span<const std::string> behind,
                             std::string word) {
  std::size_t position = 0;  // of the argument that `word` is
  for (std::size_t i = 0; i < behind.size(); ++i) {
    if (!behind[i].starts_with("-") || behind[i] == "-") {
      const bool rest = !c.args.empty() && c.args.back().rest;
      if (rest && position + 1 >= c.args.size())
        return complete_words(behind.subspan(i), std::move(word));
      ++position;
      continue;
    }
    const auto* f = flag_of(c, behind[i]);
    if (f == nullptr || f->value.empty()) continue;
    if (i + 1 == behind.size()) return complete_value(f->kind, f->choices, std::move(word));
    ++i;  // the flag's value
  }
  if (word.starts_with("-")) return complete_flag(c, std::move(word));
  if (position >= c.args.size()) return {std::move(word), {}, completes::nothing};
  const auto& arg = c.args[position];
  if (arg.kind == completes::command) return complete_name({}, std::move(word));
  return complete_value(arg.kind, arg.choices, std::move(word));
}

completion complete_words(std::span<const std::string> before, std::string word) {
  const auto* c = command_of(before);
  if (c == nullptr) return complete_name(before, std::move(word));
  return complete_argument(*c, before.subspan(c->group.empty() ? 1 : 2), std::move(word));
}

}  // namespace

completion complete_line(std::string_view line) {
  auto words = split_words(line);
  const auto longer = split_words(std::string(line) + "x");  // where would the next letter go?
  if (!words || !longer) return {};                          // inside quotes, behind a backslash
  if (*longer == *words) return {};                          // into a comment
  if (longer->size() > words->size()) return complete_words(*words, {});
  auto word = std::move(words->back());
  words->pop_back();
  return complete_words(*words, std::move(word));
}

std::string common_prefix(const std::vector<std::string>& candidates) {
  if (candidates.empty()) return {};
  std::string_view out = candidates.front();
  for (const auto& c : candidates) {
    const auto [a, b] = std::ranges::mismatch(out, c);
    out = out.substr(0, static_cast<std::size_t>(a - out.begin()));
  }
  return std::string(out);
}

}  // namespace blixard::repl
