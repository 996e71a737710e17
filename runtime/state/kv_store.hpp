// The keys: ordered, hashed into the digest, copyable for a snapshot in O(1).
//
// One key and its value are one immutable object. Small values are copied into it, together with
// the key, in one allocation; a large value stays the slice of the entry that brought it, unless it
// would keep a much larger buffer alive for its sake.
#pragma once

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "messages/buffer.hpp"
#include "messages/ids.hpp"
#include "runtime/state/cow_tree.hpp"
#include "runtime/state/hash.hpp"

namespace blixard::state {

/// A key, its value and the log index of the write. Immutable; shared by reference count between
/// the store and its copies on any thread.
///
///     count, sizes, version, hash | key | value          small: one allocation
///     count, sizes, version, hash | slice | key          large: the slice is of the entry
///
/// All that replacing an item reads of it comes first: one or two cache lines for a short key.
class kv_item {
 public:
  [[nodiscard]] static ref<const kv_item> make(std::string_view key, const slice& value,
                                               std::uint64_t version) {
    return make(key, value, version, hash_of(object_kind::kv, version, key, value.text()));
  }
  /// The same where the hash is known already.
  [[nodiscard]] static ref<const kv_item> make(std::string_view key, const slice& value,
                                               std::uint64_t version, hash128 hash);

  kv_item(const kv_item&) = delete;
  kv_item& operator=(const kv_item&) = delete;

  [[nodiscard]] std::string_view key() const noexcept {
    return {bytes() + (shares_ ? sizeof(slice) : 0), key_size_};
  }
  [[nodiscard]] std::string_view value() const noexcept {
    return shares_ ? shared().text() : std::string_view{bytes() + key_size_, value_size_};
  }
  [[nodiscard]] std::uint64_t version() const noexcept { return version_; }
  [[nodiscard]] hash128 hash() const noexcept { return hash_; }
  /// Whether the value is a slice of the entry's buffer.
  [[nodiscard]] bool shares_entry() const noexcept { return shares_; }

  /// Asks for what a comparison or a replacement will read.
  void fetch() const noexcept {
    __builtin_prefetch(this);
    __builtin_prefetch(bytes() + 15);  // with a key of 16 bytes, maybe the next line
  }

  void add_ref() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void release() const noexcept;

 private:
  kv_item(std::string_view key, const slice& value, std::uint64_t version, hash128 hash,
          bool shares);
  ~kv_item();
  [[nodiscard]] const char* bytes() const noexcept {
    return reinterpret_cast<const char*>(this + 1);
  }
  [[nodiscard]] const slice& shared() const noexcept {
    return *std::launder(reinterpret_cast<const slice*>(this + 1));
  }

  mutable std::atomic<std::uint32_t> count_{1};
  std::uint32_t value_size_;
  std::uint64_t version_;
  hash128 hash_;
  std::uint32_t key_size_;
  bool shares_;
};
static_assert(sizeof(kv_item) == 40 && alignof(kv_item) >= alignof(slice));

struct kv_order {
  using key_type = std::string;
  static std::string_view key_of(const ref<const kv_item>& i) noexcept { return i->key(); }
  static std::strong_ordering compare(std::string_view a, std::string_view b) noexcept {
    return a.compare(b) <=> 0;  // as unsigned bytes
  }
  static std::uint8_t tag_of(std::string_view key) noexcept { return state::tag_of(key); }
  static std::string_view text_of(std::string_view key) noexcept { return key; }
  static void fetch(const ref<const kv_item>& i) noexcept { i->fetch(); }
};

using kv_tree = cow_tree<ref<const kv_item>, kv_order>;

class kv_store {
 public:
  /// The item, or null. Good until the key is written again.
  [[nodiscard]] const kv_item* find(std::string_view key) const {
    const auto* i = tree_.find(key);
    return i == nullptr ? nullptr : i->get();
  }
  void put(std::string_view key, const slice& value, std::uint64_t version);
  /// False if there is no such key.
  bool erase(std::string_view key);

  [[nodiscard]] const kv_tree& items() const noexcept { return tree_; }
  [[nodiscard]] hash128 sum() const noexcept { return sum_; }

 private:
  kv_tree tree_;
  hash128 sum_;
};

}  // namespace blixard::state
