// Clients that read and write keys through whatever node they believe to lead, one operation at a
// time each, and remember what they were told. They retry with the same operation id; where they
// give up, the outcome is unknown, unless every attempt was certainly refused.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/linear.hpp"
#include "tests/sim/site.hpp"

namespace blixard::sim {

class clients {
 public:
  struct action {  // what the world has to do for a client
    bool send = false;
    node_id to;
    client_request request;
    std::uint64_t wake_at = 0;  // call on_time() then; 0: no more
  };

  clients(std::uint64_t seed, std::uint32_t count, std::uint64_t ops, std::uint64_t nodes);

  /// A client's timer: next operation, or a retry.
  action on_time(std::uint32_t client, std::uint64_t now);
  /// A reply; true if the client wants on_time() at once.
  bool on_reply(const client_reply& r, std::uint64_t now);
  /// No new operations; the last ones may finish.
  void stop() noexcept { left_ = 0; }
  [[nodiscard]] bool done() const noexcept;
  /// What is still under way may have happened or not.
  void close();
  /// Adds reads of every key that were made when all was over; `value` 0: no such key.
  void final_read(std::uint64_t key, std::uint64_t value, std::uint64_t now);

  [[nodiscard]] std::uint64_t keys() const noexcept { return keys_; }
  [[nodiscard]] static std::string key_name(std::uint64_t key) { return "k" + std::to_string(key); }
  [[nodiscard]] const std::map<std::uint64_t, std::vector<operation>>& history() const noexcept {
    return history_;
  }
  struct acknowledged_write {
    log_index index;
    blixard::term term;
  };
  [[nodiscard]] const std::vector<acknowledged_write>& acknowledged() const noexcept {
    return acknowledged_;
  }
  [[nodiscard]] std::uint64_t answered() const noexcept { return answered_; }

 private:
  struct one {
    operation op;
    std::uint64_t key = 0;
    std::uint64_t seq = 0;
    std::uint64_t attempt = 0;
    std::uint64_t tries = 0;  // of this operation
    bool busy = false;
    bool open = false;          // an attempt is under way
    bool may_have_run = false;  // an attempt ended without a certain outcome
    node_id guess;
    std::uint64_t retry_at = 0;
  };

  void start(one& c, std::uint64_t now);
  void finish(one& c, std::uint64_t now, op_result result, std::uint64_t value);
  void give_up(one& c);
  [[nodiscard]] client_request encode(std::uint32_t client, const one& c) const;

  dice dice_;
  std::uint64_t left_;
  std::uint64_t nodes_;
  std::uint64_t keys_;
  std::uint64_t next_value_ = 0;
  std::uint64_t answered_ = 0;
  std::vector<one> clients_;
  std::vector<std::uint64_t> seen_;  // by key: a value that somebody saw or wrote, for cas
  std::map<std::uint64_t, std::vector<operation>> history_;
  std::vector<acknowledged_write> acknowledged_;
};

}  // namespace blixard::sim
