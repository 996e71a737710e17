#include "runtime/routing/buffer_pool.hpp"

#include <cstring>

#include "messages/check.hpp"

namespace blixard::routing {
namespace {

// A free buffer's first bytes hold the next one of its list.
buffer* next_of(buffer* b) noexcept {
  buffer* next = nullptr;
  std::memcpy(&next, b->data(), sizeof next);
  return next;
}

void link(buffer* b, buffer* next) noexcept { std::memcpy(b->data(), &next, sizeof next); }

constexpr std::size_t newest_first_from_bytes = limits::medium_buffer_bytes;

}  // namespace

buffer_classes default_buffer_classes() noexcept {
  return {{{limits::small_buffer_bytes, limits::small_buffers, limits::small_buffers * 4},
           {limits::medium_buffer_bytes, limits::medium_buffers, limits::medium_buffers * 4},
           {limits::large_buffer_bytes, limits::large_buffers, limits::large_buffers * 4}}};
}

// One size class. Lives until the pool is gone and its last buffer is home.
class buffer_pool::shelf final : public buffer::recycler {
 public:
  explicit shelf(const buffer_class& c) : class_(c) {
    CHECK_GE(c.capacity_bytes, sizeof(buffer*));
    CHECK_LE(c.made, c.bound);
    for (std::size_t i = 0; i < c.made; ++i) keep(make());
  }

  [[nodiscard]] std::size_t capacity_bytes() const noexcept { return class_.capacity_bytes; }

  /// Owner only.
  [[nodiscard]] ref<buffer> acquire() {
    if ((newest_first_ || local_ == nullptr) &&
        returned_.load(std::memory_order_relaxed) != nullptr)
      take_returned();
    buffer* b = local_;
    if (b != nullptr) {
      local_ = next_of(b);
    } else if (owned_.load(std::memory_order_relaxed) < class_.bound) {
      b = make();
    } else {
      misses_.add();
      return buffer::make(class_.capacity_bytes);
    }
    hits_.add();
    references_.fetch_add(1, std::memory_order_relaxed);
    return buffer::revive(b);
  }

  // Any thread, once per acquired buffer.
  void recycle(buffer* b) noexcept override {
    buffer* head = returned_.load(std::memory_order_relaxed);
    do {
      link(b, head);
    } while (!returned_.compare_exchange_weak(head, b, std::memory_order_release,
                                              std::memory_order_relaxed));
    drop_reference();
  }

  /// The pool lets go; the shelf goes with its last buffer.
  void drop_reference() noexcept {
    // acq_rel: whoever is last must see every buffer that others put on the stack.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  [[nodiscard]] buffer_class_stats stats() const noexcept {
    return {.capacity_bytes = class_.capacity_bytes,
            .hits = hits_.get(),
            .misses = misses_.get(),
            .in_use = references_.load(std::memory_order_relaxed) - 1,
            .owned = owned_.load(std::memory_order_relaxed)};
  }

 private:
  ~shelf() {
    free_list(local_);
    free_list(returned_.load(std::memory_order_relaxed));
  }

  [[nodiscard]] buffer* make() {
    owned_.store(owned_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return buffer::create(class_.capacity_bytes, this);
  }
  void keep(buffer* b) noexcept {
    link(b, local_);
    local_ = b;
  }
  /// What came back goes before what has not been used yet, or not for long: the memory of those is
  /// never touched, or is left alone. Each returned buffer is walked over once.
  void take_returned() noexcept {
    // acquire: pairs with the release in recycle(), so that the links, and whatever other threads
    // did with the bytes, happened before they are used again.
    buffer* const newest = returned_.exchange(nullptr, std::memory_order_acquire);
    buffer* oldest = newest;
    while (buffer* next = next_of(oldest)) oldest = next;
    link(oldest, local_);
    local_ = newest;
  }
  static void free_list(buffer* b) noexcept {
    while (b != nullptr) {
      buffer* next = next_of(b);
      buffer::destroy(b);
      b = next;
    }
  }

  const buffer_class class_;
  // Small buffers come in numbers and are little memory: there an exchange with whoever returns
  // them, for each buffer, costs more than it saves.
  const bool newest_first_ = class_.capacity_bytes >= newest_first_from_bytes;
  buffer* local_ = nullptr;              // owner only
  tally hits_;                           // writer: owner
  tally misses_;                         // writer: owner
  std::atomic<std::uint64_t> owned_{0};  // writer: owner
  // Written by every thread that drops a last reference: away from the owner's line.
  alignas(64) std::atomic<buffer*> returned_{nullptr};
  std::atomic<std::uint64_t> references_{1};  // 1 for the pool, 1 per buffer that is out
};

buffer_pool::buffer_pool(const buffer_classes& classes) {
  for (std::size_t i = 0; i < buffer_class_count; ++i) {
    if (i > 0) CHECK_LT(classes[i - 1].capacity_bytes, classes[i].capacity_bytes);
    shelves_[i] = new shelf(classes[i]);
  }
}

buffer_pool::~buffer_pool() {
  for (auto* s : shelves_) s->drop_reference();
}

ref<buffer> buffer_pool::acquire(std::size_t bytes) {
  for (auto* s : shelves_)
    if (bytes <= s->capacity_bytes()) return s->acquire();
  oversized_.add();
  return buffer::make(bytes);
}

buffer_pool_stats buffer_pool::stats() const noexcept {
  buffer_pool_stats out;
  for (std::size_t i = 0; i < buffer_class_count; ++i) out.classes[i] = shelves_[i]->stats();
  out.oversized = oversized_.get();
  return out;
}

}  // namespace blixard::routing
