#include "runtime/net/tls_identity.hpp"

#include <algorithm>

#include "runtime/base/names.hpp"
#include "runtime/base/units.hpp"

namespace blixard::net {
namespace {

constexpr std::string_view scheme = "blixard://";
constexpr std::string_view node_prefix = "blixard://node/";
constexpr std::string_view client_prefix = "blixard://client/";

}  // namespace

std::optional<certified> parse_identity(std::string_view uri) {
  if (uri.starts_with(client_prefix)) {
    const auto name = uri.substr(client_prefix.size());
    if (!is_dns_label(name)) return std::nullopt;
    return certified{.as = certified::role::client, .node = {}, .name = std::string(name)};
  }
  if (!uri.starts_with(node_prefix)) return std::nullopt;
  const auto digits = uri.substr(node_prefix.size());
  const bool is_plain = std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  if (digits.empty() || digits.front() == '0' || !is_plain) return std::nullopt;
  const auto id = parse_unsigned(digits);
  if (!id) return std::nullopt;
  return certified{.as = certified::role::node, .node = node_id{*id}, .name = {}};
}

std::optional<certified> identity_among(std::span<const std::string> uris) {
  const auto is_ours = [](const std::string& uri) { return uri.starts_with(scheme); };
  if (std::ranges::count_if(uris, is_ours) != 1) return std::nullopt;
  return parse_identity(*std::ranges::find_if(uris, is_ours));
}

std::string to_string(const certified& who) {
  return who.as == certified::role::node ? "node " + to_string(who.node) : "client " + who.name;
}

}  // namespace blixard::net
