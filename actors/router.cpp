#include "actors/router.hpp"

#include <random>

#include "actors/frames.hpp"
#include "runtime/net/address.hpp"

namespace blixard::actors {
namespace {

using metrics::metric;

routing::lanes_config lane_bounds() {
  routing::lanes_config c;
  c.lane[0] = {.max_items = 65'536, .max_bytes = 64 * limits::MiB, .retry_after_ms = 0};
  c.lane[1] = {.max_items = 65'536, .max_bytes = 256 * limits::MiB, .retry_after_ms = 10};
  c.lane[2] = {
      .max_items = limits::proposals_max, .max_bytes = 256 * limits::MiB, .retry_after_ms = 50};
  c.lane[3] = {.max_items = 4096, .max_bytes = 64 * limits::MiB, .retry_after_ms = 200};
  return c;
}

// The class of a request is ours to say: a client cannot promote itself.
priority class_of(const frame& f, bool from_peer) noexcept {
  return is_request(f.header().kind) || !from_peer ? priority::normal : f.header().cls;
}

error make_overloaded(std::uint32_t retry_after_ms) {
  auto e = make_error(errc::overloaded, "the node has more requests than it can queue",
                      "try again after the time it names");
  e.retry_after_ms = retry_after_ms;
  return e;
}

// The body is a slice of the chunk that the socket was read into. A small one that waits for
// seconds must not keep the whole chunk.
frame_ptr with_own_memory(const frame_ptr& f) {
  const auto& body = f->body();
  if (!body.owner() || body.size() >= body.owner()->capacity() / 4) return f;
  return frame::make(f->header(), slice::copy_of(body.bytes()));
}

// Looks at the bytes: field 1 of pb::Answer comes first and is a small varint.
bool says_not_leader(const frame& answer) noexcept {
  const auto bytes = answer.body().bytes();
  return bytes.size() >= 2 && bytes[0] == std::byte{0x08} &&
         bytes[1] == static_cast<std::byte>(errc::not_leader);
}

// A newer heartbeat (or answer to one) of the same node replaces the waiting one.
std::uint64_t supersede_key(const peer_frame& f) noexcept {
  return f.frame->header().request.value();
}

}  // namespace

router::router(caf::actor_config& config, host* where, const links& to, shared_facts& facts,
               net::loop* loop, net::transport* io,
               std::function<void(const std::vector<member_address>&)> remember,
               routing::inbound_budget* budget)
    : hosted(config, where),
      to_(to),
      facts_(facts),
      loop_(loop),
      io_(io),
      remember_(std::move(remember)),
      lanes_(lane_bounds()),
      budget_(budget),
      forwarded_count_(facts.registry->counter<metric::router_forwarded>()),
      overloaded_count_(facts.registry->counter<metric::router_overloaded>()),
      invalid_count_(facts.registry->counter<metric::router_invalid>()) {
  std::random_device dice;
  last_forward_ = request_id{std::uint64_t{dice()} << 32 | dice()};
  auto& r = *facts.registry;
  for (unsigned c = 0; c < priority_count; ++c) {
    const auto& lane = lanes_.counters(static_cast<priority>(c));
    bindings_.push_back(r.bind<metric::router_queued>(
        [&lane] { return static_cast<double>(lane.queued_items.get()); }, c));
    bindings_.push_back(r.bind<metric::router_lane_refused>(
        [&lane] { return static_cast<double>(lane.dropped.get()); }, c));
  }
}

router::behavior_type router::make_behavior() {
  return {
      [this](inbound& in) { receive(in); },
      [this](const to_peers& out) { send_to_peers(out); },
      [this](const answers& a) {
        for (const auto& one : a.list) reply(one.to, one.frame);
      },
      [this](local_request& request) { start_local(request); },
      [this](drain_atom) { drain(); },
      [this](const leader_changed& change) { set_leader(change); },
      [this](reroute& r) { dispatch_again(r); },
      [this](const members_changed& change) { set_members(change); },
      [this](const connection_closed& c) { closed(c); },
      [this](tick_atom) { tick(); },
      [this](stop_atom) { stopping_ = true; },
  };
}

std::uint64_t router::now() const noexcept {
  return loop_ != nullptr ? loop_->now_ns() : ticks_ * tick_ns;
}

std::uint64_t router::deadline_of(const frame_header& h) const noexcept {
  return now() + (h.deadline_ms == 0 ? patience_ns : h.deadline_ms * std::uint64_t{1'000'000});
}

// ---------------------------------------------------------------- in

void router::receive(inbound& in) {
  if (in.peer) heard_on_[in.peer] = in.connection;
  for (auto& f : in.frames) {
    const auto deadline = deadline_of(f->header());
    enter({in.connection, in.peer, std::move(f), {}, deadline});
  }
  schedule_drain();
}

void router::enter(arrival a) {
  const bool from_peer = static_cast<bool>(a.peer);
  const auto& h = a.frame->header();
  if (!from_peer && !is_request(h.kind)) {
    invalid_count_.add();
    if (io_ != nullptr) io_->close(a.connection);
    return;
  }
  if ((h.flags & net::frame_shed) != 0) {
    overloaded_count_.add();
    if (io_ != nullptr)
      (void)io_->send(a.connection, error_answer(h.request, make_overloaded(100), facts_.self));
    return;
  }
  const auto cls = class_of(*a.frame, from_peer);
  const auto size = a.frame->wire_size();
  if (!from_peer && !admit(a, cls)) return;
  const auto waiting = is_request(h.kind) ? origin_of(a) : origin{};
  const auto pushed = lanes_.push(cls, std::move(a), size);
  if (pushed.result == routing::push_result::refused && waiting.where != origin::kind::nobody) {
    overloaded_count_.add();
    refuse(waiting, make_overloaded(pushed.retry_after_ms));
  }
}

bool router::admit(arrival& a, priority cls) {
  const auto& h = a.frame->header();
  auto credit = admission_.admit(a.connection, cls, now());
  if (!credit.admitted && clients_.due(now())) {
    expire();  // what is late gives its credit back now, not with the next tick
    credit = admission_.admit(a.connection, cls, now());
  }
  const auto bytes = a.frame->wire_size();
  if (credit.admitted && charge(routing::inbound_use::requests, bytes)) {
    a.ticket = clients_.add({a.connection, h.request, bytes}, a.deadline_ns);
    return true;
  }
  if (credit.admitted) {
    admission_.release(a.connection, cls, now());
    credit.retry_after_ms = 100;
  }
  overloaded_count_.add();
  if (io_ != nullptr)
    (void)io_->send(a.connection,
                    error_answer(h.request, make_overloaded(credit.retry_after_ms), facts_.self));
  return false;
}

bool router::charge(routing::inbound_use use, std::size_t bytes) noexcept {
  return budget_ == nullptr || budget_->take(use, bytes);
}

void router::give_back(routing::inbound_use use, std::size_t bytes) noexcept {
  if (budget_ != nullptr && bytes > 0) budget_->give_back(use, bytes);
}

void router::schedule_drain() {
  if (drain_scheduled_ || lanes_.empty()) return;
  drain_scheduled_ = true;
  send(this, drain_atom::value);
}

void router::drain() {
  drain_scheduled_ = false;
  collected out;
  for (std::size_t n = 0; n < frames_per_drain; ++n) {
    auto item = lanes_.pop();
    if (!item) break;
    dispatch(item->value, out);
  }
  hand_on(out);
  schedule_drain();
}

origin router::origin_of(const arrival& a) const {
  const auto& h = a.frame->header();
  return {.where = a.peer ? origin::kind::peer : origin::kind::connection,
          .connection = a.connection,
          .peer = a.peer,
          .request = h.request,
          .deadline_ns = a.deadline_ns,
          .ticket = a.ticket};
}

void router::dispatch(arrival& a, collected& out) {
  const auto add_raft = [&](pooled_vector<raft_frames>& list) {
    if (list.empty() || list.back().from != a.peer) list.push_back({a.peer, {}});
    list.back().frames.push_back(std::move(a.frame));
  };
  switch (a.frame->header().kind) {
    case frame_kind::raft:
      add_raft(a.frame->header().cls == priority::critical ? out.critical : out.raft);
      break;
    case frame_kind::answer:
      deliver_answer(a.peer, a.frame);
      break;
    case frame_kind::lease:
      send(to_.raft, lease_frame{a.peer, std::move(a.frame)});
      break;
    case frame_kind::lease_grant:
      send(to_.vm, lease_granted{std::move(a.frame)});
      break;
    case frame_kind::command:
    case frame_kind::planned:
    case frame_kind::query:
    case frame_kind::local:
    case frame_kind::admin: {
      const auto from = origin_of(a);
      if (from.is_late(now())) break;  // who asked has been told, or has told its own client
      dispatch_request(from, std::move(a.frame), out);
      break;
    }
    case frame_kind::removed:
      send(to_.raft, removed_notice{a.peer});
      break;
    case frame_kind::hello:
      invalid_count_.add();
      break;
  }
}

void router::hand_on(collected& out) {
  for (auto& m : out.critical) send<caf::message_priority::high>(to_.raft, std::move(m));
  for (auto& m : out.raft) send(to_.raft, std::move(m));
  if (!out.commands.list.empty()) send(to_.raft, std::move(out.commands));
  if (!out.queries.list.empty()) send(to_.raft, std::move(out.queries));
}

// ---------------------------------------------------------------- requests

void router::dispatch_request(const origin& from, frame_ptr frame, collected& out) {
  if (stopping_) {
    refuse(from, make_error(errc::unavailable, "the node is stopping", "ask another node"));
    return;
  }
  const auto& h = frame->header();
  if (h.kind != frame_kind::local) {
    to_leader(from, std::move(frame), out);
    return;
  }
  if (h.target && h.target != facts_.self)
    forward(from, frame, h.target);
  else
    send(to_.state, local_query{from, std::move(frame)});
}

void router::to_leader(const origin& from, frame_ptr frame, collected& out) {
  if (!leader_is_reachable()) {
    hold(from, std::move(frame));
    return;
  }
  if (leader_ != facts_.self) {
    // A peer sent it because it took us for the leader: passing it on could go in circles.
    if (from.where == origin::kind::peer)
      refuse(from, make_error(errc::not_leader, "node " + to_string(leader_) + " leads", ""));
    else
      forward(from, frame, leader_);
    return;
  }
  switch (frame->header().kind) {
    case frame_kind::command:
      out.commands.list.push_back({from, std::move(frame)});
      break;
    case frame_kind::query:
      out.queries.list.push_back({from, std::move(frame)});
      break;
    case frame_kind::planned:
      send(to_.cache, plan_command{from, std::move(frame)});
      break;
    case frame_kind::admin:
      send(to_.raft, admin_request{from, std::move(frame)});
      break;
    case frame_kind::hello:
    case frame_kind::raft:
    case frame_kind::local:
    case frame_kind::answer:
    case frame_kind::lease:
    case frame_kind::lease_grant:
    case frame_kind::removed:
      break;
  }
}

bool router::leader_is_reachable() const {
  return leader_ && (leader_ == facts_.self || (io_ != nullptr && io_->connected(leader_)));
}

void router::hold(const origin& from, frame_ptr frame) {
  // A client's is charged as long as it is open, which is longer.
  const auto charged = from.where == origin::kind::peer ? frame->wire_size() : 0;
  if (held_.size() >= held_max || (charged > 0 && !charge(routing::inbound_use::held, charged))) {
    overloaded_count_.add();
    refuse(from, make_overloaded(100));
    return;
  }
  frame = with_own_memory(frame);
  const auto t = now();
  auto until = t + hold_ns;
  // Told before the client gives up, it knows that nothing was done.
  if (from.deadline_ns > t) {
    const auto left = from.deadline_ns - t;
    until = std::min(until, from.deadline_ns - std::max(left / 8, std::min(left, answer_ns)));
  }
  held_.push_back({from, std::move(frame), until, charged});
}

void router::release_held() {
  if (held_.empty() || !leader_is_reachable()) return;
  collected out;
  for (auto waiting = std::exchange(held_, {}); auto& h : waiting) {
    give_back(routing::inbound_use::held, h.charged);
    dispatch_request(h.from, std::move(h.frame), out);
  }
  hand_on(out);
}

void router::forward(const origin& from, const frame_ptr& frame, node_id to) {
  if (forwarded_.size() >= forwarded_max) {
    overloaded_count_.add();
    refuse(from, make_overloaded(100));
    return;
  }
  const auto id = last_forward_ = last_forward_.next();
  auto header = frame->header();
  const bool changes = header.kind == frame_kind::command || header.kind == frame_kind::planned ||
                       header.kind == frame_kind::admin;
  header.request = id;
  header.cls = priority::normal;
  if (io_ == nullptr || !io_->send_to(to, net::channel::main, frame->with_header(header))) {
    refuse(from,
           make_error(errc::unavailable, "node " + to_string(to) + " is not connected to this node",
                      "try again, or ask another node"));
    return;
  }
  forwarded_count_.add();
  forwarded_.emplace(id, forwarded{from, frame, to, changes});
}

void router::dispatch_again(reroute& r) {
  if (!r.target) {
    collected out;
    dispatch_request(r.from, std::move(r.frame), out);
    hand_on(out);
    return;
  }
  auto header = r.frame->header();
  header.target = r.target;
  forward(r.from, r.frame->with_header(header), r.target);
}

void router::start_local(local_request& request) {
  const auto& h = request.frame->header();
  if (local_.size() >= local_max) {
    overloaded_count_.add();
    tell({std::move(request.reply_to), h.request},
         error_answer(h.request, make_overloaded(100), facts_.self));
    return;
  }
  const auto deadline = deadline_of(h);
  const origin from{.where = origin::kind::local,
                    .request = h.request,
                    .deadline_ns = deadline,
                    .ticket = local_.add({std::move(request.reply_to), h.request}, deadline)};
  collected out;
  dispatch_request(from, std::move(request.frame), out);
  hand_on(out);
}

// ---------------------------------------------------------------- answers

void router::deliver_answer(node_id from, const frame_ptr& frame) {
  const auto it = forwarded_.find(frame->header().request);
  if (it == forwarded_.end()) return;  // expired: its asker was told
  if (it->second.via != from) return;  // to a former life of this node, by somebody else
  auto f = std::move(it->second);
  forwarded_.erase(it);
  // The node that we took for the leader is not: the request surely went nowhere, so it may wait
  // here until we know better.
  if (says_not_leader(*frame) && f.frame->header().kind != frame_kind::local) {
    if (leader_ == f.via) leader_ = node_id{};
    collected out;
    dispatch_request(f.from, std::move(f.frame), out);
    hand_on(out);
    return;
  }
  reply(f.from, frame);
}

void router::reply(const origin& to, const frame_ptr& answer) {
  if (to.where == origin::kind::nobody) return;
  if (to.where == origin::kind::local) {
    if (const auto asker = local_.close(to.ticket)) tell(*asker, answer);
    return;
  }
  // Whose deadline passed has been told so, and has its credit back.
  if (to.where == origin::kind::connection) {
    const auto asked = clients_.close(to.ticket);
    if (!asked) return;
    give_back(routing::inbound_use::requests, asked->bytes);
    admission_.release(to.connection, priority::normal, now());
  }
  auto frame = answer;
  if (frame->header().request != to.request || frame->header().cls != priority::normal) {
    auto header = frame->header();
    header.request = to.request;
    header.cls = priority::normal;
    frame = frame->with_header(header);
  }
  if (io_ == nullptr) return;
  if (to.where == origin::kind::connection)
    (void)io_->send(to.connection, std::move(frame));
  else
    (void)io_->send_to(to.peer, net::channel::main, std::move(frame));
}

void router::tell(const local_asker& asker, const frame_ptr& answer) {
  caf::anon_send(caf::actor_cast<caf::actor>(asker.who), local_answer{asker.request, answer});
}

void router::refuse(const origin& to, const error& why) {
  if (to.where == origin::kind::nobody) return;
  reply(to, error_answer(to.request, why, facts_.self));
}

// ---------------------------------------------------------------- peers

void router::send_to_peers(const to_peers& out) {
  if (io_ == nullptr) return;
  for (const auto& f : out.frames) {
    const auto channel = f.bulk ? net::channel::bulk : net::channel::main;
    if (io_->send_to(f.to, channel, f.frame, supersede_key(f))) continue;
    // Who has left is no peer any more, but can be told so on the connection that it made.
    if (f.frame->header().kind != frame_kind::removed) continue;
    if (const auto it = heard_on_.find(f.to); it != heard_on_.end())
      (void)io_->send(it->second, f.frame);
  }
}

void router::set_leader(const leader_changed& change) {
  leader_ = change.leader;
  release_held();
}

void router::set_members(const members_changed& change) {
  std::unordered_map<node_id, std::string> next;
  for (const auto& m : change.members) {
    if (m.id == facts_.self) continue;
    next.emplace(m.id, m.address);
    if (io_ == nullptr) continue;
    if (const auto where = net::address::parse(m.address)) io_->set_peer(m.id, *where);
  }
  if (!change.all) next.insert(members_.begin(), members_.end());
  for (const auto& [id, address] : members_)
    if (!next.contains(id) && io_ != nullptr) io_->remove_peer(id);
  if (next == members_) return;
  members_ = std::move(next);
  if (remember_) remember_(change.members);
}

void router::closed(const connection_closed& c) {
  if (!c.peer) {
    if (admission_.outstanding(c.connection) > 0)
      clients_.drop_if([&](const client_request& r) {
        if (r.connection != c.connection) return false;
        give_back(routing::inbound_use::requests, r.bytes);
        return true;
      });
    admission_.drop(c.connection, now());
    return;
  }
  publish_links();  // whether a member is there is not asked of a view that is a tick old
  if (const auto it = heard_on_.find(c.peer); it != heard_on_.end() && it->second == c.connection)
    heard_on_.erase(it);
  // What was forwarded over it may or may not have happened.
  for (auto it = forwarded_.begin(); it != forwarded_.end();) {
    if (it->second.via != c.peer) {
      ++it;
      continue;
    }
    auto f = std::move(it->second);
    it = forwarded_.erase(it);
    if (f.frame->header().kind == frame_kind::query) {
      hold(f.from, std::move(f.frame));  // asking again changes nothing
      continue;
    }
    const auto lost = "the connection to node " + to_string(f.via) + " was lost before it answered";
    refuse(f.from, f.changes_state ? make_error(errc::connection_lost, lost,
                                                "the command may or may not have been applied")
                                   : make_error(errc::unavailable, lost, "ask again"));
  }
}

// Its asker has waited as long as it wanted. The request itself may still be carried out.
void router::expire() {
  const auto t = now();
  const auto late = make_error(errc::timeout, "no answer before the request's deadline",
                               "a command may or may not have been applied");
  clients_.expire(t, [&](const client_request& r) {
    give_back(routing::inbound_use::requests, r.bytes);
    admission_.release(r.connection, priority::normal, t);
    if (io_ != nullptr) (void)io_->send(r.connection, error_answer(r.request, late, facts_.self));
  });
  local_.expire(t, [&](const local_asker& asker) {
    tell(asker, error_answer(asker.request, late, facts_.self));
  });
  std::erase_if(forwarded_, [t](const auto& f) { return f.second.from.deadline_ns <= t; });
}

void router::tick() {
  ++ticks_;
  const auto t = now();
  std::erase_if(held_, [&](const held& h) {
    if (h.until_ns > t) return false;
    give_back(routing::inbound_use::held, h.charged);
    refuse(h.from, make_error(errc::no_leader, "the cluster has no leader at the moment",
                              "a majority of its members must be up and connected"));
    return true;
  });
  // An answer that came late may have said that a node does not lead which leads again by now.
  if (!leader_) leader_ = facts_.flags->leader();
  release_held();  // a leader that was known but not connected may be by now
  expire();
  publish_links();
}

void router::publish_links() {
  if (io_ == nullptr) return;
  auto view = std::make_shared<link_view>();
  for (const auto& p : io_->peers())
    view->links.push_back({p.node, p.connected, p.rtt_us, p.where});
  facts_.links.store(std::move(view));
}

}  // namespace blixard::actors
