#include "runtime/net/client.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>

#include "messages/check.hpp"
#include "messages/unique_fd.hpp"
#include "runtime/net/client_lane.hpp"

namespace blixard::net {
namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;
constexpr std::uint64_t never = UINT64_MAX;
constexpr std::uint64_t slot_bits = 24;  // of a call id: which slot; the rest counts its uses

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

struct slot {
  repl::call_id id = 0;  // 0: free
  std::uint64_t uses = 0;
  repl::request request;
  repl::reply_fn done;
  std::size_t lane = 0;
  std::uint64_t deadline_ns = never;
  bool appended = false;           // its bytes are in a connection's stream
  std::size_t link = 0;            // in which
  std::uint64_t stream_start = 0;  // where
  std::uint64_t heard_before = 0;  // what had come in on it by then
};

/// A connection, and what it is for.
struct link {
  link(int epoll_fd, std::uint32_t index, const client_options& options, tls_scratch& scratch)
      : io(epoll_fd, index, options, scratch) {}

  client_lane io;
  std::size_t lane = 0;         // whose requests it carries
  std::size_t address = 0;      // of its node
  std::size_t outstanding = 0;  // of these, in its stream and not answered
  bool retired = false;         // the lane has left it: closed when nothing is outstanding
};

/// What a lane does besides moving bytes: which address, and who waits for it.
struct route {
  std::size_t link = 0;               // the connection that new requests take
  std::size_t address = 0;            // that is tried, or connected
  std::size_t tries_left = 0;         // in this round
  std::uint64_t deadline_ns = never;  // of the connect and the hello
  std::deque<repl::call_id> waiting;  // not in the stream yet
  std::string failures;               // of this round, for the message
  error refusal{.code = errc::ok};    // of this round, because of TLS; ok: there is none
};

}  // namespace

class client::impl {
 public:
  explicit impl(client_options options) : options_(std::move(options)) {
    CHECK(!options_.addresses.empty());
    CHECK_GE(options_.lanes, std::size_t{1});
    epoll_ = unique_fd{::epoll_create1(EPOLL_CLOEXEC)};
    CHECK_GE(epoll_.get(), 0);
    if (options_.tls) scratch_.make();
    for (std::size_t i = 0; i < options_.lanes; ++i) {
      routes_.emplace_back();
      routes_.back().address = i % options_.addresses.size();
      routes_.back().link = take_link(i);
    }
  }
  ~impl() = default;
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  repl::call_id submit(const repl::request& r, std::size_t lane, repl::reply_fn done) {
    const auto index = take_slot();
    auto& s = slots_[index];
    s.id = ++s.uses << slot_bits | index;
    s.request = r;
    s.done = std::move(done);
    s.lane = lane % routes_.size();
    s.deadline_ns = now_ns() + r.timeout_ms * ns_per_ms;
    s.appended = false;
    next_deadline_ns_ = std::min(next_deadline_ns_, s.deadline_ns);
    ++outstanding_;
    if (lane_of(s.lane).state() == lane_state::ready && routes_[s.lane].waiting.empty())
      append(s);
    else
      routes_[s.lane].waiting.push_back(s.id);
    return s.id;
  }

  void cancel(repl::call_id id) {
    if (auto* s = find(id)) free_slot(*s);
  }

  /// Serves what is ready, after waiting for it at most so long (-1: no limit).
  void process(int wait_ms) {
    std::array<epoll_event, 64> events;
    const int n =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_ms);
    for (int i = 0; i < n; ++i) serve(events[static_cast<std::size_t>(i)]);
    const auto now = now_ns();
    if (now >= next_deadline_ns_) expire(now);
    for (std::size_t i = 0; i < routes_.size(); ++i) advance(i);
    if (retired_ > 0) serve_retired();
    call_back();
  }

  /// Milliseconds until process() is due; -1: only when something is readable.
  [[nodiscard]] int wait_ms() const {
    if (!finished_.empty()) return 0;
    for (std::size_t i = 0; i < routes_.size(); ++i) {
      if (lane_of(i).wants_flush()) return 0;
      if (lane_of(i).state() == lane_state::idle && !routes_[i].waiting.empty()) return 0;
    }
    if (next_deadline_ns_ == never) return -1;
    const auto now = now_ns();
    if (now >= next_deadline_ns_) return 0;
    return static_cast<int>(
        std::min<std::uint64_t>((next_deadline_ns_ - now) / ns_per_ms + 1, 3'600'000));
  }

  [[nodiscard]] int epoll_fd() const noexcept { return epoll_.get(); }
  [[nodiscard]] std::size_t outstanding() const noexcept { return outstanding_; }
  [[nodiscard]] node_id peer() const noexcept { return lane_of(0).peer(); }

 private:
  [[nodiscard]] client_lane& lane_of(std::size_t route) { return links_[routes_[route].link].io; }
  [[nodiscard]] const client_lane& lane_of(std::size_t route) const {
    return links_[routes_[route].link].io;
  }

  /// A connection that is idle and no other lane's.
  std::size_t take_link(std::size_t lane) {
    if (free_links_.empty()) {
      free_links_.push_back(links_.size());
      links_.emplace_back(epoll_.get(), static_cast<std::uint32_t>(links_.size()), options_,
                          scratch_);
    }
    const auto index = free_links_.back();
    free_links_.pop_back();
    links_[index].lane = lane;
    return index;
  }

  std::size_t take_slot() {
    if (free_.empty()) {
      slots_.emplace_back();
      CHECK_LT(slots_.size(), std::size_t{1} << slot_bits);
      return slots_.size() - 1;
    }
    const auto index = free_.back();
    free_.pop_back();
    return index;
  }

  slot* find(repl::call_id id) {
    const auto index = id & ((std::uint64_t{1} << slot_bits) - 1);
    if (id == 0 || index >= slots_.size() || slots_[index].id != id) return nullptr;
    return &slots_[index];
  }

  repl::reply_fn free_slot(slot& s) {
    free_.push_back(s.id & ((std::uint64_t{1} << slot_bits) - 1));
    if (s.appended) --links_[s.link].outstanding;
    s.appended = false;
    s.id = 0;
    s.deadline_ns = never;
    s.request.body = {};
    --outstanding_;
    return std::exchange(s.done, {});
  }

  void append(slot& s) {
    const auto now = now_ns();
    const auto left = s.deadline_ns > now ? (s.deadline_ns - now) / ns_per_ms : 0;
    s.link = routes_[s.lane].link;
    auto& to = links_[s.link];
    s.heard_before = to.io.heard();
    s.stream_start =
        to.io.append({.kind = s.request.kind,
                      .cls = priority::normal,
                      .length = static_cast<std::uint32_t>(s.request.body.size()),
                      .deadline_ms = static_cast<std::uint32_t>(std::max<std::uint64_t>(left, 1)),
                      .request = request_id{s.id},
                      .target = s.request.target},
                     s.request.body.bytes());
    s.appended = true;
    ++to.outstanding;
  }

  /// Ends a request with an error; its callback runs at the end of process().
  void fail(slot& s, error e) { finished_.push_back({free_slot(s), std::move(e)}); }

  void call_back() {
    // Callbacks may submit, and those may fail at once: only what is here now is called.
    auto batch = std::exchange(finished_, {});
    for (auto& [done, e] : batch)
      if (done) done(tl::unexpected(std::move(e)));
  }

  void serve(const epoll_event& event) {
    const std::size_t i = event.data.u32;
    auto& lane = links_[i].io;
    if (lane.state() == lane_state::idle) return;  // closed by an earlier event of this turn
    const bool connecting = lane.state() == lane_state::connecting;
    if (connecting || (event.events & EPOLLOUT) != 0)
      if (auto ok = lane.writable(); !ok) return lose(i, ok.error());
    if (connecting || (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0) return;
    if (auto ok = lane.readable(); !ok) return lose(i, ok.error());
    receive(i);
  }

  void receive(std::size_t i) {
    while (true) {
      auto next = links_[i].io.next_frame();
      if (!next) return lose(i, next.error());
      if (!*next) return;
      const auto& [header, body] = **next;
      auto* s = find(header.request.value());
      if (header.kind != frame_kind::answer || s == nullptr || !s->appended || s->link != i)
        continue;
      const auto done = free_slot(*s);
      if (done) done(body);
    }
  }

  /// The connection is gone: what may have left fails, the rest waits for the next address.
  void lose(std::size_t i, const error& reason) {
    const auto& why = reason.message;
    auto& k = links_[i];
    auto& r = routes_[k.lane];
    const auto& address = options_.addresses[k.address];
    const bool was_ready = k.io.state() == lane_state::ready;
    std::vector<repl::call_id> unsent;
    for (auto& s : slots_) {
      if (s.id == 0 || !s.appended || s.link != i) continue;
      if (s.stream_start >= k.io.written()) {
        s.appended = false;
        --k.outstanding;
        unsent.push_back(s.id);
      } else {
        fail(s, make_error(errc::connection_lost,
                           "the connection to " + to_string(address) + " was lost: " + why));
      }
    }
    std::ranges::sort(unsent);
    r.waiting.insert(r.waiting.begin(), unsent.begin(), unsent.end());
    k.io.close();
    if (k.retired) return;
    if (was_ready) r.tries_left = 0;  // a new round begins with the next address
    if (reason.code == errc::unauthenticated) r.refusal = reason;
    r.failures += (r.failures.empty() ? "" : "; ") + to_string(address) + ": " + why;
    r.address = (r.address + 1) % options_.addresses.size();
    if (!was_ready && r.tries_left == 0) give_up(k.lane);
  }

  /// Every address was tried: what waits fails, surely unsent.
  void give_up(std::size_t i) {
    auto& r = routes_[i];
    for (const auto id : std::exchange(r.waiting, {}))
      if (auto* s = find(id)) fail(*s, unreachable(r, "no node can be reached"));
    forget_failures(r);
  }

  /// Why nothing was sent: where a node was reached and TLS said no, that is what can be mended.
  static error unreachable(const route& r, std::string what) {
    if (!r.failures.empty()) what += " (" + r.failures + ")";
    if (r.refusal.code != errc::ok)
      return make_error(r.refusal.code, std::move(what), r.refusal.hint);
    return make_error(errc::unavailable, std::move(what),
                      "is a node running there? --connect HOST:PORT names others");
  }

  static void forget_failures(route& r) {
    r.failures.clear();
    r.refusal = {.code = errc::ok};
  }

  /// Starts, continues or flushes a lane, as its state asks for.
  void advance(std::size_t i) {
    auto& lane = lane_of(i);
    auto& r = routes_[i];
    if (lane.state() == lane_state::ready) {
      r.tries_left = 0;
      forget_failures(r);
      r.deadline_ns = never;
      for (const auto id : std::exchange(r.waiting, {}))
        if (auto* s = find(id)) append(*s);
      if (lane.wants_flush())
        if (auto ok = lane.flush(); !ok) lose(r.link, ok.error());
    }
    std::erase_if(r.waiting, [this](repl::call_id id) { return find(id) == nullptr; });
    if (lane.state() == lane_state::idle && !r.waiting.empty()) connect(i);
  }

  void connect(std::size_t i) {
    auto& r = routes_[i];
    if (r.tries_left == 0) {
      r.tries_left = options_.addresses.size();
      forget_failures(r);
    }
    auto& k = links_[r.link];
    while (k.io.state() == lane_state::idle && r.tries_left > 0) {
      --r.tries_left;
      r.deadline_ns = now_ns() + patience_ns(r);
      next_deadline_ns_ = std::min(next_deadline_ns_, r.deadline_ns);
      k.address = r.address;
      if (auto ok = k.io.start(options_.addresses[r.address]); !ok) lose(r.link, ok.error());
    }
  }

  /// The node hangs: what is new goes to the next address.
  void retire(std::size_t link) {
    auto& k = links_[link];
    k.retired = true;
    ++retired_;
    auto& r = routes_[k.lane];
    r.link = take_link(k.lane);
    r.address = (r.address + 1) % options_.addresses.size();
    r.tries_left = 0;  // a whole round, which ends with the address of the node that hangs
  }

  void serve_retired() {
    for (std::size_t i = 0; i < links_.size(); ++i) {
      auto& k = links_[i];
      if (!k.retired) continue;
      if (k.io.wants_flush())
        if (auto ok = k.io.flush(); !ok) lose(i, ok.error());
      if (k.outstanding > 0) continue;
      k.io.close();
      k.retired = false;
      --retired_;
      free_links_.push_back(i);
    }
  }

  /// Nothing at all came from its node since this request was sent, and there are other nodes.
  [[nodiscard]] bool hangs(const slot& s) const {
    const auto& k = links_[s.link];
    return options_.addresses.size() > 1 && !k.retired && k.io.heard() == s.heard_before;
  }

  /// How long one address may take: never so long that a waiting request misses the other ones.
  [[nodiscard]] std::uint64_t patience_ns(const route& r) {
    const auto now = now_ns();
    std::uint64_t out = options_.connect_timeout_ms * ns_per_ms;
    for (const auto id : r.waiting)
      if (const auto* s = find(id); s != nullptr && s->deadline_ns > now)
        out = std::min(out, (s->deadline_ns - now) / (r.tries_left + 1));
    return out;
  }

  /// Ends what is late, and finds the next time to look.
  void expire(std::uint64_t now) {
    for (const auto& r : routes_) {
      const auto state = links_[r.link].io.state();
      const bool opening = state == lane_state::connecting || state == lane_state::greeting;
      if (opening && now >= r.deadline_ns)
        lose(r.link, make_error(errc::unavailable, "no answer in time"));
    }
    next_deadline_ns_ = never;
    for (auto& s : slots_) {
      if (s.id != 0 && now >= s.deadline_ns) {
        if (s.appended) {
          if (hangs(s)) retire(s.link);
          fail(s, make_error(errc::timeout,
                             "no answer within " + std::to_string(s.request.timeout_ms) + " ms"));
        } else {
          fail(s, unreachable(routes_[s.lane], "no node was reached within " +
                                                   std::to_string(s.request.timeout_ms) + " ms"));
        }
      }
      if (s.id != 0) next_deadline_ns_ = std::min(next_deadline_ns_, s.deadline_ns);
    }
    for (const auto& r : routes_) {
      const auto state = links_[r.link].io.state();
      if (state == lane_state::connecting || state == lane_state::greeting)
        next_deadline_ns_ = std::min(next_deadline_ns_, r.deadline_ns);
    }
  }

  struct finished {
    repl::reply_fn done;
    error why;
  };

  client_options options_;
  tls_scratch scratch_;     // empty without TLS
  unique_fd epoll_;         // outlives the links
  std::deque<link> links_;  // never moves: its index is in epoll
  std::vector<std::size_t> free_links_;
  std::size_t retired_ = 0;
  std::vector<route> routes_;
  std::deque<slot> slots_;  // never moves: callbacks may submit
  std::vector<std::uint64_t> free_;
  std::vector<finished> finished_;
  std::size_t outstanding_ = 0;
  std::uint64_t next_deadline_ns_ = never;
};

client::client(client_options options) : impl_(std::make_unique<impl>(std::move(options))) {}
client::~client() = default;

repl::call_id client::submit(const repl::request& r, repl::reply_fn done) {
  return impl_->submit(r, 0, std::move(done));
}
repl::call_id client::submit(const repl::request& r, std::size_t lane, repl::reply_fn done) {
  return impl_->submit(r, lane, std::move(done));
}
void client::cancel(repl::call_id id) { impl_->cancel(id); }
int client::wait_fd() const { return impl_->epoll_fd(); }
int client::wait_ms() const { return impl_->wait_ms(); }
void client::process() { impl_->process(0); }

void client::poll(int timeout_ms) {
  const int own = impl_->wait_ms();
  impl_->process(own < 0 ? timeout_ms : timeout_ms < 0 ? own : std::min(own, timeout_ms));
}

std::size_t client::outstanding() const noexcept { return impl_->outstanding(); }
node_id client::connected_node() const noexcept { return impl_->peer(); }

}  // namespace blixard::net
