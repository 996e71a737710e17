// What the client programs (ctl, repl, bench) share: --connect, --tls-*, and how a usage error
// looks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "runtime/base/endpoint.hpp"
#include "runtime/net/tls_credentials.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): the library's name
class App;
}

namespace blixard::apps {

using strings = std::vector<std::string>;

inline constexpr const char* default_connect = "127.0.0.1:7001";

/// The addresses of --connect, else of BLIXARD_CONNECT, else the default. A flag that is given but
/// empty is an error: nobody who writes --connect "$NODES" means another cluster.
[[nodiscard]] tl::expected<std::vector<endpoint>, error> connect_addresses(
    const std::optional<std::string>& flag);

/// --tls-ca, --tls-cert and --tls-key.
struct tls_flags {
  std::optional<std::string> ca;
  std::optional<std::string> cert;
  std::optional<std::string> key;
};

inline constexpr const char* tls_usage =
    "  --tls-ca F --tls-cert F --tls-key F\n"
    "                             mutual TLS: the authority, a certificate, its key; all three or\n"
    "                             none [BLIXARD_TLS_CA, BLIXARD_TLS_CERT, BLIXARD_TLS_KEY]\n";
inline const strings tls_flag_names{"--tls-ca", "--tls-cert", "--tls-key"};

void add_tls_flags(CLI::App& app, tls_flags& to);

/// What the flags, else BLIXARD_TLS_*, name, loaded and checked; null where none is given. Errors:
/// invalid_argument or unauthenticated (tls_credentials::load).
[[nodiscard]] tl::expected<std::shared_ptr<net::tls_credentials>, error> client_tls(
    const tls_flags& flags);

/// Prints an error and its hint to stderr. @returns `code`.
int complain(int code, const std::string& message, const std::string& hint = {});

/// Prints "unknown flag ..." with the nearest of `known`, or that a word is one too many.
/// @returns 2.
int unknown_flag(const std::string& flag, const strings& known, const std::string& help);

}  // namespace blixard::apps
