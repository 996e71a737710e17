// What the VM tests share: a temporary directory, a supervisor whose reports are kept, and waiting
// for events to a deadline (never for time to pass).
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "messages/cluster.pb.h"
#include "runtime/vm/files.hpp"
#include "runtime/vm/supervisor.hpp"

namespace blixard::vm::test {

using namespace std::chrono_literals;

/// Far more than anything takes, also under a sanitizer on a busy machine.
inline constexpr auto patience = 180s;

class temp_dir {
 public:
  temp_dir() {
    const char* base = ::getenv("TMPDIR");
    path_ = std::string{base != nullptr ? base : "/tmp"} + "/blixard-vm-XXXXXX";
    EXPECT_NE(::mkdtemp(path_.data()), nullptr);
  }
  ~temp_dir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temp_dir(const temp_dir&) = delete;
  temp_dir& operator=(const temp_dir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// Every report in order; wait() blocks until one of them, from `from` on, satisfies the claim.
class recorder {
 public:
  void add(const pb::VmReport_One& r) {
    const std::scoped_lock hold{mutex_};
    reports_.push_back(r);
    changed_.notify_all();
  }
  /// The index behind the report found, or 0 after the test's patience is used up.
  std::size_t wait(const std::function<bool(const pb::VmReport_One&)>& claim,
                   std::size_t from = 0) {
    std::unique_lock hold{mutex_};
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (std::size_t at = from;;) {
      for (; at < reports_.size(); ++at)
        if (claim(reports_[at])) return at + 1;
      if (changed_.wait_until(hold, deadline) == std::cv_status::timeout) {
        ADD_FAILURE() << "no such report; have:\n" << describe(from);
        return 0;
      }
    }
  }
  std::size_t wait_phase(pb::Phase phase, std::size_t from = 0) {
    return wait([&](const auto& r) { return r.phase() == phase && !r.gone(); }, from);
  }
  pb::VmReport_One at(std::size_t index_behind) {
    const std::scoped_lock hold{mutex_};
    return index_behind == 0 ? pb::VmReport_One{} : reports_.at(index_behind - 1);
  }
  std::size_t size() {
    const std::scoped_lock hold{mutex_};
    return reports_.size();
  }
  std::vector<pb::VmReport_One> all() {
    const std::scoped_lock hold{mutex_};
    return reports_;
  }

 private:
  std::string describe(std::size_t from) const {
    std::string text;
    for (std::size_t i = from; i < reports_.size(); ++i)
      text += reports_[i].ShortDebugString() + "\n";
    return text;
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<pb::VmReport_One> reports_;
};

/// Polls (the claim is about another process's files) until it holds or patience ends.
inline bool eventually(const std::function<bool()>& claim) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!claim()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

/// Waits for the end of any process through a pidfd.
inline bool ends(const unique_fd& process) {
  pollfd p{process.get(), POLLIN, 0};
  return !process ||
         ::poll(&p, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) == 1;
}
inline bool is_alive(std::uint64_t pid) {
  return process_start_time(static_cast<pid_t>(pid)).has_value();
}
inline unique_fd watch_process(std::uint64_t pid) {
  const auto start = process_start_time(static_cast<pid_t>(pid));
  return start ? open_process(static_cast<pid_t>(pid), *start) : unique_fd{};
}

/// A process VM that runs `script` in a shell.
inline std::shared_ptr<pb::Vm> shell_vm(std::uint64_t id, const std::string& script,
                                        std::uint64_t generation = 1) {
  auto vm = std::make_shared<pb::Vm>();
  vm->set_id(id);
  vm->set_generation(generation);
  vm->mutable_spec()->set_name("vm" + std::to_string(id));
  vm->mutable_spec()->set_backend(pb::BACKEND_PROCESS);
  auto* process = vm->mutable_spec()->mutable_process();
  for (const auto* word : {"/bin/sh", "-c"}) process->add_argv(word);
  process->add_argv(script);
  return vm;
}

/// The same VM with another wish.
inline std::shared_ptr<pb::Vm> but(const std::shared_ptr<pb::Vm>& vm,
                                   const std::function<void(pb::Vm&)>& change) {
  auto next = std::make_shared<pb::Vm>(*vm);
  next->set_generation(vm->generation() + 1);
  change(*next);
  return next;
}

}  // namespace blixard::vm::test
