// See sessions.hpp.
#include "runtime/state/sessions.hpp"

#include <algorithm>
#include <vector>

#include "messages/check.hpp"

namespace blixard::state {
namespace {

std::string_view as_bytes(const std::uint64_t& n) noexcept {
  return {reinterpret_cast<const char*>(&n), sizeof n};
}

}  // namespace

hash128 session_table::hash(const session& s) {
  // `results` is left out: it only counts what is hashed on its own.
  return hash_of(object_kind::session, s.floor, *s.client, as_bytes(s.last_index));
}

hash128 session_table::hash(const session_result& r) {
  hash128 h = hash_of(object_kind::result, r.seq, *r.client, *r.answer);
  h += hash_of(object_kind::result, r.index, *r.client, as_bytes(r.seq));
  return h;
}

session_table::looked_up session_table::look_up(std::string_view client, std::uint64_t seq) const {
  const session* s = clients_.find(client);
  if (s == nullptr) return {};
  if (const auto* r = results_.find(result_order::probe{client, seq}))
    return {verdict::repeated, r->answer, s->floor};
  if (seq <= s->floor) return {verdict::forgotten, nullptr, s->floor};
  return {};
}

void session_table::remember(std::string_view client, std::uint64_t seq, std::uint64_t index,
                             std::string answer) {
  session now;
  if (const session* known = clients_.find(client)) {
    now = *known;
    sum_ -= hash(*known);
    clients_by_age_.erase(known->last_index);
  } else {
    if (clients_.size() >= bounds_.clients) forget_oldest_client();
    now.client = std::make_shared<const std::string>(client);
  }
  now.last_index = index;
  ++now.results;
  sum_ += hash(now);
  clients_by_age_.emplace(index, now.client);

  session_result r{now.client, seq, index, std::make_shared<const std::string>(std::move(answer))};
  sum_ += hash(r);
  results_by_age_.emplace(index, aged_result{now.client, seq});
  const auto name = now.client;
  const auto held = now.results;
  clients_.put(std::move(now));
  CHECK(results_.put(std::move(r)));

  if (held > bounds_.window) enforce_window(*name);
  while (results_.size() > bounds_.results) {
    const aged_result oldest = results_by_age_.begin()->second;
    forget_result({*oldest.client, oldest.seq});
  }
}

void session_table::touch(std::string_view client, std::uint64_t index) {
  const session* known = clients_.find(client);
  CHECK(known != nullptr);
  session now = *known;
  now.last_index = index;
  clients_by_age_.erase(known->last_index);
  clients_by_age_.emplace(index, now.client);
  replace(*known, std::move(now));
}

void session_table::replace(const session& old, session now) {
  sum_ -= hash(old);
  sum_ += hash(now);
  clients_.put(std::move(now));
}

void session_table::enforce_window(std::string_view client) {
  std::uint64_t lowest = 0;
  results_.for_each_from(result_order::probe{client, 0}, [&](const session_result& r) {
    lowest = r.seq;
    return false;
  });
  forget_result({client, lowest});
}

void session_table::forget_result(result_order::probe which) {
  session_result gone;
  CHECK(results_.erase(which, &gone));
  sum_ -= hash(gone);
  results_by_age_.erase(gone.index);
  const session* s = clients_.find(*gone.client);
  CHECK(s != nullptr);
  session now = *s;
  now.floor = std::max(now.floor, gone.seq);
  --now.results;
  replace(*s, std::move(now));
}

void session_table::forget_oldest_client() {
  const auto oldest = clients_by_age_.begin();
  const auto client = oldest->second;
  std::vector<session_result> gone;
  results_.for_each_from(result_order::probe{*client, 0}, [&](const session_result& r) {
    if (*r.client != *client) return false;
    gone.push_back(r);
    return true;
  });
  for (const auto& r : gone) {
    sum_ -= hash(r);
    results_by_age_.erase(r.index);
    results_.erase(result_order::probe{*client, r.seq});
  }
  clients_by_age_.erase(oldest);
  session s;
  CHECK(clients_.erase(std::string_view{*client}, &s));
  sum_ -= hash(s);
}

bool session_table::restore_session(std::string_view client, std::uint64_t floor,
                                    std::uint64_t last_index) {
  session s{std::make_shared<const std::string>(client), floor, last_index, 0};
  if (clients_.find(client) != nullptr) return false;
  if (!clients_by_age_.emplace(last_index, s.client).second) return false;
  sum_ += hash(s);
  clients_.put(std::move(s));
  return true;
}

bool session_table::restore_result(std::string_view client, std::uint64_t seq, std::uint64_t index,
                                   std::string answer) {
  const session* known = clients_.find(client);
  if (known == nullptr || results_.find(result_order::probe{client, seq}) != nullptr) return false;
  session s = *known;
  if (!results_by_age_.emplace(index, aged_result{s.client, seq}).second) return false;
  session_result r{s.client, seq, index, std::make_shared<const std::string>(std::move(answer))};
  sum_ += hash(r);
  results_.put(std::move(r));
  ++s.results;  // not part of its hash
  clients_.put(std::move(s));
  return true;
}

}  // namespace blixard::state
