// Actors that live on the I/O loop instead of CAF's scheduler (DESIGN 4).
//
// A hosted actor's mailbox, priorities, monitors and handles are CAF's own; only the place where it
// runs is ours: whenever CAF wants it resumed it is queued on the loop, and a frame goes from
// socket to router to raft within one turn, without a thread hop.
//
//   any thread ── enqueue ──► mailbox ── first message ──► host::exec_later ──► loop.post(task)
//                                                          task.run ──► resume, at most N messages
//
// CAF schedules an actor at most once at a time, so one intrusive task per actor is enough and a
// wake allocates nothing. With a null loop the same class runs on CAF's scheduler (and under its
// test coordinator).
#pragma once

#include <caf/actor_cast.hpp>
#include <caf/actor_config.hpp>
#include <caf/actor_system.hpp>
#include <caf/execution_unit.hpp>
#include <caf/resumable.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>
#include <memory>
#include <utility>

#include "actors/post.hpp"
#include "messages/check.hpp"
#include "runtime/net/loop.hpp"

namespace blixard::actors {

/// The execution unit of one hosted actor. Other actors that it wakes go to CAF's scheduler or, if
/// they are hosted, to their own host.
class host final : public caf::execution_unit, private net::loop_task {
 public:
  /// Messages handled before the loop looks at other work again.
  static constexpr std::size_t messages_per_turn = 64;

  host(caf::actor_system& system, net::loop& loop) : caf::execution_unit(&system), loop_(loop) {}

  void bind(caf::resumable* hosted) noexcept { hosted_ = hosted; }

  /// Any thread; the caller passes one reference to `r`.
  void exec_later(caf::resumable* r) override {
    if (r != hosted_) {
      system().scheduler().enqueue(r);
      return;
    }
    if (loop_.in_loop())
      loop_.run_later(*this);
    else
      loop_.post(*this);
  }

 private:
  void run() noexcept override {
    switch (hosted_->resume(this, messages_per_turn)) {
      case caf::resumable::resume_later:
        loop_.run_later(*this);
        break;
      case caf::resumable::awaiting_message:
      case caf::resumable::done:
      case caf::resumable::shutdown_execution_unit:
        caf::intrusive_ptr_release(hosted_);
        break;
    }
  }
  void drop() noexcept override { caf::intrusive_ptr_release(hosted_); }

  net::loop& loop_;
  caf::resumable* hosted_ = nullptr;
};

/// Base of an actor class that may be hosted. `Base` is a (typed_)event_based_actor.
template <class Base>
class hosted : public Base {
 public:
  /// `where` may be null: then CAF's scheduler runs the actor. It must outlive the actor.
  hosted(caf::actor_config& config, host* where) : Base(config), host_(where) {
    if (host_ != nullptr) host_->bind(this);
  }

  using caf::abstract_actor::enqueue;
  void enqueue(caf::mailbox_element_ptr message, caf::execution_unit* from) override {
    Base::enqueue(std::move(message), host_ != nullptr ? host_ : from);
  }
  /// As CAF's, in memory that is used again, and without a sender: nobody here answers one.
  template <caf::message_priority P = caf::message_priority::normal, class Handle, class T>
  void send(const Handle& to, T&& message) {
    post<P>(to, std::forward<T>(message), this->context());
  }
  [[nodiscard]] caf::resumable::subtype_t subtype() const override {
    return host_ != nullptr ? caf::resumable::io_actor : caf::resumable::scheduled_actor;
  }

 private:
  host* host_;
};

/// Spawns `Class` on its host.
template <class Class, class... Args>
auto spawn_hosted(caf::actor_system& system, host& where, Args&&... args) {
  caf::actor_config config{&where};
  return system.template spawn_class<Class, caf::no_spawn_options>(config, &where,
                                                                   std::forward<Args>(args)...);
}

}  // namespace blixard::actors
