#include "runtime/repl/hotpaths.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "runtime/repl/text_table.hpp"

namespace blixard::repl {
namespace {

using names = std::span<const std::string_view>;
using name = std::string_view;

constexpr std::array received = {name{"blixard_router_received_total"}};
constexpr std::array received_bytes = {name{"blixard_router_received_bytes_total"}};
constexpr std::array sent = {name{"blixard_router_sent_total"}};
constexpr std::array sent_bytes = {name{"blixard_router_sent_bytes_total"}};
constexpr std::array moved = {name{"blixard_router_received_total"},
                              name{"blixard_router_sent_total"}};
constexpr std::array forwarded = {name{"blixard_router_forwarded_total"}};
constexpr std::array blocks = {name{"blixard_pool_block_allocations_total"}};
constexpr std::array copied_in = {name{"blixard_net_copied_in_bytes_total"}};
constexpr std::array staged = {name{"blixard_net_staged_bytes_total"}};
constexpr std::array reads = {name{"blixard_net_read_calls_total"}};
constexpr std::array writes = {name{"blixard_net_write_calls_total"}};
constexpr std::array misses = {name{"blixard_pool_misses_total"}};
constexpr std::array gets = {name{"blixard_pool_gets_total"}};
constexpr std::array superseded = {name{"blixard_router_superseded_total"}};
constexpr std::array dropped = {name{"blixard_router_dropped_total"}};
constexpr std::array packed = {name{"blixard_net_packed_frames_total"}};
constexpr std::array saved = {name{"blixard_net_packed_saved_bytes_total"}};
constexpr std::array unpacked = {name{"blixard_net_unpacked_frames_total"}};

constexpr std::array assembled = {name{"blixard_raft_entries_encoded_total"}};
constexpr std::array encodes = {name{"blixard_raft_command_encodes_total"}};
constexpr std::array applied = {name{"blixard_state_applied_entries_total"}};
constexpr std::array compactions = {name{"blixard_raft_payload_copies_total"}};
constexpr std::array written = {name{"blixard_wal_records_total"}};
constexpr std::array syncs = {name{"blixard_wal_syncs_total"}};
constexpr std::array sync_waits = {name{"blixard_wal_sync_waits_total"}};
constexpr std::array waits = {name{"blixard_raft_persist_waits_total"}};
constexpr std::array rounds = {name{"blixard_raft_read_rounds_total"}};
constexpr std::array index_reads = {name{"blixard_raft_reads_total{kind=\"read_index\"}"}};

constexpr std::array handles = {name{"blixard_metrics_handles_total"}};
constexpr std::array counting = {name{"blixard_metrics_counting_threads"}};
constexpr std::array page_writes = {name{"blixard_status_writes_total"}};
constexpr std::array page_rereads = {name{"blixard_status_rereads_total"}};

constexpr std::array placement_hits = {name{"blixard_cache_hits_total{cache=\"placement\"}"}};
constexpr std::array placement_lookups = {name{"blixard_cache_hits_total{cache=\"placement\"}"},
                                          name{"blixard_cache_misses_total{cache=\"placement\"}"}};
constexpr std::array placement_renewals = {
    name{"blixard_cache_renewals_total{cache=\"placement\"}"}};
constexpr std::array summary_hits = {name{"blixard_cache_hits_total{cache=\"summary\"}"}};
constexpr std::array summary_lookups = {name{"blixard_cache_hits_total{cache=\"summary\"}"},
                                        name{"blixard_cache_misses_total{cache=\"summary\"}"}};
constexpr std::array peer_hits = {name{"blixard_cache_hits_total{cache=\"peer\"}"}};
constexpr std::array peer_lookups = {name{"blixard_cache_hits_total{cache=\"peer\"}"},
                                     name{"blixard_cache_misses_total{cache=\"peer\"}"}};
constexpr std::array lookups = {name{"blixard_cache_hits_total"},
                                name{"blixard_cache_misses_total"}};
constexpr std::array joined = {name{"blixard_cache_waits_total"}};
constexpr std::array evicted = {name{"blixard_cache_evictions_total"}};
constexpr std::array stale = {name{"blixard_cache_invalidations_total"}};

constexpr std::array rows = {
    hotpath_row{"metrics", "handles resolved (events add none)", handles, {}},
    hotpath_row{"metrics", "threads that count without a lock", counting, {}},
    hotpath_row{"state", "writes of the status page", page_writes, {}},
    hotpath_row{"state", "reads of it made again per write", page_rereads, page_writes},
    hotpath_row{"routing", "frames received", received, {}},
    hotpath_row{"routing", "frames sent", sent, {}},
    hotpath_row{"routing", "frames forwarded by header alone", forwarded, {}},
    hotpath_row{"routing", "heap allocations per frame", blocks, moved},
    hotpath_row{"routing", "bytes copied per byte received", copied_in, received_bytes},
    hotpath_row{"routing", "bytes staged per byte sent", staged, sent_bytes},
    hotpath_row{"routing", "frames per read call", received, reads},
    hotpath_row{"routing", "frames per write call", sent, writes},
    hotpath_row{"routing", "buffer pool misses per buffer", misses, gets},
    hotpath_row{"routing", "frames superseded", superseded, {}},
    hotpath_row{"routing", "frames dropped", dropped, {}},
    hotpath_row{"routing", "frames sent compressed", packed, {}},
    hotpath_row{"routing", "frames received compressed", unpacked, {}},
    hotpath_row{"routing", "bytes not sent because of that", saved, {}},
    hotpath_row{"raft", "entries applied", applied, {}},
    hotpath_row{"raft", "encodes here per entry (a client's: 0)", encodes, applied},
    hotpath_row{"raft", "entries put into appends per entry (1 for any number of followers)",
                assembled, written},
    hotpath_row{"raft", "payloads moved out of sparse reads per entry", compactions, written},
    hotpath_row{"raft", "entries per sync", written, syncs},
    hotpath_row{"raft", "syncs waited for per entry", sync_waits, written},
    hotpath_row{"raft", "outputs held for the disk", waits, {}},
    hotpath_row{"raft", "reads per quorum round", index_reads, rounds},
    hotpath_row{"caches", "lookups", lookups, {}},
    hotpath_row{"caches", "placement: hit rate", placement_hits, placement_lookups},
    hotpath_row{"caches", "placement: hits by what had changed", placement_renewals,
                placement_hits},
    hotpath_row{"caches", "summary: hit rate", summary_hits, summary_lookups},
    hotpath_row{"caches", "peer: hit rate", peer_hits, peer_lookups},
    hotpath_row{"caches", "waited for a computation under way", joined, {}},
    hotpath_row{"caches", "evictions", evicted, {}},
    hotpath_row{"caches", "invalidations", stale, {}},
};

double sum_of(const samples& values, names which) {
  double total = 0;
  for (const auto n : which) {
    for (auto it = values.lower_bound(n); it != values.end(); ++it) {
      const std::string_view series = it->first;
      if (!series.starts_with(n)) break;
      if (series.size() == n.size() || series[n.size()] == '{') total += it->second;
    }
  }
  return total;
}

std::string number(double value) {
  std::array<char, 32> text{};
  const bool whole = std::floor(value) == value && std::abs(value) < 1e15;
  const int size = std::snprintf(text.data(), text.size(), whole ? "%.0f" : "%.4g", value);
  return {text.data(), static_cast<std::size_t>(size)};
}

}  // namespace

std::span<const hotpath_row> hotpath_rows() { return rows; }

std::vector<hotpath_figure> hotpath_figures(const samples& values) {
  std::vector<hotpath_figure> out;
  for (const auto& row : rows) {
    const auto above = sum_of(values, row.above);
    if (row.below.empty()) {
      out.push_back({&row, above});
      continue;
    }
    const auto below = sum_of(values, row.below);
    out.push_back({&row, below == 0 ? std::nullopt : std::optional{above / below}});
  }
  return out;
}

std::string hotpaths_text(const samples& values) {
  text_table table({"AREA", "WHAT", ">SINCE THE START"});
  for (const auto& f : hotpath_figures(values))
    table.add(
        {std::string(f.row->area), std::string(f.row->what), f.value ? number(*f.value) : "-"});
  return table.str();
}

void read_sample(std::string_view line, samples& into) {
  if (line.empty() || line.front() == '#') return;
  const auto blank = line.rfind(' ');
  if (blank == std::string_view::npos) return;
  double value = 0;
  const auto* end = line.data() + line.size();
  const auto read = std::from_chars(line.data() + blank + 1, end, value);
  if (read.ec != std::errc{} || read.ptr != end) return;
  into.insert_or_assign(std::string(line.substr(0, blank)), value);
}

}  // namespace blixard::repl
