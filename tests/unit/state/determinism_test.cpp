// Properties over random logs: the same log gives the same bytes, a snapshot loses nothing, and
// everything that is kept incrementally equals what is computed from scratch.
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "runtime/state/machine.hpp"
#include "tests/unit/state/random_log.hpp"

namespace blixard::state {
namespace {

using testing::code_of;
using testing::fixture;
using testing::random_log;

constexpr int seeds = 40;
constexpr int entries = 400;

const snapshot_context context{cluster_id{77},
                               {{node_id{1}, node_id{2}}, {}, {node_id{3}}, {}, true}};

std::string bytes_of(const machine& sm) { return std::string{sm.view().encode(context).text()}; }

TEST(determinism, the_same_log_gives_equal_answers_digests_and_snapshots) {
  for (int seed = 0; seed < seeds; ++seed) {
    random_log log(static_cast<std::uint64_t>(seed));
    machine a;
    machine b;
    for (int i = 0; i < entries; ++i) {
      const entry e = log.next(a);
      const auto ra = a.apply(e);
      const auto rb = b.apply(e);
      ASSERT_EQ(ra.answer->SerializeAsString(), rb.answer->SerializeAsString()) << "seed " << seed;
      ASSERT_EQ(a.digest(), b.digest()) << "seed " << seed << " entry " << i;
    }
    ASSERT_EQ(bytes_of(a), bytes_of(b)) << "seed " << seed;
  }
}

TEST(determinism, snapshot_restore_and_continue_equals_no_snapshot) {
  for (int seed = 0; seed < seeds; ++seed) {
    random_log log(1000 + static_cast<std::uint64_t>(seed));
    machine a;
    machine b;
    for (int i = 0; i < entries; ++i) {
      if (i % 67 == 66) {
        machine restored;
        const auto loaded = restored.load(b.view().encode(context).bytes());
        ASSERT_TRUE(loaded) << loaded.error().message << " seed " << seed << " entry " << i;
        ASSERT_EQ(loaded->cluster, context.cluster);
        ASSERT_EQ(loaded->conf, context.conf);
        b = std::move(restored);
      }
      const entry e = log.next(a);
      const auto ra = a.apply(e);
      const auto rb = b.apply(e);
      ASSERT_EQ(ra.answer->SerializeAsString(), rb.answer->SerializeAsString())
          << "seed " << seed << " entry " << i;
      ASSERT_EQ(a.digest(), b.digest()) << "seed " << seed << " entry " << i;
    }
    ASSERT_EQ(bytes_of(a), bytes_of(b)) << "seed " << seed;
  }
}

TEST(determinism, the_rolling_digest_is_the_digest_from_scratch) {
  for (int seed = 0; seed < seeds; ++seed) {
    random_log log(2000 + static_cast<std::uint64_t>(seed));
    machine sm;
    for (int i = 0; i < entries; ++i) {
      sm.apply(log.next(sm));
      if (i % 10 != 0) continue;
      ASSERT_EQ(sm.digest(), sm.digest_from_scratch()) << "seed " << seed;
    }
  }
}

/// Allocation and totals by adding up every VM.
void expect_inventory_adds_up(const machine& sm, const std::vector<std::string>& names,
                              const std::string& where) {
  std::map<node_id, resources> allocated;
  std::array<std::uint64_t, phase_count> phases{};
  std::map<std::pair<std::string, node_id>, std::uint32_t> groups;
  for (const auto& name : names) {
    for (const char* tenant : {"default", "other"}) {
      const auto vm = sm.vm(tenant, name);
      if (!vm) continue;
      ++phases[static_cast<std::size_t>(vm->phase())];
      if (vm->node() == 0) continue;
      const auto& s = vm->spec();
      allocated[node_id{vm->node()}] += {s.vcpus(), s.memory_bytes(), s.disk_bytes()};
      const auto& group = s.placement().anti_affinity_group();
      if (!group.empty()) ++groups[{group_name(tenant, group), node_id{vm->node()}}];
    }
  }
  const auto in = sm.inventory();
  EXPECT_EQ(in->sums.vms, phases) << where;
  resources all;
  std::array<std::uint64_t, node_state_count> states{};
  in->nodes.for_each([&](const node_usage& n) {
    ++states[static_cast<std::size_t>(n.facts->state())];
    EXPECT_EQ(n.allocated, allocated[n.id]) << where;
    all += n.allocated;
    for (const char* group : {"default/g", "other/g"}) {
      const std::uint32_t counted = groups[{group, n.id}];
      EXPECT_EQ(in->group_count(group, n.id), counted) << where;
    }
  });
  EXPECT_EQ(in->sums.allocated, all) << where;
  EXPECT_EQ(in->sums.nodes_by_state, states) << where;
}

TEST(determinism, allocations_totals_and_groups_are_the_sum_of_the_vms) {
  std::vector<std::string> names;
  for (int i = 0; i < 25; ++i) names.push_back("vm" + std::to_string(i));
  for (int seed = 0; seed < 20; ++seed) {
    random_log log(3000 + static_cast<std::uint64_t>(seed));
    machine sm;
    for (int i = 0; i < entries; ++i) {
      sm.apply(log.next(sm));
      if (i % 20 == 0)
        expect_inventory_adds_up(sm, names,
                                 "seed " + std::to_string(seed) + " entry " + std::to_string(i));
    }
  }
}

TEST(determinism, no_node_is_ever_allocated_beyond_its_capacity_by_a_placement) {
  for (int seed = 0; seed < 20; ++seed) {
    random_log log(4000 + static_cast<std::uint64_t>(seed));
    machine sm;
    for (int i = 0; i < entries; ++i) {
      const auto before = sm.inventory();
      const auto r = sm.apply(log.next(sm));
      for (const auto id : r.changed.vms) {
        const auto vm = sm.vm(id);
        if (!vm || vm->node() == 0) continue;
        const auto* was = before->find(node_id{vm->node()});
        const auto in = sm.inventory();
        const auto* now = in->find(node_id{vm->node()});
        if (was != nullptr && was->allocated.memory_bytes < now->allocated.memory_bytes) {
          EXPECT_LE(now->allocated.memory_bytes, now->capacity.memory_bytes) << "seed " << seed;
          EXPECT_LE(now->allocated.vcpus, now->capacity.vcpus) << "seed " << seed;
          EXPECT_EQ(now->facts->state(), pb::NODE_READY) << "seed " << seed;
        }
      }
    }
  }
}

TEST(determinism, versions_move_exactly_when_apply_says_so) {
  random_log log(5000);
  machine sm;
  for (int i = 0; i < 2000; ++i) {
    const auto before = sm.inventory();
    const auto r = sm.apply(log.next(sm));
    const auto after = sm.inventory();
    ASSERT_EQ(r.changed.inventory, after->version != before->version) << i;
    ASSERT_EQ(r.changed.summary, after->summary_version != before->summary_version) << i;
    ASSERT_EQ(after == before, !r.changed.summary) << "the same value is handed out until it moves";
    if (r.changed.inventory) {
      ASSERT_EQ(after->version, sm.applied_index());
    }
  }
}

TEST(determinism, a_decision_made_at_the_current_version_is_never_planned_again) {
  // The planner and apply agree: whatever `plan` chooses is where the VM goes.
  for (int seed = 0; seed < 20; ++seed) {
    random_log log(6000 + static_cast<std::uint64_t>(seed));
    machine sm;
    int created = 0;
    for (int i = 0; i < entries; ++i) {
      entry e = log.next(sm);
      pb::Command c;
      if (e.kind == entry_kind::normal && c.ParseFromString(std::string{e.data.text()}) &&
          c.has_vm_create()) {
        c.clear_client();
        auto spec = c.vm_create().spec();
        fill_defaults(spec);
        const auto decision = plan(*sm.inventory(), spec);
        *c.mutable_vm_create()->mutable_decision() = decision;
        e.data = slice::copy_of(c.SerializeAsString());
        const auto r = sm.apply(e);
        if (code_of(*r.answer) == errc::unplaceable) {
          ASSERT_EQ(decision.node(), 0);
        }
        if (code_of(*r.answer) == errc::ok && spec.desired() == pb::DESIRED_RUNNING) {
          ASSERT_EQ(r.answer->vm().node(), decision.node());
          ++created;
        }
      } else {
        sm.apply(e);
      }
    }
    EXPECT_GT(created, 0) << "seed " << seed;
  }
}

// ---------------------------------------------------------------- snapshots

/// A machine with something of everything.
machine sample() {
  random_log log(42);
  machine sm;
  for (int i = 0; i < 300; ++i) sm.apply(log.next(sm));
  return sm;
}

TEST(snapshot, of_an_empty_machine_loads) {
  machine sm;
  machine other = sample();
  ASSERT_TRUE(other.load(sm.view().encode(context).bytes()));
  EXPECT_EQ(other.applied_index(), log_index{});
  EXPECT_EQ(other.size().keys, 0);
  EXPECT_EQ(bytes_of(other), bytes_of(sm));
}

TEST(snapshot, a_view_does_not_see_what_is_applied_later) {
  fixture f;
  f.register_node(1);
  for (int i = 0; i < 500; ++i) f.put("k" + std::to_string(i), "old");
  f.create("web", 1);
  const auto view = f.sm.view();
  const auto before = std::string{view.encode(context).text()};
  for (int i = 0; i < 500; i += 2) f.put("k" + std::to_string(i), "new");
  for (int i = 1; i < 500; i += 2) f.del("k" + std::to_string(i));
  f.act("web", pb::VM_DELETE);
  EXPECT_EQ(std::string{view.encode(context).text()}, before);
  machine restored;
  ASSERT_TRUE(restored.load(view.encode(context).bytes()));
  EXPECT_EQ(restored.applied_index(), view.index());
  EXPECT_EQ(restored.size().keys, 500);
}

TEST(snapshot, is_written_in_pieces_and_stops_when_the_sink_does) {
  fixture f;
  for (int i = 0; i < 100; ++i) f.put("k" + std::to_string(i), std::string(10'000, 'x'));
  std::size_t pieces = 0;
  EXPECT_TRUE(f.sm.view().write(context, [&](auto) { return ++pieces > 0; }));
  EXPECT_GT(pieces, 10);
  std::size_t taken = 0;
  EXPECT_FALSE(f.sm.view().write(context, [&](auto) { return ++taken < 3; }));
  EXPECT_EQ(taken, 3);
}

TEST(snapshot, every_flipped_bit_is_noticed_or_harmless_and_the_state_stays) {
  const google::protobuf::LogSilencer quiet;  // text that is not UTF-8 any more
  const machine source = sample();
  const std::string good = bytes_of(source);
  machine target = sample();
  target.apply(entry{term{9}, target.applied_index().next(), entry_kind::normal, {}});
  const auto untouched = bytes_of(target);
  std::size_t refused = 0;
  std::size_t tried = 0;
  for (std::size_t at = 0; at < good.size(); at += 7) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
    ++tried;
    machine sm;
    if (const auto loaded = sm.load(std::as_bytes(std::span{bad})); !loaded) {
      ++refused;
      continue;
    }
    // What the digest does not cover is the header's context, which the caller checks, and fields
    // that are derived (allocation).
    EXPECT_EQ(sm.digest(), source.digest()) << "byte " << at;
  }
  EXPECT_GT(refused * 100, tried * 95);
  EXPECT_FALSE(target.load(std::as_bytes(std::span{good}.first(good.size() - 1))));
  EXPECT_EQ(bytes_of(target), untouched) << "a refused snapshot changes nothing";
}

TEST(snapshot, every_truncation_is_refused) {
  fixture f;
  f.register_node(1);
  f.create("web", 1);
  f.put("k", "v");
  const std::string good = bytes_of(f.sm);
  for (std::size_t size = 0; size < good.size(); ++size) {
    machine sm;
    EXPECT_FALSE(sm.load(std::as_bytes(std::span{good}.first(size)))) << size;
  }
}

TEST(snapshot, a_newer_format_is_unsupported) {
  pb::SnapshotRecord r;
  r.mutable_header()->set_format(2);
  const std::string body = r.SerializeAsString();
  const std::string bytes = std::string(1, static_cast<char>(body.size())) + body;
  machine sm;
  const auto loaded = sm.load(std::as_bytes(std::span{bytes}));
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, errc::unsupported);
}

TEST(snapshot, is_written_by_another_thread_while_apply_goes_on) {
  fixture f;
  f.register_node(1);
  for (int i = 0; i < 2000; ++i) f.put("k" + std::to_string(i), std::string(100, 'a'));
  const auto view = f.sm.view();
  std::string from_thread;
  std::thread writer([&] {
    view.write(context, [&](std::span<const std::byte> piece) {
      from_thread.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      return true;
    });
  });
  for (int i = 0; i < 2000; ++i) f.put("k" + std::to_string(i), std::string(100, 'b'));
  for (int i = 0; i < 50; ++i) f.create("vm" + std::to_string(i));
  writer.join();
  machine restored;
  ASSERT_TRUE(restored.load(std::as_bytes(std::span{from_thread})));
  EXPECT_EQ(restored.applied_index(), view.index());
  EXPECT_EQ(restored.digest(), restored.digest_from_scratch());
}

TEST(snapshot, sessions_survive_it) {
  fixture f;
  auto c = fixture::put_command("k", "v");
  c.set_client("c1");
  c.set_seq(12);
  const auto first = f.run(c);
  machine restored;
  ASSERT_TRUE(restored.load(f.sm.view().encode(context).bytes()));
  f.sm = std::move(restored);
  const auto again = f.apply(c);
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.answer->SerializeAsString(), first.SerializeAsString());
}

}  // namespace
}  // namespace blixard::state
