// Claims about commands and queries on keys.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/state/command_view.hpp"
#include "runtime/state/kv_store.hpp"
#include "tests/unit/state/helpers.hpp"

namespace blixard::state {
namespace {

using testing::code_of;
using ::testing::ElementsAre;
using testing::fixture;
using ::testing::HasSubstr;

std::vector<std::string> keys(const pb::Answer& a) {
  std::vector<std::string> out;
  for (const auto& i : a.kv_items().items()) out.push_back(i.key());
  return out;
}

pb::Query list_of(std::string prefix, std::uint32_t limit = 0) {
  pb::Query q;
  q.mutable_kv_list()->set_prefix(std::move(prefix));
  q.mutable_kv_list()->set_limit(limit);
  return q;
}

TEST(kv, a_put_is_read_back_with_the_log_index_as_its_version) {
  fixture f;
  f.put("other", "x");
  const auto put = f.put("k", "v1");
  EXPECT_EQ(code_of(put), errc::ok);
  EXPECT_EQ(put.index(), 2);
  EXPECT_EQ(put.term(), 1);
  EXPECT_EQ(put.kv().version(), 2);
  const auto got = f.get("k");
  EXPECT_EQ(got.kv().key(), "k");
  EXPECT_EQ(got.kv().value(), "v1");
  EXPECT_EQ(got.kv().version(), 2);
  EXPECT_EQ(got.index(), 2);
}

TEST(kv, reading_a_missing_key_is_not_found_and_carries_an_index) {
  fixture f;
  f.put("a", "1");
  const auto a = f.get("b");
  EXPECT_EQ(code_of(a), errc::not_found);
  EXPECT_EQ(a.index(), 1);
  EXPECT_THAT(a.message(), HasSubstr("'b'"));
}

TEST(kv, put_if_checks_the_version_and_zero_means_absent) {
  struct {
    const char* what;
    bool exists;  // written at index 1
    std::uint64_t version;
    errc outcome;
  } const rows[] = {
      {"absent, wanted absent", false, 0, errc::ok},
      {"absent, wanted a version", false, 7, errc::conflict},
      {"there, wanted absent", true, 0, errc::conflict},
      {"there, wanted its version", true, 1, errc::ok},
      {"there, wanted another version", true, 2, errc::conflict},
  };
  for (const auto& row : rows) {
    fixture f;
    f.put(row.exists ? "k" : "other", "old");
    EXPECT_EQ(code_of(f.put_if("k", "new", row.version)), row.outcome) << row.what;
    const bool written = f.get("k").kv().value() == "new";
    EXPECT_EQ(written, row.outcome == errc::ok) << row.what;
  }
}

TEST(kv, cas_replaces_only_the_expected_value) {
  fixture f;
  EXPECT_EQ(code_of(f.cas("k", "", "v")), errc::not_found);
  f.put("k", "v1");
  EXPECT_EQ(code_of(f.cas("k", "v0", "v2")), errc::conflict);
  EXPECT_EQ(f.get("k").kv().value(), "v1");
  const auto ok = f.cas("k", "v1", "v2");
  EXPECT_EQ(code_of(ok), errc::ok);
  EXPECT_EQ(ok.kv().version(), ok.index());
  EXPECT_EQ(f.get("k").kv().value(), "v2");
}

TEST(kv, delete_removes_the_key_once) {
  fixture f;
  f.put("k", "v");
  EXPECT_EQ(code_of(f.del("k")), errc::ok);
  EXPECT_EQ(code_of(f.get("k")), errc::not_found);
  EXPECT_EQ(code_of(f.del("k")), errc::not_found);
}

TEST(kv, keys_and_values_have_limits) {
  fixture f;
  EXPECT_EQ(code_of(f.put("", "v")), errc::invalid_argument);
  EXPECT_EQ(code_of(f.put(std::string(limits::key_max_bytes, 'k'), "v")), errc::ok);
  EXPECT_EQ(code_of(f.put(std::string(limits::key_max_bytes + 1, 'k'), "v")), errc::too_large);
  EXPECT_EQ(code_of(f.put("k", std::string(limits::value_max_bytes, 'v'))), errc::ok);
  EXPECT_EQ(code_of(f.put("k", std::string(limits::value_max_bytes + 1, 'v'))), errc::too_large);
  EXPECT_EQ(code_of(f.cas("k", "", std::string(limits::value_max_bytes + 1, 'v'))),
            errc::too_large);
}

TEST(kv, a_key_of_any_bytes_works_and_is_printable_in_messages) {
  fixture f;
  const std::string key{"\0\xff\n'", 4};
  EXPECT_EQ(code_of(f.put(key, "v")), errc::ok);
  EXPECT_EQ(f.get(key).kv().value(), "v");
  f.del(key);
  EXPECT_THAT(f.get(key).message(), HasSubstr("\\x00\\xff\\x0a"));
}

TEST(kv, list_is_ordered_by_bytes_and_bounded_by_prefix_and_limit) {
  fixture f;
  for (const char* k : {"b/2", "a", "b/1", "c", "b", "b/10", "b0", "\xff"}) f.put(k, k);
  EXPECT_THAT(keys(f.ask(list_of("b/"))), ElementsAre("b/1", "b/10", "b/2"));
  EXPECT_THAT(keys(f.ask(list_of(""))),
              ElementsAre("a", "b", "b/1", "b/10", "b/2", "b0", "c", "\xff"));
  EXPECT_THAT(keys(f.ask(list_of("zz"))), ElementsAre());
  const auto two = f.ask(list_of("b", 2));
  EXPECT_THAT(keys(two), ElementsAre("b", "b/1"));
  EXPECT_TRUE(two.kv_items().truncated());
  EXPECT_FALSE(f.ask(list_of("b", 5)).kv_items().truncated());
}

TEST(kv, list_stays_below_the_size_of_an_answer) {
  fixture f;
  for (int i = 0; i < 6; ++i) f.put("k" + std::to_string(i), std::string(testing::MiB, 'x'));
  const auto a = f.ask(list_of(""));
  EXPECT_TRUE(a.kv_items().truncated());
  EXPECT_EQ(a.kv_items().items_size(), 3);
  EXPECT_LT(a.ByteSizeLong(), limits::frame_max_bytes);
}

TEST(kv, a_put_reports_that_keys_changed_and_a_refused_one_that_nothing_did) {
  fixture f;
  const auto done = f.apply(fixture::put_command("k", "v"));
  EXPECT_TRUE(done.changed.kv);
  EXPECT_FALSE(done.changed.inventory);
  const auto refused = f.apply(fixture::put_command("", "v"));
  EXPECT_FALSE(refused.changed.kv);
}

// --- the fast decoder

TEST(put_view, says_the_same_as_protobuf_for_every_field) {
  pb::Command c;
  c.set_client("c1");
  c.set_seq(300);
  c.set_time_ms(-5);
  c.mutable_kv_put()->set_key("key");
  c.mutable_kv_put()->set_value(std::string(300, 'v'));
  c.mutable_kv_put()->set_if_version_set(true);
  c.mutable_kv_put()->set_if_version(1ULL << 60);
  const slice bytes = slice::copy_of(c.SerializeAsString());
  const auto v = view_kv_put(bytes);
  ASSERT_TRUE(v);
  EXPECT_EQ(v->client, "c1");
  EXPECT_EQ(v->seq, 300);
  EXPECT_EQ(v->key, "key");
  EXPECT_EQ(v->value.text(), std::string(300, 'v'));
  EXPECT_EQ(v->value.owner(), bytes.owner()) << "the value is a part of the entry";
  EXPECT_TRUE(v->if_version_set);
  EXPECT_EQ(v->if_version, 1ULL << 60);
}

TEST(put_view, leaves_everything_unusual_to_protobuf) {
  const auto put = fixture::put_command("k", "v").SerializeAsString();
  pb::Command other;
  other.mutable_kv_delete()->set_key("k");
  struct {
    const char* what;
    std::string bytes;
  } const rows[] = {
      {"empty", ""},
      {"another operation", other.SerializeAsString()},
      {"two operations", put + put},
      {"an unknown field", put + std::string{"\xa8\x06\x01", 3}},
      {"cut short", put.substr(0, put.size() - 1)},
      {"a client that is not ASCII", std::string{"\x0a\x02\xc3\xa4", 4} + put},
      {"a length that is a lie", std::string{"\x52\xff\xff\xff\xff\x0f", 6}},
  };
  for (const auto& row : rows) EXPECT_FALSE(view_kv_put(slice::copy_of(row.bytes))) << row.what;
}

TEST(put_view, agrees_with_protobuf_on_every_damaged_byte) {
  pb::Command c = fixture::put_command("key", "value");
  c.set_client("client");
  c.set_seq(9);
  const std::string good = c.SerializeAsString();
  int seen = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      const slice bytes = slice::copy_of(bad);
      const auto v = view_kv_put(bytes);
      if (!v) continue;
      ++seen;
      pb::Command parsed;
      ASSERT_TRUE(parsed.ParseFromString(bad)) << at << "/" << bit;
      ASSERT_EQ(parsed.op_case(), pb::Command::kKvPut);
      EXPECT_EQ(parsed.client(), v->client);
      EXPECT_EQ(parsed.seq(), v->seq);
      EXPECT_EQ(parsed.kv_put().key(), v->key);
      EXPECT_EQ(parsed.kv_put().value(), v->value.text());
      EXPECT_EQ(parsed.kv_put().if_version(), v->if_version);
    }
  }
  EXPECT_GT(seen, 50) << "most flips only change text";
}

// --- how values are held

TEST(kv_item, shares_a_large_value_and_copies_one_that_would_pin_more_than_itself) {
  const auto large = slice::copy_of(std::string(128 * 1024, 'x'));
  const auto shares = kv_item::make("k", large, 1);
  EXPECT_TRUE(shares->shares_entry());
  EXPECT_EQ(shares->key(), "k");
  EXPECT_EQ(shares->value().data(), large.text().data()) << "the entry's own bytes";
  EXPECT_EQ(shares->value().size(), large.size());
  EXPECT_FALSE(kv_item::make("k", large.sub(0, 63 * 1024), 1)->shares_entry());
  const auto small = slice::copy_of("small");
  const auto item = kv_item::make("k", small, 1);
  EXPECT_FALSE(item->shares_entry());
  EXPECT_EQ(item->value(), "small");
  EXPECT_EQ(item->key(), "k");
}

}  // namespace
}  // namespace blixard::state
