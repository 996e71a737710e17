// A put read straight from the entry's bytes: the hot command, without a Protobuf object between.
//
// Decodes a pb::Command whose operation is kv_put into views of its bytes. Whatever is not plainly
// that (another operation, unknown or repeated fields, text that Protobuf would have to check)
// gives nothing, and the caller parses it the ordinary way: the two agree wherever both answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "messages/buffer.hpp"

namespace blixard::state {

struct kv_put_view {
  std::string_view client;
  std::uint64_t seq = 0;
  std::string_view key;
  slice value;
  bool if_version_set = false;
  std::uint64_t if_version = 0;
};

[[nodiscard]] std::optional<kv_put_view> view_kv_put(const slice& command);

}  // namespace blixard::state
