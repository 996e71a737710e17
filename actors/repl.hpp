// The REPL actor: lets a shell on the node's terminal speak to the node like any client. The shell
// runs on a plain thread (runtime/repl/shell.hpp) and never touches the actor system; its requests
// come here as messages and go to the router, the answers are handed back through a function.
#pragma once

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/replies_to.hpp>
#include <caf/typed_actor.hpp>
#include <unordered_map>

#include "actors/links.hpp"
#include "runtime/repl/mailbox_port.hpp"

namespace blixard::actors {

struct repl_request {
  repl::request request;
  repl::mailbox_port::answer_fn done;
};

}  // namespace blixard::actors
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(blixard::actors::repl_request)

namespace blixard::actors {

/// REPL: from the shell's thread; answered through `done`, exactly once.
using repl_actor = caf::typed_actor<caf::reacts_to<repl_request>, caf::reacts_to<local_answer>>;

class repl_shell final : public repl_actor::base {
 public:
  repl_shell(caf::actor_config& config, const links& to);

  behavior_type make_behavior() override;
  /// Whoever still waits is told that the node stops.
  void on_exit() override;

 private:
  const links& to_;
  request_id last_;
  std::unordered_map<request_id, repl::mailbox_port::answer_fn> waiting_;
};

}  // namespace blixard::actors
