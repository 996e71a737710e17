#include "runtime/vm/supervisor.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "messages/check.hpp"
#include "messages/cluster.pb.h"
#include "runtime/vm/console.hpp"
#include "runtime/vm/files.hpp"
#include "runtime/vm/vm_entry.hpp"

namespace blixard::vm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t wake_tag = 0;
constexpr std::uint64_t lease_poll_ms = 100;  // only while a VM waits for the lease
constexpr unsigned role_bits = 2;

std::uint64_t now_in_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

/// The VM id of a directory's name; nothing for other names.
std::optional<std::uint64_t> id_of(const std::string& name) {
  std::uint64_t id = 0;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (failed != std::errc{} || end != name.data() + name.size() || id == 0) return std::nullopt;
  return id;
}

}  // namespace

class supervisor::impl final : public vm_environment {
 public:
  explicit impl(supervisor_options o) : options_(std::move(o)) {
    if (options_.guard_argv.empty()) options_.guard_argv = {"/proc/self/exe", "guard"};
  }
  ~impl() override { stop(); }

  tl::expected<void, error> start();
  void stop();
  /// Runs `work` on the loop's thread.
  void post(std::function<void(impl&, std::uint64_t now_ms)> work);
  void set_desired(std::shared_ptr<const pb::Vm> vm, std::uint64_t now_ms);
  void forget(std::uint64_t id, std::uint64_t now_ms);
  void retain(const std::set<vm_id>& ids, std::uint64_t now_ms);

  [[nodiscard]] std::string directory_of(std::uint64_t id) const {
    return options_.data_dir + "/vms/" + std::to_string(id);
  }
  [[nodiscard]] std::set<vm_id> held() const;
  [[nodiscard]] supervisor_stats stats() const noexcept;

  // vm_environment
  void watch(std::uint64_t vm, fd_role role, int fd) override;
  void report(const pb::VmReport_One& report) override;
  void log(const char* level, const std::string& line) override {
    if (options_.on_log) options_.on_log(level, line);
  }
  bool lease_is_valid() override;
  const supervisor_options& options() const override { return options_; }
  void count(happening h) override;

 private:
  void run();
  void take_posted(std::uint64_t now_ms);
  void dispatch(std::uint64_t tag, std::uint64_t now_ms);
  void on_time(std::uint64_t now_ms);
  void sweep();
  [[nodiscard]] int wait_ms(std::uint64_t now_ms) const;
  tl::expected<void, error> adopt_all();
  void hold(std::uint64_t id);

  supervisor_options options_;
  unique_fd epoll_;
  unique_fd wake_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};  // set by stop(), read by the loop after a wake-up
  std::optional<lease_page> lease_;
  std::map<std::uint64_t, std::unique_ptr<vm_entry>> entries_;  // the loop's thread only

  mutable std::mutex mutex_;  // protects the two below; held for a move or a copy
  std::vector<std::function<void(impl&, std::uint64_t)>> posted_;
  std::set<vm_id> held_;  // the keys of entries_

  // Written by the loop's thread, read by any: relaxed, they order nothing.
  std::array<std::atomic<std::uint64_t>, happenings> counters_{};
  std::atomic<std::uint64_t> wakeups_{0};
};

tl::expected<void, error> supervisor::impl::start() {
  CHECK(!thread_.joinable());
  std::error_code failed;
  fs::create_directories(options_.data_dir + "/vms", failed);
  if (failed)
    return tl::unexpected(
        system_error("cannot make " + options_.data_dir + "/vms", failed.value()));
  // Guards and QEMU have other working directories.
  options_.data_dir = fs::absolute(options_.data_dir).lexically_normal().string();
  epoll_ = unique_fd{::epoll_create1(EPOLL_CLOEXEC)};
  wake_ = unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!epoll_ || !wake_) return tl::unexpected(system_error("epoll or eventfd"));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = wake_tag;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0)
    return tl::unexpected(system_error("epoll_ctl"));
  if (auto adopted = adopt_all(); !adopted) return adopted;
  stopping_ = false;
  thread_ = std::thread{[this] { run(); }};
  return {};
}

tl::expected<void, error> supervisor::impl::adopt_all() {
  std::error_code failed;
  const std::string root = options_.data_dir + "/vms";
  for (const auto& item : fs::directory_iterator{root, failed}) {
    const auto id = id_of(item.path().filename().string());
    if (!id || !item.is_directory()) continue;
    hold(*id);
    auto entry = std::make_unique<vm_entry>(*this, *id, directory_of(*id));
    auto& e = *entries_.emplace(*id, std::move(entry)).first->second;
    e.adopt(now_in_ms());
  }
  if (failed) return tl::unexpected(system_error("cannot read " + root, failed.value()));
  return {};
}

void supervisor::impl::stop() {
  if (!thread_.joinable()) return;
  CHECK(std::this_thread::get_id() != thread_.get_id());
  post([](impl& self, std::uint64_t) { self.stopping_ = true; });
  thread_.join();
  entries_.clear();
}

void supervisor::impl::post(std::function<void(impl&, std::uint64_t)> work) {
  {
    const std::scoped_lock hold{mutex_};
    posted_.push_back(std::move(work));
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(wake_.get(), &one, sizeof one);
}

void supervisor::impl::run() {
  std::array<epoll_event, 64> events{};
  while (!stopping_) {
    const int n = ::epoll_wait(epoll_.get(), events.data(), events.size(), wait_ms(now_in_ms()));
    wakeups_.fetch_add(1, std::memory_order_relaxed);
    const std::uint64_t now_ms = now_in_ms();
    for (int i = 0; i < n; ++i) dispatch(events[static_cast<std::size_t>(i)].data.u64, now_ms);
    on_time(now_ms);
    sweep();
  }
}

int supervisor::impl::wait_ms(std::uint64_t now_ms) const {
  std::uint64_t at = UINT64_MAX;
  for (const auto& [id, entry] : entries_) {
    if (const auto t = entry->deadline()) at = std::min(at, *t);
    if (entry->waits_for_lease()) at = std::min(at, now_ms + lease_poll_ms);
  }
  if (at == UINT64_MAX) return -1;
  // One more: a wait that ends a fraction of a millisecond early would turn in circles.
  return at <= now_ms ? 0 : static_cast<int>(std::min<std::uint64_t>(at - now_ms + 1, 60'000));
}

void supervisor::impl::dispatch(std::uint64_t tag, std::uint64_t now_ms) {
  if (tag == wake_tag) {
    std::uint64_t times = 0;
    [[maybe_unused]] const auto n = ::read(wake_.get(), &times, sizeof times);
    take_posted(now_ms);
    return;
  }
  const auto found = entries_.find(tag >> role_bits);
  if (found != entries_.end())
    found->second->on_event(static_cast<fd_role>(tag & ((1U << role_bits) - 1)), now_ms);
}

void supervisor::impl::take_posted(std::uint64_t now_ms) {
  std::vector<std::function<void(impl&, std::uint64_t)>> work;
  {
    const std::scoped_lock hold{mutex_};
    work.swap(posted_);
  }
  for (auto& w : work) w(*this, now_ms);
}

void supervisor::impl::on_time(std::uint64_t now_ms) {
  for (auto& [id, entry] : entries_) {
    const auto t = entry->deadline();
    if ((t && *t <= now_ms) || entry->waits_for_lease()) entry->on_time(now_ms);
  }
}

void supervisor::impl::hold(std::uint64_t id) {
  const std::scoped_lock lock{mutex_};
  held_.insert(vm_id{id});
}

void supervisor::impl::sweep() {
  std::erase_if(entries_, [this](const auto& item) {
    if (!item.second->is_gone()) return false;
    const std::scoped_lock lock{mutex_};
    held_.erase(vm_id{item.first});
    return true;
  });
}

void supervisor::impl::set_desired(std::shared_ptr<const pb::Vm> vm, std::uint64_t now_ms) {
  const std::uint64_t id = vm->id();
  hold(id);
  auto& entry = entries_[id];
  // One that is gone but not swept yet makes room for a new one.
  if (!entry || entry->is_gone()) entry = std::make_unique<vm_entry>(*this, id, directory_of(id));
  entry->set_desired(std::move(vm), now_ms);
}

void supervisor::impl::forget(std::uint64_t id, std::uint64_t now_ms) {
  if (const auto found = entries_.find(id); found != entries_.end()) found->second->forget(now_ms);
}

void supervisor::impl::retain(const std::set<vm_id>& ids, std::uint64_t now_ms) {
  for (auto& [id, entry] : entries_)
    if (!ids.contains(vm_id{id})) entry->forget(now_ms);
}

void supervisor::impl::watch(std::uint64_t vm, fd_role role, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = vm << role_bits | static_cast<std::uint64_t>(role);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    log("warn", system_error("epoll_ctl").message);
}

void supervisor::impl::report(const pb::VmReport_One& report) {
  if (options_.on_report) options_.on_report(report);
}

bool supervisor::impl::lease_is_valid() {
  if (!options_.use_lease) return true;
  if (!lease_) {
    auto page = lease_page::open_readonly(options_.data_dir + "/lease");
    if (!page) return false;
    lease_.emplace(std::move(*page));
  }
  return lease_->valid_at(boottime_ns());
}

void supervisor::impl::count(happening h) {
  counters_.at(static_cast<std::size_t>(h)).fetch_add(1, std::memory_order_relaxed);
}

std::set<vm_id> supervisor::impl::held() const {
  const std::scoped_lock hold{mutex_};
  return held_;
}

supervisor_stats supervisor::impl::stats() const noexcept {
  const auto read = [this](happening h) {
    return counters_[static_cast<std::size_t>(h)].load(std::memory_order_relaxed);
  };
  supervisor_stats s;
  s.starts = read(happening::start);
  s.restarts = read(happening::restart);
  s.crashes = read(happening::crash);
  s.adopted = read(happening::adopted);
  s.lease_kills = read(happening::lease_kill);
  s.qmp_timeouts = read(happening::qmp_timeout);
  s.wakeups = wakeups_.load(std::memory_order_relaxed);
  return s;
}

// ------------------------------------------------------------------ the public face

supervisor::supervisor(supervisor_options options)
    : impl_(std::make_unique<impl>(std::move(options))) {}
supervisor::~supervisor() = default;

tl::expected<void, error> supervisor::start() { return impl_->start(); }
void supervisor::stop() { impl_->stop(); }

void supervisor::set_desired(std::shared_ptr<const pb::Vm> vm) {
  CHECK(vm != nullptr);
  CHECK_NE(vm->id(), 0U);
  impl_->post([vm = std::move(vm)](impl& self, std::uint64_t now_ms) mutable {
    self.set_desired(std::move(vm), now_ms);
  });
}

void supervisor::forget(vm_id id) {
  impl_->post([id](impl& self, std::uint64_t now_ms) { self.forget(id.value(), now_ms); });
}

void supervisor::retain(std::set<vm_id> ids) {
  impl_->post(
      [ids = std::move(ids)](impl& self, std::uint64_t now_ms) { self.retain(ids, now_ms); });
}

std::vector<std::string> supervisor::console_tail(vm_id id, std::size_t lines) const {
  return read_tail(impl_->directory_of(id.value()) + "/" + name_of::console, lines);
}

std::set<vm_id> supervisor::held() const { return impl_->held(); }
supervisor_stats supervisor::stats() const noexcept { return impl_->stats(); }

}  // namespace blixard::vm
