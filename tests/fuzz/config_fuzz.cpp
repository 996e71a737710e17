// A node's settings from a file and from arguments of any content: a mistake has an exit code of
// the table and a message, and what is accepted is within its limits.
#include "runtime/base/config.hpp"

#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {

void one(input in) {
  std::vector<std::string> args{"--id", "1", "--data-dir", "d", "--config", "f.toml"};
  const auto more = in.byte() % 4;
  for (int i = 0; i < more; ++i) args.emplace_back(in.text(in.byte() % 32));
  config_sources from;
  const std::string variable{in.text(in.byte() % 32)};
  if (!variable.empty()) from.variables.emplace("BLIXARD_JOIN", variable);
  from.read_file = [&](const std::string&) -> tl::expected<std::string, error> {
    return std::string{in.rest()};
  };
  const auto got = parse_node_config(args, from);
  if (!got) {
    CHECK(!got.error().message.empty());
    CHECK(got.error().code == exit_code::usage || got.error().code == exit_code::configuration ||
          got.error().code == exit_code::tls);
    return;
  }
  if (got->help) return;
  CHECK(got->config.id);
  CHECK(!got->config.data_dir.empty());
  CHECK_LT(got->config.heartbeat_ms, got->config.election_min_ms);
  CHECK_LE(got->config.election_min_ms, got->config.election_max_ms);
}

std::vector<std::string> examples() {
  using namespace std::string_literals;
  return {"\0\0data_dir = \"d\"\nname = \"a\"\nbind = \"127.0.0.1:0\"\nmemory = \"2G\"\n"s,
          "\0\0join = [\"127.0.0.1:1\", \"[::1]:2\"]\nvcpus = 4\n[labels]\nzone = \"a\"\n"s,
          "\0\x0b"
          "127.0.0.1:1\n[dial]\n2 = \"127.0.0.1:7002\"\n"s,
          "\2\6--nameb\1x\0heartbeat-ms = 50\nelection_min_ms = 150\nbootstrap = true\n"s};
}

}  // namespace blixard::fuzz
