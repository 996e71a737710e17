#include "tests/sim/options.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace blixard::sim {
namespace {

struct dial {
  std::string_view name;
  ppm usual;
};

constexpr std::array<dial, fault_count> dials{
    {{"loss", 20'000},          {"duplicate", 20'000},    {"delay", 20'000},
     {"partition", 15'000},     {"oneway", 15'000},       {"ring", 8'000},
     {"bridge", 8'000},         {"flapping", 8'000},      {"crash", 8'000},
     {"torn", 500'000},         {"power_call", 4'000},    {"kill", 8'000},
     {"power_cut", 3'000},      {"pause", 10'000},        {"slow_disk", 50'000},
     {"sync_error", 4'000},     {"disk_full", 4'000},     {"rot_log", 5'000},
     {"rot_snapshot", 5'000},   {"lost_write", 5'000},    {"misdirected", 5'000},
     {"membership", 20'000},    {"transfer", 15'000},     {"drift", 500'000},
     {"clock_jump", 10'000},    {"lease_reads", 500'000}, {"ranks", 250'000},
     {"reorder", 20'000},       {"stall", 10'000},        {"short_reign", 350'000},
     {"split_change", 300'000}, {"snapshots", 600'000},   {"chunk_loss", 50'000},
     {"lease_edge", 30'000},    {"lost_disk", 8'000},     {"witnesses", 300'000},
     {"chunk_stop", 12'000},    {"comeback", 10'000}}};

constexpr std::array<std::string_view, mutant_count> mutants{
    "none",
    "gate_ignored",
    "ack_before_sync",
    "ack_newest_sequence",
    "hard_state_not_written",
    "restart_forgets_vote",
    "restart_loses_tail",
    "ack_before_commit",
    "fail_when_unknown",
    "retry_without_session",
    "skip_after_install",
    "reorder_applied",
    "lease_without_margin",
    "lease_without_quorum",
    "lease_from_arrival",
    "empty_disk_votes",
    "removed_id_is_new",
};

constexpr std::array<std::string_view, bug_count> bugs{
    "none",
    "vote_request_not_gated",
    "vote_not_gated",
    "two_votes_per_term",
    "election_restriction",
    "term_not_persisted",
    "damaged_node_votes",
    "campaign_guard",
    "vote_by_one_side",
    "old_term_committed",
    "commit_by_one_side",
    "own_log_not_gated",
    "heartbeat_commit",
    "stale_append_truncates",
    "persist_aba",
    "change_while_pending",
    "read_without_quorum",
    "read_before_commit",
    "read_by_old_answers",
    "lease_without_drift",
    "lease_after_transfer",
    "vote_not_synced",
    "snapshot_without_dir_sync",
    "sessions_lost",
    "applied_twice",
    "leases_forgotten",
    "condemned_gets_lease",
    "other_disk_takes_over",
    "chunk_of_another",
    "chunk_behind_a_gap",
    "incoming_unchecked",
    "leader_unknown",
    "repair_forgotten",
    "repair_by_old_append",
    "witness_has_data",
    "witness_leads",
};

}  // namespace

std::string_view to_string(fault f) noexcept { return dials[static_cast<std::size_t>(f)].name; }

std::vector<std::string_view> plantable() {
  std::vector<std::string_view> all{mutants.begin() + 1, mutants.end()};
  if (bugs_can_be_planted) all.insert(all.end(), bugs.begin() + 1, bugs.end());
  return all;
}

bool plant_by_name(options& o, std::string_view name) {
  const auto driver = std::ranges::find(mutants, name);
  const auto core = std::ranges::find(bugs, name);
  if (driver != mutants.end())
    o.driver_bug = static_cast<mutant>(driver - mutants.begin());
  else if (core != bugs.end() && bugs_can_be_planted)
    o.core_bug = static_cast<bug>(core - bugs.begin());
  else
    return false;
  return true;
}

std::string_view planted_in(const options& o) noexcept {
  if (o.driver_bug != mutant::none) return mutants[static_cast<std::size_t>(o.driver_bug)];
  if (o.core_bug != bug::none) return bugs[static_cast<std::size_t>(o.core_bug)];
  return {};
}

bool set_dial(options& o, std::string_view text) {
  const auto eq = text.find('=');
  if (eq == std::string_view::npos) return false;
  const std::string number{text.substr(eq + 1)};
  char* end = nullptr;
  const double p = std::strtod(number.c_str(), &end);
  if (number.empty() || *end != '\0' || !(p >= 0 && p <= 1)) return false;
  for (std::size_t i = 0; i < fault_count; ++i) {
    if (dials[i].name != text.substr(0, eq)) continue;
    o.fixed[i] = static_cast<ppm>(p * 1e6 + 0.5);
    return true;
  }
  return false;
}

// Not every fault in every run: a history with few kinds of trouble gets further into each of them
// (Groce et al. 2012, "Swarm testing").
std::array<ppm, fault_count> draw_dials(const options& o) {
  dice d{o.seed ^ 0xD1A15};
  std::array<ppm, fault_count> out{};
  for (std::size_t i = 0; i < fault_count; ++i) {
    const auto how = d.below(8);
    const ppm drawn = how < 4 ? 0 : how < 7 ? dials[i].usual : 2 * dials[i].usual;
    out[i] = o.fixed[i].value_or(drawn);
  }
  return out;
}

std::string replay_command(const options& o) {
  std::string out = "blixard-sim --seed " + std::to_string(o.seed) + " --ops " +
                    std::to_string(o.ops) +
                    (o.nodes != 0 ? " --nodes " + std::to_string(o.nodes) : "");
  for (std::size_t i = 0; i < fault_count; ++i) {
    if (!o.fixed[i]) continue;
    char text[32];
    std::snprintf(text, sizeof text, "=%u.%06u", *o.fixed[i] / 1'000'000, *o.fixed[i] % 1'000'000);
    out += " --fault " + std::string{dials[i].name} + text;
  }
  if (const auto name = planted_in(o); !name.empty()) out += " --mutant " + std::string{name};
  return out;
}

}  // namespace blixard::sim
