// The poll loop of the metrics address.
//
// A connection collects a request (bytes in `in`), gives an answer (bytes in `out`), or, once it
// has said its last, drains: it discards what still comes until the client closes, because closing
// a socket with unread bytes would reset the connection and take the answer back. While it gives an
// answer it does not read, so that a client that never takes its answers costs one answer and is
// closed at its deadline.
#include "metrics/exposer.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "messages/unique_fd.hpp"
#include "metrics/http.hpp"

namespace blixard::metrics {
namespace {

using clock = std::chrono::steady_clock;

std::string reason_of(int error_number) {
  return std::error_code(error_number, std::generic_category()).message();
}

struct host_port {
  std::string host;
  std::string port;
};
std::optional<host_port> split(const std::string& address) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  host_port out{address.substr(0, colon), address.substr(colon + 1)};
  if (out.host.front() == '[' && out.host.back() == ']' && out.host.size() > 2)
    out.host = out.host.substr(1, out.host.size() - 2);
  else if (out.host.find(':') != std::string::npos)
    return std::nullopt;  // an IPv6 address without brackets: which colon is the port's?
  const bool is_number =
      !out.port.empty() && out.port.size() <= 5 &&
      std::all_of(out.port.begin(), out.port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number || std::stoul(out.port) > 65535) return std::nullopt;
  return out;
}

/// "127.0.0.1:9464" of a bound socket.
std::string bound_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getsockname(fd, address, &size) != 0 ||
      ::getnameinfo(address, size, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return {};
  const std::string name = host.data();
  return (storage.ss_family == AF_INET6 ? "[" + name + "]" : name) + ":" + port.data();
}

tl::expected<unique_fd, error> listen_on(const std::string& address) {
  const auto parts = split(address);
  if (!parts)
    return tl::unexpected(make_error(errc::invalid_argument,
                                     "metrics address '" + address + "' is not HOST:PORT",
                                     "for example 127.0.0.1:9464, or port 0 for any free one"));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int failed = ::getaddrinfo(parts->host.c_str(), parts->port.c_str(), &hints, &found);
      failed != 0)
    return tl::unexpected(make_error(
        errc::invalid_argument, "metrics address '" + address + "': " + ::gai_strerror(failed)));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> release(found, ::freeaddrinfo);

  unique_fd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return tl::unexpected(make_error(errc::internal, "metrics socket: " + reason_of(errno)));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd.get(), 64) != 0)
    return tl::unexpected(
        make_error(errc::unavailable, "cannot listen on " + address + ": " + reason_of(errno),
                   "choose another address with --metrics, port 0 for any free one"));
  return fd;
}

/// Ready or live: 200 or 503, with the reasons.
http_answer health_answer(const char* what, const std::function<readiness()>& source) {
  const auto state = source ? source() : readiness{};
  http_answer out;
  out.status = state.reasons.empty() ? 200 : 503;
  out.content_type = "application/json";
  const nlohmann::ordered_json body{{what, state.reasons.empty()}, {"reasons", state.reasons}};
  out.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return out;
}

http_answer answer_to(const http_request& request, const exposer_sources& sources) try {
  if (request.method != "GET" && request.method != "HEAD")
    return {.status = 405, .body = "only GET and HEAD\n"};
  if (request.path == "/metrics")
    return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = sources.metrics()};
  if (request.path == "/livez") return health_answer("live", sources.live);
  if (request.path == "/readyz") return health_answer("ready", sources.ready);
  return {.status = 404, .body = "there are /metrics, /livez and /readyz\n"};
} catch (const std::exception& failure) {
  return {.status = 500, .body = std::string(failure.what()) + "\n"};
}

struct connection {
  unique_fd fd;
  clock::time_point deadline;
  std::string in;
  std::string out;
  std::size_t sent = 0;
  bool keep_alive = true;
  bool is_draining = false;
  bool closed = false;

  [[nodiscard]] bool is_answering() const noexcept { return sent < out.size(); }
};

}  // namespace

class exposer::server {
 public:
  server(unique_fd listener, unique_fd wake, exposer_sources sources, exposer_limits limits)
      : listener_(std::move(listener)),
        wake_(std::move(wake)),
        sources_(std::move(sources)),
        limits_(limits),
        address_(bound_address(listener_.get())),
        thread_([this] { run(); }) {}
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server() {
    const std::uint64_t one = 1;
    // Cannot fail: the counter of this eventfd is 0.
    [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
    thread_.join();
  }
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  void run();
  [[nodiscard]] int wait_ms(clock::time_point now) const;
  void accept_all(clock::time_point now);
  void serve(connection& c, short events, clock::time_point now);
  void receive(connection& c, clock::time_point now);
  void answer_all(connection& c, clock::time_point now);
  void refuse(connection& c, int status, clock::time_point now);
  void send(connection& c, clock::time_point now);
  void expire(connection& c, clock::time_point now);

  unique_fd listener_;
  unique_fd wake_;
  exposer_sources sources_;
  exposer_limits limits_;
  std::string address_;
  std::vector<connection> connections_;
  clock::time_point accept_again_{};  // out of descriptors: no accept before
  std::thread thread_;                // last: it uses all of the above
};

int exposer::server::wait_ms(clock::time_point now) const {
  if (connections_.empty() && accept_again_ <= now) return -1;
  auto next = clock::time_point::max();
  if (accept_again_ > now) next = accept_again_;
  for (const auto& c : connections_) next = std::min(next, c.deadline);
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
  return static_cast<int>(std::clamp<long>(wait, 0, 60'000));
}

void exposer::server::run() {
  std::vector<pollfd> polled;
  for (;;) {
    auto now = clock::now();
    polled.clear();
    polled.push_back({wake_.get(), POLLIN, 0});
    polled.push_back({listener_.get(), static_cast<short>(accept_again_ > now ? 0 : POLLIN), 0});
    for (const auto& c : connections_)
      polled.push_back({c.fd.get(), static_cast<short>(c.is_answering() ? POLLOUT : POLLIN), 0});
    if (::poll(polled.data(), polled.size(), wait_ms(now)) < 0 && errno != EINTR) return;
    if (polled[0].revents != 0) return;
    now = clock::now();
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      serve(connections_[i], polled[i + 2].revents, now);
      expire(connections_[i], now);
    }
    std::erase_if(connections_, [](const connection& c) { return c.closed; });
    if (polled[1].revents != 0) accept_all(now);
  }
}

void exposer::server::accept_all(clock::time_point now) {
  for (;;) {
    unique_fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      const bool exhausted =
          errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      if (exhausted) accept_again_ = now + std::chrono::milliseconds(100);
      return;
    }
    if (connections_.size() >= limits_.connections_max) continue;  // closes it
    auto& c = connections_.emplace_back();
    c.fd = std::move(fd);
    c.deadline = now + limits_.request_timeout;
  }
}

void exposer::server::serve(connection& c, short events, clock::time_point now) {
  if (events == 0) return;
  if ((events & POLLOUT) != 0)
    send(c, now);
  else if ((events & POLLIN) != 0)
    receive(c, now);
  else
    c.closed = true;  // POLLERR, POLLHUP
  answer_all(c, now);
}

void exposer::server::receive(connection& c, clock::time_point now) {
  std::array<char, 4096> buffer;
  const auto got = ::recv(c.fd.get(), buffer.data(), buffer.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    c.closed = true;
    return;
  }
  if (c.is_draining) return;
  if (c.in.empty()) c.deadline = now + limits_.request_timeout;
  c.in.append(buffer.data(), static_cast<std::size_t>(got));
}

/// Answers the requests that have come, as long as the client takes the answers.
void exposer::server::answer_all(connection& c, clock::time_point now) {
  while (!c.closed && !c.is_draining && !c.is_answering() && !c.in.empty()) {
    const auto parsed = parse_http_request(c.in);
    if (!parsed) {
      refuse(c, parsed.error(), now);
    } else if (parsed->has_value()) {
      const auto& request = **parsed;
      c.keep_alive = request.keep_alive;
      c.out =
          encode_http_answer(answer_to(request, sources_), c.keep_alive, request.method == "HEAD");
      c.in.erase(0, request.size);
      c.deadline = now + limits_.answer_timeout;
      send(c, now);
    } else if (c.in.size() > limits_.request_max_bytes) {
      refuse(c, 431, now);
    } else {
      return;
    }
  }
}

void exposer::server::refuse(connection& c, int status, clock::time_point now) {
  c.keep_alive = false;
  c.out = encode_http_answer({.status = status, .body = {}}, false, false);
  c.in.clear();
  c.deadline = now + limits_.answer_timeout;
  send(c, now);
}

void exposer::server::send(connection& c, clock::time_point now) {
  while (c.is_answering()) {
    const auto put = ::send(c.fd.get(), c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) return;
    if (put < 0) {
      c.closed = true;
      return;
    }
    c.sent += static_cast<std::size_t>(put);
  }
  c.out.clear();
  c.sent = 0;
  c.deadline = now + (c.keep_alive ? limits_.idle_timeout : limits_.drain_timeout);
  if (c.keep_alive) return;
  ::shutdown(c.fd.get(), SHUT_WR);
  c.is_draining = true;
}

void exposer::server::expire(connection& c, clock::time_point now) {
  if (!c.closed && c.deadline <= now) c.closed = true;
}

exposer::exposer(std::unique_ptr<server> s) noexcept : server_(std::move(s)) {}
exposer::~exposer() = default;

const std::string& exposer::address() const noexcept { return server_->address(); }

tl::expected<std::unique_ptr<exposer>, error> exposer::start(const std::string& address,
                                                             exposer_sources sources,
                                                             exposer_limits limits) {
  auto listener = listen_on(address);
  if (!listener) return tl::unexpected(std::move(listener.error()));
  unique_fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return tl::unexpected(make_error(errc::internal, "eventfd: " + reason_of(errno)));
  auto s =
      std::make_unique<server>(std::move(*listener), std::move(wake), std::move(sources), limits);
  return std::unique_ptr<exposer>(new exposer(std::move(s)));
}

}  // namespace blixard::metrics
