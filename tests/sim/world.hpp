// The simulated world: sites, network, clients, nemesis, virtual time; one event after the other.
//
// Everything follows from options: run() gives the same outcome, hash included, on every machine
// and in every build type. A broken invariant ends the run as `failure`.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/action.hpp"
#include "tests/sim/clients.hpp"
#include "tests/sim/driver.hpp"
#include "tests/sim/options.hpp"
#include "tests/sim/roster.hpp"
#include "tests/sim/site.hpp"

namespace blixard::sim {

struct outcome {
  std::uint64_t hash = 0;  // of the whole history
  bool failed = false;
  std::string check;  // the invariant that failed
  std::string what;
  std::vector<std::string> last_events;
  // How much happened: a simulation that does nothing finds nothing.
  std::uint64_t events = 0;
  std::uint64_t virtual_ms = 0;
  std::uint64_t answered = 0;  // client operations
  std::uint64_t commits = 0;
  std::uint64_t elections = 0;
  std::uint64_t crashes = 0;
  std::uint64_t installs = 0;
  std::uint64_t transfers = 0;  // of snapshots, begun
  std::uint64_t resumed = 0;    // of them, that went on behind a gap or a restart
  std::uint64_t vm_starts = 0;
  std::uint64_t downs = 0;  // nodes declared down
  std::uint64_t members_changed = 0;
  std::uint64_t disks_lost = 0;
  std::uint64_t undecided = 0;  // keys whose history was too hard to search
};

class world final : public host {
 public:
  explicit world(const options& o);
  outcome run();

  // host
  [[nodiscard]] std::uint64_t now() const noexcept override { return now_; }
  [[nodiscard]] const settings& common() const noexcept override { return settings_; }
  dice& chance() noexcept override { return dice_; }
  checker& checks() noexcept override { return checker_; }
  void wake(node_id id, turn what) override;
  void transmit(node_id from, node_id to, bool bulk) override;
  void reply(client_reply r) override;
  void leads(node_id id) override;
  void vm_starts(const site& where, std::uint64_t vm) override;
  void trace(const char* what, node_id id, std::uint64_t a, std::uint64_t b) override;

 private:
  struct member {
    explicit member(node_id id, std::uint64_t seed) : where(id, seed) {}
    site where;
    std::unique_ptr<driver> process;  // null: down
    std::uint64_t life = 0;           // events of an earlier one are void
    std::uint64_t paused_until = 0;
    std::uint64_t stalled_until = 0;     // its state machine
    log_index falls_behind{UINT64_MAX};  // as a leader that commits more than this
    std::vector<char> pumping;           // by receiver and connection: on its way to send
    std::vector<action> held;            // what arrived while it was paused
    bool left = false;                   // it was removed, and went
    std::optional<bool> was_member;      // what it heard when it asked to join
  };
  struct event {
    std::uint64_t time = 0;
    std::uint32_t slot = 0;  // of runs_
  };
  struct record {
    std::uint64_t time = 0;
    const char* what = "";
    std::uint64_t node = 0;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
  };

  // world.cpp
  [[nodiscard]] ppm dial(fault f) const noexcept { return dials_[static_cast<std::size_t>(f)]; }
  void settle_parameters();
  void settle_snapshots();
  void found_cluster();
  void step();
  [[nodiscard]] action& place(std::uint64_t time);
  template <class What>
  void later(std::uint64_t delay, What&& what) {
    place(now_ + delay).put(std::forward<What>(what));
  }
  /// Runs something in a process, unless it has died since; a paused one does it when it wakes up.
  template <class What>
  void guarded(member& m, std::uint64_t life, What&& what) {
    if (m.life != life || !m.process) return;
    if (now_ < m.paused_until) {
      m.held.emplace_back().put(
          [this, &m, life, what = std::decay_t<What>(std::forward<What>(what))]() mutable {
            guarded(m, life, std::move(what));
          });
      return;
    }
    try {
      what(*m.process);
    } catch (const process_ended&) {
      return end_process(m);
    }
    if (m.process->core().commit() > m.falls_behind) led_far_enough(m);
  }
  template <class What>
  void on_node(node_id id, std::uint64_t delay, What what) {
    auto& m = members_.at(id);
    later(delay, [this, &m, life = m.life, what = std::move(what)]() mutable {
      guarded(m, life, std::move(what));
    });
  }
  template <class What>
  void at_once(node_id id, What&& what) {
    auto& m = members_.at(id);
    guarded(m, m.life, std::forward<What>(what));
  }
  void led_far_enough(member& m);
  void schedule_tick(node_id id, std::uint64_t life);
  [[nodiscard]] std::uint64_t draw_rate(node_id id);
  void start(node_id id);
  void pump(node_id from, node_id to, bool bulk);
  void chunk_arrived(node_id from, node_id to);
  void deliver(wire&& w);
  void arrive(wire&& w);
  void run_client(std::uint32_t client);
  [[nodiscard]] driver* leader();

  // nemesis.cpp
  void nemesis();
  void strike(fault f);
  void stop(member& m, bool power);
  void end_process(member& m);
  void split();
  void cut_between(node_id a, node_id b);
  void cut_ring();
  void cut_bridge();
  void flap();
  void fill_disk(member& m);
  void spoil(member& m, fault how);
  [[nodiscard]] bool is_other_damaged(const member& m) const;
  [[nodiscard]] bool is_believed_in(node_id id) const;
  [[nodiscard]] bool may_be_damaged(const member& m) const;
  void jump_clock(member& m);
  void cut_one_way();
  void isolate(node_id id);
  void fall(member& m);
  void probe_reads();
  void probe_often(std::uint64_t until);
  void cut_at_the_edge();
  void stall(member& m);
  void pause(member& m);
  void change_membership();
  void hand_over();
  [[nodiscard]] std::size_t count_witnesses(const std::vector<node_id>& ids) const;
  void replace_members(node_id lead, const std::vector<node_id>& voters);
  node_id new_member(bool witness);
  void ask_change(node_id lead, raft::conf_change change);
  [[nodiscard]] member* anybody_up();
  [[nodiscard]] bool is_cut(node_id from, node_id to) const;

  // admission.cpp
  void begin_to_join(member& m);
  void ask_to_join(member& m, std::uint64_t life);
  void admission_answered(const client_reply& r);
  void lose_disk();
  void lose_disk_of(member& m);
  [[nodiscard]] bool may_lose_disk(const member& m) const;

  // comeback.cpp
  void begin_comeback();
  void go_on_with_comeback();
  void came_back(node_id id);
  [[nodiscard]] bool is_apart(node_id id) const noexcept {
    return std::ranges::find(comeback_.apart, id) != comeback_.apart.end();
  }

  // ending.cpp
  void end();
  void heal();
  void expect_progress();
  [[nodiscard]] std::string told_by_nodes() const;
  void check_histories();
  outcome result() const;

  options options_;
  dice dice_;
  std::array<ppm, fault_count> dials_;
  settings settings_;
  checker checker_;
  roster<member> members_;
  std::unique_ptr<clients> clients_;
  std::vector<std::uint64_t> client_wakes_;  // by client: the timer that counts

  std::vector<event> events_;  // the next one last
  std::deque<action> runs_;    // what they do: not moved with them, nor by others that are added
  std::vector<std::uint32_t> free_runs_;
  std::uint64_t now_ = 0;
  bool healing_ = false;
  std::set<std::pair<node_id, node_id>> cuts_;
  struct flapping_link {
    node_id a;
    node_id b;
    std::uint64_t period = 0;
    std::uint64_t until = 0;
  };
  flapping_link flapping_;
  struct comeback {
    enum class stage : std::uint8_t { none, grows, shrinks, returns, meets };
    stage now = stage::none;
    std::vector<node_id> apart;  // cut off from all others
    node_id added;
    node_id removed;
    std::uint64_t until = 0;
  };
  comeback comeback_;
  std::uint64_t jumped_at_ = 0;
  std::uint64_t cut_until_ = 0;
  std::map<std::pair<node_id, node_id>, std::uint64_t> bulk_arrival_;  // of the last one
  std::uint64_t bulk_bytes_ = 0;                                       // of snapshots, delivered
  std::uint64_t next_id_ = 0;
  std::uint64_t voters_ = 0;
  bool drifts_ = false;
  node_id slowest_;  // far behind all others; 0: clocks run as they do
  bool witnesses_ = false;

  std::uint64_t hash_ = 0xCBF29CE484222325ULL;
  std::vector<record> recent_;  // a ring
  std::uint64_t recorded_ = 0;
  outcome counts_;
};

/// Runs one simulation; failures, failed CHECKs included, are part of the outcome.
[[nodiscard]] outcome simulate(const options& o);

}  // namespace blixard::sim
