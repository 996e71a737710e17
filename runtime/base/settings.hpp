// The table of a node's settings (INTERNAL to config): one row feeds flag, variable, file key and
// help.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "messages/errc.hpp"
#include "runtime/base/config.hpp"

namespace blixard {

enum class setting_kind : std::uint8_t {
  single,  // one value
  toggle,  // a switch: true | false where a value is written
  list,    // several values; in a variable separated by commas
  table,   // several KEY=VALUE; in the file a table, too
};

struct setting {
  std::string_view name;   // "data-dir": --data-dir, BLIXARD_DATA_DIR, data_dir
  std::string_view value;  // "DIR", for help
  setting_kind kind = setting_kind::single;
  std::string_view help;
  /// Stores one value. For lists and tables it is called once per value, on an empty list.
  tl::expected<void, error> (*apply)(node_config&, const std::string& value) = nullptr;
};

/// All settings, in the order of the help text.
[[nodiscard]] std::span<const setting> setting_table();
/// The setting of that name with '_' read as '-', or nullptr.
[[nodiscard]] const setting* find_setting(std::string_view key);
/// "BLIXARD_DATA_DIR".
[[nodiscard]] std::string variable_of(const setting& s);
/// "data_dir".
[[nodiscard]] std::string key_of(const setting& s);

/// Limits and relations between settings; called when all are applied.
[[nodiscard]] tl::expected<void, config_error> check_config(const node_config& c);

}  // namespace blixard
