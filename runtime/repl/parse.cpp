// From words to an invocation: which command, which flags, how many arguments.
#include <algorithm>

#include "runtime/base/suggest.hpp"
#include "runtime/repl/commands.hpp"
#include "runtime/repl/utf8.hpp"

namespace blixard::repl {
namespace {

tl::unexpected<error> refuse(std::string message, std::string hint) {
  return tl::unexpected(make_error(errc::invalid_argument, std::move(message), std::move(hint)));
}

/// The words that may stand first, or behind `group`.
std::vector<std::string> words_after(std::string_view group) {
  std::vector<std::string> out;
  for (const auto& c : command_table()) {
    std::string word;
    if (group.empty())
      word = c.group.empty() ? c.verb : c.group;
    else if (c.group == group)
      word = c.verb;
    if (!word.empty() && std::ranges::find(out, word) == out.end()) out.push_back(word);
  }
  return out;
}

std::string join(std::span<const std::string> words, std::string_view between) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : std::string(between)) + w;
  return out;
}

std::string lower_case(std::string word) {
  for (char& c : word)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return word;
}

tl::unexpected<error> unknown_command(std::span<const std::string> words) {
  const auto first = words_after({});
  if (std::ranges::find(first, words[0]) == first.end()) {
    // Somebody who types the verb alone ("create web") is told the whole command.
    for (const auto& c : command_table())
      if (c.verb == words[0] && !c.group.empty())
        return refuse("unknown command " + words[0], "did you mean " + c.name() + "?");
    if (words[0] == "exit" || words[0] == "bye" || words[0] == "q")
      return refuse("unknown command " + words[0], "did you mean quit?");
    auto hint = did_you_mean(lower_case(words[0]), first);
    return refuse("unknown command " + words[0], hint.empty() ? "try help" : std::move(hint));
  }
  const auto verbs = words_after(words[0]);
  if (words.size() == 1)
    return refuse(words[0] + " needs a verb", words[0] + " " + join(verbs, " | "));
  const auto near = nearest(lower_case(words[1]), verbs);
  return refuse("unknown command " + words[0] + " " + words[1],
                near.empty() ? words[0] + " " + join(verbs, " | ")
                             : "did you mean " + words[0] + " " + near + "?");
}

const command_spec* find_command(std::span<const std::string> words) {
  for (const auto& c : command_table()) {
    const bool bare = c.group.empty() && c.verb == words[0];
    const bool full = words.size() > 1 && c.group == words[0] && c.verb == words[1];
    if (bare || full) return &c;
  }
  return nullptr;
}

/// The command's own flag of that name, else a common one, else nullptr.
const flag_spec* find_flag(const command_spec& c, std::string_view name) {
  for (const auto flags : {c.flags, common_flags()})
    for (const auto& f : flags)
      if (f.name == name) return &f;
  return nullptr;
}

tl::unexpected<error> unknown_flag(const command_spec& c, const std::string& flag) {
  std::vector<std::string> names;
  for (const auto flags : {c.flags, common_flags()})
    for (const auto& f : flags) names.emplace_back(f.name);
  auto hint = did_you_mean(flag, names);
  if (hint.empty()) hint = "see help " + c.name() + "; -- ends the flags";
  return refuse("unknown flag " + flag + " of " + c.name(), std::move(hint));
}

bool looks_like_flag(std::string_view word) {
  if (word.size() < 2 || word[0] != '-') return false;
  const char second = word[1];
  return second == '-' || (second >= 'a' && second <= 'z') || (second >= 'A' && second <= 'Z');
}

/// Reads the words behind a command's name into an invocation.
class reader {
 public:
  reader(const command_spec& spec, std::span<const std::string> words) : words_(words) {
    out_.spec = &spec;
  }

  tl::expected<invocation, error> run() {
    const bool takes_rest = !spec().args.empty() && spec().args.back().rest;
    bool flags_end = false;
    for (; at_ < words_.size(); ++at_) {
      const auto& word = words_[at_];
      if (!flags_end && word == "--") {
        flags_end = true;
      } else if (!flags_end && looks_like_flag(word)) {
        if (auto ok = take_flag(word); !ok) return tl::unexpected(ok.error());
      } else {
        out_.args.push_back(word);
        flags_end = flags_end || takes_rest;  // the rest is another command with flags of its own
      }
    }
    if (auto ok = check_count(); !ok) return tl::unexpected(ok.error());
    return std::move(out_);
  }

 private:
  [[nodiscard]] const command_spec& spec() const { return *out_.spec; }

  tl::expected<void, error> take_flag(const std::string& word) {
    const auto equals = word.starts_with("--") ? word.find('=') : std::string::npos;
    const auto name = word.substr(0, equals);
    const auto* flag = find_flag(spec(), name);
    if (flag == nullptr) return unknown_flag(spec(), name);
    auto& values = out_.flags[name];
    if (!values.empty() && !flag->repeated)
      return refuse(name + " is given twice", "see help " + spec().name());
    if (flag->value.empty()) {
      if (equals != std::string::npos)
        return refuse(name + " takes no value", "see help " + spec().name());
      values.emplace_back();
      return {};
    }
    std::string value;
    if (equals != std::string::npos)
      value = word.substr(equals + 1);
    else if (++at_ < words_.size())
      value = words_[at_];
    else
      return refuse(name + " needs a value", name + " " + std::string(flag->value));
    // Arguments may be any bytes (keys and values are), what a flag says is text.
    if (!is_utf8(value)) return refuse(name + " is not UTF-8", "write it in UTF-8");
    if (auto ok = check_choice(*flag, value); !ok) return ok;
    values.push_back(std::move(value));
    return {};
  }

  static tl::expected<void, error> check_choice(const flag_spec& flag, const std::string& value) {
    if (flag.choices.empty()) return {};
    const auto choices = split_choices(flag.choices);
    if (std::ranges::find(choices, value) != choices.end()) return {};
    auto hint = did_you_mean(value, choices);
    if (hint.empty()) hint = "one of " + join(choices, ", ");
    return refuse(std::string(flag.name) + ": \"" + value + "\" is not known", std::move(hint));
  }

  /// As much as a person reads in a hint.
  [[nodiscard]] std::string short_usage() const {
    constexpr std::size_t readable = 150;
    auto usage = usage_of(spec());
    if (usage.size() <= readable) return "usage: " + usage;
    usage.erase(std::min(usage.find(" [--"), readable));
    return "usage: " + usage + " [FLAG...]; help " + spec().name() + " lists the flags";
  }

  tl::expected<void, error> check_count() {
    const auto& args = spec().args;
    std::size_t required = 0;
    for (const auto& a : args) required += a.optional ? 0 : 1;
    if (out_.args.size() < required)
      return refuse(spec().name() + " needs " + std::string(args[out_.args.size()].name),
                    short_usage());
    const bool takes_rest = !args.empty() && args.back().rest;
    if (out_.args.size() > args.size() && !takes_rest)
      return refuse("unexpected word \"" + out_.args[args.size()] + "\"",
                    short_usage() + "; quote words that hold blanks");
    for (std::size_t i = 0; i < std::min(args.size(), out_.args.size()); ++i) {
      if (args[i].choices.empty()) continue;
      const flag_spec as_flag{.name = spec().verb, .choices = args[i].choices};
      if (auto ok = check_choice(as_flag, out_.args[i]); !ok) return ok;
    }
    return {};
  }

  std::span<const std::string> words_;
  std::size_t at_ = 0;
  invocation out_;
};

}  // namespace

bool invocation::has(std::string_view flag) const { return flags.contains(flag); }

std::optional<std::string> invocation::value(std::string_view flag) const {
  const auto at = flags.find(flag);
  return at == flags.end() ? std::nullopt : std::optional(at->second.back());
}

std::span<const std::string> invocation::values(std::string_view flag) const {
  const auto at = flags.find(flag);
  return at == flags.end() ? std::span<const std::string>{} : at->second;
}

std::string_view invocation::arg(std::size_t i) const {
  return i < args.size() ? std::string_view(args[i]) : std::string_view{};
}

std::string command_spec::name() const {
  return group.empty() ? std::string(verb) : std::string(group) + " " + std::string(verb);
}

std::vector<std::string> split_choices(std::string_view choices) {
  std::vector<std::string> out;
  while (!choices.empty()) {
    const auto bar = choices.find('|');
    out.emplace_back(choices.substr(0, bar));
    choices.remove_prefix(bar == std::string_view::npos ? choices.size() : bar + 1);
  }
  return out;
}

tl::expected<invocation, error> parse_command(std::span<const std::string> words) {
  if (words.empty()) return refuse("there is no command", "try help");
  const auto* spec = find_command(words);
  if (spec == nullptr) return unknown_command(words);
  return reader(*spec, words.subspan(spec->group.empty() ? 1 : 2)).run();
}

int ctl_exit_code(errc code) noexcept {
  switch (code) {
    case errc::ok:
      return 0;
    case errc::invalid_argument:
      return 2;
    case errc::not_found:
      return 3;
    case errc::unauthenticated:
    case errc::permission_denied:
      return 4;
    case errc::no_leader:
    case errc::not_leader:
    case errc::unavailable:
      return 5;
    case errc::already_exists:
    case errc::conflict:
    case errc::invalid_state:
      return 6;
    case errc::timeout:
    case errc::internal:
    case errc::connection_lost:
    case errc::leadership_lost:
      return 7;
    case errc::unplaceable:
      return 8;
    case errc::quota_exceeded:
    case errc::overloaded:
    case errc::cancelled:
    case errc::too_large:
    case errc::unsupported:
    case errc::disk_full:
      return 1;
  }
  return 7;
}

}  // namespace blixard::repl
