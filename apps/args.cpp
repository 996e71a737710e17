#include "apps/args.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <cstdlib>

#include "runtime/base/suggest.hpp"

namespace blixard::apps {

tl::expected<std::vector<endpoint>, error> connect_addresses(
    const std::optional<std::string>& flag) {
  std::string text = flag.value_or("");
  if (!flag)
    if (const char* value = std::getenv("BLIXARD_CONNECT"); value != nullptr) text = value;
  if (text.empty() && !flag) text = default_connect;
  auto out = parse_endpoints(text);
  if (!out) return out;
  for (const auto& e : *out)
    if (e.port == 0)
      return tl::unexpected(
          make_error(errc::invalid_argument, "\"" + text + "\": port 0 cannot be dialled"));
  return out;
}

void add_tls_flags(CLI::App& app, tls_flags& to) {
  app.add_option("--tls-ca", to.ca);
  app.add_option("--tls-cert", to.cert);
  app.add_option("--tls-key", to.key);
}

tl::expected<std::shared_ptr<net::tls_credentials>, error> client_tls(const tls_flags& flags) {
  const auto given = [](const std::optional<std::string>& flag, const char* variable) {
    if (flag) return *flag;
    const char* value = std::getenv(variable);
    return std::string(value != nullptr ? value : "");
  };
  tls_files files{.ca = given(flags.ca, "BLIXARD_TLS_CA"),
                  .cert = given(flags.cert, "BLIXARD_TLS_CERT"),
                  .key = given(flags.key, "BLIXARD_TLS_KEY")};
  if (!files.configured() && !flags.ca && !flags.cert && !flags.key) return nullptr;
  if (const auto missing = files.missing(); !missing.empty())
    return tl::unexpected(
        make_error(errc::invalid_argument, "--" + missing + " is missing",
                   "mutual TLS needs --tls-ca, --tls-cert and --tls-key together"));
  return net::tls_credentials::load(std::move(files), std::nullopt);
}

int complain(int code, const std::string& message, const std::string& hint) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  if (!hint.empty()) std::fprintf(stderr, "hint: %s\n", hint.c_str());
  return code;
}

int unknown_flag(const std::string& flag, const strings& known, const std::string& help) {
  if (!flag.starts_with("-")) return complain(2, "unexpected word \"" + flag + "\"", "see " + help);
  const auto name = flag.substr(0, flag.find('='));
  auto hint = did_you_mean(name, known);
  return complain(2, "unknown flag " + name, hint.empty() ? "see " + help : std::move(hint));
}

}  // namespace blixard::apps
