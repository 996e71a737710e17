#include "runtime/base/endpoint.hpp"

#include "runtime/base/units.hpp"

namespace blixard {
namespace {

tl::unexpected<error> refuse(std::string_view text, std::string_view why) {
  return tl::unexpected(
      make_error(errc::invalid_argument,
                 "\"" + std::string(text) + "\" is not an address: " + std::string(why),
                 "write HOST:PORT, such as 127.0.0.1:7001 or [::1]:7001"));
}

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

bool is_v6_character(char c) {
  return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || (c >= '0' && c <= '9') || c == ':' ||
         c == '.';
}

bool all_of(std::string_view text, bool (*predicate)(char)) {
  for (const char c : text)
    if (!predicate(c)) return false;
  return !text.empty();
}

/// An IPv6 address, with or without a zone ("fe80::1%eth0").
bool is_v6(std::string_view host) {
  const auto percent = host.find('%');
  if (percent != std::string_view::npos && !all_of(host.substr(percent + 1), is_host_character))
    return false;
  const auto address = host.substr(0, percent);
  return all_of(address, is_v6_character) && address.find(':') != std::string_view::npos;
}

/// Four decimal numbers up to 255, the first of them 127.
bool is_v4_loopback(std::string_view host) {
  int parts = 0;
  while (true) {
    const auto dot = host.find('.');
    const auto part = parse_unsigned(host.substr(0, dot), 255);
    if (!part || (parts == 0 && *part != 127)) return false;
    ++parts;
    if (dot == std::string_view::npos) return parts == 4;
    host.remove_prefix(dot + 1);
  }
}

}  // namespace

tl::expected<endpoint, error> parse_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return refuse(text, "there is no port");
  auto host = text.substr(0, colon);
  const auto port = parse_unsigned(text.substr(colon + 1), 65535);
  if (!port) return refuse(text, "the port is not a number from 0 to 65535");
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (!is_v6(host)) return refuse(text, "bad IPv6 address in the brackets");
  } else if (host.empty()) {
    return refuse(text, "there is no host");
  } else if (host.find(':') != std::string_view::npos) {
    return refuse(text, "an IPv6 address stands in brackets");
  } else if (!all_of(host, is_host_character)) {
    return refuse(text, "bad character in the host");
  }
  return endpoint{std::string(host), static_cast<std::uint16_t>(*port)};
}

tl::expected<std::vector<endpoint>, error> parse_endpoints(std::string_view text) {
  std::vector<endpoint> out;
  while (true) {
    const auto comma = text.find(',');
    auto one = parse_endpoint(text.substr(0, comma));
    if (!one) return tl::unexpected(one.error());
    out.push_back(std::move(*one));
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

std::string to_string(const endpoint& e) {
  const bool v6 = e.host.find(':') != std::string::npos;
  return (v6 ? "[" + e.host + "]" : e.host) + ":" + std::to_string(e.port);
}

bool is_loopback(const endpoint& e) noexcept {
  return e.host == "localhost" || e.host == "::1" || is_v4_loopback(e.host);
}

}  // namespace blixard
