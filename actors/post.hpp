// Messages between actors in memory that is used again.
//
// CAF allocates a mailbox element per message that is sent. Here the element is our own subclass
// whose memory comes from the block pool, so that a message on the way of a frame allocates
// nothing; for everything else it is CAF's `mailbox_element_vals`. The element is freed by whoever
// handled it, which is often another thread: that is what the block pool is made for.
#pragma once

#include <caf/actor_cast.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/message_id.hpp>
#include <caf/response_type.hpp>
#include <caf/send.hpp>
#include <type_traits>
#include <utility>

#include "messages/block_pool.hpp"

namespace blixard::actors {

template <class T>
class pooled_element final : public caf::mailbox_element,
                             public caf::detail::tuple_vals_impl<caf::type_erased_tuple, T> {
  using values = caf::detail::tuple_vals_impl<caf::type_erased_tuple, T>;

 public:
  template <class U>
  pooled_element(caf::message_id id, U&& value)
      : caf::mailbox_element(nullptr, id, {}), values(std::forward<U>(value)) {}

  caf::type_erased_tuple& content() override { return *this; }
  [[nodiscard]] const caf::type_erased_tuple& content() const override { return *this; }
  caf::message move_content_to_message() override {
    return caf::make_message(std::move(std::get<0>(this->data())));
  }
  [[nodiscard]] caf::message copy_content_to_message() const override {
    return caf::make_message(std::get<0>(this->data()));
  }

  static void* operator new(std::size_t bytes) { return block_pool::allocate(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept {
    block_pool::release(memory, bytes);
  }
};

/// Sends like caf::anon_send. `from` is where an actor that this wakes may run (null: anywhere).
template <caf::message_priority P = caf::message_priority::normal, class Handle, class T>
void post(const Handle& to, T&& message, caf::execution_unit* from = nullptr) {
  using value = caf::detail::strip_and_convert_t<T>;
  using receiver = std::remove_pointer_t<Handle>;
  static_assert(caf::response_type_unbox<caf::signatures_of_t<receiver>,
                                         caf::detail::type_list<value>>::valid,
                "the receiver does not take this message");
  if (!to) return;
  // An atom's name is its type for the check, and a value in the message.
  using stored = typename caf::unbox_message_element<value>::type;
  caf::mailbox_element_ptr element{
      new pooled_element<stored>(caf::make_message_id(P), std::forward<T>(message))};
  caf::actor_cast<caf::abstract_actor*>(to)->enqueue(std::move(element), from);
}

}  // namespace blixard::actors
