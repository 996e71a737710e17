#include "tests/sim/clients.hpp"

#include <algorithm>
#include <cstdlib>

#include "messages/cluster.pb.h"
#include "messages/errc.hpp"
#include "tests/sim/failure.hpp"

namespace blixard::sim {
namespace {

constexpr std::uint64_t tries_max = 8;

op_result result_of(const pb::Answer& a) {
  switch (static_cast<errc>(a.error())) {
    case errc::ok:
      return op_result::ok;
    case errc::conflict:
      return op_result::conflict;
    case errc::not_found:
      return op_result::not_found;
    default:
      throw failure("answers",
                    "unexpected error " + std::to_string(a.error()) + ": " + a.message());
  }
}

std::uint64_t value_of(const pb::Answer& a) {
  return a.error() == 0 ? std::strtoull(a.kv().value().c_str(), nullptr, 10) : 0;
}

}  // namespace

clients::clients(std::uint64_t seed, std::uint32_t count, std::uint64_t ops, std::uint64_t nodes)
    : dice_(seed),
      left_(ops),
      nodes_(nodes),
      keys_(std::max<std::uint64_t>(2, ops / 50)),
      clients_(count),
      seen_(keys_, 0) {}

bool clients::done() const noexcept {
  return left_ == 0 && std::ranges::none_of(clients_, &one::busy);
}

void clients::start(one& c, std::uint64_t now) {
  --left_;
  c.key = dice_.below(keys_);
  c.op = {};
  const auto what = dice_.below(10);
  c.op.kind = what < 4   ? op_kind::get
              : what < 7 ? op_kind::put
              : what < 9 ? op_kind::cas
                         : op_kind::erase;
  if (c.op.kind == op_kind::put || c.op.kind == op_kind::cas) c.op.value = ++next_value_;
  if (c.op.kind == op_kind::cas) c.op.expected = seen_[c.key];
  c.op.invoked = now;
  ++c.seq;
  c.tries = 0;
  c.busy = true;
  c.may_have_run = false;
}

client_request clients::encode(std::uint32_t client, const one& c) const {
  client_request r{.client = client, .attempt = c.attempt};
  const auto key = key_name(c.key);
  pb::Command command;
  command.set_client("c" + std::to_string(client));
  command.set_seq(c.seq);
  switch (c.op.kind) {
    case op_kind::get:
      r.read = true;
      r.body = slice::copy_of(key);
      return r;
    case op_kind::put:
      command.mutable_kv_put()->set_key(key);
      command.mutable_kv_put()->set_value(std::to_string(c.op.value));
      break;
    case op_kind::cas:
      command.mutable_kv_cas()->set_key(key);
      command.mutable_kv_cas()->set_expected(std::to_string(c.op.expected));
      command.mutable_kv_cas()->set_value(std::to_string(c.op.value));
      break;
    case op_kind::erase:
      command.mutable_kv_delete()->set_key(key);
      break;
  }
  r.body = slice::copy_of(command.SerializeAsString());
  return r;
}

clients::action clients::on_time(std::uint32_t client, std::uint64_t now) {
  auto& c = clients_[client];
  if (c.busy && now < c.retry_at) return {.wake_at = c.retry_at};
  if (c.busy && c.open) {  // nothing was heard
    c.may_have_run = true;
    c.guess = {};
    c.open = false;
  }
  if (c.busy && c.tries >= tries_max) give_up(c);
  if (!c.busy) {
    if (left_ == 0) return {};
    start(c, now);
  }
  if (!c.guess) c.guess = node_id{1 + dice_.below(nodes_)};
  ++c.tries;
  ++c.attempt;
  c.open = true;
  c.retry_at = now + (dice_.one_in(3) ? 1000 : 250) * ms;  // how long it waits for an answer
  return {.send = true, .to = c.guess, .request = encode(client, c), .wake_at = c.retry_at};
}

bool clients::on_reply(const client_reply& r, std::uint64_t now) {
  auto& c = clients_[r.client];
  if (!c.busy || r.attempt != c.attempt || !c.open) return false;
  c.open = false;
  c.guess = r.leader;
  c.retry_at = now + dice_.below(20 * ms);
  switch (r.kind) {
    case reply_kind::answered:
      if (r.answer == nullptr) {  // a mutant that does not wait for one
        finish(c, now, op_result::ok, c.op.value);
        return true;
      }
      if (c.op.kind != op_kind::get)
        acknowledged_.push_back({log_index{r.answer->index()}, term{r.answer->term()}});
      finish(c, now, result_of(*r.answer),
             c.op.kind == op_kind::get ? value_of(*r.answer) : c.op.value);
      return true;
    case reply_kind::not_applied:
      return true;
    case reply_kind::unknown:
      c.may_have_run = true;
      return true;
  }
  return true;
}

void clients::finish(one& c, std::uint64_t now, op_result result, std::uint64_t value) {
  c.op.result = result;
  c.op.value = value;
  c.op.returned = now;
  if (value != 0) seen_[c.key] = value;
  history_[c.key].push_back(c.op);
  ++answered_;
  c.busy = false;
}

// Without any attempt that may have run, the operation certainly did not happen: it is left out of
// the history, and whoever sees its value gives it away.
void clients::give_up(one& c) {
  c.busy = false;
  if (!c.may_have_run) return;
  c.op.result = op_result::unknown;
  history_[c.key].push_back(c.op);
}

void clients::close() {
  for (auto& c : clients_) {
    if (!c.busy) continue;
    c.may_have_run = c.may_have_run || c.open;
    give_up(c);
  }
}

void clients::final_read(std::uint64_t key, std::uint64_t value, std::uint64_t now) {
  history_[key].push_back({.kind = op_kind::get,
                           .value = value,
                           .result = op_result::ok,
                           .invoked = now,
                           .returned = now + 1});
}

}  // namespace blixard::sim
