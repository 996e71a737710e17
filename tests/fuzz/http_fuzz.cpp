// Requests to the metrics endpoint: what is taken lies within what came, fewer bytes never make a
// request of it, and what comes behind it changes nothing.
#include "metrics/http.hpp"

#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {

void one(input in) {
  const slice bytes = whole(in.rest());
  const std::string_view text = bytes.text();
  const auto got = metrics::parse_http_request(text);
  if (!got) {
    CHECK(got.error() == 400 || got.error() == 413 || got.error() == 505);
    return;
  }
  if (!*got) return;
  const metrics::http_request& r = **got;
  CHECK(r.size > 0 && r.size <= text.size());
  CHECK(!r.method.empty());
  CHECK(r.path.starts_with('/'));
  CHECK(r.path.data() > r.method.data() && r.path.data() + r.path.size() <= text.data() + r.size);
  const auto less = metrics::parse_http_request(text.substr(0, r.size - 1));
  CHECK(less.has_value() && !*less);
  const auto alone = metrics::parse_http_request(text.substr(0, r.size));
  CHECK(alone.has_value() && *alone && (*alone)->path == r.path);
}

std::vector<std::string> examples() {
  return {
      "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
      "HEAD /livez HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "GET / HTTP/2.0\r\n\r\n"};
}

}  // namespace blixard::fuzz
