// The command grammar: one table that feeds the parser, help, completion, suggestions and the
// documentation (README.md is checked against it by a test).
//
//     line ──words()──► words ──parse()──► invocation ──build()──► request (encoded once)
//                                                     └──format── answer ──► table text | JSON
//
// Pure: no I/O, no clock. The proposer's time that commands carry comes in as an argument.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "runtime/repl/port.hpp"

namespace blixard::repl {

/// What completes a word; live names are asked from the node.
enum class completes : std::uint8_t { nothing, vm, node, key, command, file, choice };

struct arg_spec {
  std::string_view name;  // "NAME", shown in help
  completes kind = completes::nothing;
  bool optional = false;
  bool rest = false;              // takes all words that are left
  std::string_view choices = {};  // "on|off" with completes::choice
};

struct flag_spec {
  std::string_view name;   // "--memory" or "-n"
  std::string_view value;  // "SIZE"; empty: a switch
  std::string_view help;
  completes kind = completes::nothing;
  bool repeated = false;
  std::string_view choices = {};  // "qemu|process" with completes::choice
};

/// What runs a command: most are one request, a few need several or none.
enum class action : std::uint8_t {
  request,  // build() makes it
  wait_vm,  // polls `vm show` until the phase is reached
  follow,   // `vm logs`: one request, with --follow one after the other
  help,
  watch,
  timing,
  source,
  quit,
};

struct command_spec;

/// A parsed command line: flags and arguments are checked against the table, values not yet.
struct invocation {
  const command_spec* spec = nullptr;
  std::vector<std::string> args;
  std::map<std::string, std::vector<std::string>, std::less<>> flags;  // by name with dashes

  [[nodiscard]] bool has(std::string_view flag) const;
  /// The last value of a flag, or nothing.
  [[nodiscard]] std::optional<std::string> value(std::string_view flag) const;
  [[nodiscard]] std::span<const std::string> values(std::string_view flag) const;
  /// The i-th argument, or an empty text where an optional one is missing.
  [[nodiscard]] std::string_view arg(std::size_t i) const;
};

/// What a request carries besides the invocation.
struct request_context {
  std::int64_t now_ms = 0;  // the proposer's clock, unix milliseconds
  std::string client;       // operation id (empty: none), see DOMAIN "VM"
  std::uint64_t seq = 0;
  std::uint32_t timeout_ms = 10000;
};

using build_fn = tl::expected<request, error> (*)(const invocation&, const request_context&);

struct command_spec {
  std::string_view group;  // "vm"; empty for tools of one word
  std::string_view verb;
  std::span<const arg_spec> args;
  std::span<const flag_spec> flags;
  std::string_view summary;  // one line
  std::string_view example;  // a command line that parses
  action act = action::request;
  build_fn build = nullptr;

  /// "vm create", "help".
  [[nodiscard]] std::string name() const;
};

/// All commands, in the order of the documentation.
[[nodiscard]] std::span<const command_spec> command_table();

/// Flags that every command takes besides its own: -o table|json, --timeout S.
[[nodiscard]] std::span<const flag_spec> common_flags();

/// Splits a line like a shell: blanks separate, '…' and "…" quote, \ escapes (inside "…" only " and
/// \), # at the start of a word begins a comment. Errors: errc::invalid_argument (a quote that is
/// not closed, a trailing backslash).
[[nodiscard]] tl::expected<std::vector<std::string>, error> split_words(std::string_view line);
/// `word` such that split_words() gives it back as one word.
[[nodiscard]] std::string quote_word(std::string_view word);
/// The same by backslashes alone: what may be appended to the beginning of a word.
[[nodiscard]] std::string escape_word(std::string_view word);

/// Finds the command and checks flags and the number of arguments. Errors: errc::invalid_argument,
/// with the nearest right spelling as hint. `words` must not be empty.
[[nodiscard]] tl::expected<invocation, error> parse_command(std::span<const std::string> words);

/// Help for one command ("vm create"), one group ("vm"), or all (empty). Errors: unknown topic.
[[nodiscard]] tl::expected<std::string, error> help_text(std::span<const std::string> topic);

/// The words of `choices` ("on|off").
[[nodiscard]] std::vector<std::string> split_choices(std::string_view choices);

/// "vm stop NAME [--force] [--tenant T]".
[[nodiscard]] std::string usage_of(const command_spec& c);

/// Exit code of `ctl` for an answer's code (CLIENT "`ctl` exit codes").
[[nodiscard]] int ctl_exit_code(errc code) noexcept;

}  // namespace blixard::repl
