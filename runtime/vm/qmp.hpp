// QMP, the protocol that QEMU is controlled by: JSON objects over a unix socket, one per line.
//
//   greeting {"QMP":..} ─► qmp_capabilities ─► ready ─► commands with an id, answers, events
//
// The parser is pure and survives garbage: a line that is no object is reported as such and the
// next one is read. The client is asynchronous: it owns the socket, is fed by an event loop of
// others, and gives every command a deadline, so that a hung QEMU costs nobody anything.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "runtime/vm/files.hpp"

namespace blixard::vm {

enum class qmp_kind : std::uint8_t { greeting, result, failure, event, garbage };

struct qmp_message {
  qmp_kind kind = qmp_kind::garbage;
  std::uint64_t id = 0;  // of the command; 0: none
  std::string name;      // event: its name; failure: its class
  std::string text;  // result: the "return" value as JSON; failure: the description; event: data
};

/// Cuts the stream into messages. Pure.
class qmp_parser {
 public:
  /// A line longer than this is dropped and reported as garbage.
  static constexpr std::size_t line_max_bytes = std::size_t{1} << 20U;

  [[nodiscard]] std::vector<qmp_message> feed(std::string_view bytes);

 private:
  std::string line_;
  bool skipping_ = false;  // inside a line that is too long
};

/// One message of a line. Pure.
[[nodiscard]] qmp_message parse_qmp(std::string_view line);
/// A command's line. `arguments` is a JSON object or empty. Pure.
[[nodiscard]] std::string encode_qmp(std::string_view command, std::uint64_t id,
                                     std::string_view arguments = {});
/// The text of a string member of a JSON object; empty when there is none.
[[nodiscard]] std::string json_text(std::string_view object, const char* key);

/// A connection to one QEMU. Single-threaded; every time is milliseconds of one monotonic clock.
class qmp_client {
 public:
  /// The "return" value as JSON, or why there is none: errc::timeout (deadline),
  /// errc::connection_lost, errc::invalid_argument (QEMU refused; the message is QEMU's).
  using answer = tl::expected<std::string, error>;
  using answer_handler = std::function<void(answer)>;
  struct options {
    std::uint64_t deadline_ms = 5000;  // of each command, and of the greeting
    std::function<void(const qmp_message&)> on_event;
  };

  /// Connects to `directory`/`name` (any length of path). Errors: as system_error, when nobody
  /// listens (yet).
  [[nodiscard]] static tl::expected<qmp_client, error> connect(const std::string& directory,
                                                               const std::string& name,
                                                               options opts, std::uint64_t now_ms);
  qmp_client(qmp_client&&) = default;
  qmp_client& operator=(qmp_client&&) = default;

  /// Queues a command; commands wait for the handshake. `done` is called exactly once, from
  /// on_readable(), tick() or close().
  void execute(std::string_view command, answer_handler done, std::uint64_t now_ms,
               std::string_view arguments = {});
  /// Reads what is there. False: the connection is over (everything outstanding has failed).
  [[nodiscard]] bool on_readable();
  /// Fails what is overdue. False: the handshake is overdue and the connection is over.
  [[nodiscard]] bool tick(std::uint64_t now_ms);
  /// The next instant at which tick() is needed.
  [[nodiscard]] std::optional<std::uint64_t> deadline() const;
  /// Fails everything outstanding with connection_lost and closes the socket.
  void close();

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] bool ready() const noexcept { return ready_; }

 private:
  qmp_client(unique_fd fd, options opts, std::uint64_t now_ms);
  void handle(const qmp_message& m);
  void finish(std::uint64_t id, answer a);
  bool send(const std::string& line);

  struct outstanding {
    answer_handler done;
    std::uint64_t deadline_ms;
  };
  unique_fd fd_;
  options options_;
  qmp_parser parser_;
  std::map<std::uint64_t, outstanding> outstanding_;
  std::deque<std::string> held_;  // lines that wait for the handshake
  std::optional<std::uint64_t> handshake_deadline_ms_;
  std::uint64_t next_id_ = 1;
  bool ready_ = false;
};

/// A stream socket connected to, or listening at, `directory`/`name`: through /proc/self/fd, since
/// a socket's address is limited to 107 bytes and a data directory is not.
[[nodiscard]] tl::expected<unique_fd, error> connect_unix(const std::string& directory,
                                                          const std::string& name);
[[nodiscard]] tl::expected<unique_fd, error> listen_unix(const std::string& directory,
                                                         const std::string& name);

}  // namespace blixard::vm
