// Buffers and slices: how bytes travel through a node without being copied.
//
//   buffer   one allocation: reference count, capacity, bytes. Filled by one writer, then
//   immutable. slice    a counted reference to part of a buffer; cheap to copy (one atomic
//   increment).
//
// A socket read fills a buffer; the command inside is a slice of it, and that slice is what Raft
// holds, what the WAL writes, what the state machine applies. A pool gets its buffers back through
// `release`: the last reference may be dropped on any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "messages/check.hpp"

namespace blixard {

/// Counted pointer for types with `add_ref()` and `release()` (both const, thread-safe).
template <class T>
class ref {
 public:
  constexpr ref() noexcept = default;
  constexpr ref(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  /// Takes over one reference that the caller owns.
  [[nodiscard]] static ref adopt(T* p) noexcept {
    ref r;
    r.p_ = p;
    return r;
  }
  /// Adds a reference.
  explicit ref(T* p) noexcept : p_(p) {
    if (p_ != nullptr) p_->add_ref();
  }
  ref(const ref& o) noexcept : ref(o.p_) {}
  ref(ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  // As implicit as the conversion of the pointers. NOLINTBEGIN(google-explicit-constructor)
  template <class U>
  requires std::is_convertible_v<U*, T*> ref(ref<U> o)
  noexcept : p_(o.detach()) {}
  // NOLINTEND(google-explicit-constructor)
  ref& operator=(ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~ref() {
    if (p_ != nullptr) p_->release();
  }
  [[nodiscard]] T* get() const noexcept { return p_; }
  [[nodiscard]] T* detach() noexcept { return std::exchange(p_, nullptr); }
  T* operator->() const noexcept { return p_; }
  T& operator*() const noexcept { return *p_; }
  explicit operator bool() const noexcept { return p_ != nullptr; }
  friend bool operator==(const ref& a, const ref& b) noexcept { return a.p_ == b.p_; }

 private:
  T* p_ = nullptr;
};

/// One block of bytes with a reference count in front. Writable by whoever made it until the first
/// slice of a region is shared; a region that a slice refers to is never written again.
class buffer {
 public:
  /// Where a buffer goes when its last reference is dropped (a pool). Called on any thread.
  class recycler {
   public:
    virtual void recycle(buffer* b) noexcept = 0;

   protected:
    ~recycler() = default;
  };

  /// A buffer from the heap, freed when the last reference goes.
  [[nodiscard]] static ref<buffer> make(std::size_t capacity) {
    return ref<buffer>::adopt(create(capacity, nullptr));
  }
  /// As make(), for bytes that are soon gone (an answer, a head): from the block pool, so that no
  /// heap is asked. What lives long stays out of it, since blocks are rounded to powers of two.
  [[nodiscard]] static ref<buffer> make_brief(std::size_t capacity);
  /// Memory for a pool: one reference, handed back to `home` instead of being freed.
  [[nodiscard]] static buffer* create(std::size_t capacity, recycler* home) {
    CHECK_LE(capacity, std::size_t{UINT32_MAX});
    void* memory = ::operator new(sizeof(buffer) + capacity);
    return new (memory) buffer(static_cast<std::uint32_t>(capacity), home);
  }
  /// Frees a buffer that a pool owns (its count must be zero).
  static void destroy(buffer* b) noexcept {
    b->~buffer();
    ::operator delete(b);
  }
  /// Pool side: makes a recycled buffer live again, with one reference.
  static ref<buffer> revive(buffer* b) noexcept {
    b->count_.store(1, std::memory_order_relaxed);
    return ref<buffer>::adopt(b);
  }

  buffer(const buffer&) = delete;
  buffer& operator=(const buffer&) = delete;

  [[nodiscard]] std::byte* data() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
  [[nodiscard]] const std::byte* data() const noexcept {
    return reinterpret_cast<const std::byte*>(this + 1);
  }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  /// True when the caller holds the only reference, so that the bytes may be written again.
  [[nodiscard]] bool unique() const noexcept { return count_.load(std::memory_order_acquire) == 1; }

  void add_ref() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void release() const noexcept {
    // acq_rel: the thread that recycles must see every write made through the other references.
    if (count_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    auto* self = const_cast<buffer*>(this);
    if (home_ != nullptr)
      home_->recycle(self);
    else
      destroy(self);
  }

 private:
  class brief_home;
  buffer(std::uint32_t capacity, recycler* home) noexcept : capacity_(capacity), home_(home) {}
  ~buffer() = default;

  mutable std::atomic<std::uint32_t> count_{1};
  std::uint32_t capacity_;
  recycler* home_;
};
static_assert(sizeof(buffer) == 16);

/// A counted view of bytes that never change. An empty slice may have no owner.
class slice {
 public:
  slice() noexcept = default;
  slice(ref<buffer> owner, const std::byte* data, std::size_t size) noexcept
      : owner_(std::move(owner)), data_(data), size_(static_cast<std::uint32_t>(size)) {}

  /// A slice of a fresh buffer that holds a copy of `bytes`.
  [[nodiscard]] static slice copy_of(std::span<const std::byte> bytes) {
    if (bytes.empty()) return {};
    auto b = buffer::make(bytes.size());
    std::memcpy(b->data(), bytes.data(), bytes.size());
    const auto* p = b->data();
    return {std::move(b), p, bytes.size()};
  }
  [[nodiscard]] static slice copy_of(std::string_view text) {
    return copy_of(std::as_bytes(std::span{text.data(), text.size()}));
  }

  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(data_), size_};
  }
  /// A part of this slice; shares the owner. Precondition: offset + size <= this->size().
  [[nodiscard]] slice sub(std::size_t offset, std::size_t size) const {
    CHECK_LE(offset + size, std::size_t{size_});
    return {owner_, data_ + offset, size};
  }
  [[nodiscard]] const ref<buffer>& owner() const noexcept { return owner_; }

  friend bool operator==(const slice& a, const slice& b) noexcept { return a.text() == b.text(); }

 private:
  ref<buffer> owner_;
  const std::byte* data_ = nullptr;
  std::uint32_t size_ = 0;
};

}  // namespace blixard
