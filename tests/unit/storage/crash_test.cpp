// Crashes: whatever a power cut leaves of the unsynced writes, what comes back is what was synced
// plus a prefix of what was not.
//
// A script of writes runs on a simulated disk. It is stopped at every sync in turn, and from there
// the power is cut with every possible prefix of the unsynced sectors. A model says which states
// may be found.
#include <algorithm>
#include <cerrno>
#include <functional>

#include "tests/unit/storage/support.hpp"

namespace blixard::storage::test {
namespace {

/// What is on disk, as Raft sees it.
struct state {
  log_index snap_index;
  blixard::term snap_term;
  std::vector<entry> entries;
  hard_state hard;

  void install(const blixard::snapshot& snap) {
    const auto at = std::ranges::find(entries, snap.index, &entry::index);
    if (at != entries.end() && at->term == snap.term)
      entries.erase(entries.begin(), at + 1);
    else
      entries.clear();
    snap_index = snap.index;
    snap_term = snap.term;
  }
  void add(const entry& e) {
    std::erase_if(entries, [&](const entry& old) { return old.index >= e.index; });
    entries.push_back(e);
  }
};

/// Runs batches through a store and keeps the states that a crash may leave.
class model {
 public:
  explicit model(state now = {}) : synced_{now}, now_{std::move(now)}, possible_{now_} {}

  void note(const persist_batch& batch) {
    if (batch.snap != nullptr) {
      now_.install(*batch.snap);
      possible_.push_back(now_);
    }
    for (const entry& e : batch.entries) {
      now_.add(e);
      possible_.push_back(now_);
    }
    if (batch.hard) now_.hard = *batch.hard;
    possible_.push_back(now_);
  }
  void note_synced() {
    synced_ = now_;
    possible_ = {now_};
  }
  [[nodiscard]] const state& now() const { return now_; }

  /// Empty if `found` may be, otherwise what is wrong.
  [[nodiscard]] std::string judge(const recovery& found) const {
    if (found.corrupt) return "reported as damage: " + found.corrupt->what;
    bool term_seen = false;
    for (const state& s : possible_) {
      term_seen |= s.hard.term == found.hard.term && s.hard.vote == found.hard.vote;
      if (s.snap_index != found.snap.index || s.snap_term != found.snap.term) continue;
      if (s.entries != found.entries) continue;
      if (judge_hard(s, found)) return {};
    }
    return "found snapshot " + to_string(found.snap.index) + ", " +
           std::to_string(found.entries.size()) + " entries up to " + to_string(found.last_index) +
           ", term " + to_string(found.hard.term) + (term_seen ? "" : " (never written)");
  }

 private:
  /// Term and vote are those of this state, or older ones (they are written last), raised to the
  /// term of the last entry.
  [[nodiscard]] bool judge_hard(const state& s, const recovery& found) const {
    if (found.hard.commit > found.last_index) return false;
    for (const state& h : possible_) {
      hard_state expected = h.hard;
      if (found.last_term > expected.term) expected = {found.last_term, {}, {}};
      if (expected.term == found.hard.term && expected.vote == found.hard.vote) return true;
      if (&h == &s) break;
    }
    return false;
  }

  state synced_;
  state now_;
  std::vector<state> possible_;
};

/// One step of a script: batches that are written together, then synced.
struct step {
  std::vector<entry> entries;
  std::optional<hard_state> state;
  std::optional<blixard::snapshot> snap;
  std::vector<entry> second_batch;
  std::uint64_t save_at = 0;  // snapshot of the node's own state, then compaction
  std::optional<blixard::snapshot> second_snap;  // of the second batch
};

persist_batch batch_of(const step& s) {
  return {persist_seq{1}, s.snap ? &*s.snap : nullptr, s.entries, s.state, true};
}

/// Runs one step; false where the disk failed (as planned).
bool run(store& disk, const step& s, model& expected) {
  std::vector<persist_batch> batches{batch_of(s)};
  if (!s.second_batch.empty())
    batches.push_back(
        {persist_seq{2}, s.second_snap ? &*s.second_snap : nullptr, s.second_batch, {}, true});
  for (const auto& batch : batches) expected.note(batch);
  if (!disk.write(batches) || !disk.sync()) return false;
  expected.note_synced();
  while (true) {
    const auto more = disk.prepare();
    if (!more) return false;
    if (!*more) break;
  }
  if (s.save_at == 0) return true;
  const auto own = make_snapshot(s.save_at, expected.now().hard.term.value());
  persist_batch as_if{persist_seq{3}, &own, {}, {}, true};
  expected.note(as_if);
  if (!disk.save_snapshot(own)) return false;
  expected.note_synced();
  return disk.compact(log_index{s.save_at + 1}).has_value();
}

std::vector<step> script() {
  std::vector<step> steps;
  steps.push_back({make_entries(1, 3, 1), hard(1, 1, 0), {}, {}, 0});
  steps.push_back({make_entries(4, 9, 1, 700), hard(1, 1, 3), {}, make_entries(10, 12, 1), 0});
  steps.push_back({make_entries(8, 9, 2, 300), hard(2, 0, 7), {}, {}, 0});
  steps.push_back({make_entries(10, 20, 2, 400), hard(2, 3, 9), {}, {}, 15});
  steps.push_back({make_entries(21, 30, 2, 300), hard(2, 3, 20), {}, {}, 0});
  // From a peer, ahead of the log; in one batch with entries behind it.
  steps.push_back({make_entries(101, 104, 4, 100), hard(4, 0, 100), make_snapshot(100, 4), {}, 0});
  steps.push_back({make_entries(105, 140, 4, 500), hard(4, 0, 104), {}, {}, 0});
  // From a peer, inside the log: the tail stays.
  steps.push_back({{}, hard(4, 0, 120), make_snapshot(120, 4), make_entries(141, 142, 4), 0});
  // From a peer, inside the log, of another term: the whole log goes.
  steps.push_back({make_entries(131, 133, 6), hard(6, 2, 130), make_snapshot(130, 5), {}, 0});
  steps.push_back({make_entries(134, 190, 6, 400), hard(6, 2, 133), {}, {}, 180});
  steps.push_back({make_entries(191, 195, 6), {}, {}, {}, 0});
  // Entries and then, in the same write, a snapshot in the middle of them: the tail stays.
  steps.push_back({make_entries(196, 205, 6, 200),
                   {},
                   {},
                   make_entries(206, 206, 6),
                   0,
                   make_snapshot(200, 6)});
  return steps;
}

/// Runs the script until the `stop`th sync, which fails. Returns whether the end was reached.
bool run_until(sim_disk& disk, std::uint64_t stop, model& expected) {
  disk.fail_sync(stop, EIO);
  auto opened = store::open(disk, dir, options(4096));
  if (!opened) return false;
  for (const step& s : script())
    if (!run(*opened->disk, s, expected)) return false;
  disk.fail_sync(0, 0);
  return true;
}

TEST(crash, every_prefix_of_unsynced_sectors_at_every_sync) {
  std::size_t crashes = 0;
  bool reached_end = false;
  for (std::uint64_t stop = 1; !reached_end; ++stop) {
    sim_disk disk;
    model expected;
    reached_end = run_until(disk, stop, expected);
    const std::size_t pending = disk.pending();
    for (std::size_t n = 0; n <= pending; ++n, ++crashes) {
      sim_disk after = disk;
      after.crash_keeping_first(n);
      auto opened = store::open(after, dir, options(4096));
      ASSERT_TRUE(opened) << "sync " << stop << ", prefix " << n << ": " << opened.error().message;
      const auto wrong = expected.judge(opened->found);
      ASSERT_EQ(wrong, "") << "sync " << stop << ", prefix " << n << " of " << pending;
    }
  }
  EXPECT_GT(crashes, 400U);
}

TEST(crash, a_crash_right_after_recovery_finds_the_same) {
  for (std::uint64_t stop = 1;; ++stop) {
    sim_disk disk;
    model expected;
    if (run_until(disk, stop, expected)) break;
    disk.crash();
    auto first = open(disk, options(4096));
    const auto entries = first.found.entries;
    const auto state = first.found.hard;
    first.disk.reset();
    disk.crash_keeping_first(0);
    const auto second = open(disk, options(4096));
    ASSERT_FALSE(second.found.corrupt) << "sync " << stop << ": " << second.found.corrupt->what;
    ASSERT_EQ(second.found.entries, entries) << "sync " << stop;
    ASSERT_EQ(second.found.hard.term, state.term) << "sync " << stop;
    ASSERT_EQ(second.found.hard.vote, state.vote) << "sync " << stop;
  }
}

/// A random life of a store: writes, then a crash somewhere, again and again.
class random_lives {
 public:
  explicit random_lives(std::uint64_t seed) : disk_(seed), random_(seed * 77 + 1) {}

  std::string run(int lives) {
    state known;
    for (int life = 0; life < lives; ++life) {
      auto opened = store::open(disk_, dir, options(4096));
      if (!opened) return "open: " + opened.error().message;
      const auto wrong = expected_.judge(opened->found);
      if (!wrong.empty()) return "life " + std::to_string(life) + ": " + wrong;
      known = {opened->found.snap.index, opened->found.snap.term, opened->found.entries,
               opened->found.hard};
      expected_ = model{known};
      live(*opened->disk);
      opened->disk.reset();
      cut_power();
    }
    return {};
  }

 private:
  std::uint64_t below(std::uint64_t n) {
    random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (random_ >> 33) % n;
  }

  void live(store& store) {
    disk_.fail_sync(1 + below(25), EIO);
    while (test::run(store, next_step(), expected_)) {
    }
    disk_.fail_sync(0, 0);
  }

  step next_step() {
    const state& now = expected_.now();
    const std::uint64_t last =
        now.entries.empty() ? now.snap_index.value() : now.entries.back().index.value();
    const std::uint64_t first_free =
        std::max<std::uint64_t>(now.hard.commit.value(), now.snap_index.value()) + 1;
    step s;
    hard_state h = now.hard;
    if (below(4) == 0) h = hard(h.term.value() + 1, below(4), h.commit.value());
    const std::uint64_t term = std::max<std::uint64_t>(1, h.term.value());
    h.term = blixard::term{term};
    std::uint64_t from = last + 1;
    if (below(12) == 0) {
      const std::uint64_t at = last + 1 + below(20);
      s.snap = make_snapshot(at, term, 200 + below(3000));
      h.commit = log_index{at};
      from = at + 1;
    } else if (h.term != now.hard.term && first_free <= last) {
      from = first_free + below(last + 1 - first_free);  // a new leader's tail
    }
    const std::uint64_t count = below(12);
    if (count != 0) s.entries = make_entries(from, from + count - 1, term, 1 + below(900));
    const std::uint64_t new_last = count != 0 ? from + count - 1 : std::max(last, from - 1);
    if (new_last > h.commit.value() && below(2) == 0)
      h.commit = log_index{h.commit.value() + below(new_last - h.commit.value() + 1)};
    s.state = h;
    return s;
  }

  void cut_power() {
    switch (below(4)) {
      case 0:
        return disk_.kill_process();
      case 1:
        return disk_.crash_keeping_first(below(disk_.pending() + 1));
      default:
        return disk_.crash();
    }
  }

  sim_disk disk_;
  model expected_;
  std::uint64_t random_;
};

TEST(crash, random_lives_keep_what_was_synced) {
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    const auto wrong = random_lives{seed}.run(12);
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace blixard::storage::test
