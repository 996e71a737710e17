#include "actors/snapshot_encoder.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>

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

}  // namespace

void spawn_snapshot_encoder(caf::actor_system& system, const wal_actor& to,
                            state::snapshot_view view, state::snapshot_context context) {
  system.spawn<encoder, caf::detached>(to, std::move(view), std::move(context));
}

}  // namespace blixard::actors
