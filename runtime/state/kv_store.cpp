// See kv_store.hpp.
#include "runtime/state/kv_store.hpp"

#include <cstring>
#include <new>

#include "messages/limits.hpp"

namespace blixard::state {
namespace {

/// Below this a copy costs less than what sharing would pin.
constexpr std::size_t share_min_bytes = limits::medium_buffer_bytes;

/// A value is shared if it is large and makes up at least half of the buffer that it would pin.
bool worth_sharing(const slice& value) noexcept {
  return value.size() >= share_min_bytes && value.owner() &&
         value.size() * 2 >= value.owner()->capacity();
}

}  // namespace

kv_item::kv_item(std::string_view key, const slice& value, std::uint64_t version, hash128 hash,
                 bool shares)
    : value_size_(static_cast<std::uint32_t>(value.size())),
      version_(version),
      hash_(hash),
      key_size_(static_cast<std::uint32_t>(key.size())),
      shares_(shares) {
  auto* to = reinterpret_cast<char*>(this + 1);
  if (shares) {
    new (to) slice{value};
    to += sizeof(slice);
  }
  std::memcpy(to, key.data(), key.size());
  if (!shares && !value.empty()) std::memcpy(to + key.size(), value.data(), value.size());
}

kv_item::~kv_item() {
  if (shares_) shared().~slice();
}

ref<const kv_item> kv_item::make(std::string_view key, const slice& value, std::uint64_t version,
                                 hash128 hash) {
  const bool shares = worth_sharing(value);
  void* memory =
      ::operator new(sizeof(kv_item) + key.size() + (shares ? sizeof(slice) : value.size()));
  return ref<const kv_item>::adopt(new (memory) kv_item(key, value, version, hash, shares));
}

void kv_item::release() const noexcept {
  if (count_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  auto* self = const_cast<kv_item*>(this);
  self->~kv_item();
  ::operator delete(self);
}

// The memory of a leaf and of the item that goes comes while the new one is made.
void kv_store::put(std::string_view key, const slice& value, std::uint64_t version) {
  const auto where = tree_.descend(key);
  const hash128 hash = hash_of(object_kind::kv, version, key, value.text());
  tree_.look(where);
  auto item = kv_item::make(key, value, version, hash);
  sum_ += hash;
  ref<const kv_item> old;
  if (!tree_.put_at(where, std::move(item), &old)) sum_ -= old->hash();
}

bool kv_store::erase(std::string_view key) {
  ref<const kv_item> old;
  if (!tree_.erase(key, &old)) return false;
  sum_ -= old->hash();
  return true;
}

}  // namespace blixard::state
