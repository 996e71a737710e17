// A load generator for etcd that is as good as `blixard bench kv` is for Blixard.
//
// One thread, one completion queue, a few channels with a connection each, and N closed loops of
// one outstanding request: the next request of a client starts when its answer is here. As there,
// the requests are built before the clock starts, a channel is connected before the first request,
// and latency counts from the start of a request to the moment its answer is at hand. The result
// has the names of `blixard bench kv -o json`. What remains different is gRPC's own cost per call,
// which is why the comparison also records the processor time of both generators.
#include <etcd_kv.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "apps/histogram.hpp"

namespace {

using clock_type = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds pause_after_error{10};
constexpr milliseconds drain{1'000};  // for answers after the time is up

struct load_options {
  std::vector<std::string> addresses;
  std::size_t clients = 64;
  std::size_t connections = 0;  // 0: the clients, at most 8
  std::size_t value_bytes = 256;
  std::size_t keys = 10'000;
  double reads = 0;
  bool serializable = false;
  double seconds = 10;
  double timeout_seconds = 5;
  std::uint64_t seed = 1;
};

/// What a call needs while it is outstanding; its address is the tag in the completion queue.
struct call {
  std::unique_ptr<grpc::ClientContext> context;  // one per call, gRPC allows no second use
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::PutResponse>> put;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::RangeResponse>> range;
  etcdserverpb::PutResponse put_answer;
  etcdserverpb::RangeResponse range_answer;
  grpc::Status status;
  clock_type::time_point at;
  std::size_t channel = 0;
};

class load {
 public:
  explicit load(const load_options& o) : options_(o), random_(o.seed), calls_(o.clients) {
    connect();
    build_requests();
  }

  /// Runs to the end; false if a channel could not connect.
  bool run() {
    for (const auto& channel : channels_)
      if (!channel->WaitForConnected(deadline_after(options_.timeout_seconds))) return false;
    begin_ = last_answer_ = clock_type::now();
    end_ = begin_ + std::chrono::duration_cast<clock_type::duration>(
                        std::chrono::duration<double>(options_.seconds));
    for (auto& c : calls_) start(c);
    while (outstanding_ + paused_.size() > 0 && step()) {
    }
    unfinished_ = outstanding_;
    shut_down();
    return true;
  }

  [[nodiscard]] nlohmann::ordered_json result() const {
    const auto all = [this] {
      auto sum = puts_;
      sum.merge(gets_);
      return sum;
    }();
    const std::chrono::duration<double> took = last_answer_ - begin_;
    const double per_second =
        took.count() > 0 ? static_cast<double>(all.count()) / took.count() : 0;
    nlohmann::ordered_json out;
    out["ops_per_second"] = std::round(per_second * 10) / 10;
    out["operations"] = all.count();
    const std::pair<const char*, double> quantiles[] = {
        {"p50_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}, {"p999_us", 0.999}};
    for (const auto& [name, q] : quantiles) out[name] = us(all.quantile(q));
    out["max_us"] = us(all.max());
    out["errors"] = errors_;
    out["first_error"] = first_error_;
    out["unfinished"] = unfinished_;
    out["seconds"] = took.count();
    out["clients"] = options_.clients;
    out["connections"] = channels_.size();
    return out;
  }

 private:
  static double us(std::uint64_t ns) { return std::round(static_cast<double>(ns) / 100.0) / 10.0; }

  static std::chrono::system_clock::time_point deadline_after(double seconds) {
    return std::chrono::system_clock::now() +
           std::chrono::duration_cast<std::chrono::system_clock::duration>(
               std::chrono::duration<double>(seconds));
  }

  void connect() {
    const auto count = options_.connections != 0 ? options_.connections
                                                 : std::min<std::size_t>(options_.clients, 8);
    for (std::size_t i = 0; i < count; ++i) {
      grpc::ChannelArguments arguments;
      // Otherwise channels with the same address share one connection.
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
      channels_.push_back(
          grpc::CreateCustomChannel(options_.addresses[i % options_.addresses.size()],
                                    grpc::InsecureChannelCredentials(), arguments));
      stubs_.push_back(etcdserverpb::KV::NewStub(channels_.back()));
    }
    for (std::size_t i = 0; i < calls_.size(); ++i) calls_[i].channel = i % count;
  }

  void build_requests() {
    std::mt19937_64 bytes(options_.seed ^ 0x9E3779B97F4A7C15ULL);
    for (std::size_t i = 0; i < options_.keys; ++i) {
      const auto key = "bench/" + std::to_string(i);
      std::string value(options_.value_bytes, ' ');
      for (auto& c : value) c = static_cast<char>('a' + bytes() % 26);
      etcdserverpb::PutRequest put;
      put.set_key(key);
      put.set_value(value);
      put_requests_.push_back(std::move(put));
      etcdserverpb::RangeRequest get;
      get.set_key(key);
      get.set_serializable(options_.serializable);
      get_requests_.push_back(std::move(get));
    }
  }

  void start(call& c) {
    const auto key = random_() % options_.keys;
    const bool read = options_.reads > 0 && coin_(random_) < options_.reads;
    c.context = std::make_unique<grpc::ClientContext>();
    c.context->set_deadline(deadline_after(options_.timeout_seconds));
    c.at = clock_type::now();
    auto& stub = *stubs_[c.channel];
    c.put.reset();
    c.range.reset();
    if (read) {
      c.range = stub.AsyncRange(c.context.get(), get_requests_[key], &queue_);
      c.range->Finish(&c.range_answer, &c.status, &c);
    } else {
      c.put = stub.AsyncPut(c.context.get(), put_requests_[key], &queue_);
      c.put->Finish(&c.put_answer, &c.status, &c);
    }
    ++outstanding_;
  }

  /// Takes one answer, or waits a moment; false when the time for late answers is up too.
  bool step() {
    const auto now = clock_type::now();
    if (now >= end_ + drain) return false;
    wake_paused(now);
    void* tag = nullptr;
    bool good = false;
    // A short wait only where a paused client must be woken: each timed wait costs the queue.
    const milliseconds wait{paused_.empty() ? 200 : 5};
    if (queue_.AsyncNext(&tag, &good, std::chrono::system_clock::now() + wait) ==
        grpc::CompletionQueue::GOT_EVENT)
      finish(*static_cast<call*>(tag));
    return true;
  }

  void finish(call& c) {
    --outstanding_;
    const auto now = clock_type::now();
    last_answer_ = now;
    if (c.status.ok()) {
      const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(now - c.at).count();
      (c.range ? gets_ : puts_).add(static_cast<std::uint64_t>(took));
      if (now < end_) start(c);
      return;
    }
    if (errors_++ == 0) first_error_ = c.status.error_message();
    if (now < end_) paused_.push_back({now + pause_after_error, &c});
  }

  void wake_paused(clock_type::time_point now) {
    if (now >= end_) paused_.clear();
    std::erase_if(paused_, [&](const auto& p) {
      if (p.first > now) return false;
      start(*p.second);
      return true;
    });
  }

  /// Ends what is still outstanding, so that no tag outlives its call.
  void shut_down() {
    for (auto& c : calls_)
      if (c.context) c.context->TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool good = false;
    while (queue_.Next(&tag, &good)) {
    }
  }

  const load_options& options_;
  std::mt19937_64 random_;
  std::uniform_real_distribution<double> coin_{0, 1};
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<etcdserverpb::KV::Stub>> stubs_;
  std::vector<etcdserverpb::PutRequest> put_requests_;
  std::vector<etcdserverpb::RangeRequest> get_requests_;
  grpc::CompletionQueue queue_;
  std::vector<call> calls_;
  std::vector<std::pair<clock_type::time_point, call*>> paused_;
  std::size_t outstanding_ = 0;
  std::size_t unfinished_ = 0;
  std::uint64_t errors_ = 0;
  std::string first_error_;
  clock_type::time_point begin_;
  clock_type::time_point end_;
  clock_type::time_point last_answer_;
  blixard::apps::histogram puts_;
  blixard::apps::histogram gets_;
};

}  // namespace

int main(int argc, char** argv) {
  load_options o;
  CLI::App app("etcd_load: closed loops of puts and gets against etcd; prints JSON");
  app.add_option("--connect", o.addresses, "client addresses, HOST:PORT[,...]")
      ->delimiter(',')
      ->required();
  app.add_option("--clients", o.clients, "closed loops")->check(CLI::Range(1, 100'000));
  app.add_option("--connections", o.connections, "that the clients share [at most 8]");
  app.add_option("--value-bytes", o.value_bytes)->check(CLI::Range(0, 1 << 20));
  app.add_option("--keys", o.keys)->check(CLI::Range(1, 10'000'000));
  app.add_option("--reads", o.reads, "share of gets")->check(CLI::Range(0.0, 1.0));
  app.add_flag("--stale", o.serializable, "serializable gets: answered by the node that is asked");
  app.add_option("--seconds", o.seconds)->check(CLI::PositiveNumber);
  app.add_option("--timeout", o.timeout_seconds, "of one operation")->check(CLI::PositiveNumber);
  app.add_option("--seed", o.seed);
  CLI11_PARSE(app, argc, argv);

  load run(o);
  if (!run.run()) {
    std::fprintf(stderr, "etcd_load: nobody answers at %s\n", o.addresses[0].c_str());
    return 1;
  }
  const auto result = run.result();
  std::printf("%s\n", result.dump().c_str());
  if (result["operations"] != 0) return 0;
  std::fprintf(stderr, "etcd_load: no operation succeeded\n");
  return 1;
}
