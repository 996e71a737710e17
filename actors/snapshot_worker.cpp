#include "actors/snapshot_worker.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>

#include <optional>
#include <utility>

#include "messages/check.hpp"
#include "runtime/base/background.hpp"
#include "runtime/storage/packing.hpp"
#include "runtime/storage/store.hpp"

namespace blixard::actors {
namespace {

void let_go_of(state::snapshot_view view, background& pace) {
  view.let_go([&] { pace.rest_from_freeing(); });
}

class encoder final : public caf::event_based_actor {
 public:
  encoder(caf::actor_config& config, wal_actor to, state::snapshot_view view,
          state::snapshot_context context)
      : caf::event_based_actor(config),
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
      return true;
    });
    snapshot snap{.index = view_->index(),
                  .term = view_->term(),
                  .conf = context_.conf,
                  .data = packed.finish()};
    // Nothing of the old state is held while the disk is written.
    let_go_of(*std::exchange(view_, std::nullopt), *pace_);
    send(to_, store_snapshot{std::move(snap), caf::actor_cast<caf::actor>(this)});
  }
  void file(const std::shared_ptr<snapshot_filing>& filing) {
    auto written = filing->writer->append(filing->snap.data.bytes());
    if (written) written = filing->writer->finish();
    if (!written) filing->failure = written.error().message;
    send(to_, snapshot_filed{filing});
    quit();
  }

  wal_actor to_;
  std::optional<state::snapshot_view> view_;
  state::snapshot_context context_;
  std::optional<background> pace_;  // made in the thread that works
};

class loader final : public caf::event_based_actor {
 public:
  loader(caf::actor_config& config, state_actor to, slice bytes)
      : caf::event_based_actor(config), to_(std::move(to)), bytes_(std::move(bytes)) {}

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
    let_go_of(std::move(all), *pace_);
    quit();
  }

  state_actor to_;
  slice bytes_;
  std::optional<background> pace_;  // made in the thread that works
};

}  // namespace

void spawn_snapshot_loader(caf::actor_system& system, const state_actor& to, slice bytes) {
  system.spawn<loader, caf::detached>(to, std::move(bytes));
}

void spawn_snapshot_encoder(caf::actor_system& system, const wal_actor& to,
                            state::snapshot_view view, state::snapshot_context context) {
  system.spawn<encoder, caf::detached>(to, std::move(view), std::move(context));
}

}  // namespace blixard::actors
