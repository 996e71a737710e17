// Commands on keys. A version is the log index of the write.
#include "runtime/state/tables.hpp"
#include "runtime/state/text.hpp"

namespace blixard::state {
namespace {

bool key_is_valid(std::string_view key, pb::Answer& answer) {
  if (key.empty()) {
    refuse(answer, errc::invalid_argument, "the key is empty");
    return false;
  }
  if (key.size() <= limits::key_max_bytes) return true;
  refuse(answer, errc::too_large,
         "the key has " + std::to_string(key.size()) + " bytes, at most 1024");
  return false;
}

bool value_is_valid(std::size_t size, pb::Answer& answer) {
  if (size <= limits::value_max_bytes) return true;
  refuse(answer, errc::too_large,
         "the value has " + std::to_string(size) + " bytes, at most 1048576");
  return false;
}

void no_such_key(std::string_view key, pb::Answer& answer) {
  refuse(answer, errc::not_found, "key " + quote(key) + " does not exist");
}

/// The answer to a write: the new version; the value is the client's own.
void written(std::string_view key, std::uint64_t version, pb::Answer& answer) {
  auto* kv = answer.mutable_kv();
  kv->set_key(key.data(), key.size());
  kv->set_version(version);
}

}  // namespace

void machine::tables::kv_put(const kv_put_view& put, pb::Answer& answer, changes& changed) {
  if (!key_is_valid(put.key, answer) || !value_is_valid(put.value.size(), answer)) return;
  if (put.if_version_set) {
    const kv_item* item = kv.find(put.key);
    const std::uint64_t now = item == nullptr ? 0 : item->version();
    if (now != put.if_version) {
      const std::string is = now == 0 ? " does not exist" : " has version " + std::to_string(now);
      return refuse(answer, errc::conflict,
                    "key " + quote(put.key) + is + ", not " + std::to_string(put.if_version),
                    "read the key again and decide with its new version");
    }
  }
  kv.put(put.key, put.value, applied.value());
  changed.kv = true;
  written(put.key, applied.value(), answer);
}

void machine::tables::kv_cas(const pb::KvCas& cas, pb::Answer& answer, changes& changed) {
  if (!key_is_valid(cas.key(), answer) || !value_is_valid(cas.value().size(), answer)) return;
  const kv_item* item = kv.find(cas.key());
  if (item == nullptr) return no_such_key(cas.key(), answer);
  if (item->value() != cas.expected())
    return refuse(answer, errc::conflict,
                  "key " + quote(cas.key()) + " has another value, written at version " +
                      std::to_string(item->version()),
                  "read the key again and decide with its new value");
  kv.put(cas.key(), slice::copy_of(cas.value()), applied.value());
  changed.kv = true;
  written(cas.key(), applied.value(), answer);
}

void machine::tables::kv_delete(const pb::KvDelete& del, pb::Answer& answer, changes& changed) {
  if (!key_is_valid(del.key(), answer)) return;
  if (!kv.erase(del.key())) return no_such_key(del.key(), answer);
  changed.kv = true;
  answer.mutable_done();
}

}  // namespace blixard::state
