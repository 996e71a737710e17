// A snapshot of the state machine, of any content: it is loaded whole or not at all, and what was
// loaded gives a snapshot that says the same.
#include <google/protobuf/stubs/logging.h>

#include "messages/cluster.pb.h"
#include "runtime/state/machine.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/state/random_log.hpp"

namespace blixard::fuzz {

void one(input in) {
  state::machine sm;
  const auto empty = sm.digest();
  const slice bytes = whole(in.rest());
  const auto loaded = sm.load(bytes.bytes());
  if (!loaded) {
    CHECK(sm.digest() == empty);
    CHECK_EQ(sm.applied_index(), log_index{});
    return;
  }
  CHECK(sm.digest() == sm.digest_from_scratch());
  const slice first = sm.view().encode(*loaded);
  state::machine again;
  const auto reloaded = again.load(first.bytes());
  CHECK(reloaded.has_value());
  CHECK(again.digest() == sm.digest());
  CHECK(again.view().encode(*reloaded) == first);
  // It goes on from there.
  (void)sm.apply({sm.applied_term(), sm.applied_index().next(), entry_kind::normal, {}});
}

std::vector<std::string> examples() {
  google::protobuf::SetLogHandler(nullptr);
  std::vector<std::string> out;
  const state::snapshot_context context{cluster_id{77}, {{node_id{1}}, {}, {}, {}, false}};
  for (std::uint64_t seed = 0; seed < 16; ++seed) {
    state::testing::random_log log(seed);
    state::machine sm;
    for (std::uint64_t i = 0; i < seed * 4; ++i) (void)sm.apply(log.next(sm));
    out.emplace_back(sm.view().encode(context).text());
  }
  return out;
}

}  // namespace blixard::fuzz
