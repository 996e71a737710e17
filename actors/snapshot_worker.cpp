#include "actors/snapshot_worker.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>

#include "messages/check.hpp"

namespace blixard::actors {
namespace {

class encoder final : public caf::event_based_actor {
 public:
  encoder(caf::actor_config& config, wal_actor to, state::snapshot_view view,
          state::snapshot_context context)
      : caf::event_based_actor(config),
        to_(std::move(to)),
        view_(std::move(view)),
        context_(std::move(context)) {}

  caf::behavior make_behavior() override {
    send(this, flush_atom::value);
    return {[this](flush_atom) {
      send(to_, store_snapshot{{.index = view_.index(),
                                .term = view_.term(),
                                .conf = context_.conf,
                                .data = view_.encode(context_)}});
      quit();
    }};
  }
  void on_exit() override { to_ = nullptr; }

 private:
  wal_actor to_;
  state::snapshot_view view_;
  state::snapshot_context context_;
};

class loader final : public caf::event_based_actor {
 public:
  loader(caf::actor_config& config, state_actor to, slice bytes)
      : caf::event_based_actor(config), to_(std::move(to)), bytes_(std::move(bytes)) {}

  caf::behavior make_behavior() override {
    monitor(to_);
    set_down_handler([this](const caf::down_msg&) { quit(); });
    send(this, flush_atom::value);
    return {[this](flush_atom) { load(); }, [this](const machine_loaded&) { quit(); }};
  }
  void on_exit() override { to_ = nullptr; }

 private:
  void load() {
    auto machine = std::make_shared<state::machine>();
    const auto loaded = machine->load(bytes_.bytes());
    if (!loaded) CHECK_EQ(loaded.error().message, std::string{});
    bytes_ = {};
    send(to_, machine_loaded{std::move(machine), caf::actor_cast<caf::actor>(this)});
  }

  state_actor to_;
  slice bytes_;
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
