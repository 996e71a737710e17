// Sessions: a command that a client repeats is answered with its first result.
//
// Per client the answers of its last commands are remembered by sequence, and the `floor`: up to
// there answers have been forgotten. A sequence above the floor that is not remembered is new, so
// that commands of one client may arrive in any order within the window.
//
//        forgotten | remembered or new
//     ─────────────┴───●──●─────●──●────►  seq
//                floor
//
// Bounded three ways (limits.hpp): answers per client, answers in all, clients; the oldest by log
// index go first, so that every node forgets the same. A client that was forgotten whole is new.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "messages/ids.hpp"
#include "runtime/state/cow_tree.hpp"
#include "runtime/state/hash.hpp"

namespace blixard::state {

struct session_bounds {
  std::size_t clients = 0;
  std::size_t results = 0;  // over all clients
  std::size_t window = 0;   // per client
};

/// A client that is remembered. `client` is shared with its results.
struct session {
  std::shared_ptr<const std::string> client;
  std::uint64_t floor = 0;
  std::uint64_t last_index = 0;  // log index of the client's last command
  std::uint32_t results = 0;
};

/// An answer that is remembered.
struct session_result {
  std::shared_ptr<const std::string> client;
  std::uint64_t seq = 0;
  std::uint64_t index = 0;                    // log index of the command
  std::shared_ptr<const std::string> answer;  // encoded pb::Answer
};

struct session_order {
  using key_type = std::string;
  static std::string_view key_of(const session& s) noexcept { return *s.client; }
  static std::strong_ordering compare(std::string_view a, std::string_view b) noexcept {
    return a.compare(b) <=> 0;
  }
};

struct result_order {
  struct probe {
    std::string_view client;
    std::uint64_t seq = 0;
    friend std::strong_ordering operator<=>(const probe&, const probe&) = default;
  };
  struct key_type {
    std::string client;
    std::uint64_t seq = 0;

    key_type() = default;
    explicit key_type(probe p) : client(p.client), seq(p.seq) {}
  };
  static probe key_of(const session_result& r) noexcept { return {*r.client, r.seq}; }
  static std::strong_ordering compare(probe a, probe b) noexcept { return a <=> b; }
  static std::strong_ordering compare(probe a, const key_type& b) noexcept {
    return a <=> probe{b.client, b.seq};
  }
};

using session_tree = cow_tree<session, session_order>;
using result_tree = cow_tree<session_result, result_order>;

class session_table {
 public:
  explicit session_table(session_bounds bounds) : bounds_(bounds) {}

  enum class verdict : std::uint8_t { fresh, repeated, forgotten };
  struct looked_up {
    verdict what = verdict::fresh;
    std::shared_ptr<const std::string> answer;  // of repeated
    std::uint64_t floor = 0;                    // of forgotten
  };
  /// What is known of a command before it is executed.
  [[nodiscard]] looked_up look_up(std::string_view client, std::uint64_t seq) const;

  /// Remembers the answer of a fresh command and forgets the oldest beyond the bounds.
  void remember(std::string_view client, std::uint64_t seq, std::uint64_t index,
                std::string answer);
  /// A repeated or forgotten command of the client: it counts as recently used.
  void touch(std::string_view client, std::uint64_t index);

  /// Puts a record of a snapshot back. False if it contradicts one that was restored before.
  bool restore_session(std::string_view client, std::uint64_t floor, std::uint64_t last_index);
  bool restore_result(std::string_view client, std::uint64_t seq, std::uint64_t index,
                      std::string answer);

  [[nodiscard]] const session_tree& clients() const noexcept { return clients_; }
  [[nodiscard]] const result_tree& results() const noexcept { return results_; }
  [[nodiscard]] hash128 sum() const noexcept { return sum_; }

  [[nodiscard]] static hash128 hash(const session& s);
  [[nodiscard]] static hash128 hash(const session_result& r);

 private:
  void replace(const session& old, session now);
  void forget_result(result_order::probe which);
  void forget_oldest_client();
  void enforce_window(std::string_view client);

  session_bounds bounds_;
  session_tree clients_;
  result_tree results_;
  // By log index, which names at most one command each: who goes first.
  std::map<std::uint64_t, std::shared_ptr<const std::string>> clients_by_age_;
  struct aged_result {
    std::shared_ptr<const std::string> client;
    std::uint64_t seq;
  };
  std::map<std::uint64_t, aged_result> results_by_age_;
  hash128 sum_;
};

}  // namespace blixard::state
