// Replays the transcripts of this folder through the raftlab program.
//
//   # text          what the scenario claims, with the section of the paper or thesis
//   let NAME json   NAME stands for the JSON from here on, where $NAME is written
//   > json          a request
//   < json          the answer contains this: objects at least these fields, lists exactly these
//                   elements, each as far as given
//   = json          the answer is exactly this, byte by byte
//   ! field ...     the answer does not have these fields
//
// The whole file is run twice: the same input must give the same bytes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

struct expectation {
  int line = 0;
  char kind = '<';
  std::string text;
};

struct exchange {
  int line = 0;
  std::string request;
  std::vector<expectation> expected;
};

class scenario {
 public:
  explicit scenario(const fs::path& file) {
    std::ifstream in(file);
    int number = 0;
    for (std::string line; std::getline(in, line);) read(++number, line);
  }
  std::vector<exchange> exchanges;
  bool has_claim = false;

 private:
  void read(int number, const std::string& line) {
    if (line.empty()) return;
    if (line[0] == '#') {
      has_claim = true;
      return;
    }
    if (line.starts_with("let ")) {
      const auto space = line.find(' ', 4);
      names_[line.substr(4, space - 4)] = expand(line.substr(space + 1));
      return;
    }
    const std::string text = expand(line.substr(line.find_first_not_of(' ', 1)));
    if (line[0] == '>')
      exchanges.push_back({number, text, {}});
    else if (!exchanges.empty() && std::string("<=!").find(line[0]) != std::string::npos)
      exchanges.back().expected.push_back({number, line[0], text});
    else
      ADD_FAILURE() << "line " << number << " is not understood: " << line;
  }

  std::string expand(std::string text) const {
    for (auto at = text.find('$'); at != std::string::npos; at = text.find('$', at)) {
      auto end = at + 1;
      while (end < text.size() && (std::isalnum(text[end]) != 0 || text[end] == '_')) ++end;
      const std::string& value = names_.at(text.substr(at + 1, end - at - 1));
      text.replace(at, end - at, value);
      at += value.size();
    }
    return text;
  }

  std::map<std::string, std::string> names_;
};

class temporary_folder {
 public:
  temporary_folder() {
    std::string pattern = (fs::temp_directory_path() / "scenario-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path = pattern;
  }
  ~temporary_folder() { fs::remove_all(path); }
  fs::path path;
};

// The answers of one run, line by line.
std::vector<std::string> run(const scenario& s) {
  const temporary_folder folder;
  const std::string in = (folder.path / "in").string();
  const std::string out = (folder.path / "out").string();
  {
    std::ofstream file(in);
    for (const exchange& e : s.exchanges) file << e.request << '\n';
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, in.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT, 0600);
  std::string program = RAFTLAB;
  char* arguments[] = {program.data(), nullptr};
  pid_t pid = 0;
  const int spawned = posix_spawn(&pid, RAFTLAB, &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(spawned, 0) << RAFTLAB;
  int status = 0;
  if (spawned == 0) waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "raftlab ended with " << status;
  std::vector<std::string> answers;
  std::ifstream file(out);
  for (std::string line; std::getline(file, line);) answers.push_back(line);
  return answers;
}

bool contains(const json& actual, const json& wanted) {
  if (wanted.is_object()) {
    if (!actual.is_object()) return false;
    for (const auto& [key, value] : wanted.items())
      if (!actual.contains(key) || !contains(actual.at(key), value)) return false;
    return true;
  }
  if (!wanted.is_array()) return actual == wanted;
  if (!actual.is_array() || actual.size() != wanted.size()) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (!contains(actual[i], wanted[i])) return false;
  return true;
}

void check(const expectation& e, const std::string& answer) {
  if (e.kind == '=') {
    EXPECT_EQ(answer, e.text) << "line " << e.line;
    return;
  }
  const json actual = json::parse(answer);
  if (e.kind == '<') {
    EXPECT_TRUE(contains(actual, json::parse(e.text)))
        << "line " << e.line << "\n  wanted " << e.text << "\n  got    " << answer;
    return;
  }
  std::istringstream fields(e.text);
  for (std::string field; fields >> field;)
    EXPECT_FALSE(actual.contains(field)) << "line " << e.line << ": " << answer;
}

class transcript : public testing::TestWithParam<std::string> {};

TEST_P(transcript, is_what_raftlab_says) {
  const scenario s(fs::path(SCENARIO_DIR) / (GetParam() + ".txt"));
  ASSERT_TRUE(s.has_claim) << "a scenario says what it claims";
  ASSERT_FALSE(s.exchanges.empty());
  const auto answers = run(s);
  ASSERT_EQ(answers.size(), s.exchanges.size());
  for (std::size_t i = 0; i < answers.size(); ++i) {
    // A request without an expectation must at least succeed.
    const bool must_succeed = s.exchanges[i].expected.empty();
    if (must_succeed) {
      EXPECT_TRUE(json::parse(answers[i]).value("ok", false))
          << "line " << s.exchanges[i].line << ": " << answers[i];
    }
    for (const expectation& e : s.exchanges[i].expected) check(e, answers[i]);
  }
  EXPECT_EQ(run(s), answers) << "the same input must give the same bytes";
}

std::vector<std::string> all() {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(SCENARIO_DIR))
    if (file.path().extension() == ".txt" && file.path().filename() != "CMakeLists.txt")
      names.push_back(file.path().stem().string());
  std::ranges::sort(names);
  return names;
}

std::string head_of(const std::string& name) {
  std::ifstream in(fs::path(SCENARIO_DIR) / (name + ".txt"));
  std::string head;
  for (std::string line; std::getline(in, line) && line.starts_with('#');) head += line + "\n";
  return head;
}

TEST(table_of_claims, names_every_scenario_and_the_section_that_its_head_cites) {
  // | claim | source | `file`, `file` |
  std::ifstream in(fs::path(SCENARIO_DIR) / "README.md");
  const std::regex row(R"(\|[^|]*\|([^|]*)\|(.*`.*)\|)");
  const std::regex file("`([^`]+)`");
  const std::regex section(R"(\bR?[0-9]+(\.[0-9]+)*)");
  std::vector<std::string> named;
  for (std::string line; std::getline(in, line);) {
    std::smatch cells;
    if (!std::regex_match(line, cells, row)) continue;
    const std::string sources = cells[1];
    const std::string files = cells[2];
    for (std::sregex_iterator f(files.begin(), files.end(), file), end; f != end; ++f) {
      named.push_back((*f)[1]);
      const std::string head = head_of(named.back());
      for (std::sregex_iterator s(sources.begin(), sources.end(), section); s != end; ++s)
        EXPECT_TRUE(std::regex_search(head, std::regex("\\b" + s->str() + "\\b")))
            << named.back() << " does not cite " << s->str();
    }
  }
  std::ranges::sort(named);
  EXPECT_EQ(named, all()) << "each once, and no others";
}

INSTANTIATE_TEST_SUITE_P(scenarios, transcript, testing::ValuesIn(all()),
                         [](const auto& which) { return which.param; });

}  // namespace
