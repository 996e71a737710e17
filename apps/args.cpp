#include "apps/args.hpp"

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
