// What the client programs (ctl, repl, bench) share: --connect and how a usage error looks.
#pragma once

#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "runtime/base/endpoint.hpp"

namespace blixard::apps {

using strings = std::vector<std::string>;

inline constexpr const char* default_connect = "127.0.0.1:7001";

/// The addresses of --connect, else of BLIXARD_CONNECT, else the default. A flag that is given but
/// empty is an error: nobody who writes --connect "$NODES" means another cluster.
[[nodiscard]] tl::expected<std::vector<endpoint>, error> connect_addresses(
    const std::optional<std::string>& flag);

/// Prints an error and its hint to stderr. @returns `code`.
int complain(int code, const std::string& message, const std::string& hint = {});

/// Prints "unknown flag ..." with the nearest of `known`, or that a word is one too many.
/// @returns 2.
int unknown_flag(const std::string& flag, const strings& known, const std::string& help);

}  // namespace blixard::apps
