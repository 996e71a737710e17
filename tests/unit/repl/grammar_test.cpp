// Claims about the command line's grammar: words, commands, flags, help, completion, suggestions.
#include <fstream>
#include <set>
#include <sstream>

#include "runtime/repl/commands.hpp"
#include "runtime/repl/complete.hpp"

namespace blixard::repl {
namespace {

using strings = std::vector<std::string>;

tl::expected<invocation, error> parse(const std::string& line) {
  return split_words(line).and_then([](const strings& words) { return parse_command(words); });
}

TEST(words, split_like_a_shell) {
  const std::vector<std::pair<std::string, strings>> cases{
      {"", {}},
      {"  \t ", {}},
      {"kv get k", {"kv", "get", "k"}},
      {"  a   b\t", {"a", "b"}},
      {"'a b' \"c d\"", {"a b", "c d"}},
      {"a'b c'd", {"ab cd"}},
      {"'' \"\"", {"", ""}},
      {R"("a\"b\\c\n")", {R"(a"b\c\n)"}},
      {R"('a\b')", {R"(a\b)"}},
      {R"(a\ b \')", {"a b", "'"}},
      {"a # comment", {"a"}},
      {"# comment", {}},
      {"a#b", {"a#b"}},
      {"'#' \\#", {"#", "#"}},
      {"a\r", {"a"}},
      {"käse", {"käse"}},
  };
  for (const auto& [line, words] : cases) {
    const auto got = split_words(line);
    ASSERT_TRUE(got) << line << ": " << got.error().message;
    EXPECT_EQ(*got, words) << line;
  }
}

TEST(words, what_is_open_at_the_end_is_an_error) {
  for (const std::string line : {"'a", "\"a", "a\\", "kv put k \"x'"}) {
    const auto got = split_words(line);
    ASSERT_FALSE(got) << line;
    EXPECT_EQ(got.error().code, errc::invalid_argument);
    EXPECT_FALSE(got.error().hint.empty());
  }
}

TEST(words, quoting_reads_back) {
  for (const std::string word :
       {"plain", "", "a b", "it's", "\"", "a'b\"c\\d", "#x", "tab\there", "new\nline", "-n", "ü"}) {
    const auto back = split_words(quote_word(word));
    ASSERT_TRUE(back) << word;
    EXPECT_EQ(*back, strings{word});
  }
}

TEST(words, escaping_reads_back_behind_any_beginning) {
  for (const std::string word : {"plain", "two words", "it's", "a\"b", "back\\slash", "#hash"})
    EXPECT_EQ(*split_words("x" + escape_word(word)), strings{"x" + word});
}

TEST(parse, a_flags_value_is_text) {
  const auto got = parse_command(strings{"vm", "create", "web", "--label", "a=\xff"});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().message, "--label is not UTF-8");
  EXPECT_TRUE(parse_command(strings{"kv", "put", "\xff", "\xfe"})) << "keys and values are bytes";
}

TEST(parse, flags_take_values_in_both_forms_and_anywhere) {
  const auto a = parse("vm create web --memory 1G --label a=1 --label=b=2 --stopped");
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->arg(0), "web");
  EXPECT_EQ(a->value("--memory"), "1G");
  EXPECT_EQ(strings(a->values("--label").begin(), a->values("--label").end()),
            (strings{"a=1", "b=2"}));
  EXPECT_TRUE(a->has("--stopped"));
  EXPECT_FALSE(a->has("--vcpus"));
  const auto b = parse("vm create --stopped web");
  ASSERT_TRUE(b);
  EXPECT_EQ(b->arg(0), "web");
}

TEST(parse, words_that_only_look_like_flags_are_arguments) {
  EXPECT_EQ(parse("kv put k -5")->arg(1), "-5");
  EXPECT_EQ(parse("kv put k -")->arg(1), "-");
  EXPECT_EQ(parse("kv put k -- --stale")->arg(1), "--stale");
  EXPECT_EQ(parse("kv put k ''")->arg(1), "");
}

TEST(parse, watch_leaves_the_flags_of_what_it_watches_alone) {
  const auto w = parse("watch -n 1 vm logs web -n 5");
  ASSERT_TRUE(w) << w.error().message;
  EXPECT_EQ(w->value("-n"), "1");
  EXPECT_EQ(w->args, (strings{"vm", "logs", "web", "-n", "5"}));
}

TEST(parse, every_command_takes_the_common_flags) {
  for (const auto& c : command_table()) {
    if (c.act != action::request) continue;
    const auto inv = parse(std::string(c.example) + " -o json --timeout 2");
    ASSERT_TRUE(inv) << c.name() << ": " << inv.error().message;
    EXPECT_EQ(inv->value("-o"), "json");
  }
}

struct mistake {
  std::string line;
  std::string message;
  std::string hint;
};

TEST(parse, mistakes_name_the_nearest_right_word) {
  const std::vector<mistake> cases{
      {"kv gte k", "unknown command kv gte", "did you mean kv get?"},
      {"mv list", "unknown command mv", "did you mean"},
      {"vn list", "unknown command vn", "did you mean vm?"},
      {"VM list", "unknown command VM", "did you mean vm?"},
      {"vm LIST", "unknown command vm LIST", "did you mean vm list?"},
      {"clutser status", "unknown command clutser", "did you mean cluster?"},
      {"create web", "unknown command create", "did you mean vm create?"},
      {"exit", "unknown command exit", "did you mean quit?"},
      {"xyzzyxyzzy", "unknown command xyzzyxyzzy", "try help"},
      {"vm", "vm needs a verb", "create | start"},
      {"vm fly web", "unknown command vm fly", "create | start"},
      {"vm create web --memroy 1G", "unknown flag --memroy of vm create", "did you mean --memory?"},
      {"vm create web --memroy=1G", "unknown flag --memroy of vm create", "did you mean --memory?"},
      {"vm list --stael", "unknown flag --stael of vm list", "did you mean --stale?"},
      {"kv get k --zzzzzzzzzz", "unknown flag --zzzzzzzzzz", "help kv get"},
      {"kv get", "kv get needs KEY", "usage: kv get KEY"},
      {"kv put k", "kv put needs VALUE", "usage: kv put"},
      {"vm create", "vm create needs NAME",
       "usage: vm create NAME [FLAG...]; help vm create lists the flags"},
      {"kv put k v w", "unexpected word \"w\"", "quote words"},
      {"vm create web --memory", "--memory needs a value", "--memory SIZE"},
      {"vm create web --memory 1G --memory 2G", "--memory is given twice", "help vm create"},
      {"vm create web --stopped=yes", "--stopped takes no value", ""},
      {"vm create web --backend quemu", "--backend: \"quemu\" is not known", "did you mean qemu?"},
      {"vm create web --strategy best", "--strategy: \"best\"", "most_available"},
      {"wait vm web --for=runing", "--for: \"runing\"", "did you mean running?"},
      {"timing yes", "timing: \"yes\" is not known", "on"},
      {"kv list -o yaml", "-o: \"yaml\"", "json"},
  };
  for (const auto& m : cases) {
    const auto got = parse(m.line);
    ASSERT_FALSE(got) << m.line;
    EXPECT_EQ(got.error().code, errc::invalid_argument);
    EXPECT_NE(got.error().message.find(m.message), std::string::npos) << got.error().message;
    EXPECT_NE(got.error().hint.find(m.hint), std::string::npos)
        << m.line << ": " << got.error().hint;
  }
}

TEST(table, names_are_unique_and_examples_parse_to_their_command) {
  std::set<std::string> names;
  for (const auto& c : command_table()) {
    EXPECT_TRUE(names.insert(c.name()).second) << c.name();
    const auto inv = parse(std::string(c.example));
    ASSERT_TRUE(inv) << c.example << ": " << inv.error().message;
    EXPECT_EQ(inv->spec, &c) << c.example;
    EXPECT_FALSE(c.summary.empty());
  }
}

TEST(table, every_request_can_be_built_from_its_example) {
  for (const auto& c : command_table()) {
    if (c.build == nullptr) continue;
    const auto r = c.build(*parse(std::string(c.example)), {1, "c", 2, 1234});
    ASSERT_TRUE(r) << c.name() << ": " << r.error().message;
    EXPECT_EQ(r->timeout_ms, 1234u) << c.name();
    EXPECT_FALSE(r->body.empty()) << c.name();
  }
}

/// Help wraps: its words, however they are broken into lines.
std::string on_one_line(const std::string& text) {
  std::istringstream words(text);
  std::string out;
  for (std::string word; words >> word;) out += (out.empty() ? "" : " ") + word;
  return out;
}

TEST(help, every_command_and_flag_is_explained) {
  const auto all = help_text({});
  ASSERT_TRUE(all);
  for (const auto& c : command_table()) {
    EXPECT_NE(all->find(c.name()), std::string::npos);
    const auto words = *split_words(c.name());
    const auto text = help_text(words);
    ASSERT_TRUE(text) << c.name();
    EXPECT_NE(text->find(c.summary), std::string::npos);
    EXPECT_NE(text->find(c.example), std::string::npos);
    for (const auto& f : c.flags) {
      EXPECT_FALSE(f.help.empty()) << f.name;
      EXPECT_NE(on_one_line(*text).find(f.help), std::string::npos) << c.name() << " " << f.name;
    }
  }
}

TEST(help, no_line_is_longer_than_eighty_columns) {
  std::vector<strings> topics{{}};
  for (const auto& c : command_table()) topics.push_back(*split_words(c.name()));
  for (const auto& topic : topics) {
    std::istringstream text(*help_text(topic));
    for (std::string line; std::getline(text, line);) EXPECT_LE(line.size(), 80u) << line;
  }
}

TEST(help, a_group_lists_its_commands_and_a_typo_is_caught) {
  const strings vm{"vm"};
  EXPECT_NE(help_text(vm)->find("vm explain"), std::string::npos);
  EXPECT_EQ(help_text(vm)->find("kv get"), std::string::npos);
  const strings typo{"vm", "craete"};
  EXPECT_EQ(help_text(typo).error().hint, "did you mean vm create?");
}

TEST(readme, lists_every_command_of_the_table) {
  std::ifstream in(BLIXARD_REPL_README);
  ASSERT_TRUE(in) << BLIXARD_REPL_README;
  std::ostringstream text;
  text << in.rdbuf();
  for (const auto& c : command_table()) {
    std::string row = "| `" + usage_of(c) + "` | " + std::string(c.summary) + " |";
    for (auto at = row.find("|off"); at != std::string::npos; at = row.find("|off", at + 2))
      row.insert(at, "\\");  // a bar inside a cell
    EXPECT_NE(text.str().find(row), std::string::npos) << "README.md lacks " << row;
  }
}

// ---------------------------------------------------------------- completion

struct completion_case {
  std::string line;
  strings candidates;
  completes live = completes::nothing;
};

TEST(complete, knows_what_can_come_next) {
  const std::vector<completion_case> cases{
      {"v", {"vm"}},
      {"vm st", {"start", "stop"}},
      {"vm zz", {}},
      {"vm create web --me", {"--memory"}},
      {"vm create web --backend ", {"process", "qemu"}},
      {"vm create web --backend=q", {"qemu"}},
      {"vm create web --node ", {}, completes::node},
      {"vm show ", {}, completes::vm},
      {"vm show w", {}, completes::vm},
      {"vm show web ", {}},
      {"vm stop --force ", {}, completes::vm},
      {"vm logs -n 5 ", {}, completes::vm},
      {"node cordon ", {}, completes::node},
      {"kv get app/", {}, completes::key},
      {"kv put k ", {}},
      {"wait vm web --for=ru", {"running"}},
      {"wait ", {"vm"}},
      {"timing o", {"off", "on"}},
      {"help vm cr", {"create"}},
      {"watch -n 1 vm sh", {"show"}},
      {"watch vm show ", {}, completes::vm},
      {"vm list -o ", {"json", "table"}},
      {"kv put 'open quote", {}},
      {"kv put open\\", {}},
      {"kv put a b # vm sh", {}},
      {"kv get app\\ l", {}, completes::key},
      {"source se", {}, completes::file},
      {"vm create web --kernel /b", {}},
  };
  for (const auto& c : cases) {
    const auto got = complete_line(c.line);
    EXPECT_EQ(got.candidates, c.candidates) << c.line;
    EXPECT_EQ(got.live, c.live) << c.line;
  }
}

TEST(complete, the_word_is_what_was_meant_and_not_how_it_was_typed) {
  EXPECT_EQ(complete_line("kv get app\\ l").word, "app l");
  EXPECT_EQ(complete_line("kv get 'app l'").word, "app l");
  EXPECT_EQ(complete_line("kv get \"a\"\\#").word, "a#");
  EXPECT_EQ(complete_line("kv get a ").word, "");
  EXPECT_EQ(complete_line("kv get a\\ ").word, "a ");
}

TEST(complete, the_first_word_offers_every_group_and_tool_once) {
  const auto got = complete_line("");
  EXPECT_EQ(got.word, "");
  const std::set<std::string> names(got.candidates.begin(), got.candidates.end());
  EXPECT_EQ(names.size(), got.candidates.size());
  for (const std::string name : {"vm", "node", "cluster", "kv", "help", "watch", "quit", "wait"})
    EXPECT_TRUE(names.contains(name)) << name;
}

TEST(complete, what_candidates_share_is_inserted) {
  EXPECT_EQ(common_prefix({}), "");
  EXPECT_EQ(common_prefix({"start", "stop"}), "st");
  EXPECT_EQ(common_prefix({"web", "web-2"}), "web");
  EXPECT_EQ(common_prefix({"a", "b"}), "");
}

TEST(exit_code, every_code_has_the_documented_one) {
  const std::vector<std::pair<errc, int>> cases{{errc::ok, 0},
                                                {errc::quota_exceeded, 1},
                                                {errc::overloaded, 1},
                                                {errc::too_large, 1},
                                                {errc::invalid_argument, 2},
                                                {errc::not_found, 3},
                                                {errc::unauthenticated, 4},
                                                {errc::permission_denied, 4},
                                                {errc::no_leader, 5},
                                                {errc::unavailable, 5},
                                                {errc::conflict, 6},
                                                {errc::already_exists, 6},
                                                {errc::invalid_state, 6},
                                                {errc::timeout, 7},
                                                {errc::connection_lost, 7},
                                                {errc::leadership_lost, 7},
                                                {errc::internal, 7},
                                                {errc::unplaceable, 8}};
  for (const auto& [code, exit] : cases) EXPECT_EQ(ctl_exit_code(code), exit) << to_string(code);
  // Whatever is unknown exits 7, and nothing else does.
  for (int i = 0; i < errc_count; ++i) {
    const auto code = static_cast<errc>(i);
    EXPECT_EQ(ctl_exit_code(code) == 7, outcome_of(code) == outcome::info) << to_string(code);
  }
}

}  // namespace
}  // namespace blixard::repl
