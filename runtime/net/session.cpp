#include "runtime/net/session.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "runtime/base/fault.hpp"
#include "runtime/net/transport_impl.hpp"

namespace blixard::net {
namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;
constexpr std::uint64_t ping_key = 1;  // a newer ping or its answer replaces a waiting one
constexpr std::uint64_t half_closed_max_ns = 30'000 * ns_per_ms;

// Fault points net.send.KIND and net.recv.KIND: an armed error loses the frame.
struct fault_names {
  std::string_view send;
  std::string_view recv;
};
[[maybe_unused]] constexpr fault_names fault_names_of(frame_kind k) noexcept {
  switch (k) {
    case frame_kind::hello:
      return {"net.send.hello", "net.recv.hello"};
    case frame_kind::raft:
      return {"net.send.raft", "net.recv.raft"};
    case frame_kind::command:
      return {"net.send.command", "net.recv.command"};
    case frame_kind::planned:
      return {"net.send.planned", "net.recv.planned"};
    case frame_kind::query:
      return {"net.send.query", "net.recv.query"};
    case frame_kind::local:
      return {"net.send.local", "net.recv.local"};
    case frame_kind::answer:
      return {"net.send.answer", "net.recv.answer"};
    case frame_kind::lease:
      return {"net.send.lease", "net.recv.lease"};
    case frame_kind::lease_grant:
      return {"net.send.lease_grant", "net.recv.lease_grant"};
    case frame_kind::admin:
      return {"net.send.admin", "net.recv.admin"};
    case frame_kind::removed:
      return {"net.send.removed", "net.recv.removed"};
  }
  return {};
}
bool lost_in_sending([[maybe_unused]] const frame& f) {
  return BLIXARD_FAULT(fault_names_of(f.header().kind).send).error != 0;
}
bool lost_in_receiving([[maybe_unused]] const frame& f) {
  return BLIXARD_FAULT(fault_names_of(f.header().kind).recv).error != 0;
}

connection_bounds bounds_of(const transport_config& c) {
  return {
      .frames = {.first_frame_max_bytes = hello_max_bytes, .frame_max_bytes = c.frame_max_bytes},
      .queue_max_bytes = c.send_queue_max_bytes};
}

// A ping is an empty hello on an open connection; the request id carries the sender's clock and
// comes back. A deadline marks the question, no deadline the answer.
frame_ptr ping_frame(request_id stamp, bool question) {
  frame_header h;
  h.kind = frame_kind::hello;
  h.cls = priority::critical;
  h.deadline_ms = question ? 1 : 0;
  h.request = stamp;
  return frame::make(h, slice{});
}

}  // namespace

session::session(transport::impl& t, connection_info about, std::unique_ptr<byte_stream> stream,
                 link* out, std::shared_ptr<const tls_outcome> tls)
    : transport_(t),
      info_(about),
      conn_(t.shared(), *this, std::move(stream), bounds_of(t.config()), out == nullptr),
      link_(out),
      tls_(std::move(tls)) {}

bool session::start(std::uint32_t deadline_ms) {
  heard_ns_ = transport_.shared().io.now_ns();
  if (link_ != nullptr) {
    conn_.trust();
    auto ours = transport_.own_hello();
    ours.chan = info_.chan;
    ours.expected_node = info_.node;
    conn_.send_hello(encode_hello(ours));
  }
  arm_deadline(deadline_ms,
               link_ != nullptr ? close_reason::connect_failed : close_reason::handshake_timeout);
  return conn_.start();
}

bool session::send(frame_ptr f, std::uint64_t supersede_key) {
  if (f->header().kind == frame_kind::answer && outstanding_ > 0) --outstanding_;
  if (packs_) f = transport_.shared().packer.pack(std::move(f), transport_.config().pack_min_bytes);
  const bool accepted = lost_in_sending(*f) || conn_.send(std::move(f), supersede_key);
  // It asked, ended its stream, and has all its answers now.
  if (half_closed_ns_ != 0 && outstanding_ == 0) finish(close_reason::peer_closed);
  return accepted;
}

void session::finish(close_reason reason) {
  if (conn_.now() == connection::state::closed) return;
  conn_.finish(reason);
  if (conn_.now() == connection::state::finishing)
    arm_deadline(transport_.config().handshake_timeout_ms, reason);
}

void session::on_open(connection&) {
  hello_ns_ = transport_.shared().io.now_ns();
  arm_deadline(transport_.config().handshake_timeout_ms, close_reason::handshake_timeout);
}

void session::on_frames(connection&, std::vector<frame_ptr>& frames) {
  heard_ns_ = transport_.shared().io.now_ns();
  if (conn_.now() == connection::state::opening) {
    const frame_ptr first = std::move(frames.front());
    if (lost_in_receiving(*first)) return;
    frames.erase(frames.begin());
    greet(*first);
  }
  if (!open()) return;
  take_pings(frames);
  if constexpr (fault::compiled_in)
    std::erase_if(frames, [](const frame_ptr& f) { return lost_in_receiving(*f); });
  if (frames.empty() || !open()) return;
  if (!unpack(frames)) return conn_.close(close_reason::bad_frame);
  if (info_.role == peer_role::client)
    outstanding_ += static_cast<std::uint32_t>(
        std::ranges::count_if(frames, [](const auto& f) { return is_request(f->header().kind); }));
  transport_.handler().on_frames(info_, frames);
}

void session::on_half_closed(connection&) {
  if (info_.role == peer_role::client && open() && (outstanding_ > 0 || conn_.queued_bytes() > 0)) {
    half_closed_ns_ = std::max<std::uint64_t>(1, transport_.shared().io.now_ns());
    if (outstanding_ == 0) finish(close_reason::peer_closed);
    return;
  }
  conn_.close(close_reason::peer_closed);
}

void session::on_tls_spoken(connection&) {
  if (link_ != nullptr) return conn_.close(close_reason::bad_handshake);
  const auto why =
      make_error(errc::unauthenticated, "it speaks TLS, and this node without it",
                 "all nodes and clients of a cluster need --tls-ca, --tls-cert and --tls-key, or "
                 "none");
  transport_.note_tls_failure(*this, tls_failure::plaintext, why);
  refuse(make_error(errc::unauthenticated, "this node speaks without TLS"));
}

void session::on_dirty(connection&) { transport_.mark_dirty(*this); }

void session::on_closed(connection&, close_reason reason) {
  transport_.shared().io.cancel(deadline_);
  why_closed_ = reason;
  if (tls_ && tls_->problem && !announced_)
    transport_.note_tls_failure(
        *this, tls_->problem->what,
        make_error(errc::unauthenticated, tls_->problem->message, tls_->problem->hint));
  transport_.session_closed(*this);
  link_ = nullptr;
}

// Gives compressed bodies their own form back. False: one is not what it claims, or nothing said
// that this side compresses.
bool session::unpack(std::vector<frame_ptr>& frames) {
  for (auto& f : frames) {
    if ((f->header().flags & frame_packed) == 0) continue;
    if (!packs_) return false;
    f = transport_.shared().packer.unpack(*f, transport_.config().frame_max_bytes);
    if (!f) return false;
  }
  return true;
}

void session::greet(const frame& first) {
  if (first.header().kind != frame_kind::hello || first.header().flags != 0)
    return conn_.close(close_reason::bad_handshake);
  const auto theirs = decode_hello(first.body().bytes());
  if (!theirs) return conn_.close(close_reason::bad_handshake);
  if (link_ != nullptr)
    greet_listener(*theirs);
  else
    greet_dialler(*theirs);
}

void session::greet_dialler(const hello& theirs) {
  if (const auto wrong = tls_ ? judge_certificate(theirs, *tls_->other) : std::nullopt) {
    transport_.note_tls_failure(*this, tls_failure::wrong_identity, *wrong);
    return refuse(*wrong);
  }
  if (const auto wrong = judge_dialler(theirs, transport_.identity())) return refuse(*wrong);
  if (!transport_.let_in(*this, theirs))
    return refuse(make_error(errc::overloaded, "this node has too many connections"));
  info_.role = theirs.role;
  info_.chan = theirs.chan;
  info_.node = theirs.role == peer_role::peer ? theirs.node : node_id{};
  packs_ = theirs.role == peer_role::peer && theirs.packs;
  if (theirs.role == peer_role::peer) conn_.trust();
  auto ours = transport_.own_hello();
  ours.chan = theirs.chan;
  conn_.send_hello(encode_hello(ours));
  announce();
  if (info_.role == peer_role::peer && info_.chan == channel::main)
    transport_.peer_is_back(info_.node);
}

void session::greet_listener(const hello& theirs) {
  if (const auto wrong = judge_listener(theirs, transport_.identity(), info_.node)) {
    transport_.tell_refused(*link_, *wrong);
    return conn_.close(close_reason::refused);
  }
  if (const auto wrong = tls_ ? judge_certificate(theirs, *tls_->other) : std::nullopt) {
    transport_.note_tls_failure(*this, tls_failure::wrong_identity, *wrong);
    return conn_.close(close_reason::refused);
  }
  packs_ = theirs.packs;
  round_trip_.note(transport_.shared().io.now_ns() - hello_ns_);
  link_->now = link::state::up;
  link_->failures = 0;
  announce();
}

void session::refuse(const error& why) {
  if (!transport_.may_wait_until_told(*this)) return conn_.close(close_reason::refused);
  auto ours = transport_.own_hello();
  ours.refusal = why.code;
  ours.refusal_message = why.message;
  conn_.send_hello(encode_hello(ours));
  finish(close_reason::refused);
}

void session::announce() {
  transport_.shared().io.cancel(deadline_);
  conn_.set_open();
  announced_ = true;
  transport_.counters().established.add();
  transport_.counters().connections.add();
  transport_.handler().on_connected(info_);
}

// Answers pings and takes their answers; what is left is for the handler.
void session::take_pings(std::vector<frame_ptr>& frames) {
  const auto is_ping = [this](const frame_ptr& f) {
    const auto& h = f->header();
    if (h.kind != frame_kind::hello) return false;
    if (h.length != 0) {
      conn_.close(close_reason::bad_frame);  // a second handshake
    } else if (h.deadline_ms != 0) {
      // Refused only when the queue is full: then the other side has worse to worry about.
      (void)conn_.send(ping_frame(h.request, false), ping_key);
    } else if (h.request.value() == ping_ns_ && ping_ns_ != 0) {
      round_trip_.note(heard_ns_ - ping_ns_);
      ping_ns_ = 0;
    }
    return true;
  };
  std::erase_if(frames, is_ping);
}

void session::ping(std::uint64_t now_ns) {
  if (conn_.send(ping_frame(request_id{now_ns}, true), ping_key)) ping_ns_ = now_ns;
}

// Half a frame takes memory and brings nothing. Counted from the tick that saw it first.
bool session::is_too_slow(std::uint64_t now_ns) {
  const auto half = conn_.half_frame();
  if (half != half_frame_) {
    half_frame_ = half;
    half_frame_ns_ = now_ns;
  }
  return half != 0 && now_ns - half_frame_ns_ > transport_.config().frame_timeout_ms * ns_per_ms;
}

void session::tick(std::uint64_t now_ns) {
  if (!open()) return;
  if (info_.role == peer_role::client && is_too_slow(now_ns))
    return conn_.close(close_reason::frame_timeout);
  const auto& c = transport_.config();
  const std::uint64_t silence_max_ns = c.ping_timeout_ms * ns_per_ms;
  if (link_ != nullptr && link_->chan == channel::main) {
    if (ping_ns_ == 0) return ping(now_ns);
    if (now_ns - ping_ns_ > silence_max_ns) conn_.close(close_reason::unresponsive);
  } else if (link_ != nullptr) {
    const bool idle =
        conn_.queued_bytes() == 0 && now_ns - link_->used_ns > c.bulk_idle_ms * ns_per_ms;
    if (idle) conn_.close(close_reason::idle);
  } else if (info_.role == peer_role::peer && info_.chan == channel::main) {
    // The peer pings us; twice its patience, because its interval need not be ours.
    if (now_ns - heard_ns_ > 2 * silence_max_ns) conn_.close(close_reason::unresponsive);
  } else if (half_closed_ns_ != 0 && now_ns - half_closed_ns_ > half_closed_max_ns) {
    conn_.close(close_reason::peer_closed);
  }
}

void session::arm_deadline(std::uint32_t ms, close_reason reason) {
  auto& io = transport_.shared().io;
  io.cancel(deadline_);
  deadline_ = io.after(ms * ns_per_ms, [this, reason] { conn_.close(reason); });
}

}  // namespace blixard::net
