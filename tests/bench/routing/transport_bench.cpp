// Frames over loopback between two threads: the transport against the ordinary way, in one run.
//
//   ordinary   a thread per connection, blocking: read the header, read the body into a new vector,
//              write header and body joined, one system call per frame
//   hot        net::transport on two loops, gathered writes, slices of pooled read buffers
//   tls        the same with mutual TLS
//
// Round trip: one frame of 128 B there and back at a time. Pipelined: a window of frames is kept on
// the way; the receiver confirms what it got once per read.
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "messages/cluster.pb.h"
#include "runtime/net/loop.hpp"
#include "runtime/net/socket.hpp"
#include "runtime/net/transport.hpp"
#include "runtime/net/write_batch.hpp"
#include "tests/bench/allocations.hpp"
#include "tests/unit/net/tls_fixture.hpp"

namespace blixard::net {
namespace {

frame_ptr make_frame(std::size_t body_bytes, priority cls, request_id request = {}) {
  auto b = buffer::make(body_bytes);
  std::memset(b->data(), 0x5a, body_bytes);
  const auto* data = b->data();
  frame_header h;
  h.kind = frame_kind::raft;
  h.cls = cls;
  h.request = request;
  return frame::make(h, slice{std::move(b), data, body_bytes});
}

// ---------------------------------------------------------------- hot

using tls_ptr = std::shared_ptr<tls_credentials>;

struct party final : transport_handler {
  party(std::uint64_t id, std::uint64_t spin_ns, tls_ptr tls)
      : io{{.spin_ns = spin_ns}}, self(id), net(io, pool, *this, config(std::move(tls))) {
    where = *net.listen();
  }
  transport_config config(tls_ptr tls) const {
    transport_config c;
    c.self = node_id{self};
    c.bind = address::loopback(0);
    c.tls = std::move(tls);
    return c;
  }
  void on_frames(const connection_info& from, std::span<const frame_ptr> frames) override {
    on_read(from, frames);
  }
  loop io;
  std::uint64_t self;
  routing::buffer_pool pool;
  std::function<void(const connection_info&, std::span<const frame_ptr>)> on_read;
  transport net;
  address where;
};

// Two nodes; the second one's loop runs on its own thread.
struct couple {
  explicit couple(std::uint64_t spin_ns) : couple(spin_ns, nullptr, nullptr) {}
  explicit couple(const test::authority& ca)
      : couple(0, test::credentials_of(ca, ca.node(1)), test::credentials_of(ca, ca.node(2))) {}
  couple(std::uint64_t spin_ns, tls_ptr one, tls_ptr two)
      : near(1, spin_ns, std::move(one)), far(2, spin_ns, std::move(two)) {
    near.net.set_peer(node_id{2}, far.where);
    far.net.set_peer(node_id{1}, near.where);
    near.on_read = far.on_read = [](auto&&, auto&&) {};
    runner = std::thread{[this] { far.io.run(); }};
    const auto meeting = near.io.every(1'000'000, [this] {
      if (near.net.connected(node_id{2}) && seen_far.load()) near.io.stop();
    });
    far.io.post(
        [this] { far.io.every(1'000'000, [this] { seen_far = far.net.connected(node_id{1}); }); });
    near.io.run();
    near.io.cancel(meeting);
  }
  ~couple() {
    far.io.stop();
    runner.join();
  }
  /// Changes what the far side does; on its own thread.
  void far_does(std::function<void(const connection_info&, std::span<const frame_ptr>)> fn) {
    std::atomic<bool> set{false};
    far.io.post([&] {
      far.on_read = std::move(fn);
      set = true;
    });
    while (!set) std::this_thread::yield();
  }
  std::atomic<bool> seen_far{false};
  party near, far;
  std::thread runner;
};

constexpr int round_trips = 500;

void round_trips_of(benchmark::State& state, couple& c) {
  c.far_does([&c](const connection_info&, std::span<const frame_ptr> frames) {
    for (const auto& f : frames) (void)c.far.net.send_to(node_id{1}, channel::main, f);
  });
  const auto question = make_frame(128, priority::high);
  int left = 0;
  c.near.on_read = [&](const connection_info&, std::span<const frame_ptr>) {
    if (--left == 0) return c.near.io.stop();
    (void)c.near.net.send_to(node_id{2}, channel::main, question);
  };
  for (auto _ : state) {
    left = round_trips;
    c.near.io.post([&] { (void)c.near.net.send_to(node_id{2}, channel::main, question); });
    c.near.io.run();
    if (left != 0) return state.SkipWithError("stopped early");
  }
  state.SetItemsProcessed(state.iterations() * round_trips);
}

void round_trip_tls(benchmark::State& state) {
  couple c{test::authority{}};
  round_trips_of(state, c);
}
BENCHMARK(round_trip_tls)->UseRealTime()->Unit(benchmark::kMillisecond);

void round_trip_hot(benchmark::State& state) {
  couple c{static_cast<std::uint64_t>(state.range(0))};
  round_trips_of(state, c);
}
BENCHMARK(round_trip_hot)
    ->ArgName("spin_ns")
    ->Arg(0)
    ->Arg(20'000)
    ->Arg(50'000)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

constexpr int window = 1024;
constexpr int burst = 32 * 1024;

void pipeline_of(benchmark::State& state, couple& c) {
  const auto body = static_cast<std::size_t>(state.range(0));
  const int total = body > 4096 ? burst / 64 : burst;
  const int in_flight_max = body > 4096 ? window / 16 : window;
  std::atomic<std::uint64_t> far_allocations{0};
  c.far_does([&](const connection_info&, std::span<const frame_ptr> frames) {
    far_allocations = bench::allocations();
    frame_header h;
    h.kind = frame_kind::raft;
    h.cls = priority::critical;
    h.request = request_id{frames.size()};
    (void)c.far.net.send_to(node_id{1}, channel::main, frame::make(h, slice{}));
  });
  const auto f = make_frame(body, priority::high);
  int to_send = 0, in_flight = 0;
  const auto pump = [&] {
    for (; to_send > 0 && in_flight < in_flight_max; --to_send, ++in_flight)
      (void)c.near.net.send_to(node_id{2}, channel::main, f);
  };
  c.near.on_read = [&](const connection_info&, std::span<const frame_ptr> frames) {
    for (const auto& a : frames) in_flight -= static_cast<int>(a->header().request.value());
    pump();
    if (to_send == 0 && in_flight == 0) c.near.io.stop();
  };
  const auto allocations = bench::allocations();
  const auto far_before = far_allocations.load();
  const auto writes = c.near.net.counters().writes.get();
  for (auto _ : state) {
    to_send = total;
    c.near.io.post(pump);
    c.near.io.run();
    if (to_send != 0 || in_flight != 0) return state.SkipWithError("stopped early");
  }
  const auto frames = static_cast<double>(state.iterations()) * total;
  state.SetItemsProcessed(state.iterations() * total);
  state.SetBytesProcessed(state.iterations() * total * static_cast<std::int64_t>(body));
  state.counters["allocations_per_frame_sent"] =
      static_cast<double>(bench::allocations() - allocations) / frames;
  state.counters["allocations_per_frame_received"] =
      static_cast<double>(far_allocations - far_before) / frames;
  state.counters["frames_per_write"] =
      frames / static_cast<double>(c.near.net.counters().writes.get() - writes);
  state.counters["moved_share"] =
      static_cast<double>(c.far.net.counters().copied_in_bytes.get()) /
      static_cast<double>(c.far.net.counters().of(priority::high).received_bytes.get());
}

void pipelined_tls(benchmark::State& state) {
  couple c{test::authority{}};
  pipeline_of(state, c);
}
BENCHMARK(pipelined_tls)
    ->ArgName("bytes")
    ->Arg(128)
    ->Arg(1024)
    ->Arg(65'536)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void pipelined_hot(benchmark::State& state) {
  couple c{0};
  pipeline_of(state, c);
}
BENCHMARK(pipelined_hot)
    ->ArgName("bytes")
    ->Arg(128)
    ->Arg(1024)
    ->Arg(65'536)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// ---------------------------------------------------------------- ordinary

// Both ends of a blocking TCP connection over loopback.
struct blocking_pair {
  blocking_pair() {
    listener = std::move(*listen_on(address::loopback(0)));
    near = std::move(*start_connect(local_endpoint(listener.get())));
    for (;;) {
      auto next = accept_one(listener.get());
      if (!next) continue;
      far = std::move(next->fd);
      break;
    }
    for (const int fd : {near.get(), far.get()}) {
      ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
      const int one = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
  }
  unique_fd listener, near, far;
};

bool read_exactly(int fd, void* to, std::size_t n) {
  return ::recv(fd, to, n, MSG_WAITALL) == static_cast<ssize_t>(n);
}

bool read_message(int fd, std::vector<std::byte>& out) {
  encoded_header raw;
  if (!read_exactly(fd, raw.data(), raw.size())) return false;
  const auto h = decode_header(raw);
  out = std::vector<std::byte>(h->length);
  return h->length == 0 || read_exactly(fd, out.data(), out.size());
}

void write_message(int fd, std::span<const std::byte> body) {
  frame_header h;
  h.kind = frame_kind::raft;
  h.length = static_cast<std::uint32_t>(body.size());
  const auto raw = encode(h);
  std::vector<std::byte> joined(raw.begin(), raw.end());
  joined.insert(joined.end(), body.begin(), body.end());
  (void)::send(fd, joined.data(), joined.size(), MSG_NOSIGNAL);
}

void round_trip_ordinary(benchmark::State& state) {
  blocking_pair p;
  std::thread echo{[&] {
    std::vector<std::byte> m;
    while (read_message(p.far.get(), m)) write_message(p.far.get(), m);
  }};
  std::vector<std::byte> question(128), answer;
  for (auto _ : state)
    for (int i = 0; i < round_trips; ++i) {
      write_message(p.near.get(), question);
      (void)read_message(p.near.get(), answer);
    }
  state.SetItemsProcessed(state.iterations() * round_trips);
  ::shutdown(p.near.get(), SHUT_RDWR);
  echo.join();
}
BENCHMARK(round_trip_ordinary)->UseRealTime()->Unit(benchmark::kMillisecond);

void pipelined_ordinary(benchmark::State& state) {
  const auto body = static_cast<std::size_t>(state.range(0));
  const int total = body > 4096 ? burst / 64 : burst;
  blocking_pair p;
  std::thread sink{[&] {
    std::vector<std::byte> m;
    for (int got = 1; read_message(p.far.get(), m); ++got)
      if (got % total == 0) write_message(p.far.get(), {});
  }};
  std::vector<std::byte> message(body), confirmation;
  for (auto _ : state) {
    for (int i = 0; i < total; ++i) write_message(p.near.get(), message);
    (void)read_message(p.near.get(), confirmation);
  }
  state.SetItemsProcessed(state.iterations() * total);
  state.SetBytesProcessed(state.iterations() * total * static_cast<std::int64_t>(body));
  ::shutdown(p.near.get(), SHUT_RDWR);
  sink.join();
}
BENCHMARK(pipelined_ordinary)
    ->ArgName("bytes")
    ->Arg(128)
    ->Arg(1024)
    ->Arg(65'536)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// ---------------------------------------------------------------- gathering

// 64 frames in one system call, and read again: small bodies copied side by side as write_batch
// does up to copy_max_bytes, or header and body of each referenced, whatever their size.
constexpr int gathered = 64;

template <class Gather>
void send_gathered(benchmark::State& state, Gather&& gather) {
  const auto body = static_cast<std::size_t>(state.range(0));
  blocking_pair p;
  std::vector<frame_ptr> frames;
  for (int i = 0; i < gathered; ++i) frames.push_back(make_frame(body, priority::high));
  std::vector<std::byte> sink(gathered * (body + frame_header_bytes));
  for (auto _ : state) {
    const std::span<const iovec> regions = gather(frames);
    msghdr m{};
    m.msg_iov = const_cast<iovec*>(regions.data());
    m.msg_iovlen = regions.size();
    if (::sendmsg(p.near.get(), &m, MSG_NOSIGNAL) != static_cast<ssize_t>(sink.size()) ||
        !read_exactly(p.far.get(), sink.data(), sink.size()))
      return state.SkipWithError("not sent");
  }
}

void gather_hot(benchmark::State& state) {
  write_batch batch;
  send_gathered(state, [&](const std::vector<frame_ptr>& frames) {
    batch.clear();
    for (const auto& f : frames) (void)batch.add(*f, 0);
    return batch.regions();
  });
}
BENCHMARK(gather_hot)->ArgName("bytes")->Arg(128)->Arg(256)->Arg(512);

void gather_referenced(benchmark::State& state) {
  std::vector<encoded_header> heads(gathered);
  std::vector<iovec> regions;
  send_gathered(state, [&](const std::vector<frame_ptr>& frames) -> std::span<const iovec> {
    regions.clear();
    for (std::size_t i = 0; i < frames.size(); ++i) {
      heads[i] = encode(frames[i]->header());
      regions.push_back({heads[i].data(), heads[i].size()});
      const auto body = frames[i]->body();
      regions.push_back({const_cast<std::byte*>(body.data()), body.size()});
    }
    return regions;
  });
}
BENCHMARK(gather_referenced)->ArgName("bytes")->Arg(128)->Arg(256)->Arg(512);

// ---------------------------------------------------------------- forwarding

// A follower's part of a client's put of 256 B, from the received frame to the bytes of the next
// write. Ordinary: decode the command, encode it again, header and body joined in a new vector.
// Hot: the same body under another header, gathered. Both bodies end in the staged bytes of a
// write.
frame_ptr received_put() {
  pb::Command c;
  c.mutable_kv_put()->set_key("bench/4711");
  c.mutable_kv_put()->set_value(std::string(256, 'v'));
  frame_header h;
  h.kind = frame_kind::command;
  h.request = request_id{1};
  return frame::make(h, slice::copy_of(c.SerializeAsString()));
}

template <class Forward>
void forward_puts(benchmark::State& state, Forward&& forward) {
  const auto in = received_put();
  write_batch batch;
  std::uint64_t request = 0;
  const auto one = [&] {
    if (batch.full()) batch.clear();
    auto h = in->header();
    h.request = request_id{++request};
    forward(*in, h, batch);
    benchmark::DoNotOptimize(batch.bytes());
  };
  for (int i = 0; i < 1000; ++i) one();
  const auto before = bench::allocations();
  for (auto _ : state) one();
  state.counters["allocs"] =
      static_cast<double>(bench::allocations() - before) / static_cast<double>(state.iterations());
}

void forward_ordinary(benchmark::State& state) {
  forward_puts(state, [](const frame& in, frame_header h, write_batch& batch) {
    pb::Command c;
    (void)c.ParseFromArray(in.body().data(), static_cast<int>(in.body().size()));
    const auto again = c.SerializeAsString();
    h.length = static_cast<std::uint32_t>(again.size());
    const auto raw = encode(h);
    std::vector<std::byte> joined(raw.begin(), raw.end());
    const auto* body = reinterpret_cast<const std::byte*>(again.data());
    joined.insert(joined.end(), body, body + again.size());
    benchmark::DoNotOptimize(joined.data());
    if (batch.add(in, 0) == 0) batch.clear();
  });
}
BENCHMARK(forward_ordinary);

void forward_hot(benchmark::State& state) {
  forward_puts(state, [](const frame& in, const frame_header& h, write_batch& batch) {
    if (batch.add(*in.with_header(h), 0) == 0) batch.clear();
  });
}
BENCHMARK(forward_hot);

}  // namespace
}  // namespace blixard::net
