// The types of the raft lab protocol to and from JSON.
//
// Keys keep the order of the protocol page, so that the same input gives the same bytes. Reading is
// lenient about what is missing (zero, empty, false) and strict about what is there but wrong:
// bad_request.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/raft/types.hpp"

namespace blixard::raft::lab {

using json = nlohmann::ordered_json;

/// The request makes no sense.
struct bad_request : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Read contexts: any JSON value outside, a number inside the core.
class contexts {
 public:
  [[nodiscard]] std::uint64_t intern(const json& value);
  [[nodiscard]] const json& value(std::uint64_t context) const;
  /// The core's own read rounds, in the kind of value that the driver uses for contexts.
  [[nodiscard]] json round(std::uint64_t round) const;

 private:
  std::map<std::string, std::uint64_t> numbers_;
  std::vector<json> values_{json(nullptr)};
};

/// The unsigned number at `key`; `otherwise` if it is not there.
[[nodiscard]] std::uint64_t number(const json& from, const char* key, std::uint64_t otherwise = 0);
[[nodiscard]] bool flag(const json& from, const char* key, bool otherwise = false);
[[nodiscard]] std::string string(const json& from, const char* key, const char* otherwise = "");
/// The object or array at `key`; null if it is not there.
[[nodiscard]] const json& part(const json& from, const char* key);

[[nodiscard]] json to_json(const conf_state& conf);
[[nodiscard]] json to_json(const conf_change& change);
[[nodiscard]] json to_json(const entry& e);
[[nodiscard]] json to_json(const std::vector<entry>& entries);
[[nodiscard]] json to_json(const snapshot& snap);
[[nodiscard]] json to_json(const hard_state& hard);
[[nodiscard]] json to_json(const status& s);
[[nodiscard]] json to_json(const message& m, const contexts& known);

[[nodiscard]] conf_state read_conf(const json& from);
[[nodiscard]] conf_change read_change(const json& from);
[[nodiscard]] std::vector<conf_change::single> read_singles(const json& from);
[[nodiscard]] entry read_entry(const json& from);
[[nodiscard]] std::vector<entry> read_entries(const json& from);
[[nodiscard]] std::shared_ptr<const snapshot> read_snapshot(const json& from);
[[nodiscard]] disk_state read_disk(const json& from);
[[nodiscard]] config read_config(node_id id, const json& from);
[[nodiscard]] message read_message(const json& from, contexts& known);

}  // namespace blixard::raft::lab
