// Entries of any content, applied: every replica gives the same answers and the same digest, which
// is that of its objects; the quick way of a put and the ordinary one agree; a snapshot loses
// nothing.
#include <google/protobuf/stubs/logging.h>

#include "messages/cluster.pb.h"
#include "runtime/state/command_view.hpp"
#include "runtime/state/machine.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/state/random_log.hpp"

namespace blixard::fuzz {
namespace {

const state::snapshot_context context{cluster_id{1}, {{node_id{1}}, {}, {}, {}, false}};

void put_means_what_protobuf_says(const slice& data) {
  const auto put = state::view_kv_put(data);
  if (!put) return;
  pb::Command c;
  CHECK(c.ParseFromArray(data.data(), static_cast<int>(data.size())));
  CHECK(c.has_kv_put());
  CHECK(c.client() == put->client);
  CHECK_EQ(c.seq(), put->seq);
  CHECK(c.kv_put().key() == put->key);
  CHECK(c.kv_put().value() == put->value.text());
  CHECK_EQ(c.kv_put().if_version_set(), put->if_version_set);
  CHECK_EQ(c.kv_put().if_version(), put->if_version);
}

}  // namespace

void one(input in) {
  state::machine a;
  state::machine b;
  for (int i = 0; i < 24 && !in.empty(); ++i) {
    entry e;
    e.index = a.applied_index().next();
    e.term = term{1};
    const std::uint32_t head = in.word();
    e.kind = head % 16 == 15 ? entry_kind::conf : entry_kind::normal;
    e.data = whole(in.text(head / 16));
    put_means_what_protobuf_says(e.data);
    const auto first = a.apply(e);
    const auto second = b.apply(e);
    CHECK(first.answer->SerializeAsString() == second.answer->SerializeAsString());
  }
  CHECK(a.digest() == b.digest());
  CHECK(a.digest() == a.digest_from_scratch());
  const slice snap = a.view().encode(context);
  state::machine restored;
  CHECK(restored.load(snap.bytes()).has_value());
  CHECK(restored.digest() == a.digest());
  CHECK(restored.view().encode(context) == snap);
}

std::vector<std::string> examples() {
  // What does not parse is the fuzzer's daily bread, not news.
  google::protobuf::SetLogHandler(nullptr);
  std::vector<std::string> out;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    state::testing::random_log log(seed);
    state::machine sm;
    std::string one_log;
    while (one_log.size() < 900) {
      const entry e = log.next(sm);
      const auto head = e.data.size() * 16 + (e.kind == entry_kind::conf ? 15 : 0);
      one_log += static_cast<char>(head & 0xFFU);
      one_log += static_cast<char>(head >> 8U);
      one_log += e.data.text();
      (void)sm.apply(e);
    }
    out.push_back(one_log);
  }
  return out;
}

}  // namespace blixard::fuzz
