#include "runtime/net/transport.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "messages/check.hpp"
#include "runtime/net/tls_credentials.hpp"
#include "runtime/net/transport_impl.hpp"

namespace blixard::net {
namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;
constexpr int accepts_per_turn = 64;
// A handshake costs as much as some thousand frames: strangers get that many of a turn, not more.
constexpr int tls_accepts_per_turn = 8;
constexpr std::uint64_t same_refusal_ns = 60'000 * ns_per_ms;
constexpr std::uint64_t accept_pause_ns = 100 * ns_per_ms;
// Accepted connections that are neither clients nor peers, where many clients are allowed and where
// few are: without a hello (the oldest makes room), and refused ones that have not read it yet.
constexpr std::size_t few_strangers = 16;
constexpr std::size_t greeting_max = 256;
constexpr std::size_t refusals_at_once = 64;
// A peer whose connection was lost may know that before this node does.
constexpr std::size_t connections_per_peer_and_channel = 2;
// Peers that are not members as far as this node knows: new ones, and those that were removed.
constexpr std::size_t unknown_peers_max = 64;
// A client with less than this queued is not blamed when all queues together are too long, as long
// as all clients may have so much.
constexpr std::size_t blameless_queue_bytes = 1 * limits::MiB;

}  // namespace

transport::impl::impl(loop& l, routing::buffer_pool& pool, transport_handler& handler,
                      transport_config config)
    : loop_(l),
      handler_(handler),
      config_(std::move(config)),
      shared_(l, pool, config_.inbound),
      random_(config_.seed) {
  CHECK_GT(config_.frame_max_bytes, 0u);
  CHECK_GE(config_.send_queue_max_bytes, 16u);
  CHECK_GT(config_.ping_interval_ms, 0u);
  counters().clients_max.set(config_.clients_max);
  loop_.add_hook(*this);
  tick_ = loop_.every(config_.ping_interval_ms * ns_per_ms, [this] { tick(); });
  if (!config_.tls) return;
  tls_scratch_.make();
  hello refusal;  // to a stranger: nothing about the cluster
  refusal.role = peer_role::peer;
  refusal.node = config_.self;
  refusal.refusal = errc::unauthenticated;
  refusal.refusal_message = "node " + to_string(config_.self) +
                            " speaks TLS only: --tls-ca, --tls-cert and --tls-key are needed";
  const auto frame = encode_hello(refusal);
  const auto header = encode(frame->header());
  tls_plain_answer_.assign(reinterpret_cast<const char*>(header.data()), header.size());
  tls_plain_answer_ += frame->body().text();
}

transport::impl::~impl() {
  stopping_ = true;
  loop_.cancel(tick_);
  loop_.cancel(resume_accepting_);
  loop_.cancel(linger_);
  for (auto& [id, p] : peers_)
    for (auto* l : {&p.main, &p.bulk}) loop_.cancel(l->retry);
  for_each_session([](session& s) { s.close(close_reason::local); });
  if (listening_) loop_.unwatch(listener_.get());
  loop_.remove_hook(*this);
}

tl::expected<address, error> transport::impl::listen() {
  CHECK(!listener_);
  auto fd = listen_on(config_.bind);
  if (!fd) return tl::unexpected(std::move(fd.error()));
  if (const int code = loop_.watch(fd->get(), EPOLLIN, *this); code != 0)
    return tl::unexpected(make_error(
        errc::unavailable,
        "cannot watch " + config_.bind.to_string() + ": " + std::generic_category().message(code)));
  listener_ = std::move(*fd);
  listening_ = true;
  return local_endpoint(listener_.get());
}

hello transport::impl::own_hello() const {
  hello h;
  h.role = peer_role::peer;
  h.cluster = config_.cluster;
  h.node = config_.self;
  h.advertise = config_.advertise;
  h.version = config_.version;
  h.packs = true;
  return h;
}

// ---------------------------------------------------------------- connections

session* transport::impl::find(connection_id id) const noexcept {
  const auto at = id.value() & ((std::uint64_t{1} << place_bits) - 1);
  if (at >= table_.size() || !table_[at] || table_[at]->info().id != id) return nullptr;
  return table_[at].get();
}

session& transport::impl::open_session(connection_info about, unique_fd fd, link* out) {
  tune_stream_socket(fd.get(), config_.ping_timeout_ms);
  std::size_t at = table_.size();
  if (free_places_.empty()) {
    CHECK_LT(at, std::size_t{1} << place_bits);
    table_.emplace_back();
  } else {
    at = free_places_.back();
    free_places_.pop_back();
  }
  about.id = connection_id{++serial_ << place_bits | at};
  std::shared_ptr<tls_outcome> outcome;
  auto stream = make_stream(std::move(fd), out, outcome);
  table_[at] = std::make_unique<session>(*this, about, std::move(stream), out, std::move(outcome));
  if (out == nullptr) count_as(*table_[at], standing::greeting);
  return *table_[at];
}

std::unique_ptr<byte_stream> transport::impl::make_stream(unique_fd fd, const link* out,
                                                          std::shared_ptr<tls_outcome>& outcome) {
  if (!config_.tls) return make_socket_stream(std::move(fd));
  outcome = std::make_shared<tls_outcome>();
  tls_stream_options options{
      .dials = out != nullptr, .meant = {}, .plain_answer = tls_plain_answer_};
  if (out != nullptr) options.meant = out->peer;
  return std::make_unique<tls_stream>(
      std::move(fd), options, config_.tls->context(loop_.now_ns()).get(), tls_scratch_, outcome);
}

void transport::impl::tell_refused(link& l, const error& why) {
  const auto now = loop_.now_ns();
  if (l.refusal == why.message && now - l.refusal_ns < same_refusal_ns) return;
  l.refusal = why.message;
  l.refusal_ns = now;
  handler_.on_refused(l.peer, why);
}

void transport::impl::note_tls_failure(session& s, tls_failure what, const error& why) {
  counters().tls_failures[static_cast<std::size_t>(what)].add();
  if (link* l = s.out())
    tell_refused(*l, why);
  else if (stranger_lines_.take(loop_.now_ns()))
    handler_.on_stranger(s.info().remote, why, std::exchange(stranger_lines_.untold, 0));
}

void transport::impl::discard(session& s) {
  const auto at = s.info().id.value() & ((std::uint64_t{1} << place_bits) - 1);
  table_[at].reset();
  free_places_.push_back(at);
}

void transport::impl::session_closed(session& s) {
  if (s.announced()) counters().connections.sub(1);
  count_as(s, standing::dialled);  // in no bound any more
  closed_.push_back(&s);
  if (link* l = s.out()) link_lost(*l, s.why_closed());
}

void transport::impl::on_io(std::uint32_t) noexcept { accept_waiting(); }

void transport::impl::accept_waiting() {
  const int most = config_.tls ? tls_accepts_per_turn : accepts_per_turn;
  for (int i = 0; i < most; ++i) {
    auto next = accept_one(listener_.get());
    if (!next) {
      const bool exhausted = next.error() == EMFILE || next.error() == ENFILE ||
                             next.error() == ENOBUFS || next.error() == ENOMEM;
      if (exhausted) pause_accepting();
      if (next.error() == ECONNABORTED || next.error() == EINTR) continue;
      return;
    }
    counters().accepted.add();
    crowd_out();
    connection_info about;
    about.remote = next->remote;
    auto& s = open_session(about, std::move(next->fd), nullptr);
    if (!s.start(config_.handshake_timeout_ms)) s.close(close_reason::io_error);
  }
}

void transport::impl::count_as(session& s, standing next) {
  const auto id = s.info().id;
  const auto before = s.counts_as();
  if (before == standing::greeting) std::erase(greeting_, id);
  if (before == standing::client) counters().clients.sub(1);
  if (before == standing::refused) --refused_;
  if (next == standing::greeting) greeting_.push_back(id);
  if (next == standing::client) counters().clients.add(1);
  if (next == standing::refused) ++refused_;
  s.set_standing(next);
}

// A peer says hello as soon as it is connected: of those that have not, the one that has had the
// most time for it goes.
void transport::impl::crowd_out() {
  const auto most = std::clamp(config_.clients_max / 4, few_strangers, greeting_max);
  if (greeting_.size() >= most) find(greeting_.front())->close(close_reason::crowded_out);
}

bool transport::impl::let_in(session& s, const hello& theirs) {
  if (theirs.role == peer_role::peer) {
    if (!let_peer_in(s, theirs)) return false;
    count_as(s, standing::peer);
    return true;
  }
  if (counters().clients.get() >= config_.clients_max) return false;
  count_as(s, standing::client);
  return true;
}

// Looks at all connections, which costs less than the handshake that brought it here.
bool transport::impl::let_peer_in(const session& s, const hello& theirs) {
  const auto known = [this](node_id id) {
    const auto found = peers_.find(id);
    return found != peers_.end() && found->second.member;
  };
  const bool member = known(theirs.node);
  std::size_t same = 0;
  session* oldest = nullptr;
  for_each_session([&](session& other) {
    if (&other == &s || other.counts_as() != standing::peer) return;
    const auto& o = other.info();
    if (member ? o.node != theirs.node || o.chan != theirs.chan : known(o.node)) return;
    ++same;
    if (oldest == nullptr || o.id < oldest->info().id) oldest = &other;
  });
  if (!member) return same < unknown_peers_max;
  if (same >= connections_per_peer_and_channel) oldest->close(close_reason::replaced);
  return true;
}

bool transport::impl::may_wait_until_told(session& s) {
  const auto most = std::clamp(config_.clients_max / 4, few_strangers, refusals_at_once);
  if (refused_ >= most) return false;
  count_as(s, standing::refused);
  return true;
}

// Out of descriptors or memory: the listener stays readable, and without a pause the loop would
// turn for nothing.
void transport::impl::pause_accepting() {
  counters().accept_pauses.add();
  loop_.unwatch(listener_.get());
  listening_ = false;
  resume_accepting_ = loop_.after(accept_pause_ns, [this] {
    if (listener_) listening_ = loop_.watch(listener_.get(), EPOLLIN, *this) == 0;
    if (listener_ && !listening_) CHECK(false);
  });
}

// Beyond half of the bound for all queues, a client may have no more than its share of the other
// half: then all of them together stay within the bound.
std::size_t transport::impl::fair_share() const noexcept {
  const auto clients = std::max<std::uint64_t>(1, shared_.counters.clients.get());
  return std::min<std::size_t>(blameless_queue_bytes, config_.send_total_max_bytes / 2 / clients);
}

bool transport::impl::send(connection_id to, frame_ptr f, std::uint64_t key) {
  session* s = find(to);
  if (s == nullptr || !s->open()) {
    counters().of(f->header().cls).dropped_frames.add();
    return false;
  }
  if (s->send(f, key)) {
    std::size_t total = 0;
    for (const auto& c : counters().by_class) total += c.queued_bytes.get();
    if (s->info().role != peer_role::client || total <= config_.send_total_max_bytes / 2 ||
        s->conn().queued_bytes() <= fair_share())
      return true;
  }
  if (s->info().role == peer_role::client) s->close(close_reason::send_queue_full);
  return false;
}

void transport::impl::close(connection_id id) {
  if (session* s = find(id)) s->close(close_reason::local);
}

std::optional<connection_info> transport::impl::info(connection_id id) const {
  const session* s = find(id);
  if (s == nullptr || !s->announced()) return std::nullopt;
  return s->info();
}

// ---------------------------------------------------------------- peers

transport::impl::peer& transport::impl::peer_of(node_id id) {
  auto& p = peers_[id];
  p.main.peer = p.bulk.peer = id;
  p.main.chan = channel::main;
  p.bulk.chan = channel::bulk;
  return p;
}

void transport::impl::set_peer(node_id id, const address& where) {
  if (id == config_.self || !id) return;
  auto& p = peer_of(id);
  const bool moved = p.member && p.known != where && !p.override_;
  const bool added = !p.member;
  p.known = where;
  p.member = true;
  if (moved || added) redial(p);
}

void transport::impl::set_dial_override(node_id id, const address& where) {
  if (id == config_.self || !id) return;
  auto& p = peer_of(id);
  const bool moved = p.where() != where;
  p.override_ = where;
  if (moved && p.member) redial(p);
}

void transport::impl::remove_peer(node_id id) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  auto& p = found->second;
  p.member = false;
  hang_up(p.main, close_reason::replaced);
  hang_up(p.bulk, close_reason::replaced);
  if (!p.override_) peers_.erase(found);
}

void transport::impl::redial(peer& p) {
  hang_up(p.main, close_reason::replaced);
  hang_up(p.bulk, close_reason::replaced);
  dial(p.main);
}

// Closes without the retry that follows a loss.
void transport::impl::hang_up(link& l, close_reason reason) {
  loop_.cancel(l.retry);
  l.now = link::state::idle;
  l.failures = 0;
  if (session* s = std::exchange(l.via, nullptr)) s->close(reason);
}

void transport::impl::dial(link& l) {
  if (stopping_ || l.via != nullptr) return;
  loop_.cancel(l.retry);
  counters().dialled.add();
  const auto& where = peers_.at(l.peer).where();
  auto fd = start_connect(where);
  if (!fd) {
    counters().closed[static_cast<std::size_t>(close_reason::connect_failed)].add();
    note_unreachable(l);
    return schedule_retry(l);
  }
  connection_info about;
  about.role = peer_role::peer;
  about.chan = l.chan;
  about.node = l.peer;
  about.outgoing = true;
  about.remote = where;
  l.now = link::state::dialling;
  l.used_ns = loop_.now_ns();
  l.via = &open_session(about, std::move(*fd), &l);
  if (!l.via->start(config_.connect_timeout_ms)) l.via->close(close_reason::io_error);
}

void transport::impl::link_lost(link& l, close_reason reason) {
  if (l.via == nullptr) return;  // hung up on purpose
  const bool reached = l.via->announced();
  l.via = nullptr;
  if (reason == close_reason::idle) {
    l.now = link::state::idle;
    return;
  }
  // Refused: trying soon again does not help, but a person may repair it.
  if (reason == close_reason::refused || reason == close_reason::tls_failed)
    l.failures = std::max<std::uint32_t>(l.failures, 16);
  if (!reached) note_unreachable(l);
  schedule_retry(l);
}

void transport::impl::note_unreachable(const link& l) {
  if (l.failures == 0 && l.chan == channel::main && !stopping_)
    handler_.on_unreachable(l.peer, peers_.at(l.peer).where());
}

void transport::impl::schedule_retry(link& l) {
  l.now = link::state::waiting;
  if (stopping_) return;
  ++l.failures;
  const auto wait_ms =
      backoff_ms({config_.backoff_min_ms, config_.backoff_max_ms}, l.failures, random_);
  l.retry = loop_.after(wait_ms * ns_per_ms, [this, &l] {
    l.now = link::state::idle;
    if (l.chan == channel::main) dial(l);
  });
}

void transport::impl::peer_is_back(node_id id) {
  const auto found = peers_.find(id);
  if (found == peers_.end() || !found->second.member) return;
  for (link* l : {&found->second.main, &found->second.bulk}) {
    if (l->now != link::state::waiting) continue;
    loop_.cancel(l->retry);
    l->now = link::state::idle;
    if (l->chan == channel::main) dial(*l);
  }
}

bool transport::impl::send_to(node_id to, channel c, frame_ptr f, std::uint64_t key) {
  const auto found = peers_.find(to);
  if (found != peers_.end() && found->second.member) {
    link& l = found->second.of(c);
    if (l.now == link::state::idle && !stopping_) dial(l);
    if (l.via != nullptr) {
      l.used_ns = loop_.now_ns();
      return l.via->send(std::move(f), key);
    }
  }
  counters().of(f->header().cls).dropped_frames.add();
  return false;
}

std::size_t transport::impl::room(node_id to, channel c, priority cls) const {
  const auto found = peers_.find(to);
  if (found == peers_.end()) return 0;
  const link& l = found->second.of(c);
  return l.via == nullptr ? 0 : l.via->conn().room(cls);
}

bool transport::impl::connected(node_id id) const {
  const auto found = peers_.find(id);
  return found != peers_.end() && found->second.main.now == link::state::up;
}

peer_status transport::impl::status_of(node_id id, const peer& p) const {
  peer_status out;
  out.node = id;
  out.where = p.where();
  out.connected = p.main.now == link::state::up;
  for (const link* l : {&p.main, &p.bulk})
    if (l->via != nullptr) out.queued_bytes += l->via->conn().queued_bytes();
  if (!out.connected) return out;
  const auto us = p.main.via->rtt_ns() / 1'000;
  out.rtt_us = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(us, 1, UINT32_MAX));
  return out;
}

std::optional<peer_status> transport::impl::status(node_id id) const {
  const auto found = peers_.find(id);
  if (found == peers_.end() || !found->second.member) return std::nullopt;
  return status_of(id, found->second);
}

std::vector<peer_status> transport::impl::peers() const {
  std::vector<peer_status> out;
  for (const auto& [id, p] : peers_)
    if (p.member) out.push_back(status_of(id, p));
  std::ranges::sort(out, {}, &peer_status::node);
  return out;
}

// ---------------------------------------------------------------- time and turns

template <class F>
void transport::impl::for_each_session(F&& f) {
  for (std::size_t i = 0; i < table_.size(); ++i)
    if (table_[i]) f(*table_[i]);
}

void transport::impl::tick() {
  const auto now = loop_.now_ns();
  // Also where nobody connects: whoever has put a wrong file there wants to hear of it soon.
  if (config_.tls) (void)config_.tls->context(now);
  for_each_session([now](session& s) { s.tick(now); });
}

// What was queued in this turn leaves; what was closed in it is reported and deleted. A report may
// queue and close more, hence the loop; it ends because every round deletes connections.
void transport::impl::end_of_turn() noexcept {
  while (!dirty_.empty() || !closed_.empty()) {
    scratch_.swap(dirty_);
    for (session* s : scratch_) s->flush();
    scratch_.clear();
    release_closed();
  }
  shared_.turn_read_bytes = 0;
  if (stopping_ && stopped_) finish_shutdown();
}

// A closed connection accepts no frames, so it cannot have become dirty again since it was flushed.
void transport::impl::release_closed() {
  const auto gone = std::exchange(closed_, {});
  for (session* s : gone) {
    if (s->announced()) handler_.on_disconnected(s->info(), s->why_closed());
    discard(*s);
  }
}

void transport::impl::shutdown(std::uint32_t linger_ms, std::function<void()> done) {
  CHECK(!stopping_);
  stopping_ = true;
  stopped_ = std::move(done);
  if (listening_) loop_.unwatch(listener_.get());
  listening_ = false;
  loop_.cancel(resume_accepting_);
  listener_.reset();
  for (auto& [id, p] : peers_)
    for (auto* l : {&p.main, &p.bulk}) loop_.cancel(l->retry);
  for_each_session([](session& s) { s.finish(close_reason::local); });
  linger_ = loop_.after(linger_ms * ns_per_ms, [this] {
    for_each_session([](session& s) { s.close(close_reason::local); });
  });
}

void transport::impl::finish_shutdown() {
  const bool all_gone = std::ranges::none_of(table_, [](const auto& s) { return s != nullptr; });
  if (!all_gone) return;
  loop_.cancel(linger_);
  std::exchange(stopped_, nullptr)();
}

// ---------------------------------------------------------------- the public face

transport::transport(loop& l, routing::buffer_pool& pool, transport_handler& handler,
                     transport_config config)
    : impl_(std::make_unique<impl>(l, pool, handler, std::move(config))) {}
transport::~transport() = default;

tl::expected<address, error> transport::listen() { return impl_->listen(); }
void transport::set_cluster(cluster_id id) { impl_->set_cluster(id); }
void transport::set_peer(node_id id, const address& where) { impl_->set_peer(id, where); }
void transport::remove_peer(node_id id) { impl_->remove_peer(id); }
void transport::set_dial_override(node_id id, const address& where) {
  impl_->set_dial_override(id, where);
}
bool transport::send(connection_id to, frame_ptr f, std::uint64_t supersede_key) {
  return impl_->send(to, std::move(f), supersede_key);
}
bool transport::send_to(node_id to, channel c, frame_ptr f, std::uint64_t supersede_key) {
  return impl_->send_to(to, c, std::move(f), supersede_key);
}
std::size_t transport::room(node_id to, channel c, priority cls) const {
  return impl_->room(to, c, cls);
}
void transport::close(connection_id id) { impl_->close(id); }
void transport::shutdown(std::uint32_t linger_ms, std::function<void()> done) {
  impl_->shutdown(linger_ms, std::move(done));
}
bool transport::connected(node_id id) const { return impl_->connected(id); }
std::optional<connection_info> transport::info(connection_id id) const { return impl_->info(id); }
std::optional<peer_status> transport::status(node_id id) const { return impl_->status(id); }
std::vector<peer_status> transport::peers() const { return impl_->peers(); }
const transport_counters& transport::counters() const noexcept { return impl_->counters(); }

}  // namespace blixard::net
