// The floor under a replicated put: the same way of the bytes and the same writes, and nothing
// else.
//
//   client ──► leader ──► two followers        leader and followers: write + fdatasync
//   client ◄── leader: once two of the three disks have it
//
// No elections, terms, checks, state machine, bounds or errors: every failure ends the program. One
// thread polls the sockets, one writes the file; what arrives while a sync runs is the next batch.
// What Blixard takes longer than this is its own doing.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "apps/histogram.hpp"

namespace {

using clock_type = std::chrono::steady_clock;

/// In front of every payload; alone as an answer or an acknowledgement.
struct header {
  std::uint64_t id = 0;  // client's request, or number of the entry
  std::uint64_t bytes = 0;
};

constexpr std::size_t chunk_bytes = 1 << 20;
constexpr std::size_t file_bytes = 64 << 20;  // written in a circle: what is there is overwritten
constexpr std::size_t connections_max = 8;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int checked(long result, const char* what) {
  if (result < 0) die(what);
  return static_cast<int>(result);
}

/// A connected stream with what is to be sent and what was received and not used.
struct stream {
  explicit stream(int connected) : fd(connected) {
    const int on = 1;
    checked(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
  }

  void put(const void* data, std::size_t size) {
    const auto* from = static_cast<const char*>(data);
    out.insert(out.end(), from, from + size);
  }
  void flush() {
    std::size_t sent = 0;
    while (sent < out.size()) {
      const auto n = ::send(fd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) die("send");
      if (n > 0) sent += static_cast<std::size_t>(n);
    }
    out.clear();
  }
  /// False at the end of the stream.
  bool receive() {
    static std::array<char, chunk_bytes> chunk;
    const auto n = ::recv(fd, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) die("recv");
    if (n > 0) in.insert(in.end(), chunk.data(), chunk.data() + n);
    return n != 0;
  }
  /// Calls `use(header, payload)` for every whole message.
  template <class F>
  void messages(F&& use) {
    std::size_t at = 0;
    header h;
    while (in.size() - at >= sizeof h) {
      std::memcpy(&h, in.data() + at, sizeof h);
      if (in.size() - at - sizeof h < h.bytes) break;
      use(h, in.data() + at + sizeof h);
      at += sizeof h + h.bytes;
    }
    in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(at));
  }

  int fd;
  std::vector<char> in, out;
};

struct listening {
  int fd = -1;
  int port = 0;
};

/// On a free port.
listening listen_on_loopback() {
  const int fd = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof where;
  checked(bind(fd, reinterpret_cast<sockaddr*>(&where), size), "bind");
  checked(listen(fd, 64), "listen");
  checked(getsockname(fd, reinterpret_cast<sockaddr*>(&where), &size), "getsockname");
  return {fd, ntohs(where.sin_port)};
}

int connect_to(const std::string& port) {
  const int fd = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  where.sin_port = htons(static_cast<std::uint16_t>(std::stoul(port)));
  checked(connect(fd, reinterpret_cast<sockaddr*>(&where), sizeof where), "connect");
  return fd;
}

/// The thread that writes and syncs: one batch at a time, in order.
class disk {
 public:
  disk(const std::string& path, int wake_fd) : wake_fd_(wake_fd) {
    fd_ = checked(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open");
    const std::vector<char> zeros(chunk_bytes);
    for (std::size_t at = 0; at < file_bytes; at += chunk_bytes)
      checked(pwrite(fd_, zeros.data(), chunk_bytes, static_cast<off_t>(at)), "pwrite");
    checked(fsync(fd_), "fsync");
    std::thread([this] { run(); }).detach();
  }

  void add(const std::vector<char>& bytes, std::uint64_t last) {
    {
      const std::scoped_lock lock(mutex_);
      waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
      last_ = last;
    }
    more_.notify_one();
  }
  [[nodiscard]] std::uint64_t durable() const { return durable_.load(std::memory_order_acquire); }

 private:
  [[noreturn]] void run() {
    std::vector<char> batch;
    std::size_t at = 0;
    for (;;) {
      std::uint64_t last = 0;
      {
        std::unique_lock lock(mutex_);
        more_.wait(lock, [this] { return !waiting_.empty(); });
        batch.swap(waiting_);
        last = last_;
      }
      if (at + batch.size() > file_bytes) at = 0;
      checked(pwrite(fd_, batch.data(), batch.size(), static_cast<off_t>(at)), "pwrite");
      checked(fdatasync(fd_), "fdatasync");
      at += batch.size();
      batch.clear();
      durable_.store(last, std::memory_order_release);
      const std::uint64_t one = 1;
      checked(write(wake_fd_, &one, sizeof one), "write");
    }
  }

  int fd_ = -1;
  int wake_fd_;
  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<char> waiting_;
  std::uint64_t last_ = 0;
  std::atomic<std::uint64_t> durable_{0};
};

/// A leader if it has followers; a follower acknowledges to whoever sends it entries.
class node {
 public:
  node(const std::string& file, const std::vector<std::string>& followers)
      : wake_(checked(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd")), disk_(file, wake_) {
    epoll_ = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    const auto here = listen_on_loopback();
    listener_ = here.fd;
    std::printf("%d\n", here.port);
    std::fflush(stdout);
    for (const auto& port : followers)
      followers_.push_back({std::make_unique<stream>(connect_to(port)), 0});
    watch(listener_, EPOLLIN);
    watch(wake_, EPOLLIN | EPOLLET);
    for (auto& f : followers_) watch(f.to->fd, EPOLLIN);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 64> events{};
    for (;;) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)].data.fd);
      if (!batch_.empty()) replicate();
      answer();
    }
  }

 private:
  struct follower {
    std::unique_ptr<stream> to;
    std::uint64_t durable;
  };
  struct waiting {
    stream* from;
    std::uint64_t request;
  };

  void watch(int fd, std::uint32_t events) const {
    epoll_event e{};
    e.events = events;
    e.data.fd = fd;
    checked(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e), "epoll_ctl");
  }

  void handle(int fd) {
    if (fd == wake_) return;
    if (fd == listener_) {
      const int accepted = checked(accept4(fd, nullptr, nullptr, SOCK_CLOEXEC), "accept4");
      streams_.push_back(std::make_unique<stream>(accepted));
      watch(accepted, EPOLLIN);
      return;
    }
    for (auto& f : followers_)
      if (f.to->fd == fd) {
        if (!f.to->receive()) std::exit(0);
        f.to->messages([&](const header& h, const char*) { f.durable = h.id; });
        return;
      }
    const auto found = std::ranges::find(streams_, fd, [](const auto& s) { return s->fd; });
    stream& s = **found;
    if (!s.receive()) {
      checked(epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr), "epoll_ctl");
      close(fd);
      s.fd = -1;  // what still waits for it is not sent
      return;
    }
    s.messages([&](const header& h, const char* payload) { take(s, h, payload); });
  }

  void take(stream& from, const header& h, const char* payload) {
    const header entry{++last_, h.bytes};
    const auto* bytes = reinterpret_cast<const char*>(&entry);
    batch_.insert(batch_.end(), bytes, bytes + sizeof entry);
    batch_.insert(batch_.end(), payload, payload + h.bytes);
    waiting_.push_back({&from, h.id});
  }

  void replicate() {
    disk_.add(batch_, last_);
    for (auto& f : followers_) {
      f.to->put(batch_.data(), batch_.size());
      f.to->flush();
    }
    batch_.clear();
  }

  /// Answers what two of three disks have; a follower acknowledges what its own has.
  void answer() {
    std::uint64_t done = disk_.durable();
    if (!followers_.empty()) {
      std::array<std::uint64_t, 3> all{done, followers_[0].durable, followers_[1].durable};
      std::ranges::sort(all);
      done = all[1];
    }
    if (done == answered_) return;
    if (followers_.empty()) {
      stream& to = *waiting_.back().from;
      const header ack{done, 0};
      to.put(&ack, sizeof ack);
      to.flush();
    }
    for (; answered_ < done; ++answered_) {
      const waiting w = waiting_.front();
      waiting_.pop_front();
      const header reply{w.request, 0};
      if (!followers_.empty()) w.from->put(&reply, sizeof reply);
    }
    for (auto& s : streams_)
      if (s->fd >= 0 && !s->out.empty()) s->flush();
  }

  int epoll_ = -1;
  int listener_ = -1;
  int wake_;
  disk disk_;
  std::vector<follower> followers_;
  std::vector<std::unique_ptr<stream>> streams_;
  std::vector<char> batch_;
  std::deque<waiting> waiting_;
  std::uint64_t last_ = 0;
  std::uint64_t answered_ = 0;
};

struct load_options {
  std::string port;
  std::size_t clients = 64;
  std::size_t value_bytes = 256;
  double seconds = 3;
};

/// Closed loops of one outstanding request each, on up to eight connections to the leader.
int run_load(const load_options& o) {
  std::vector<std::unique_ptr<stream>> streams;
  const int epoll = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  for (std::size_t i = 0; i < std::min(o.clients, connections_max); ++i) {
    streams.push_back(std::make_unique<stream>(connect_to(o.port)));
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = i;
    checked(epoll_ctl(epoll, EPOLL_CTL_ADD, streams[i]->fd, &e), "epoll_ctl");
  }
  const std::vector<char> value(o.value_bytes, 'v');
  std::vector<clock_type::time_point> started(o.clients);
  const auto start = [&](std::size_t client) {
    stream& s = *streams[client % streams.size()];
    const header h{client, value.size()};
    started[client] = clock_type::now();
    s.put(&h, sizeof h);
    s.put(value.data(), value.size());
  };
  blixard::apps::histogram latencies;
  const auto begin = clock_type::now();
  const auto end = begin + std::chrono::duration_cast<clock_type::duration>(
                               std::chrono::duration<double>(o.seconds));
  for (std::size_t c = 0; c < o.clients; ++c) start(c);
  std::array<epoll_event, 16> events{};
  std::size_t outstanding = o.clients;
  while (outstanding > 0) {
    for (auto& s : streams)
      if (!s->out.empty()) s->flush();
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      stream& s = *streams[events[static_cast<std::size_t>(i)].data.u64];
      if (!s.receive()) die("the leader is gone");
      const auto now = clock_type::now();
      s.messages([&](const header& h, const char*) {
        latencies.add(static_cast<std::uint64_t>((now - started[h.id]).count()));
        --outstanding;
        if (now >= end) return;
        start(h.id);
        ++outstanding;
      });
    }
  }
  const std::chrono::duration<double> took = clock_type::now() - begin;
  const auto us = [&](double q) { return static_cast<double>(latencies.quantile(q)) / 1e3; };
  const nlohmann::json out{
      {"operations", latencies.count()},
      {"ops_per_second", static_cast<double>(latencies.count()) / took.count()},
      {"p50_us", us(0.5)},
      {"p99_us", us(0.99)},
      {"errors", 0}};
  std::puts(out.dump().c_str());
  return 0;
}

/// A message there and back between two processes, one at a time: what loopback alone takes.
int run_ping(std::size_t bytes, double seconds) {
  std::array<int, 2> ends{};
  const auto [listener, port] = listen_on_loopback();
  ends[0] = connect_to(std::to_string(port));
  ends[1] = checked(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept4");
  const int on = 1;
  for (const int fd : ends)
    checked(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
  std::vector<char> message(bytes, 'v');
  const auto pass_on = [&](int fd, bool first) {
    if (!first && recv(fd, message.data(), bytes, MSG_WAITALL) <= 0) std::exit(0);
    checked(send(fd, message.data(), bytes, MSG_NOSIGNAL), "send");
  };
  if (checked(fork(), "fork") == 0) {
    close(ends[0]);
    for (;;) pass_on(ends[1], false);
  }
  close(ends[1]);
  blixard::apps::histogram latencies;
  const auto end = clock_type::now() + std::chrono::duration<double>(seconds);
  for (auto begin = clock_type::now(); begin < end;) {
    pass_on(ends[0], true);
    checked(recv(ends[0], message.data(), bytes, MSG_WAITALL), "recv");
    const auto now = clock_type::now();
    latencies.add(static_cast<std::uint64_t>((now - begin).count()));
    begin = now;
  }
  const nlohmann::json out{{"operations", latencies.count()},
                           {"p50_us", static_cast<double>(latencies.quantile(0.5)) / 1e3}};
  std::puts(out.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The floor under a replicated put"};
  app.require_subcommand(1);
  std::string file;
  std::vector<std::string> followers;
  auto* serve = app.add_subcommand("node", "Serves; prints its port");
  serve->add_option("--file", file)->required();
  serve->add_option("--followers", followers, "their ports: makes a leader")->expected(2);
  load_options o;
  auto* load = app.add_subcommand("load", "Puts values; prints what came of it");
  load->add_option("--connect", o.port, "the leader's port")->required();
  load->add_option("--clients", o.clients);
  load->add_option("--value-bytes", o.value_bytes);
  load->add_option("--seconds", o.seconds);
  auto* ping = app.add_subcommand("ping", "Sends a message back and forth; prints what that takes");
  ping->add_option("--value-bytes", o.value_bytes);
  ping->add_option("--seconds", o.seconds);
  CLI11_PARSE(app, argc, argv);
  if (*load) return run_load(o);
  if (*ping) return run_ping(o.value_bytes, o.seconds);
  node(file, followers).run();
}
