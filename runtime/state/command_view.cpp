// See command_view.hpp. Field numbers are those of messages/cluster.proto.
#include "runtime/state/command_view.hpp"

#include <algorithm>

namespace blixard::state {
namespace {

enum wire_type : std::uint32_t { varint = 0, bytes = 2 };

constexpr std::uint32_t tag(std::uint32_t field, wire_type type) { return field << 3 | type; }

/// Reads Protobuf wire elements; after the first that does not fit, `ok()` is false.
class reader {
 public:
  explicit reader(std::string_view data) noexcept : data_(data) {}

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] bool more() const noexcept { return ok_ && at_ < data_.size(); }

  std::uint64_t number() noexcept {
    std::uint64_t out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == data_.size()) return fail();
      const auto b = static_cast<std::uint8_t>(data_[at_++]);
      out |= static_cast<std::uint64_t>(b & 0x7F) << shift;
      if (b < 0x80) return out;
    }
    return fail();
  }
  /// A tag that fits 32 bits, as Protobuf demands.
  std::uint32_t next_tag() noexcept {
    const auto n = number();
    return n > UINT32_MAX ? static_cast<std::uint32_t>(fail()) : static_cast<std::uint32_t>(n);
  }
  std::string_view text() noexcept {
    const auto size = number();
    if (!ok_ || size > data_.size() - at_) {
      fail();
      return {};
    }
    const auto out = data_.substr(at_, size);
    at_ += size;
    return out;
  }
  std::uint64_t fail() noexcept {
    ok_ = false;
    return 0;
  }

 private:
  std::string_view data_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

bool is_ascii(std::string_view s) noexcept {
  return std::ranges::all_of(s, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

struct raw_put {
  std::string_view key;
  std::string_view value;
  bool if_version_set = false;
  std::uint64_t if_version = 0;
};

std::optional<raw_put> read_put(std::string_view data) {
  raw_put out;
  reader r{data};
  std::uint32_t last = 0;
  while (r.more()) {
    const auto t = r.next_tag();
    if (t <= last) return std::nullopt;  // repeated or out of order: not what an encoder writes
    last = t;
    if (t == tag(1, bytes))
      out.key = r.text();
    else if (t == tag(2, bytes))
      out.value = r.text();
    else if (t == tag(3, varint))
      out.if_version_set = r.number() != 0;
    else if (t == tag(4, varint))
      out.if_version = r.number();
    else
      return std::nullopt;
  }
  return r.ok() ? std::optional{out} : std::nullopt;
}

}  // namespace

std::optional<kv_put_view> view_kv_put(const slice& command) {
  kv_put_view out;
  std::optional<raw_put> put;
  reader r{command.text()};
  std::uint32_t last = 0;
  while (r.more()) {
    const auto t = r.next_tag();
    if (t <= last) return std::nullopt;
    last = t;
    if (t == tag(1, bytes))
      out.client = r.text();
    else if (t == tag(2, varint))
      out.seq = r.number();
    else if (t == tag(3, varint))
      (void)r.number();  // time_ms: a put does not look at it
    else if (t == tag(10, bytes))
      put = read_put(r.text());
    else
      return std::nullopt;
  }
  if (!r.ok() || !put || !is_ascii(out.client)) return std::nullopt;
  out.key = put->key;
  out.if_version_set = put->if_version_set;
  out.if_version = put->if_version;
  if (!put->value.empty()) {
    const auto offset = static_cast<std::size_t>(put->value.data() - command.text().data());
    out.value = command.sub(offset, put->value.size());
  }
  return out;
}

}  // namespace blixard::state
