// The WAL actor: storage::store on a loop of its own, whose thread may block in the disk. One sync
// is in flight; what arrives meanwhile forms the next batch (group commit), because the sync
// message to itself queues behind it.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "actors/hosted.hpp"
#include "actors/links.hpp"
#include "metrics/registry.hpp"
#include "runtime/storage/store.hpp"
#include "runtime/storage/sync_waits.hpp"

namespace blixard::actors {

/// Ends the process: exit code and why. Any thread; does not return to a node that goes on.
using fatal_fn = std::function<void(int code, const std::string& why)>;

class wal final : public hosted<wal_actor::base> {
 public:
  wal(caf::actor_config& config, host* where, const links& to, shared_facts& facts,
      std::unique_ptr<storage::store> disk, fatal_fn fatal);

  behavior_type make_behavior() override;
  void on_exit() override;

 private:
  void collect(persist_request& request);
  void write_and_sync();
  void store_snapshot_of(store_snapshot& request);
  void put_in_place(snapshot_filing& filing);
  void report(snapshot snap, const std::string& failure);
  void keep(const keep_chunk& c);
  void compact(const compact_request& request);
  void forget_damage();
  void wait_for_space(const storage::storage_error& why);
  void keep_house(std::uint64_t now);
  [[nodiscard]] bool check(const storage::result<void>& r);
  void count_waits(std::uint64_t started_ns, std::uint64_t ended_ns);
  void account(std::uint64_t sync_ns, std::size_t entries);

  const links& to_;
  std::unique_ptr<storage::store> disk_;
  fatal_fn fatal_;
  std::vector<persist_request> pending_;
  std::optional<store_snapshot> held_snapshot_;
  std::vector<storage::persist_batch> batches_;
  bool sync_queued_ = false;
  bool full_ = false;
  std::uint64_t hint_flushed_ns_ = 0;
  std::uint64_t housekept_ns_ = 0;
  bool housekeeping_queued_ = false;
  std::uint64_t written_bytes_ = 0;
  std::uint64_t written_entries_ = 0;
  metrics::histogram sync_duration_;
  metrics::histogram sync_entries_;
  metrics::counter syncs_;
  metrics::counter records_;
  metrics::counter bytes_;
  metrics::gauge segments_;
  storage::sync_waits waits_;
  std::atomic<std::uint64_t> waited_{0};  // sync_waits::one; writer: this actor; relaxed: a metric
  metrics::registry::binding waited_binding_;
};

}  // namespace blixard::actors
