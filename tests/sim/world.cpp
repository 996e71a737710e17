#include "tests/sim/world.hpp"

#include <algorithm>
#include <cstring>

#include "messages/check.hpp"

namespace blixard::sim {
namespace {

constexpr std::uint32_t client_count = 6;
constexpr std::uint64_t time_limit = 20'000 * ms;

}  // namespace

world::world(const options& o)
    : options_(o),
      dice_(o.seed),
      dials_(draw_dials(o)),
      checker_([this](node_id id) -> const durable_log* {
        const auto* m = members_.find(id);
        return m == nullptr ? nullptr : &m->where.durable;
      }) {
  recent_.resize(options_.events);
  settle_parameters();
  found_cluster();
  clients_ = std::make_unique<clients>(dice_.next(), client_count, o.ops, voters_);
  client_wakes_.resize(client_count, 0);
  for (std::uint32_t c = 0; c < client_count; ++c)
    later(dice_.below(500 * ms), [this, c] { run_client(c); });
  later(20 * ms, [this] { nemesis(); });
}

// ---------------------------------------------------------------- the start

void world::settle_parameters() {
  auto& c = settings_.core;
  settings_.driver_bug = options_.driver_bug;
  c.election_min_ticks = 15;
  c.election_max_ticks = 30;
  c.heartbeat_ticks = 5;
  c.forward = false;
  c.check_quorum = !dice_.one_in(4);
  // Without both, a removed node may go on disturbing the others (thesis section 4.2.3).
  c.prevote = !c.check_quorum || !dice_.one_in(4);
  c.max_inflight_msgs = dice_.one_in(4) ? 2 : 64;
  c.max_inflight_bytes = dice_.one_in(4) ? 256 : 0;
  c.max_msg_bytes = dice_.one_in(3) ? (dice_.one_in(2) ? 1 : dice_.between(20, 100)) : 0;
  c.max_committed_bytes = dice_.one_in(4) ? 200 : 0;
  c.max_uncommitted_bytes = dice_.one_in(8) ? 500 : 0;
  settle_snapshots();
  settings_.segment_bytes = dice_.one_in(2) ? 4096 : 32'768;
  settings_.ranks = dice_.chance(dial(fault::ranks));
  if (dice_.chance(dial(fault::lease_reads))) {
    c.check_quorum = c.prevote = true;
    c.reads = raft::read_mode::lease;
    c.clock_drift_percent = 25;  // of clocks that are up to 10 % fast and slow
    c.promise_ticks = c.election_min_ticks;
    // A tick may come at once, and a jump of the clock brings another one forward.
    c.promise_slack_ticks = 2;
  }
  settings_.adaptive_window = options_.seed % 2 == 0;
  voters_ = options_.nodes != 0 ? options_.nodes : dice_.one_in(3) ? 5 : 3;
}

// Without the dial as in a quiet node: seldom, and few chunks. With it snapshots are taken all the
// time, nearly nothing of the log is kept, and each is many chunks, some of which are out at once.
void world::settle_snapshots() {
  const bool often = dice_.chance(dial(fault::snapshots));
  auto& s = settings_;
  s.snapshot_entries = often ? dice_.between(5, 30) : dice_.between(30, 150);
  s.packed_snapshots = dice_.one_in(8);
  s.snapshot_rate = dice_.one_in(3) ? dice_.between(10'000, 100'000) : 0;
  s.silent_ns = dice_.between(300, 1000) * ms;
  const auto kept = often ? dice_.below(5) : dice_.below(40);
  s.log = {.keep = {.always = kept, .most = kept + dice_.below(200)},
           .most_bytes = dice_.between(1'000, 30'000),
           .least_bytes = dice_.below(1'000)};
  s.transfer = {.chunk_bytes = often ? dice_.between(64, 512) : dice_.between(256, 4096),
                .window_bytes = 0,
                .repeat_ns = dice_.between(30, 150) * ms,
                .stalled_ns = dice_.between(600, 2000) * ms};
  s.transfer.window_bytes = s.transfer.chunk_bytes * dice_.between(1, 8);
}

// Every first voter starts with the same snapshot: an empty state at index 1.
void world::found_cluster() {
  state::machine empty;
  empty.apply(entry{.term = term{1}, .index = log_index{1}});
  snapshot first{.index = log_index{1}, .term = term{1}};
  for (std::uint64_t id = 1; id <= voters_; ++id) first.conf.voters.emplace_back(id);
  first.data = empty.view().encode({cluster_id{1}, first.conf});
  witnesses_ = dice_.chance(dial(fault::witnesses));
  // The last ones: a minority, so that somebody with data is in every majority, or nearly so.
  const auto without_data = !witnesses_ ? 0 : dice_.between(1, voters_ / 2);
  for (auto id = voters_ - without_data + 1; id <= voters_; ++id)
    first.conf.witnesses.emplace_back(id);
  const hard_state hard{term{1}, {}, log_index{1}};
  drifts_ = dice_.chance(dial(fault::drift));
  if (drifts_ && settings_.core.reads == raft::read_mode::lease && dice_.one_in(2))
    slowest_ = node_id{1 + dice_.below(2)};  // of those who read by lease
  for (std::uint64_t id = 1; id <= voters_; ++id) {
    auto& m = members_.add(node_id{id}, node_id{id}, dice_.next());
    m.where.clock.base = 1'000'000 * ms + dice_.below(1'000'000) * ms;
    if (drifts_) m.where.clock.rate_ppm = draw_rate(node_id{id});
    m.where.eager = slowest_ && node_id{id} != slowest_;
    m.where.witness = first.conf.is_witness(node_id{id});
    if (m.where.witness) checker_.is_witness(node_id{id});
    auto opened = storage::store::open(
        m.where.disk, "/data",
        {.owner = {node_id{id}, cluster_id{1}}, .segment_bytes = settings_.segment_bytes});
    if (!opened) throw failure("storage", opened.error().message);
    const storage::persist_batch batch{
        .seq = persist_seq{1}, .snap = &first, .entries = {}, .hard = hard};
    if (!opened->disk->write({&batch, 1}) || !opened->disk->sync())
      throw failure("storage", "the first snapshot cannot be written");
    m.where.durable.take(batch);
    opened->disk.reset();
    start(node_id{id});
  }
  next_id_ = voters_ + 1;
}

// Often as far from the truth as clocks may be, sometimes one of them as far from all others.
std::uint64_t world::draw_rate(node_id id) {
  constexpr std::uint64_t slow = 900'000;
  constexpr std::uint64_t fast = 1'100'000;
  if (slowest_) return id == slowest_ ? slow : fast;
  if (dice_.one_in(2)) return dice_.between(slow, fast);
  return dice_.one_in(2) ? slow : fast;
}

void world::start(node_id id) {
  auto& m = members_.at(id);
  ++m.life;
  m.paused_until = 0;
  m.falls_behind = log_index{UINT64_MAX};
  m.held.clear();
  checker_.started(id);
  try {
    m.process = std::make_unique<driver>(m.where, *this);
  } catch (const process_ended&) {
    return end_process(m);
  } catch (const not_admitted&) {
    m.where.disk.kill_process();
    return begin_to_join(m);
  }
  // A loss of power has shown what the disk did.
  if (!m.process->core().status().recovering) m.where.spoiled = m.where.lost = false;
  trace("start", id, m.process->core().current_term().value(),
        m.process->core().log().last().value());
  schedule_tick(id, m.life);
}

// ---------------------------------------------------------------- time

// Nearly all that is added comes before nearly all that waits: a sorted list is quicker than a
// heap. At the same time, what was added first comes first.
action& world::place(std::uint64_t time) {
  if (free_runs_.empty()) {
    free_runs_.push_back(static_cast<std::uint32_t>(runs_.size()));
    runs_.emplace_back();
  }
  const auto slot = free_runs_.back();
  free_runs_.pop_back();
  auto at = events_.size();
  events_.emplace_back();
  for (; at > 0 && events_[at - 1].time <= time; --at) events_[at] = events_[at - 1];
  events_[at] = {time, slot};
  return runs_[slot];
}

void world::step() {
  const auto e = events_.back();
  events_.pop_back();
  now_ = e.time;
  ++counts_.events;
  auto& run = runs_[e.slot];
  run();
  run.clear();
  free_runs_.push_back(e.slot);
}

void world::led_far_enough(member& m) {
  m.falls_behind = log_index{UINT64_MAX};
  if (!healing_ && m.process->core().is_leader()) fall(m);
}

// A tick that falls into a pause is lost, as timers that do not catch up.
void world::schedule_tick(node_id id, std::uint64_t life) {
  auto& m = members_.at(id);
  const auto period = tick_ns / 1000 * 1'000'000 / m.where.clock.rate_ppm * 1000;
  later(period, [this, &m, id, life] {
    if (m.life != life || !m.process) return;
    if (now_ >= m.paused_until) guarded(m, life, [](driver& d) { d.tick(); });
    if (m.life == life) schedule_tick(id, life);
  });
}

void world::wake(node_id id, turn what) {
  std::uint64_t delay = dice_.below(what == turn::machine ? 500 * us : 3 * ms);
  if (what != turn::machine && !healing_ && dice_.chance(dial(fault::slow_disk)))
    delay = dice_.below(100 * ms);
  if (const auto until = members_.at(id).stalled_until; what == turn::machine && now_ < until)
    delay = until - now_;
  on_node(id, delay, [what](driver& d) { d.on_turn(what); });
}

// ---------------------------------------------------------------- network

void world::transmit(node_id from, node_id to, bool bulk) {
  auto& pumping = members_.at(from).pumping;
  const auto at = 2 * to.value() + (bulk ? 1 : 0);
  if (pumping.size() <= at) pumping.resize(at + 2);
  if (std::exchange(pumping[at], 1) != 0) return;
  later(dice_.below(100 * us), [this, from, to, bulk] { pump(from, to, bulk); });
}

// A link takes a few frames at a time, the most urgent first.
void world::pump(node_id from, node_id to, bool bulk) {
  auto& m = members_.at(from);
  m.pumping[2 * to.value() + (bulk ? 1 : 0)] = 0;
  if (!m.process || now_ < m.paused_until) return;
  auto& lane = m.process->lane(to, bulk);
  for (int n = 0; n < 4; ++n) {
    auto item = lane.pop();
    if (!item) return;
    deliver(std::move(item->value));
  }
  if (!lane.empty()) transmit(from, to, bulk);
}

// Sometimes it is the last thing that the sender sent, or the receiver got.
void world::chunk_arrived(node_id from, node_id to) {
  if (healing_ || !dice_.chance(dial(fault::chunk_stop))) return;
  auto& m = members_.at(dice_.one_in(2) ? from : to);
  if (m.process) stop(m, dice_.one_in(2));
}

void world::deliver(wire&& w) {
  const auto* to = members_.find(w.to);
  if (to == nullptr || !to->process || is_cut(w.from, w.to)) return;
  int copies = 1;
  std::uint64_t delay = 100 * us + dice_.below(dice_.one_in(8) ? 5 * ms : 500 * us);
  if (!healing_) {
    if (dice_.chance(dial(fault::loss))) return;
    if (w.bulk && dice_.chance(dial(fault::chunk_loss))) return;
    if (dice_.chance(dial(fault::duplicate))) copies = 2;
    if (dice_.chance(dial(fault::delay)))
      delay = dice_.below(dice_.one_in(4) ? 1000 * ms : 300 * ms);
    if (dice_.chance(dial(fault::reorder))) delay += dice_.below(20 * ms);
  }
  if (w.bulk) bulk_bytes_ += w.body.size();
  // What one connection carries much of stays in order, apart from these faults.
  if (w.bulk && delay < 6 * ms) {
    auto& last = bulk_arrival_[{w.from, w.to}];
    delay = std::max(now_ + delay, last + 1) - now_;
    last = now_ + delay;
  }
  for (; copies > 0; --copies) {
    // Moved in the last round. NOLINTNEXTLINE(bugprone-use-after-move)
    later(delay, [this, w = copies > 1 ? w : std::move(w)]() mutable { arrive(std::move(w)); });
    delay += dice_.below(50 * ms);
  }
}

// The delayed may arrive after a restart of the receiver: nothing forbids it.
void world::arrive(wire&& w) {
  auto& m = members_.at(w.to);
  const auto from = w.from;
  const bool bulk = w.bulk;
  guarded(m, m.life, [w = std::move(w)](driver& d) { d.receive(w); });
  if (bulk) chunk_arrived(from, m.where.id);
}

// ---------------------------------------------------------------- clients

void world::run_client(std::uint32_t client) {
  if (client_wakes_[client] > now_) return;  // a later timer was set
  const auto a = clients_->on_time(client, now_);
  if (a.wake_at != 0) {
    client_wakes_[client] = a.wake_at;
    later(a.wake_at - now_, [this, client] { run_client(client); });
  }
  if (!a.send || !members_.contains(a.to)) return;
  trace("request", a.to, client, a.request.attempt);
  if (!healing_ && dice_.chance(dial(fault::loss))) return;
  on_node(a.to, 50 * us + dice_.below(300 * us), [r = a.request](driver& d) { d.request(r); });
}

void world::reply(client_reply r) {
  if (!healing_ && dice_.chance(dial(fault::loss))) return;
  later(50 * us + dice_.below(300 * us), [this, r = std::move(r)] {
    if (r.client == admission_client) return admission_answered(r);
    trace("reply", r.leader, r.client, r.attempt * 4 + static_cast<std::uint64_t>(r.kind));
    if (!clients_->on_reply(r, now_)) return;
    const auto think = 5 * ms + dice_.below(10 * ms);
    client_wakes_[r.client] = now_ + think;
    later(think, [this, c = r.client] { run_client(c); });
  });
}

// ---------------------------------------------------------------- what drivers tell

// Some reigns end at once: after a few milliseconds, or with the first commit, before anybody hears
// of it.
void world::leads(node_id id) {
  ++counts_.elections;
  if (healing_ || !dice_.chance(dial(fault::short_reign))) return;
  auto& m = members_.at(id);
  if (dice_.one_in(2)) {
    m.falls_behind = m.process->core().commit();
    return;
  }
  later(dice_.below(dice_.one_in(2) ? 10 * ms : 100 * ms), [this, &m, life = m.life] {
    if (!healing_ && m.life == life && m.process) fall(m);
  });
}

// Cut off, while those that were are back: so leaders return with what they could not commit and
// others have not seen (Raft figure 8).
void world::fall(member& m) {
  if (dice_.one_in(4)) return stop(m, dice_.one_in(2));
  cuts_.clear();
  isolate(m.where.id);
}

void world::vm_starts(const site& where, std::uint64_t vm) {
  ++counts_.vm_starts;
  for (auto& [id, m] : members_) {
    m.where.expire(now_);
    if (id == where.id ? !where.orphans.contains(vm) : !m.where.runs(vm)) continue;
    throw failure("one node per VM", "VM " + std::to_string(vm) + " runs on node " +
                                         to_string(where.id) + " and on node " + to_string(id));
  }
}

void world::trace(const char* what, node_id id, std::uint64_t a, std::uint64_t b) {
  const auto mix = [this](std::uint64_t v) {
    hash_ = (hash_ ^ v) * 0x100000001B3ULL;
    hash_ ^= hash_ >> 29;
  };
  for (const char* c = what; *c != '\0'; ++c) mix(static_cast<unsigned char>(*c));
  for (const auto v : {now_, id.value(), a, b}) mix(v);
  recent_[recorded_++ % recent_.size()] = {now_, what, id.value(), a, b};
  const std::string_view name{what};
  if (name == "install") ++counts_.installs;
  if (name == "down") ++counts_.downs;
  if (name == "snapshot_to") ++counts_.transfers;
  if (name == "goes_on") ++counts_.resumed;
}

driver* world::leader() {
  driver* best = nullptr;
  for (auto& [id, m] : members_)
    if (m.process && m.process->core().is_leader() &&
        (best == nullptr || best->core().current_term() < m.process->core().current_term()))
      best = m.process.get();
  return best;
}

// ---------------------------------------------------------------- the run

outcome world::run() {
  try {
    while (!clients_->done() && now_ < time_limit) step();
    end();
  } catch (const failure& f) {
    counts_.failed = true;
    counts_.check = f.check();
    counts_.what = f.what();
  }
  return result();
}

outcome simulate(const options& o) {
  plant(o.core_bug);
  set_check_handler([](const std::string& what) { throw failure("CHECK", what); });
  try {
    return std::make_unique<world>(o)->run();
  } catch (const failure& f) {  // before the first event
    return {.failed = true, .check = f.check(), .what = f.what()};
  }
}

}  // namespace blixard::sim
