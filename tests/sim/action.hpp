// Something that is done once, later: a callable that lies where it is kept. As std::function, but
// what it holds may be moved only, and has its place in it: no allocation per message.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace blixard::sim {

class action {
 public:
  action() noexcept = default;
  action(action&& other) noexcept { take(other); }
  action& operator=(action&& other) noexcept {
    if (this == &other) return *this;
    clear();
    take(other);
    return *this;
  }
  ~action() { clear(); }

  /// Precondition: there is nothing to do.
  template <class What>
  void put(What&& what) {
    using held = std::decay_t<What>;
    static_assert(sizeof(held) <= room_bytes);
    static_assert(alignof(held) <= alignof(std::max_align_t));
    static_assert(std::is_nothrow_move_constructible_v<held>);
    new (room_) held(std::forward<What>(what));
    kind_ = &kind_of<held>;
  }
  /// Precondition: there is something to do.
  void operator()() { kind_->run(room_); }
  void clear() noexcept {
    if (const auto* kind = std::exchange(kind_, nullptr)) kind->end(room_);
  }

 private:
  static constexpr std::size_t room_bytes = 96;
  struct what_to_do {
    void (*run)(void*);
    void (*move)(void* from, void* to) noexcept;  // ends what is left behind
    void (*end)(void*) noexcept;
  };
  template <class Held>
  static constexpr what_to_do kind_of{[](void* at) { (*static_cast<Held*>(at))(); },
                                      [](void* from, void* to) noexcept {
                                        new (to) Held(std::move(*static_cast<Held*>(from)));
                                        static_cast<Held*>(from)->~Held();
                                      },
                                      [](void* at) noexcept { static_cast<Held*>(at)->~Held(); }};

  void take(action& other) noexcept {
    kind_ = std::exchange(other.kind_, nullptr);
    if (kind_ != nullptr) kind_->move(other.room_, room_);
  }

  const what_to_do* kind_ = nullptr;
  alignas(std::max_align_t) std::byte room_[room_bytes];
};

}  // namespace blixard::sim
