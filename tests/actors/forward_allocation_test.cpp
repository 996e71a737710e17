// Counts operator new and the bytes that are copied on the way of a forwarded request, with the
// real transport, router and loop.
//
//   client ──► node 1: transport, router (a follower) ──► node 2: a transport that answers
//   (own thread)          └────────────── all on one loop, on one thread ──────────────┘
//
// One request at a time, so that nothing is shared out over a batch: whatever the way there and
// back allocates would show up once per request.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "actors/bridge.hpp"
#include "actors/router.hpp"
#include "runtime/net/handshake.hpp"
#include "runtime/net/socket.hpp"
#include "runtime/net/write_batch.hpp"
#include "tests/actors/stubs.hpp"
#include "tests/bench/allocations.hpp"

namespace blixard::actors::test {
namespace {

constexpr int warm_up = 2000;
constexpr int counted = 2000;
/// What a way there and back costs the node that forwards, summed over the counted requests.
struct costs {
  std::uint64_t allocations = 0;
  std::uint64_t copied_in = 0;  // body bytes moved after the read
  std::uint64_t staged = 0;     // bytes copied side by side for a gathered write

  [[nodiscard]] costs since(const costs& start) const {
    return {allocations - start.allocations, copied_in - start.copied_in, staged - start.staged};
  }
  static costs now(const net::transport& io) {
    const auto& c = io.counters();
    return {bench::allocations(), c.copied_in_bytes.get(), c.staged_bytes.get()};
  }
};

class sharing_config : public caf::actor_system_config {
 public:
  sharing_config() {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", std::size_t{1});
  }
};

net::transport_config config_of(std::uint64_t id) {
  net::transport_config c;
  c.self = node_id{id};
  c.cluster = cluster_id{7};
  c.bind = net::address::loopback(0);
  c.ping_interval_ms = 100'000;
  return c;
}

/// Answers every request with the frame's own body.
struct leader final : net::transport_handler {
  explicit leader(net::loop& l) : io(l, pool, *this, config_of(2)), where(*io.listen()) {}
  void on_frames(const net::connection_info& from, std::span<const frame_ptr> frames) override {
    for (const auto& f : frames) {
      auto h = f->header();
      h.kind = frame_kind::answer;
      h.deadline_ms = 0;
      (void)io.send_to(from.node, net::channel::main, f->with_header(h));
    }
  }
  routing::buffer_pool pool;
  net::transport io;
  net::address where;
};

/// Blocking, on the thread that calls it.
class client {
 public:
  explicit client(const net::address& to) : fd_(*net::start_connect(to)) {
    pollfd p{fd_.get(), POLLOUT, 0};
    (void)::poll(&p, 1, 10'000);
    ::fcntl(fd_.get(), F_SETFL, 0);
    const timeval patience{10, 0};  // an answer that never comes ends the test
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    send(*net::encode_hello({}));
    receive();
  }
  void send(const frame& f) {
    const auto h = encode(f.header());
    std::string bytes(reinterpret_cast<const char*>(h.data()), h.size());
    for (const auto& p : f.pieces()) bytes += p.text();
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  frame_header receive() {
    encoded_header raw{};
    EXPECT_EQ(::recv(fd_.get(), raw.data(), raw.size(), MSG_WAITALL),
              static_cast<ssize_t>(raw.size()));
    const auto h = decode_header(raw).value_or(frame_header{});
    std::string body(h.length, '\0');
    if (h.length != 0) (void)::recv(fd_.get(), body.data(), body.size(), MSG_WAITALL);
    return h;
  }

 private:
  unique_fd fd_;
};

/// Parameter: bytes of a request's body, and of its answer's.
class forwarding : public testing::TestWithParam<std::size_t> {};

TEST_P(forwarding, costs_no_allocation_and_copies_small_payloads_into_the_write_only) {
  const std::size_t value_bytes = GetParam();
  if (!block_pool::enabled) GTEST_SKIP() << "the pool is off under this sanitizer";
  sharing_config config;
  caf::actor_system system{config};
  net::loop loop;
  metrics::registry registry{"test"};
  published flags;
  shared_facts facts;
  facts.self = node_id{1};
  facts.registry = &registry;
  facts.flags = &flags;
  links to;
  routing::buffer_pool pool;
  bridge in{to};
  net::transport io{loop, pool, in, config_of(1)};
  const auto where = *io.listen();
  leader far{loop};
  host router_host{system, loop};
  to.router = spawn_hosted<router>(system, router_host, to, facts, &loop, &io, nullptr);
  post(to.router, members_changed{{{node_id{2}, far.where.to_string()}}});
  post(to.router, leader_changed{node_id{2}, term{1}});
  far.io.set_peer(node_id{1}, where);

  costs at_start, at_end;
  std::atomic<int> answers{0};
  std::thread asker{[&] {
    client c{where};
    const auto body = slice::copy_of(std::string(value_bytes, 'v'));
    const auto on_loop = [&](auto what) {
      std::atomic<bool> done{false};
      loop.post([&] {
        what();
        done = true;
      });
      while (!done) std::this_thread::yield();
    };
    // Until then requests are held, and the tick that releases them does not tick here.
    for (bool connected = false; !connected;)
      on_loop([&] { connected = io.connected(node_id{2}) && far.io.connected(node_id{1}); });
    for (int i = 1; i <= warm_up + counted; ++i) {
      c.send(*frame::make({.kind = frame_kind::command,
                           .deadline_ms = 60'000,
                           .request = request_id{static_cast<std::uint64_t>(i)}},
                          body));
      const auto h = c.receive();
      if (h.kind == frame_kind::answer && h.length == value_bytes &&
          h.request == request_id{static_cast<std::uint64_t>(i)})
        ++answers;
      else
        break;
      if (i == warm_up) on_loop([&] { at_start = costs::now(io); });
    }
    on_loop([&] { at_end = costs::now(io); });
    loop.post([&] { loop.stop(); });
  }};
  loop.run();
  asker.join();

  EXPECT_EQ(answers, warm_up + counted);
  ASSERT_GT(at_start.allocations, 0u) << "nothing is counted";
  const auto cost = at_end.since(at_start);
  EXPECT_EQ(cost.allocations, 0u) << "in " << counted << " requests";
  EXPECT_EQ(cost.copied_in, 0u);
  const bool is_small = value_bytes <= net::write_batch::copy_max_bytes;
  const auto copied_per_frame = frame_header_bytes + (is_small ? value_bytes : 0);
  EXPECT_EQ(cost.staged, 2 * counted * copied_per_frame);  // there and back
  EXPECT_THAT(
      registry.text("router_forwarded"),
      testing::HasSubstr("\nblixard_router_forwarded_total " + std::to_string(warm_up + counted)));

  post<caf::message_priority::high>(
      caf::actor_cast<caf::actor>(to.router),
      caf::exit_msg{to.router->address(), caf::exit_reason::user_shutdown});
  while (system.registry().running() > 0) {
    loop.stop();
    loop.run();
  }
  to = {};
}

INSTANTIATE_TEST_SUITE_P(body_bytes, forwarding, testing::Values(256, 4096));

}  // namespace
}  // namespace blixard::actors::test
