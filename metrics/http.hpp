// As much HTTP/1.1 (RFC 9112) as a metrics endpoint needs: a request line, headers, no body.
//
// Pure: bytes in, request or status out. What it does not understand it refuses.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace blixard::metrics {

/// A request; the views are into the bytes that were parsed.
struct http_request {
  std::string_view method;
  std::string_view path;  // without the query
  bool keep_alive = true;
  std::size_t size = 0;  // bytes that it took
};

/// The first request in `bytes`, nothing if it is not complete yet, or the status to answer with
/// before the connection is closed: 400 malformed, 413 it has a body, 505 not HTTP/1.x.
[[nodiscard]] tl::expected<std::optional<http_request>, int> parse_http_request(
    std::string_view bytes);

struct http_answer {
  int status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";
  std::string body;
};

/// The bytes of an answer. `head_only`: to a HEAD request, the length is told but the body left
/// out.
[[nodiscard]] std::string encode_http_answer(const http_answer& answer, bool keep_alive,
                                             bool head_only);

}  // namespace blixard::metrics
