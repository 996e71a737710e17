// Whom a certificate speaks for, which files are refused and with what words, and how they are
// renewed.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/unit/net/tls_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

constexpr std::uint64_t s = 1'000'000'000;

TEST(tls_identity, is_a_node_id_or_the_name_of_a_client_and_nothing_else) {
  const auto node = parse_identity("blixard://node/18446744073709551615");
  ASSERT_TRUE(node);
  EXPECT_EQ(node->as, certified::role::node);
  EXPECT_EQ(node->node, node_id{UINT64_MAX});
  EXPECT_EQ(to_string(*node), "node 18446744073709551615");
  const auto client = parse_identity("blixard://client/ops-1");
  ASSERT_TRUE(client);
  EXPECT_EQ(client->as, certified::role::client);
  EXPECT_EQ(to_string(*client), "client ops-1");
  for (const auto* text :
       {"", "blixard://", "blixard://node/", "blixard://node/0", "blixard://node/01",
        "blixard://node/+1", "blixard://node/ 1", "blixard://node/1/", "blixard://node/1k",
        "blixard://node/18446744073709551616", "blixard://node/x", "blixard://nodes/1",
        "BLIXARD://node/1", "http://node/1", "blixard://client/", "blixard://client/Ops",
        "blixard://client/a b", "blixard://client/-a", "blixard://root/1"})
    EXPECT_EQ(parse_identity(text), std::nullopt) << text;
}

TEST(tls_identity, is_the_only_one_of_its_scheme) {
  const auto among = [](std::vector<std::string> uris) { return identity_among(uris); };
  EXPECT_EQ(among({}), std::nullopt);
  EXPECT_EQ(among({"https://example.org"}), std::nullopt);
  EXPECT_EQ(among({"https://example.org", "blixard://node/3"}), parse_identity("blixard://node/3"));
  EXPECT_EQ(among({"blixard://node/3", "blixard://client/a"}), std::nullopt);
  EXPECT_EQ(among({"blixard://node/3", "blixard://node/3"}), std::nullopt);
  EXPECT_EQ(among({"blixard://node/3", "blixard://?"}), std::nullopt);
}

TEST(tls_credentials, good_files_are_loaded_with_their_identity) {
  const authority ca;
  const files f;
  const auto got = tls_credentials::load(f.put(ca, ca.node(2)), node_id{2});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ((*got)->identity(), *parse_identity("blixard://node/2"));
  EXPECT_NE((*got)->context(0), nullptr);
  EXPECT_GT((*got)->not_after(), 0);
}

TEST(tls_credentials, a_file_with_two_authorities_trusts_both) {
  const authority old_one, new_one;
  const files f;
  for (const auto* of : {&old_one, &new_one}) {
    auto where = f.put(old_one, of->node(2));
    f.write("ca.pem", old_one.pem() + new_one.pem());
    const auto got = tls_credentials::load(where, node_id{2});
    EXPECT_TRUE(got) << got.error().message;
  }
}

TEST(tls_credentials, bad_files_are_named_with_the_remedy) {
  const authority ca, other;
  const auto good = ca.node(2);
  const auto expired =
      ca.issue({.uris = {"blixard://node/2"}, .from_s = -3 * day_s, .to_s = -day_s});
  const auto early = ca.issue({.uris = {"blixard://node/2"}, .from_s = day_s, .to_s = 2 * day_s});
  const auto for_clients = ca.issue({.uris = {"blixard://node/2"}, .use = "clientAuth"});
  const authority dead{{.uris = {}, .from_s = -3 * day_s, .to_s = -day_s}};
  const auto of_dead = dead.node(2);
  const auto ca_pem = ca.pem();
  struct row {
    const char* what;
    std::string ca, cert, key;  // "-": the file is not there
    errc code;
    const char* message;
    const char* hint;
  };
  const auto wrong = errc::invalid_argument, unfit = errc::unauthenticated;
  const auto cert_of = [](const issued& i) { return i.certificate_pem(); };
  const row rows[] = {
      {"no authority", "-", cert_of(good), good.key_pem(), wrong, "ca.pem: No such file", "path"},
      {"no certificate", ca_pem, "-", good.key_pem(), wrong, "own.pem: No such file", "path"},
      {"no key", ca_pem, cert_of(good), "-", wrong, "own.key: No such file", "path"},
      {"empty", ca_pem, "", good.key_pem(), wrong, "own.pem holds no certificate", "PEM"},
      {"a key as certificate", ca_pem, good.key_pem(), good.key_pem(), wrong,
       "own.pem holds no certificate", "PEM"},
      {"broken", cert_of(good).substr(0, 200) + "\n-----END CERTIFICATE-----\n", cert_of(good),
       good.key_pem(), wrong, "ca.pem holds no certificate", "PEM"},
      {"a certificate as key", ca_pem, cert_of(good), cert_of(good), wrong,
       "own.key holds no private key", "pass phrase"},
      {"another key", ca_pem, cert_of(good), expired.key_pem(), wrong, "is not the key of",
       "together"},
      {"expired", ca_pem, cert_of(expired), expired.key_pem(), unfit, "own.pem has expired on 20",
       "make a new one"},
      {"too early", ca_pem, cert_of(early), early.key_pem(), unfit, "valid from 20", "clock"},
      {"other authority", other.pem(), cert_of(good), good.key_pem(), unfit,
       "no certificate of the authority", "one authority"},
      {"expired authority", dead.pem(), cert_of(of_dead), of_dead.key_pem(), unfit, "authority in",
       "make a new one"},
      {"not for servers", ca_pem, cert_of(for_clients), for_clients.key_pem(), unfit,
       "for this use", "one authority"},
  };
  for (const auto& r : rows) {
    const files f;
    const auto put = [&f](const char* name, const std::string& text) {
      return text == "-" ? f.path(name) : f.write(name, text);
    };
    const auto got = tls_credentials::load(
        {put("ca.pem", r.ca), put("own.pem", r.cert), put("own.key", r.key)}, node_id{2});
    ASSERT_FALSE(got) << r.what;
    EXPECT_EQ(got.error().code, r.code) << r.what;
    EXPECT_NE(got.error().message.find(r.message), std::string::npos)
        << r.what << ": " << got.error().message;
    EXPECT_NE(got.error().hint.find(r.hint), std::string::npos)
        << r.what << ": " << got.error().hint;
  }
}

TEST(tls_credentials, a_certificate_of_somebody_else_is_refused_for_a_node) {
  const authority ca;
  const std::tuple<issued, const char*> rows[] = {
      {ca.node(3), "is the certificate of node 3, and this is node 2"},
      {ca.client("ops"), "is the certificate of client ops, and this is node 2"},
      {ca.issue({}), "does not say whose it is"},
      {ca.issue({.uris = {"blixard://node/2", "blixard://node/3"}}), "does not say whose it is"}};
  for (const auto& [own, message] : rows) {
    const files f;
    const auto got = tls_credentials::load(f.put(ca, own), node_id{2});
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, errc::unauthenticated);
    EXPECT_NE(got.error().message.find(message), std::string::npos) << got.error().message;
  }
}

struct events {
  std::vector<std::pair<bool, std::string>> lines;
  tls_credentials::event_fn fn() {
    return [this](bool ok, const std::string& line) { lines.emplace_back(ok, line); };
  }
};

TEST(tls_credentials, new_files_are_taken_at_the_first_look_after_a_second) {
  const authority ca;
  const files f;
  events told;
  auto got = *tls_credentials::load(f.put(ca, ca.node(2)), node_id{2}, told.fn());
  const auto first = got->context(1 * s);
  EXPECT_EQ(got->context(3 * s), first);
  f.put(ca, ca.node(2));
  EXPECT_EQ(got->context(3 * s + 999'999'999), first) << "looked more than once a second";
  const auto second = got->context(4 * s);
  EXPECT_NE(second, first);
  EXPECT_EQ(got->context(6 * s), second);
  ASSERT_EQ(told.lines.size(), 1u);
  EXPECT_TRUE(told.lines[0].first) << told.lines[0].second;
}

TEST(tls_credentials, bad_new_files_are_told_once_and_the_former_ones_stay) {
  const authority ca;
  const files f;
  events told;
  auto got = *tls_credentials::load(f.put(ca, ca.node(2)), node_id{2}, told.fn());
  const auto first = got->context(1 * s);
  f.write("own.pem", "nonsense");
  EXPECT_EQ(got->context(3 * s), first);
  EXPECT_EQ(got->context(5 * s), first);
  ASSERT_EQ(told.lines.size(), 1u);
  EXPECT_FALSE(told.lines[0].first);
  EXPECT_NE(told.lines[0].second.find("own.pem holds no certificate"), std::string::npos);
  f.put(ca, ca.node(3));  // good files, but another node's
  EXPECT_EQ(got->context(7 * s), first);
  ASSERT_EQ(told.lines.size(), 2u);
  EXPECT_NE(told.lines[1].second.find("of node 3"), std::string::npos) << told.lines[1].second;
  f.put(ca, ca.node(2));
  EXPECT_NE(got->context(9 * s), first) << "what is right at last is taken";
}

TEST(tls_credentials, what_was_not_good_yet_is_tried_again_and_told_once) {
  const authority ca;
  const files f;
  events told;
  auto got = *tls_credentials::load(f.put(ca, ca.node(2)), node_id{2}, told.fn());
  const auto first = got->context(1 * s);
  const auto next = ca.node(2);
  f.put(ca, next);
  const auto good = next.certificate_pem();
  const auto cert = f.write("own.pem", std::string(good.size(), '?'));
  const auto stamp = std::filesystem::last_write_time(cert);
  EXPECT_EQ(got->context(3 * s), first);
  EXPECT_EQ(got->context(40 * s), first);
  EXPECT_EQ(told.lines.size(), 1u) << "the same is not told again";
  // As when a clock goes on: the files look the same and have become good.
  std::ofstream{cert, std::ios::binary} << good;
  std::filesystem::last_write_time(cert, stamp);
  EXPECT_EQ(got->context(50 * s), first);
  EXPECT_NE(got->context(71 * s), first);
  ASSERT_EQ(told.lines.size(), 2u);
  EXPECT_TRUE(told.lines[1].first) << told.lines[1].second;
}

}  // namespace
}  // namespace blixard::net
