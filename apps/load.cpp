#include "apps/load.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <utility>

#include "messages/check.hpp"
#include "messages/cluster.pb.h"
#include "runtime/net/client.hpp"

namespace blixard::apps {
namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;
constexpr std::uint64_t progress_every_ns = 200 * ns_per_ms;
constexpr std::uint64_t pause_after_error_ns = 10 * ns_per_ms;
constexpr std::uint64_t drain_ns = 1'000 * ns_per_ms;  // for answers after the time is up
constexpr std::size_t open_outstanding_max = 4096;

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

/// Bodies side by side in one buffer: with one each, every request would fetch the header of
/// another one just to count a reference.
class request_maker {
 public:
  request_maker(frame_kind kind, std::uint32_t timeout_ms) : kind_(kind), timeout_ms_(timeout_ms) {}
  void add(const google::protobuf::MessageLite& body) {
    CHECK(body.AppendToString(&bytes_));
    ends_.push_back(bytes_.size());
  }
  [[nodiscard]] std::vector<repl::request> finish() {
    std::vector<repl::request> out;
    out.reserve(ends_.size());
    auto all = buffer::make(std::max<std::size_t>(bytes_.size(), 1));
    std::memcpy(all->data(), bytes_.data(), bytes_.size());
    std::size_t begin = 0;
    for (const auto end : ends_) {
      out.push_back({.kind = kind_,
                     .body = slice{all, all->data() + begin, end - begin},
                     .target = {},
                     .timeout_ms = timeout_ms_});
      begin = end;
    }
    bytes_ = {};
    return out;
  }

 private:
  frame_kind kind_;
  std::uint32_t timeout_ms_;
  std::string bytes_;
  std::vector<std::size_t> ends_;
};

std::string key_name(std::size_t i) { return "bench/" + std::to_string(i); }

/// The code of an answer, without reading the rest of it where it is good.
errc code_of(const repl::reply& r, pb::Answer& scratch) {
  if (!r) return r.error().code;
  if (!scratch.ParseFromArray(r->data(), static_cast<int>(r->size()))) return errc::internal;
  const auto number = scratch.error();
  return number < static_cast<std::uint32_t>(errc_count) ? static_cast<errc>(number)
                                                         : errc::internal;
}

class load {
 public:
  load(const load_options& o, const load_progress& progress)
      : options_(o), progress_(progress), client_(client_options(o)), random_(o.seed) {
    encode_all();
    paused_.reserve(o.clients);
  }

  load_result run() {
    begin_ = now_ns();
    last_good_ = begin_;
    end_ = begin_ + options_.duration_ms * ns_per_ms;
    if (options_.rate > 0)
      run_open();
    else
      run_closed();
    drain();
    result_.unfinished = client_.outstanding();
    result_.seconds = static_cast<double>(std::max(last_answer_, begin_ + 1) - begin_) / 1e9;
    return std::move(result_);
  }

 private:
  static net::client_options client_options(const load_options& o) {
    net::client_options out;
    out.addresses = o.addresses;
    out.tls = o.tls;
    out.lanes = std::max<std::size_t>(1, o.connections);
    return out;
  }

  void encode_all() {
    std::mt19937_64 bytes(options_.seed ^ 0x9E3779B97F4A7C15ULL);
    request_maker puts(frame_kind::command, options_.timeout_ms);
    request_maker gets(options_.stale ? frame_kind::local : frame_kind::query, options_.timeout_ms);
    for (std::size_t i = 0; i < options_.keys; ++i) {
      pb::Command put;
      put.set_time_ms(std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count());
      put.mutable_kv_put()->set_key(key_name(i));
      auto& value = *put.mutable_kv_put()->mutable_value();
      value.resize(options_.value_bytes);
      for (auto& c : value) c = static_cast<char>('a' + bytes() % 26);
      puts.add(put);
      pb::Query get;
      get.set_stale(options_.stale);
      get.mutable_kv_get()->set_key(key_name(i));
      gets.add(get);
    }
    puts_ = puts.finish();
    gets_ = gets.finish();
  }

  void run_closed() {
    for (std::uint32_t c = 0; c < options_.clients; ++c) start(c, now_ns());
    while (true) {
      const auto now = now_ns();
      if (now >= end_) return;
      wake_paused(now);
      report(now);
      client_.poll(paused_.empty() ? 50 : 5);
    }
  }

  void run_open() {
    const double interval = 1e9 / options_.rate;
    std::uint64_t n = 0;
    while (true) {
      const auto now = now_ns();
      if (now >= end_) return;
      while (intended(n, interval) <= now && intended(n, interval) < end_) {
        if (client_.outstanding() < open_outstanding_max)
          start(static_cast<std::uint32_t>(n % options_.clients), intended(n, interval));
        else
          ++result_.late_starts;
        ++n;
      }
      report(now);
      const auto next = intended(n, interval);
      client_.poll(next > now + ns_per_ms ? 1 : 0);
    }
  }

  [[nodiscard]] std::uint64_t intended(std::uint64_t n, double interval) const {
    return begin_ + static_cast<std::uint64_t>(static_cast<double>(n) * interval);
  }

  /// Waits for what is outstanding; answers that come now still count, new requests do not start.
  void drain() {
    draining_ = true;
    const auto until = now_ns() + drain_ns;
    while (client_.outstanding() > 0 && now_ns() < until) client_.poll(10);
  }

  void start(std::uint32_t who, std::uint64_t intended_ns) {
    const auto key = random_() % options_.keys;
    const bool read = options_.reads > 0 && coin_(random_) < options_.reads;
    const auto slot = take_slot();
    flights_[slot] = {intended_ns, who, read};
    // Two words of capture: std::function keeps them without an allocation.
    client_.submit(read ? gets_[key] : puts_[key], who,
                   [this, slot](const repl::reply& r) { finish(slot, r); });
  }

  std::uint32_t take_slot() {
    if (free_.empty()) {
      flights_.emplace_back();
      return static_cast<std::uint32_t>(flights_.size() - 1);
    }
    const auto slot = free_.back();
    free_.pop_back();
    return slot;
  }

  /// An operation in flight.
  struct flight {
    std::uint64_t at_ns = 0;
    std::uint32_t who = 0;
    bool read = false;
  };

  void finish(std::uint32_t slot, const repl::reply& r) {
    const auto s = flights_[slot];
    free_.push_back(slot);
    auto code = code_of(r, scratch_);
    if (s.read && code == errc::not_found) code = errc::ok;  // the key was never put
    const auto now = now_ns();
    last_answer_ = now;
    if (code == errc::ok) {
      (s.read ? result_.gets : result_.puts).add(now - s.at_ns);
      result_.longest_gap_ns = std::max(result_.longest_gap_ns, now - last_good_);
      last_good_ = now;
    } else {
      ++result_.errors;
      ++result_.errors_by_code[code];
    }
    if (draining_ || options_.rate > 0) return;
    if (code == errc::ok)
      start(s.who, now);
    else
      paused_.push_back({now + pause_after_error_ns, s.who});
  }

  void wake_paused(std::uint64_t now) {
    std::erase_if(paused_, [&](const std::pair<std::uint64_t, std::uint32_t>& p) {
      if (p.first > now) return false;
      start(p.second, now);
      return true;
    });
  }

  void report(std::uint64_t now) {
    if (!progress_ || now - last_report_ < progress_every_ns) return;
    last_report_ = now;
    progress_((now - begin_) / ns_per_ms, result_.operations());
  }

  const load_options& options_;
  const load_progress& progress_;
  net::client client_;
  std::mt19937_64 random_;
  std::uniform_real_distribution<double> coin_{0, 1};
  std::vector<repl::request> puts_;
  std::vector<repl::request> gets_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> paused_;  // until when, which client
  std::vector<flight> flights_;
  std::vector<std::uint32_t> free_;
  pb::Answer scratch_;
  load_result result_;
  bool draining_ = false;
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
  std::uint64_t last_answer_ = 0;
  std::uint64_t last_good_ = 0;
  std::uint64_t last_report_ = 0;
};

}  // namespace

load_result run_load(const load_options& options, const load_progress& progress) {
  return load(options, progress).run();
}

}  // namespace blixard::apps
