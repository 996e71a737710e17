#include "runtime/vm/qmp.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/base/nesting.hpp"

namespace blixard::vm {
namespace {

using nlohmann::json;

constexpr std::uint64_t capabilities_id = 0xC0FFEE;

struct address {
  sockaddr_un un{};
  unique_fd directory;  // keeps the path valid
};

tl::expected<address, error> address_of(const std::string& directory, const std::string& name) {
  address a;
  a.directory = unique_fd{::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!a.directory) return tl::unexpected(system_error("cannot open " + directory));
  const std::string path = "/proc/self/fd/" + std::to_string(a.directory.get()) + "/" + name;
  a.un.sun_family = AF_UNIX;
  if (path.size() >= sizeof a.un.sun_path)
    return tl::unexpected(make_error(errc::internal, "socket name too long: " + name));
  std::memcpy(a.un.sun_path, path.c_str(), path.size() + 1);
  return a;
}

unique_fd stream_socket() {
  return unique_fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

std::uint64_t id_of(const json& object) {
  const auto found = object.find("id");
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::string dump(const json& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

qmp_message parse_qmp(std::string_view line) {
  qmp_message m;
  // A guest that has broken into its QEMU must not end the node.
  if (nests_too_deeply(line)) return m;
  const json j = json::parse(line, nullptr, false);
  if (!j.is_object()) return m;
  m.id = id_of(j);
  if (j.contains("QMP")) {
    m.kind = qmp_kind::greeting;
  } else if (j.contains("return")) {
    m.kind = qmp_kind::result;
    m.text = dump(j.at("return"));
  } else if (const auto e = j.find("error"); e != j.end() && e->is_object()) {
    m.kind = qmp_kind::failure;
    m.name = text_of(*e, "class");
    m.text = text_of(*e, "desc");
  } else if (m.name = text_of(j, "event"); !m.name.empty()) {
    m.kind = qmp_kind::event;
    if (j.contains("data")) m.text = dump(j.at("data"));
  }
  return m;
}

std::string encode_qmp(std::string_view command, std::uint64_t id, std::string_view arguments) {
  json j{{"execute", command}, {"id", id}};
  if (!arguments.empty()) j["arguments"] = json::parse(arguments, nullptr, false);
  return dump(j) + "\n";
}

std::string json_text(std::string_view object, const char* key) {
  const json j = json::parse(object, nullptr, false);
  return j.is_object() ? text_of(j, key) : std::string{};
}

std::vector<qmp_message> qmp_parser::feed(std::string_view bytes) {
  std::vector<qmp_message> result;
  while (!bytes.empty()) {
    const auto newline = bytes.find('\n');
    const auto part = bytes.substr(0, newline);
    if (!skipping_) line_.append(part);
    if (line_.size() > line_max_bytes) {
      skipping_ = true;
      line_.clear();
    }
    if (newline == std::string_view::npos) break;
    bytes.remove_prefix(newline + 1);
    if (skipping_)
      result.emplace_back();
    else if (line_.find_first_not_of(" \t\r") != std::string::npos)
      result.push_back(parse_qmp(line_));
    line_.clear();
    skipping_ = false;
  }
  return result;
}

qmp_client::qmp_client(unique_fd fd, options opts, std::uint64_t now_ms)
    : fd_(std::move(fd)),
      options_(std::move(opts)),
      handshake_deadline_ms_(now_ms + options_.deadline_ms) {}

tl::expected<qmp_client, error> qmp_client::connect(const std::string& directory,
                                                    const std::string& name, options opts,
                                                    std::uint64_t now_ms) {
  auto fd = connect_unix(directory, name);
  if (!fd) return tl::unexpected(fd.error());
  return qmp_client{std::move(*fd), std::move(opts), now_ms};
}

void qmp_client::execute(std::string_view command, answer_handler done, std::uint64_t now_ms,
                         std::string_view arguments) {
  const std::uint64_t id = next_id_++;
  outstanding_.emplace(id, outstanding{std::move(done), now_ms + options_.deadline_ms});
  std::string line = encode_qmp(command, id, arguments);
  if (ready_)
    send(line);  // a failure shows as end of file, or as the deadline
  else
    held_.push_back(std::move(line));
}

bool qmp_client::send(const std::string& line) {
  // Commands are short and QEMU reads them at once: a socket buffer that is full means that it
  // hangs, and then the deadline is what counts.
  return fd_ && ::send(fd_.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
                    static_cast<ssize_t>(line.size());
}

bool qmp_client::on_readable() {
  std::array<char, 16384> block{};
  while (fd_) {
    const ssize_t n = ::recv(fd_.get(), block.data(), block.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (n <= 0) break;
    for (const auto& m : parser_.feed({block.data(), static_cast<std::size_t>(n)})) handle(m);
  }
  close();
  return false;
}

void qmp_client::handle(const qmp_message& m) {
  switch (m.kind) {
    case qmp_kind::greeting:
      send(encode_qmp("qmp_capabilities", capabilities_id));
      return;
    case qmp_kind::result:
      if (m.id == capabilities_id) {
        ready_ = true;
        handshake_deadline_ms_.reset();
        for (const auto& line : std::exchange(held_, {})) send(line);
      } else {
        finish(m.id, m.text);
      }
      return;
    case qmp_kind::failure:
      finish(m.id, tl::unexpected(make_error(errc::invalid_argument, m.text)));
      return;
    case qmp_kind::event:
      if (options_.on_event) options_.on_event(m);
      return;
    case qmp_kind::garbage:
      return;
  }
}

void qmp_client::finish(std::uint64_t id, answer a) {
  const auto found = outstanding_.find(id);
  if (found == outstanding_.end()) return;  // late, or nobody's
  auto done = std::move(found->second.done);
  outstanding_.erase(found);
  done(std::move(a));
}

bool qmp_client::tick(std::uint64_t now_ms) {
  std::vector<std::uint64_t> overdue;
  for (const auto& [id, o] : outstanding_)
    if (o.deadline_ms <= now_ms) overdue.push_back(id);
  for (const auto id : overdue)
    finish(id, tl::unexpected(make_error(errc::timeout, "QEMU did not answer in time")));
  if (handshake_deadline_ms_ && *handshake_deadline_ms_ <= now_ms) {
    close();
    return false;
  }
  return true;
}

std::optional<std::uint64_t> qmp_client::deadline() const {
  std::optional<std::uint64_t> result = handshake_deadline_ms_;
  for (const auto& [id, o] : outstanding_)
    result = std::min(result.value_or(o.deadline_ms), o.deadline_ms);
  return result;
}

void qmp_client::close() {
  fd_.reset();
  ready_ = false;
  held_.clear();
  handshake_deadline_ms_.reset();
  for (auto& [id, o] : std::exchange(outstanding_, {}))
    o.done(tl::unexpected(make_error(errc::connection_lost, "QEMU closed its control socket")));
}

tl::expected<unique_fd, error> connect_unix(const std::string& directory, const std::string& name) {
  auto a = address_of(directory, name);
  if (!a) return tl::unexpected(a.error());
  unique_fd fd = stream_socket();
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&a->un), sizeof a->un) != 0)
    return tl::unexpected(system_error("cannot connect to " + directory + "/" + name));
  return fd;
}

tl::expected<unique_fd, error> listen_unix(const std::string& directory, const std::string& name) {
  auto a = address_of(directory, name);
  if (!a) return tl::unexpected(a.error());
  unique_fd fd = stream_socket();
  ::unlinkat(a->directory.get(), name.c_str(), 0);
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&a->un), sizeof a->un) != 0 ||
      ::listen(fd.get(), 8) != 0)
    return tl::unexpected(system_error("cannot listen at " + directory + "/" + name));
  return fd;
}

}  // namespace blixard::vm
