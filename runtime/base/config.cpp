#include "runtime/base/config.hpp"

#include <toml++/toml.h>
#include <unistd.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "runtime/base/flags.hpp"
#include "runtime/base/settings.hpp"
#include "runtime/base/suggest.hpp"

namespace blixard {
namespace {

/// Values of one setting from one source, and how an error names that place.
struct given {
  std::vector<std::string> values;
  std::string where;  // "--memory", "BLIXARD_MEMORY", "/etc/blixard.toml:3: memory"
  exit_code code = exit_code::configuration;
};
using given_map = std::map<std::string_view, given>;  // by setting name; a later source replaces

tl::unexpected<config_error> stop(exit_code code, std::string message, std::string hint = {}) {
  return tl::unexpected(config_error{code, std::move(message), std::move(hint)});
}

// ---------------------------------------------------------------- flags

struct parsed_flags {
  given_map values;
  std::string config_file;
  bool help = false;
};

tl::unexpected<config_error> unknown_flag(const std::string& word) {
  if (!word.starts_with("-"))
    return stop(exit_code::usage, "unexpected word \"" + word + "\"", "see blixard node --help");
  std::vector<std::string> names{"--config", "--help"};
  for (const auto& s : setting_table()) names.push_back("--" + std::string(s.name));
  const auto flag = word.substr(0, word.find('='));
  auto hint = did_you_mean(flag, names);
  if (hint.empty()) hint = "see blixard node --help";
  return stop(exit_code::usage, "unknown flag " + flag, std::move(hint));
}

void declare_flag(CLI::App& app, const setting& s, given_map& out) {
  const auto flag = "--" + std::string(s.name);
  const auto add = [&out, &s, flag](const std::string& value) {
    auto& g = out[s.name];
    g.where = flag;
    g.code = exit_code::usage;
    g.values.push_back(value);
  };
  if (s.kind == setting_kind::toggle) {
    app.add_flag_callback(flag, [add] { add("true"); });
    return;
  }
  auto* option = app.add_option_function<std::vector<std::string>>(
      flag, [add](const std::vector<std::string>& values) {
        for (const auto& v : values) add(v);
      });
  option->expected(1);
  option->allow_extra_args(false);  // one value per flag, also where it may be repeated
  option->multi_option_policy(s.kind == setting_kind::single ? CLI::MultiOptionPolicy::Throw
                                                             : CLI::MultiOptionPolicy::TakeAll);
}

tl::expected<parsed_flags, config_error> parse_flags(std::span<const std::string> args) {
  parsed_flags out;
  CLI::App app;
  app.set_help_flag();  // ours
  app.allow_extras();
  app.add_flag("--help,-h", out.help);
  app.add_option("--config", out.config_file);
  for (const auto& s : setting_table()) declare_flag(app, s, out.values);
  try {
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::Error& e) {
    return stop(exit_code::usage, flag_problem(e.what()), "see blixard node --help");
  }
  const auto extras = app.remaining();
  if (!out.help && !extras.empty()) return unknown_flag(extras.front());
  return out;
}

// ---------------------------------------------------------------- variables

void read_variables(const config_sources& sources, given_map& out) {
  for (const auto& s : setting_table()) {
    const auto at = sources.variables.find(variable_of(s));
    if (at == sources.variables.end()) continue;
    const auto& [name, value] = *at;
    given g{{}, name, exit_code::configuration};
    if (s.kind == setting_kind::list || s.kind == setting_kind::table) {
      std::istringstream in(value);
      for (std::string one; std::getline(in, one, ',');) g.values.push_back(one);
    } else {
      g.values.push_back(value);
    }
    out[s.name] = std::move(g);
  }
}

/// One line for each variable that nothing reads: most likely a slip of the pen. Not an error, as
/// an environment is shared with programs that are not ours.
std::vector<std::string> unknown_variables(const config_sources& sources) {
  std::vector<std::string> known;
  for (const auto& s : setting_table()) known.push_back(variable_of(s));
  for (const char* other : {"ACCEL", "CONFIG", "CONNECT", "FAULTS", "GUEST_DIR", "HISTORY", "QEMU",
                            "RUN_DIR", "VM"})  // what else reads one: README.md of this folder
    known.push_back("BLIXARD_" + std::string(other));
  std::vector<std::string> out;
  for (const auto& [name, value] : sources.variables) {
    if (std::ranges::find(known, name) != known.end()) continue;
    const auto hint = did_you_mean(name, known);
    out.push_back("the variable " + name + " is not known and was ignored" +
                  (hint.empty() ? "" : ": " + hint));
  }
  return out;
}

// ---------------------------------------------------------------- file

std::string position(const std::string& file, const toml::source_region& at) {
  return file + ":" + std::to_string(at.begin.line) + ": ";
}

/// The text of a plain value; nothing for other types.
std::optional<std::string> scalar_text(const toml::node& node) {
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* i = node.as_integer()) return std::to_string(i->get());
  if (const auto* b = node.as_boolean()) return b->get() ? "true" : "false";
  return std::nullopt;
}

/// The values of one key, or nothing where the type does not fit the setting.
std::optional<std::vector<std::string>> file_values(const setting& s, const toml::node& node) {
  std::vector<std::string> out;
  if (auto one = scalar_text(node)) return std::vector{std::move(*one)};
  const bool many = s.kind == setting_kind::list || s.kind == setting_kind::table;
  if (const auto* array = node.as_array(); array != nullptr && many) {
    for (const auto& element : *array) {
      auto one = scalar_text(element);
      if (!one) return std::nullopt;
      out.push_back(std::move(*one));
    }
    return out;
  }
  if (const auto* members = node.as_table(); members != nullptr && s.kind == setting_kind::table) {
    for (const auto& [key, value] : *members) {
      auto one = scalar_text(value);
      if (!one) return std::nullopt;
      out.push_back(std::string(key.str()) + "=" + *one);
    }
    return out;
  }
  return std::nullopt;
}

tl::unexpected<config_error> unknown_key(const std::string& where, std::string_view key) {
  std::vector<std::string> names;
  for (const auto& s : setting_table()) names.push_back(key_of(s));
  return stop(exit_code::configuration, where + "unknown key " + std::string(key),
              did_you_mean(key, names));
}

tl::expected<void, config_error> take_key(const std::string& file, const toml::key& key,
                                          const toml::node& node, given_map& out) {
  const auto where = position(file, key.source());
  const auto* s = find_setting(key.str());
  if (s == nullptr) return unknown_key(where, key.str());
  auto values = file_values(*s, node);
  if (!values)
    return stop(exit_code::configuration, where + std::string(key.str()) + ": wrong type of value",
                "expected " + (s->value.empty() ? "true or false" : std::string(s->value)));
  given g{std::move(*values), where + std::string(key.str()), exit_code::configuration};
  if (!out.emplace(s->name, std::move(g)).second)
    return stop(exit_code::configuration, where + std::string(key.str()) + " is given twice");
  return {};
}

tl::expected<given_map, config_error> read_file(const std::string& path,
                                                const config_sources& sources) {
  const auto text = sources.read_file(path);
  if (!text)
    return stop(exit_code::configuration, path + ": " + text.error().message,
                "--config names a TOML file");
  given_map out;
  try {
    const toml::table root = toml::parse(*text, path);
    for (const auto& [key, node] : root)
      if (auto ok = take_key(path, key, node, out); !ok) return tl::unexpected(ok.error());
  } catch (const toml::parse_error& e) {
    return stop(exit_code::configuration,
                position(path, e.source()) + std::string(e.description()));
  }
  return out;
}

// ---------------------------------------------------------------- all together

tl::expected<void, config_error> apply_given(const given_map& all, node_config& config) {
  for (const auto& s : setting_table()) {
    const auto at = all.find(s.name);
    if (at == all.end()) continue;
    for (const auto& value : at->second.values)
      if (auto ok = s.apply(config, value); !ok)
        return stop(at->second.code, at->second.where + ": " + ok.error().message, ok.error().hint);
  }
  return {};
}

}  // namespace

config_sources system_sources() {
  config_sources out;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view entry = *at;
    const auto equals = entry.find('=');
    if (entry.starts_with("BLIXARD_") && equals != std::string_view::npos)
      out.variables.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  out.read_file = [](const std::string& path) -> tl::expected<std::string, error> {
    errno = 0;
    std::ifstream in(path, std::ios::binary);
    in.peek();  // a folder can be opened, but not read
    if (!in)
      return tl::unexpected(make_error(
          errc::not_found, errno != 0 ? std::strerror(errno) : "cannot be read"));  // NOLINT
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  };
  return out;
}

tl::expected<node_request, config_error> parse_node_config(std::span<const std::string> args,
                                                           const config_sources& sources) {
  auto flags = parse_flags(args);
  if (!flags) return tl::unexpected(flags.error());
  node_request out;
  out.help = flags->help;
  if (out.help) return out;

  if (flags->config_file.empty())
    if (const auto at = sources.variables.find("BLIXARD_CONFIG"); at != sources.variables.end())
      flags->config_file = at->second;
  given_map all;
  if (!flags->config_file.empty()) {
    auto file = read_file(flags->config_file, sources);
    if (!file) return tl::unexpected(file.error());
    all = std::move(*file);
  }
  read_variables(sources, all);
  out.warnings = unknown_variables(sources);
  for (auto& [name, g] : flags->values) all[name] = std::move(g);

  if (auto ok = apply_given(all, out.config); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_config(out.config); !ok) return tl::unexpected(ok.error());
  // Prometheus usually asks from another host, so this is for the operator to decide.
  if (!is_loopback(out.config.metrics))
    out.warnings.push_back("metrics: " + to_string(out.config.metrics) +
                           " is not a loopback address: whoever reaches it reads this node's "
                           "metrics and health, without TLS or a password");
  if (out.config.name.empty()) out.config.name = "node-" + to_string(out.config.id);
  return out;
}

std::string node_usage() {
  std::string out =
      "usage: blixard node --id N --data-dir DIR [--bootstrap | --join HOST:PORT[,HOST:PORT...]]\n"
      "                    [FLAG...]\n\n"
      "Runs one node until SIGTERM. Flags win over variables, those over the file.\n\n";
  const auto row = [&out](const std::string& left, std::string_view right) {
    out += "  " + left + std::string(left.size() < 28 ? 28 - left.size() : 1, ' ') +
           std::string(right) + "\n";
  };
  row("--config FILE", "settings from a TOML file (BLIXARD_CONFIG)");
  for (const auto& s : setting_table()) {
    const bool many = s.kind == setting_kind::list || s.kind == setting_kind::table;
    row("--" + std::string(s.name) + (s.value.empty() ? "" : " ") + std::string(s.value) +
            (many ? "..." : ""),
        s.help);
  }
  out +=
      "\nThe variable of --data-dir is BLIXARD_DATA_DIR, its key in the file data_dir; the others\n"
      "likewise. Lists are separated by commas in a variable and are arrays in the file.\n";
  return out;
}

}  // namespace blixard
