#include "runtime/net/connection.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "messages/check.hpp"

namespace blixard::net {
namespace {

// Read system calls for one connection before the others get their turn.
constexpr int reads_per_event = 4;

// Sixteenths of the queue that a class may fill, from critical to low.
constexpr std::array<std::size_t, priority_count> share_of_16 = {16, 15, 14, 8};

close_reason reason_of(io_status s) {
  switch (s) {
    case io_status::refused:
      return close_reason::tls_failed;
    case io_status::cut:
      return close_reason::truncated;
    case io_status::ok:
    case io_status::would_block:
    case io_status::needs_read:
    case io_status::end:
    case io_status::failed:
      break;
  }
  return close_reason::io_error;
}

// The bytes are bounded by room(); the lanes bound the number of frames.
routing::lanes_config lanes_of(const connection_bounds& b) {
  routing::lanes_config c;
  for (auto& lane : c.lane) lane = {.max_items = b.queue_max_items, .max_bytes = b.queue_max_bytes};
  return c;
}

}  // namespace

connection::connection(connection_shared& shared, connection_owner& owner,
                       std::unique_ptr<byte_stream> stream, const connection_bounds& bounds,
                       bool already_connected)
    : shared_(shared),
      owner_(owner),
      stream_(std::move(stream)),
      bounds_(bounds),
      reader_(shared.arena, shared.counters, bounds.frames, shared.budget),
      lanes_(lanes_of(bounds)),
      state_(already_connected ? state::opening : state::connecting) {}

connection::~connection() {
  drop_queue();
  if (watching_) shared_.io.unwatch(stream_->fd());
}

bool connection::start() {
  CHECK(!watching_);
  interest_ = state_ == state::connecting ? EPOLLOUT : EPOLLIN | EPOLLRDHUP;
  watching_ = shared_.io.watch(stream_->fd(), interest_, *this) == 0;
  return watching_;
}

void connection::send_hello(frame_ptr f) {
  CHECK(!head_);
  shared_.counters.of(f->header().cls).queued_bytes.add(f->wire_size());
  head_ = std::move(f);
  head_sent_ = 0;
  if (state_ != state::connecting) mark_dirty();
}

void connection::trust() noexcept {
  trusted_ = true;
  reader_.stop_charging();
}

void connection::set_open() {
  CHECK(state_ == state::opening);
  state_ = state::open;
  if (!lanes_.empty()) mark_dirty();
}

std::size_t connection::room(priority cls) const noexcept {
  if (state_ == state::finishing || state_ == state::closed) return 0;
  const auto share = bounds_.queue_max_bytes / 16 * share_of_16[static_cast<std::size_t>(cls)];
  return share > queued_bytes() ? share - queued_bytes() : 0;
}

bool connection::send(frame_ptr f, std::uint64_t supersede_key) {
  const auto cls = f->header().cls;
  const auto size = f->wire_size();
  auto& c = shared_.counters.of(cls);
  // An empty queue takes any frame: one that is larger than the share would never leave otherwise.
  const bool fits = room(cls) >= size || (queued_bytes() == 0 && room(cls) > 0);
  const auto before = lanes_.bytes();
  const auto result = fits ? lanes_.push(cls, std::move(f), size, supersede_key).result
                           : routing::push_result::refused;
  switch (result) {
    case routing::push_result::refused:
      c.dropped_frames.add();
      return false;
    case routing::push_result::superseded:
      c.superseded_frames.add();
      break;
    case routing::push_result::accepted:
      break;
  }
  c.queued_bytes.add(lanes_.bytes() - before);  // may wrap below zero and back: a shorter successor
  if (state_ == state::open && !want_write_) mark_dirty();
  return true;
}

void connection::flush() {
  dirty_ = false;
  want_read_ = false;
  while (state_ == state::opening || state_ == state::open || state_ == state::finishing) {
    if (!fill_batch() && held_ == 0) {
      want_write_ = false;
      note_flushed();
      break;
    }
    auto& batch = shared_.batch;
    const auto result = stream_->write(batch.regions());
    shared_.counters.writes.add();
    shared_.counters.staged_bytes.add(batch.staged_bytes());
    const bool all = result.status == io_status::ok && result.bytes == batch.bytes();
    account_sent(result.bytes);
    held_ = result.held;
    want_read_ = result.status == io_status::needs_read;
    if (!all && result.status != io_status::ok && result.status != io_status::would_block &&
        !want_read_) {
      close(reason_of(result.status));
      return;
    }
    if (!all || held_ != 0) {
      want_write_ = !want_read_;
      break;
    }
  }
  update_interest();
}

// A read has made TLS say something that the socket did not take yet.
void connection::note_held(std::size_t bytes) {
  held_ = bytes;
  if (held_ == 0 || want_write_ || state_ == state::closed) return;
  want_write_ = true;
  update_interest();
}

// Puts the next frames into the batch: first what was begun, then by class. False if there is
// nothing to send.
bool connection::fill_batch() {
  auto& batch = shared_.batch;
  batch.clear();
  popped_.clear();
  if (head_) {
    const auto left = head_->wire_size() - head_sent_;
    if (batch.add(*head_, head_sent_) < left) return true;
  }
  const bool may_send = state_ == state::open || state_ == state::finishing;
  while (may_send && !batch.full()) {
    auto next = lanes_.pop();
    if (!next) break;
    const auto added = batch.add(*next->value, 0);
    if (added == 0) {
      lanes_.restore(std::move(*next));
      break;
    }
    popped_.push_back(std::move(*next));
  }
  return batch.bytes() > 0;
}

// The kernel took the first `bytes` of the batch. The frame in which they end becomes the head;
// those behind it go back to their lanes.
void connection::account_sent(std::size_t bytes) {
  if (head_) {
    const auto left = head_->wire_size() - head_sent_;
    const auto n = std::min(bytes, left);
    note_sent(*head_, n, n == left);
    bytes -= n;
    head_sent_ += n;
    if (n == left) head_ = {};
  }
  std::size_t done = 0;
  for (; done < popped_.size() && bytes > 0; ++done) {
    auto& f = popped_[done].value;
    const auto n = std::min(bytes, f->wire_size());
    const bool last = n == f->wire_size();
    note_sent(*f, n, last);
    bytes -= n;
    if (last) continue;
    head_ = std::move(f);
    head_sent_ = n;
  }
  CHECK_EQ(bytes, 0u);
  while (popped_.size() > done) {
    lanes_.restore(std::move(popped_.back()));
    popped_.pop_back();
  }
  popped_.clear();
}

void connection::note_sent(const frame& f, std::size_t bytes, bool last) {
  auto& c = shared_.counters.of(f.header().cls);
  c.sent_bytes.add(bytes);
  c.queued_bytes.sub(bytes);
  if (last) c.sent_frames.add();
}

void connection::finish(close_reason reason) {
  if (state_ == state::closed || state_ == state::finishing) return;
  if (state_ == state::connecting) return close(reason);
  state_ = state::finishing;
  finish_reason_ = reason;
  mark_dirty();
}

// Everything is with the kernel. A connection that is finishing says so to the other side.
void connection::note_flushed() {
  if (state_ != state::finishing) return;
  if (!std::exchange(end_sent_, true)) {
    held_ = stream_->finish_writing();
    want_write_ = held_ != 0;
  }
  if (half_closed_ && held_ == 0) close(finish_reason_);
}

void connection::close(close_reason reason) {
  if (state_ == state::closed) return;
  state_ = state::closed;
  if (watching_) shared_.io.unwatch(stream_->fd());
  watching_ = false;
  drop_queue();
  reader_.stop_charging();
  stream_.reset();
  shared_.counters.closed[static_cast<std::size_t>(reason)].add();
  owner_.on_closed(*this, reason);
}

void connection::drop_queue() {
  if (head_) {
    auto& c = shared_.counters.of(head_->header().cls);
    c.queued_bytes.sub(head_->wire_size() - head_sent_);
    c.dropped_frames.add();
    head_ = {};
  }
  while (auto item = lanes_.pop()) {
    auto& c = shared_.counters.of(item->cls);
    c.queued_bytes.sub(item->bytes);
    c.dropped_frames.add();
  }
}

void connection::on_io(std::uint32_t events) noexcept {
  if (state_ == state::connecting) return finish_connect();
  const std::uint32_t readable = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  if ((events & readable) != 0) {
    if (!half_closed_)
      read();
    else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
      return close(close_reason::peer_closed);  // both directions are gone
  }
  if (((events & EPOLLOUT) != 0 || want_read_) && state_ != state::closed) flush();
}

void connection::finish_connect() {
  if (connect_result(stream_->fd()) != 0) return close(close_reason::connect_failed);
  state_ = state::opening;
  update_interest();
  if (head_) mark_dirty();
  owner_.on_open(*this);
}

void connection::read() {
  if (state_ == state::finishing) return discard_input();
  if (!trusted_ && shared_.turn_read_bytes >= connection_shared::turn_read_max_bytes) return;
  auto& received = shared_.received;
  received.clear();
  std::optional<close_reason> broken;
  bool more = true;
  for (int i = 0; i < reads_per_event && more && !broken; ++i) broken = read_some(more);
  if (!received.empty()) owner_.on_frames(*this, received);
  received.clear();
  if (state_ == state::closed) return;
  if (!broken) return;
  if (*broken == close_reason::peer_closed)
    on_end_of_stream();
  else if (reader_.saw_tls())
    owner_.on_tls_spoken(*this);
  else
    close(*broken);
}

// One read system call. `peer_closed` stands for the end of the stream, wherever it came.
std::optional<close_reason> connection::read_some(bool& more) {
  frame_reader::regions regions;
  const auto n = reader_.prepare(regions);
  std::size_t asked = 0;
  for (std::size_t i = 0; i < n; ++i) asked += regions[i].iov_len;
  const auto result = stream_->read(std::span{regions}.first(n));
  shared_.counters.reads.add();
  if (result.held != held_) note_held(result.held);
  if (!trusted_) shared_.turn_read_bytes += result.bytes;
  more = result.status == io_status::ok && result.bytes == asked;
  switch (result.status) {
    case io_status::ok:
      return reader_.consume(result.bytes, shared_.received);
    case io_status::would_block:
    case io_status::needs_read:
      return std::nullopt;
    case io_status::end:
      return close_reason::peer_closed;
    case io_status::cut:
    case io_status::failed:
    case io_status::refused:
      return reason_of(result.status);
  }
  return close_reason::io_error;
}

void connection::on_end_of_stream() {
  if (reader_.mid_frame()) return close(close_reason::truncated);
  half_closed_ = true;
  update_interest();
  if (state_ == state::finishing && end_sent_ && held_ == 0) return close(finish_reason_);
  owner_.on_half_closed(*this);
}

// Nobody wants the input any more, but unread input at close would make the kernel send a reset,
// and that could destroy our last frames in the other side's receive buffer.
void connection::discard_input() {
  const auto room = shared_.arena.room();
  const iovec region{room.data(), room.size()};
  const auto result = stream_->read({&region, 1});
  shared_.counters.reads.add();
  if (result.held != held_) note_held(result.held);
  switch (result.status) {
    case io_status::ok:
    case io_status::would_block:
    case io_status::needs_read:
      return;
    case io_status::end:
      half_closed_ = true;
      update_interest();
      if (end_sent_ && held_ == 0) close(finish_reason_);
      return;
    case io_status::cut:
    case io_status::failed:
    case io_status::refused:
      return close(finish_reason_);
  }
}

void connection::mark_dirty() {
  if (dirty_) return;
  dirty_ = true;
  owner_.on_dirty(*this);
}

void connection::update_interest() {
  if (!watching_) return;
  std::uint32_t wanted = half_closed_ ? 0 : std::uint32_t{EPOLLIN} | EPOLLRDHUP;
  if (want_write_) wanted |= EPOLLOUT;
  if (wanted == interest_) return;
  interest_ = wanted;
  shared_.io.change(stream_->fd(), wanted);
}

}  // namespace blixard::net
