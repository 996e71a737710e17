// A port for a shell that lives inside the node: requests go out through a function, answers come
// back from any thread through a queue and an eventfd.
//
// The shell's thread never touches the actor system and the actor never touches the terminal: the
// function given at construction posts to the REPL actor, and the actor calls the `done` that came
// with the request.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "runtime/repl/port.hpp"

namespace blixard::repl {

class mailbox_port final : public port {
 public:
  /// An owned reply: the encoded pb::Answer, or an error. May be called on any thread, once, also
  /// after the port is gone (then it does nothing).
  using answer_fn = std::function<void(tl::expected<slice, error>)>;
  /// Hands a request to the node. Called on the shell's thread; must not block.
  using send_fn = std::function<void(const request&, answer_fn)>;

  explicit mailbox_port(send_fn send);
  ~mailbox_port() override;
  mailbox_port(const mailbox_port&) = delete;
  mailbox_port& operator=(const mailbox_port&) = delete;

  call_id submit(const request& r, reply_fn done) override;
  void cancel(call_id id) override;
  [[nodiscard]] int wait_fd() const override;
  [[nodiscard]] int wait_ms() const override;
  void process() override;

 private:
  struct shared;
  struct state;
  send_fn send_;
  std::shared_ptr<shared> shared_;
  std::unique_ptr<state> state_;
};

}  // namespace blixard::repl
