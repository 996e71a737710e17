#include "actors/repl.hpp"

namespace blixard::actors {

repl_shell::repl_shell(caf::actor_config& config, const links& to)
    : repl_actor::base(config), to_(to) {}

repl_shell::behavior_type repl_shell::make_behavior() {
  return {
      [this](repl_request& r) {
        last_ = last_.next();
        waiting_.emplace(last_, std::move(r.done));
        send(to_.router, local_request{frame::make({.kind = r.request.kind,
                                                    .deadline_ms = r.request.timeout_ms,
                                                    .request = last_,
                                                    .target = r.request.target},
                                                   r.request.body),
                                       caf::actor_cast<caf::strong_actor_ptr>(this)});
      },
      [this](const local_answer& a) {
        const auto it = waiting_.find(a.request);
        if (it == waiting_.end()) return;
        it->second(a.frame->body());
        waiting_.erase(it);
      },
  };
}

void repl_shell::on_exit() {
  for (auto& [id, tell] : waiting_)
    tell(tl::make_unexpected(make_error(errc::unavailable, "the node is stopping")));
  waiting_.clear();
}

}  // namespace blixard::actors
