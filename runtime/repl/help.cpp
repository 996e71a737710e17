// Help: made from the command table alone.
#include <algorithm>

#include "runtime/base/suggest.hpp"
#include "runtime/repl/commands.hpp"

namespace blixard::repl {
namespace {

constexpr std::size_t columns = 80;
constexpr std::size_t choice_width = 12;

/// Two columns; what does not fit into the second goes on below it.
std::string row(const std::string& left, std::string_view right, std::size_t width) {
  std::string out = "  " + left + std::string(left.size() < width ? width - left.size() : 1, ' ');
  std::size_t at = out.size();
  while (!right.empty()) {
    const auto word = right.substr(0, right.find(' '));
    right.remove_prefix(std::min(right.size(), word.size() + 1));
    if (at + word.size() > columns && at > width + 2) {
      out.back() = '\n';
      out += std::string(width + 2, ' ');
      at = width + 2;
    }
    out += word;
    out += ' ';
    at += word.size() + 1;
  }
  out.back() = '\n';
  return out;
}

std::string flag_usage(const flag_spec& f) {
  return std::string(f.name) + (f.value.empty() ? "" : " ") + std::string(f.value);
}

std::string flag_rows(std::span<const flag_spec> flags) {
  std::size_t width = 0;
  for (const auto& f : flags) width = std::max(width, flag_usage(f).size() + 2);
  std::string out;
  for (const auto& f : flags) {
    std::string help(f.help);
    if (f.repeated) help += " (may be repeated)";
    out += row(flag_usage(f), help, width);
  }
  return out;
}

/// Breaks in front of flags so that no line is longer than 80 columns.
std::string wrapped(const std::string& text) {
  std::string out;
  std::size_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    auto end = text.find(" [", at + 1);
    if (end == std::string::npos) end = text.size();
    if (line > 0 && line + (end - at) > columns) {
      out += "\n   ";
      line = 3;
    }
    out += text.substr(at, end - at);
    line += end - at;
    at = end;
  }
  return out;
}

std::string listed(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : ", ") + w;
  return out;
}

std::string command_help(const command_spec& c) {
  std::string out = wrapped(usage_of(c)) + "\n\n  " + std::string(c.summary) + "\n";
  if (!c.flags.empty()) out += "\nFlags\n" + flag_rows(c.flags);
  std::string choices;
  for (const auto& f : c.flags)
    if (!f.choices.empty())
      choices += row(std::string(f.name), listed(split_choices(f.choices)), choice_width);
  if (!choices.empty()) out += "\nChoices\n" + choices;
  return out + "\nExample\n  " + std::string(c.example) + "\n";
}

std::string group_help(std::string_view group) {
  std::string out;
  for (const auto& c : command_table())
    if (c.group == group) out += row(c.name(), c.summary, 18);
  return out;
}

std::string overview() {
  std::string out;
  std::vector<std::string_view> seen;
  for (const auto& c : command_table()) {
    const bool tool = c.group.empty() || c.group == "wait" || c.group == "cache";
    const std::string_view group = tool ? "tools" : c.group;
    if (std::ranges::find(seen, group) == seen.end()) {
      out += (seen.empty() ? "" : "\n") + std::string(group) + "\n";
      seen.push_back(group);
    }
    out += row(c.name(), c.summary, 18);
  }
  return out + "\nEvery command takes\n" + flag_rows(common_flags()) +
         "\nhelp COMMAND says more. Words that hold blanks are quoted as in a shell.\n";
}

}  // namespace

std::string usage_of(const command_spec& c) {
  std::string args;
  for (const auto& a : c.args) {
    const std::string name = std::string(a.name) + (a.rest ? "..." : "");
    args += a.optional ? " [" + name + "]" : " " + name;
  }
  std::string flags;
  for (const auto& f : c.flags) flags += " [" + flag_usage(f) + "]" + (f.repeated ? "..." : "");
  // Behind a rest every word belongs to it, flags, too.
  const bool rest = !c.args.empty() && c.args.back().rest;
  return c.name() + (rest ? flags + args : args + flags);
}

tl::expected<std::string, error> help_text(std::span<const std::string> topic) {
  if (topic.empty()) return overview();
  std::string wanted;
  for (const auto& word : topic) wanted += (wanted.empty() ? "" : " ") + word;
  std::vector<std::string> names;
  for (const auto& c : command_table()) {
    if (c.name() == wanted) return command_help(c);
    names.push_back(c.name());
    if (!c.group.empty()) names.emplace_back(c.group);
  }
  if (topic.size() == 1)
    if (auto rows = group_help(topic[0]); !rows.empty()) return rows;
  auto hint = did_you_mean(wanted, names);
  return tl::unexpected(make_error(errc::invalid_argument, "there is no command " + wanted,
                                   hint.empty() ? "try help" : std::move(hint)));
}

}  // namespace blixard::repl
