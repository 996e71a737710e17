// The replaced locks; see locks.hpp. Each tries first, so that it knows whether it has to wait.
#include "tests/bench/locks.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BLIXARD_COUNT_LOCKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BLIXARD_COUNT_LOCKS 0
#endif
#endif
#ifndef BLIXARD_COUNT_LOCKS
#define BLIXARD_COUNT_LOCKS 1
#endif

namespace {
constinit thread_local blixard::bench::lock_count count;
}

namespace blixard::bench {
lock_count locks() noexcept { return count; }
}  // namespace blixard::bench

#if BLIXARD_COUNT_LOCKS
namespace {

/// The library's own function, looked up once. constinit: locks are taken before main.
template <class Lock>
class real {
 public:
  explicit constexpr real(const char* name) noexcept : name_(name) {}
  int operator()(Lock* lock) noexcept {
    auto* function = function_.load(std::memory_order_relaxed);
    if (function == nullptr) {
      function = reinterpret_cast<int (*)(Lock*)>(dlsym(RTLD_NEXT, name_));
      function_.store(function, std::memory_order_relaxed);
    }
    return function(lock);
  }

 private:
  const char* name_;
  std::atomic<int (*)(Lock*)> function_{nullptr};
};

constinit real<pthread_mutex_t> mutex_lock{"pthread_mutex_lock"};
constinit real<pthread_rwlock_t> read_lock{"pthread_rwlock_rdlock"};
constinit real<pthread_rwlock_t> write_lock{"pthread_rwlock_wrlock"};

template <class Lock>
int counted(Lock* lock, int (*attempt)(Lock*), real<Lock>& wait) noexcept {
  ++count.taken;
  if (attempt(lock) == 0) return 0;
  ++count.waited;
  return wait(lock);
}

}  // namespace

extern "C" {
int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
  return counted(m, pthread_mutex_trylock, mutex_lock);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* l) noexcept {
  return counted(l, pthread_rwlock_tryrdlock, read_lock);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* l) noexcept {
  return counted(l, pthread_rwlock_trywrlock, write_lock);
}
}
#endif
