// Claims about where a node's settings come from, which of them wins, and what a mistake answers.
#include "runtime/base/config.hpp"

#include "runtime/base/names.hpp"
#include "runtime/base/settings.hpp"

namespace blixard {
namespace {

using strings = std::vector<std::string>;
using variables = std::map<std::string, std::string, std::less<>>;

config_sources sources(variables env, std::string file = {}) {
  config_sources out;
  out.variables = std::move(env);
  out.read_file =
      [file = std::move(file)](const std::string& path) -> tl::expected<std::string, error> {
    if (path != "b.toml") return tl::unexpected(make_error(errc::not_found, "No such file"));
    return file;
  };
  return out;
}

strings with_required(strings more) {
  strings out{"--id", "1", "--data-dir", "d"};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

tl::expected<node_config, config_error> parse(strings args, config_sources from = sources({})) {
  return parse_node_config(args, from).map([](const node_request& r) { return r.config; });
}

TEST(config, defaults_are_those_of_the_documentation) {
  const auto c = parse(with_required({}));
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->id, node_id{1});
  EXPECT_EQ(c->data_dir, "d");
  EXPECT_EQ(c->name, "node-1");
  EXPECT_EQ(to_string(c->bind), "127.0.0.1:7001");
  EXPECT_EQ(to_string(c->metrics), "127.0.0.1:9464");
  EXPECT_FALSE(c->advertise);
  EXPECT_FALSE(c->bootstrap);
  EXPECT_EQ(c->heartbeat_ms, 50u);
  EXPECT_EQ(c->election_min_ms, 150u);
  EXPECT_EQ(c->election_max_ms, 300u);
}

TEST(config, every_flag_arrives) {
  const auto c = parse(with_required({"--bind",
                                      "127.0.0.1:0",
                                      "--advertise",
                                      "127.0.0.1:9",
                                      "--metrics",
                                      "[::1]:0",
                                      "--name",
                                      "a",
                                      "--join",
                                      "127.0.0.1:1,127.0.0.1:2",
                                      "--join=127.0.0.1:3",
                                      "--vcpus",
                                      "4",
                                      "--memory",
                                      "2G",
                                      "--disk",
                                      "1T",
                                      "--label",
                                      "zone=a",
                                      "--label",
                                      "x=",
                                      "--backend",
                                      "process",
                                      "--backend",
                                      "qemu",
                                      "--repl",
                                      "--log-level",
                                      "debug",
                                      "--dial",
                                      "2=127.0.0.1:7",
                                      "--dial",
                                      "3=127.0.0.1:8",
                                      "--tick-ms",
                                      "5",
                                      "--heartbeat-ms",
                                      "20",
                                      "--election-min-ms",
                                      "60",
                                      "--election-max-ms",
                                      "90",
                                      "--election-rank",
                                      "2",
                                      "--reads",
                                      "lease",
                                      "--clock-drift-percent",
                                      "5",
                                      "--witness",
                                      "--window",
                                      "fixed",
                                      "--snapshot-entries",
                                      "100",
                                      "--snapshot-rate",
                                      "3M",
                                      "--segment-bytes",
                                      "1M",
                                      "--max-frame-bytes",
                                      "2M",
                                      "--memory-cap",
                                      "64M",
                                      "--seed",
                                      "7",
                                      "--guest-kernel",
                                      "k",
                                      "--guest-initrd",
                                      "i"}));
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->bind.port, 0);
  EXPECT_EQ(to_string(*c->advertise), "127.0.0.1:9");
  EXPECT_EQ(c->metrics.host, "::1");
  EXPECT_EQ(c->name, "a");
  ASSERT_EQ(c->join.size(), 3u);
  EXPECT_EQ(c->join[2].port, 3);
  EXPECT_EQ(c->vcpus, 4u);
  EXPECT_EQ(c->memory_bytes, 2ULL << 30);
  EXPECT_EQ(c->disk_bytes, 1ULL << 40);
  EXPECT_EQ(c->labels, (std::map<std::string, std::string>{{"zone", "a"}, {"x", ""}}));
  EXPECT_EQ(c->backends, (strings{"process", "qemu"}));
  EXPECT_TRUE(c->repl);
  EXPECT_EQ(c->log_level, "debug");
  EXPECT_EQ(to_string(c->dial.at(node_id{3})), "127.0.0.1:8");
  EXPECT_EQ(c->tick_ms, 5u);
  EXPECT_EQ(c->heartbeat_ms, 20u);
  EXPECT_EQ(c->election_min_ms, 60u);
  EXPECT_EQ(c->election_max_ms, 90u);
  EXPECT_EQ(c->election_rank, 2u);
  EXPECT_TRUE(c->lease_reads);
  EXPECT_EQ(c->clock_drift_percent, 5u);
  EXPECT_TRUE(c->witness);
  EXPECT_FALSE(c->adaptive_window);
  EXPECT_EQ(c->snapshot_entries, 100u);
  EXPECT_EQ(c->snapshot_rate, 3u << 20);
  EXPECT_EQ(c->segment_bytes, 1u << 20);
  EXPECT_EQ(c->max_frame_bytes, 2u << 20);
  EXPECT_EQ(c->memory_cap_bytes, 64u << 20);
  EXPECT_EQ(c->seed, 7u);
  EXPECT_EQ(c->guest_kernel, "k");
  EXPECT_EQ(c->guest_initrd, "i");
}

TEST(config, flags_win_over_variables_and_those_over_the_file) {
  const std::string file = "vcpus = 1\nmemory = \"1G\"\nname = \"f\"\nlabel = [\"from=file\"]\n";
  const auto c = parse(with_required({"--config", "b.toml", "--vcpus", "3"}),
                       sources({{"BLIXARD_VCPUS", "2"}, {"BLIXARD_MEMORY", "2G"}}, file));
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->vcpus, 3u);
  EXPECT_EQ(c->memory_bytes, 2ULL << 30);
  EXPECT_EQ(c->name, "f");
  EXPECT_EQ(c->labels.at("from"), "file");
}

TEST(config, a_list_of_a_stronger_source_replaces_the_whole_list) {
  const std::string file = "label = [\"a=1\", \"b=2\"]\n";
  const auto c =
      parse(with_required({"--config", "b.toml"}), sources({{"BLIXARD_LABEL", "c=3,d=4"}}, file));
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->labels, (std::map<std::string, std::string>{{"c", "3"}, {"d", "4"}}));
}

TEST(config, the_file_has_the_same_keys_arrays_and_tables) {
  const std::string file = R"(
id = 2
data_dir = "/var/lib/b"      # either spelling
election-min-ms = 200
bootstrap = true
backend = ["process"]
[label]
zone = "b"
rack = 7
[dial]
1 = "127.0.0.1:7101"
)";
  const auto c = parse({}, sources({{"BLIXARD_CONFIG", "b.toml"}}, file));
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->id, node_id{2});
  EXPECT_EQ(c->data_dir, "/var/lib/b");
  EXPECT_EQ(c->election_min_ms, 200u);
  EXPECT_TRUE(c->bootstrap);
  EXPECT_EQ(c->labels.at("rack"), "7");
  EXPECT_EQ(c->dial.at(node_id{1}).port, 7101);
}

struct mistake {
  strings args;
  variables env;
  std::string file;
  exit_code code;
  std::string message;  // part of it
  std::string hint;     // part of it
};

TEST(config, a_mistake_names_its_place_and_the_way_out) {
  constexpr auto usage = exit_code::usage;
  constexpr auto configuration = exit_code::configuration;
  const strings file_flag{"--config", "b.toml"};
  const std::vector<mistake> cases{
      {{"--memroy", "1G"}, {}, "", usage, "unknown flag --memroy", "did you mean --memory?"},
      {{"--memroy=1G"}, {}, "", usage, "unknown flag --memroy", "did you mean --memory?"},
      {{"--zzzzzzzz"}, {}, "", usage, "unknown flag --zzzzzzzz", "--help"},
      {{"extra"}, {}, "", usage, "unexpected word \"extra\"", "--help"},
      {{"--memory", "12X"}, {}, "", usage, "--memory: \"12X\" is not a size", "256M"},
      {{"--memory"}, {}, "", usage, "--memory", ""},
      {{"--name", "A_b"}, {}, "", usage, "--name: \"A_b\" is not a name", "a-z"},
      {{"--id", "2"}, {}, "", usage, "--id", ""},
      {{"--backend", "quemu"}, {}, "", usage, "--backend: \"quemu\"", "did you mean qemu?"},
      {{"--log-level", "wran"}, {}, "", usage, "--log-level", "did you mean warn?"},
      {{"--label", "zone"}, {}, "", usage, "--label: \"zone\" is not a label", "KEY=VALUE"},
      {{"--label", "a=1", "--label", "a=2"}, {}, "", usage, "given twice", ""},
      {{"--join", "127.0.0.1"}, {}, "", usage, "--join", "HOST:PORT"},
      {{"--join", "127.0.0.1:0"}, {}, "", usage, "port 0", ""},
      {{"--advertise", "127.0.0.1:0"}, {}, "", usage, "port 0", ""},
      {{"--dial", "0=127.0.0.1:1"}, {}, "", usage, "--dial", "2=127.0.0.1:7102"},
      {{"--dial", "1=127.0.0.1:1"}, {}, "", configuration, "dial names this node", ""},
      {{"--bootstrap", "--join", "127.0.0.1:1"}, {}, "", usage, "exclude", "existing"},
      {{}, {{"BLIXARD_VCPUS", "many"}}, "", configuration, "BLIXARD_VCPUS: \"many\"", ""},
      {{}, {{"BLIXARD_BOOTSTRAP", "maybe"}}, "", configuration, "neither true nor false", ""},
      {file_flag,
       {},
       "vcpus = 1\n\nmemroy = \"1G\"\n",
       configuration,
       "b.toml:3: unknown key memroy",
       "did you mean memory?"},
      {file_flag, {}, "[qqqqqqqqqqqqqq]\n", configuration, "b.toml:1: unknown key", ""},
      {file_flag,
       {},
       "memory = 1\nvcpus = 1.5\n",
       configuration,
       "b.toml:2: vcpus: wrong type",
       "expected N"},
      {file_flag, {}, "vcpus = [1]\n", configuration, "b.toml:1: vcpus: wrong type", ""},
      {file_flag, {}, "\nmemory = \"12X\"\n", configuration, "b.toml:2: memory: \"12X\"", "256M"},
      {file_flag, {}, "data_dir = \"x\"\ndata-dir = \"y\"\n", configuration, "given twice", ""},
      {file_flag, {}, "vcpus = \n", configuration, "b.toml:1: ", ""},
      {{"--config", "none.toml"}, {}, "", configuration, "none.toml: No such file", "TOML"},
      {{"--bind", "0.0.0.0:7001"},
       {},
       "",
       configuration,
       "0.0.0.0:7001 is not a loopback",
       "mutual TLS"},
      {{"--tls-ca", "ca.pem"}, {}, "", configuration, "tls-cert is missing", "together"},
      {{}, {{"BLIXARD_TLS_KEY", "k.pem"}}, "", configuration, "tls-ca is missing", "together"},
      {file_flag,
       {},
       "tls_ca = \"a\"\ntls_cert = \"b\"\n",
       configuration,
       "tls-key is missing",
       ""},
      {{"--tick-ms", "0"}, {}, "", configuration, "tick-ms is 0", ""},
      {{"--heartbeat-ms", "5"}, {}, "", configuration, "heartbeat-ms is shorter", ""},
      {{"--heartbeat-ms", "100"}, {}, "", configuration, "election-min-ms is shorter", ""},
      {{"--election-rank", "16"}, {}, "", usage, "is not a number up to 15", ""},
      {{"--window", "large"}, {}, "", usage, "is not one of adaptive, fixed", ""},
      {{"--reads", "stale"}, {}, "", usage, "is not one of quorum, lease", ""},
      {{"--clock-drift-percent", "51"}, {}, "", usage, "is not a number up to 50", ""},
      {{"--witness", "--bootstrap"}, {}, "", usage, "bootstrap and witness exclude", ""},
      {{"--election-max-ms", "150"}, {}, "", configuration, "election-max-ms is not longer", ""},
      {{"--segment-bytes", "1K"}, {}, "", configuration, "segment-bytes: 1024", ""},
      {{"--max-frame-bytes", "1G"}, {}, "", configuration, "max-frame-bytes", ""},
      {{"--snapshot-entries", "0"}, {}, "", configuration, "snapshot-entries", ""},
  };
  for (const auto& m : cases) {
    const auto c = parse(with_required(m.args), sources(m.env, m.file));
    ASSERT_FALSE(c) << m.message;
    EXPECT_NE(c.error().message.find(m.message), std::string::npos) << c.error().message;
    EXPECT_NE(c.error().hint.find(m.hint), std::string::npos) << c.error().hint;
    EXPECT_EQ(c.error().code, m.code) << c.error().message;
  }
}

TEST(config, id_and_data_directory_are_required) {
  EXPECT_EQ(parse({"--data-dir", "d"}).error().message, "id is missing");
  EXPECT_EQ(parse({"--id", "1"}).error().message, "data-dir is missing");
  EXPECT_EQ(parse({"--id", "0", "--data-dir", "d"}).error().message, "--id: node ids begin at 1");
}

TEST(config, help_is_answered_whatever_else_is_there) {
  const strings args{"--nonsense", "--help"};
  const auto r = parse_node_config(args, sources({}));
  ASSERT_TRUE(r);
  EXPECT_TRUE(r->help);
}

TEST(config, a_variable_that_nothing_reads_is_told_with_the_nearest_right_one) {
  const auto r =
      parse_node_config(with_required({}), sources({{"BLIXARD_MEMROY", "1G"},
                                                    {"BLIXARD_VCPUS", "3"},
                                                    {"BLIXARD_QEMU", "/usr/bin/qemu-system-x86_64"},
                                                    {"BLIXARD_SOMETHING_ELSE", "1"}}));
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(r->config.vcpus, 3u);
  EXPECT_EQ(r->warnings,
            (strings{"the variable BLIXARD_MEMROY is not known and was ignored: did you mean "
                     "BLIXARD_MEMORY?",
                     "the variable BLIXARD_SOMETHING_ELSE is not known and was ignored"}));
}

TEST(config, metrics_that_others_can_reach_are_allowed_and_warned_of) {
  const auto warnings_at = [](const char* where) {
    const auto r = parse_node_config(with_required({"--metrics", where}), sources({}));
    return r ? r->warnings : std::vector<std::string>{"refused"};
  };
  EXPECT_TRUE(warnings_at("127.0.0.1:9464").empty());
  EXPECT_TRUE(warnings_at("[::1]:0").empty());
  for (const char* open : {"0.0.0.0:9464", "10.0.0.7:9464", "[::]:9464"}) {
    const auto w = warnings_at(open);
    ASSERT_EQ(w.size(), 1U) << open;
    EXPECT_TRUE(w[0].starts_with("metrics: " + std::string(open) + " is not a loopback")) << w[0];
  }
}

TEST(config, every_setting_stands_in_the_help_and_has_its_three_names) {
  const auto text = node_usage();
  for (const auto& s : setting_table()) {
    EXPECT_NE(text.find("--" + std::string(s.name)), std::string::npos) << s.name;
    EXPECT_EQ(find_setting(key_of(s)), &s);
    EXPECT_EQ(find_setting(s.name), &s);
    EXPECT_TRUE(variable_of(s).starts_with("BLIXARD_"));
  }
}

TEST(dns_label, the_rules_at_their_edges) {
  for (const std::string ok : {"a", "0", "web-1", "a--b"}) EXPECT_TRUE(is_dns_label(ok)) << ok;
  EXPECT_TRUE(is_dns_label(std::string(63, 'a')));
  for (const std::string bad : {"", "-a", "a-", "A", "a_b", "a.b", "ä", "a b"})
    EXPECT_FALSE(is_dns_label(bad)) << bad;
  EXPECT_FALSE(is_dns_label(std::string(64, 'a')));
}

TEST(natural_order, counts_digits_as_numbers_of_any_length) {
  const std::vector<std::string> sorted{"",
                                        "0",
                                        "2",
                                        "10",
                                        "a",
                                        "a-1",
                                        "a-10",
                                        "a1",
                                        "a1b",
                                        "a01b2",
                                        "a1b10",
                                        "a2",
                                        "a10",
                                        "b",
                                        "p007",
                                        "p07",
                                        "p7",
                                        "p99999999999999999999998",
                                        "p99999999999999999999999"};
  auto shuffled = sorted;
  std::ranges::reverse(shuffled);
  std::ranges::sort(shuffled, natural_less);
  EXPECT_EQ(shuffled, sorted);
}

TEST(config, a_folder_is_not_a_file_of_settings) {
  const auto c = parse(with_required({"--config", "/tmp"}), system_sources());
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, exit_code::configuration);
  EXPECT_EQ(c.error().message, "/tmp: Is a directory");
}

TEST(config, a_flag_that_is_given_twice_or_has_no_value_is_told_in_plain_words) {
  EXPECT_EQ(parse({"--id", "1", "--id", "2"}).error().message, "--id is given twice");
  EXPECT_EQ(parse({"--id"}).error().message, "--id needs a value");
}

}  // namespace
}  // namespace blixard
