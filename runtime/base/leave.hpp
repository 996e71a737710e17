// What a process that ends need not free.
//
// A state of millions of objects takes seconds to free, one by one, and the kernel takes back all
// of it at once. So at the end of a process it is left where it is, on purpose: the leak sanitizer
// is told, and goes on looking for leaks that are none.
#pragma once

#include <memory>
#include <utility>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/lsan_interface.h>
#define BLIXARD_TELLS_LSAN 1
#endif
#endif

namespace blixard {

/// Takes `value` with all that it owns, and never frees it. Only where the process ends.
template <class T>
void leave_to_the_kernel(T value) {
  [[maybe_unused]] auto* kept = std::make_unique<T>(std::move(value)).release();
#ifdef BLIXARD_TELLS_LSAN
  __lsan_ignore_object(kept);
#endif
}

}  // namespace blixard
