#include "actors/snapshot_worker.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>

#include <optional>
#include <utility>

#include "messages/check.hpp"
#include "runtime/base/background.hpp"
#include "runtime/base/leave.hpp"
#include "runtime/storage/packing.hpp"
#include "runtime/storage/store.hpp"

namespace blixard::actors {
namespace {

bool process_ends(const shared_facts& facts) {
  return facts.process_ends.load(std::memory_order_relaxed);
}

// The rests that spare the others would hold up the end of the process: millions of objects take
// seconds with them.
void let_go_of(state::snapshot_view view, background& pace, const shared_facts& facts) {
  if (process_ends(facts)) return leave_to_the_kernel(std::move(view));
  view.let_go([&] {
    if (!process_ends(facts)) pace.rest_from_freeing();
  });
}

class encoder final : public caf::event_based_actor {
 public:
  encoder(caf::actor_config& config, const shared_facts& facts, wal_actor to,
          state::snapshot_view view, state::snapshot_context context)
      : caf::event_based_actor(config),
        facts_(facts),
        to_(std::move(to)),
        view_(std::move(view)),
        context_(std::move(context)) {}

  caf::behavior make_behavior() override {
    pace_.emplace();
    monitor(to_);
    set_down_handler([this](const caf::down_msg&) { quit(); });
    send(this, flush_atom::value);
    return {[this](flush_atom) { encode(); }, [this](const file_snapshot& f) { file(f.filing); }};
  }
  void on_exit() override { to_ = nullptr; }

 private:
  void encode() {
    storage::packer packed;
    view_->write(context_, [&](std::span<const std::byte> piece) {
      packed.add(piece);
      pace_->rest_when_due();
      return !process_ends(facts_);
    });
    if (process_ends(facts_)) {
      let_go_of(*std::exchange(view_, std::nullopt), *pace_, facts_);
      quit();
      return;
    }
    snapshot snap{.index = view_->index(),
                  .term = view_->term(),
                  .conf = context_.conf,
                  .data = packed.finish()};
    // Nothing of the old state is held while the disk is written.
    let_go_of(*std::exchange(view_, std::nullopt), *pace_, facts_);
    send(to_, store_snapshot{std::move(snap), caf::actor_cast<caf::actor>(this)});
  }
  void file(const std::shared_ptr<snapshot_filing>& filing) {
    auto written = filing->writer->append(filing->snap.data.bytes());
    if (written) written = filing->writer->finish();
    if (!written) filing->failure = written.error().message;
    send(to_, snapshot_filed{filing});
    quit();
  }

  const shared_facts& facts_;
  wal_actor to_;
  std::optional<state::snapshot_view> view_;
  state::snapshot_context context_;
  std::optional<background> pace_;  // made in the thread that works
};

class loader final : public caf::event_based_actor {
 public:
  loader(caf::actor_config& config, const shared_facts& facts, state_actor to, slice bytes)
      : caf::event_based_actor(config),
        facts_(facts),
        to_(std::move(to)),
        bytes_(std::move(bytes)) {}

  caf::behavior make_behavior() override {
    pace_.emplace();
    monitor(to_);
    set_down_handler([this](const caf::down_msg&) { quit(); });
    send(this, flush_atom::value);
    return {[this](flush_atom) { load(); }, [this](machine_loaded& m) { drop(*m.machine); }};
  }
  void on_exit() override { to_ = nullptr; }

 private:
  void load() {
    auto machine = std::make_shared<state::machine>();
    auto raw = storage::unpack(bytes_);
    if (!raw) CHECK_EQ(raw.error().message, std::string{});
    bytes_ = {};
    const auto loaded = machine->load(raw->bytes());
    if (!loaded) CHECK_EQ(loaded.error().message, std::string{});
    raw = slice{};
    send(to_, machine_loaded{std::move(machine), caf::actor_cast<caf::actor>(this)});
  }

  // The machine that was replaced. A view of it outlives it, and is let go bit by bit.
  void drop(state::machine& old) {
    auto all = old.view();
    old = state::machine{};
    let_go_of(std::move(all), *pace_, facts_);
    quit();
  }

  const shared_facts& facts_;
  state_actor to_;
  slice bytes_;
  std::optional<background> pace_;  // made in the thread that works
};

}  // namespace

void spawn_snapshot_loader(caf::actor_system& system, const shared_facts& facts,
                           const state_actor& to, slice bytes) {
  system.spawn<loader, caf::detached>(facts, to, std::move(bytes));
}

void spawn_snapshot_encoder(caf::actor_system& system, const shared_facts& facts,
                            const wal_actor& to, state::snapshot_view view,
                            state::snapshot_context context) {
  system.spawn<encoder, caf::detached>(facts, to, std::move(view), std::move(context));
}

}  // namespace blixard::actors
