// Parses requests and writes answers; see http.hpp.
#include "metrics/http.hpp"

#include <algorithm>
#include <cctype>

namespace blixard::metrics {
namespace {

constexpr std::string_view line_end = "\r\n";

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// A token of RFC 9110 section 5.6.2, as far as methods and header names use it.
bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '!' || c == '~';
  });
}

/// "GET /metrics?x=1 HTTP/1.1" into `out`. Returns 0, or the status that refuses it.
int parse_request_line(std::string_view line, http_request& out) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return 400;
  out.method = line.substr(0, first);
  const auto target = line.substr(first + 1, last - first - 1);
  const auto version = line.substr(last + 1);
  if (!is_token(out.method) || target.empty() || target.front() != '/') return 400;
  if (std::any_of(target.begin(), target.end(), [](unsigned char c) { return c <= ' '; }))
    return 400;
  if (!version.starts_with("HTTP/")) return 400;
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return 505;
  out.keep_alive = version == "HTTP/1.1";
  out.path = target.substr(0, target.find('?'));
  return 0;
}

/// One header line. Returns 0, or the status that refuses the request.
int parse_header(std::string_view line, http_request& out) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return 400;
  const auto name = line.substr(0, colon);
  const auto value = trim(line.substr(colon + 1));
  if (equal_ignoring_case(name, "connection")) {
    if (equal_ignoring_case(value, "close")) out.keep_alive = false;
    if (equal_ignoring_case(value, "keep-alive")) out.keep_alive = true;
  }
  const bool has_body = (equal_ignoring_case(name, "content-length") && value != "0") ||
                        equal_ignoring_case(name, "transfer-encoding");
  return has_body ? 413 : 0;
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Internal Server Error";
  }
}

}  // namespace

tl::expected<std::optional<http_request>, int> parse_http_request(std::string_view bytes) {
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return std::optional<http_request>{};
  http_request out;
  out.size = end + 4;
  auto rest = bytes.substr(0, end + 2);
  auto next_line = [&rest] {
    const auto at = rest.find(line_end);
    const auto line = rest.substr(0, at);
    rest.remove_prefix(at + 2);
    return line;
  };
  if (const int refused = parse_request_line(next_line(), out); refused != 0)
    return tl::unexpected(refused);
  while (!rest.empty()) {
    if (const int refused = parse_header(next_line(), out); refused != 0)
      return tl::unexpected(refused);
  }
  return out;
}

std::string encode_http_answer(const http_answer& answer, bool keep_alive, bool head_only) {
  std::string out = "HTTP/1.1 " + std::to_string(answer.status) + " ";
  out += reason_phrase(answer.status);
  out += "\r\nContent-Type: ";
  out += answer.content_type;
  out += "\r\nContent-Length: " + std::to_string(answer.body.size());
  if (answer.status == 405) out += "\r\nAllow: GET, HEAD";
  out += keep_alive ? "\r\nConnection: keep-alive\r\n\r\n" : "\r\nConnection: close\r\n\r\n";
  if (!head_only) out += answer.body;
  return out;
}

}  // namespace blixard::metrics
