// zstd's working memory: each thread keeps one context for packing and one for unpacking.
//
// To make a context is dear where it is made for every snapshot of some kilobytes: it asks what the
// processor can do (CPUID, which in a virtual machine only the host can answer: tens of
// microseconds), takes memory and clears tables. A used one goes on with what it has and gives the
// same bytes. Who needs a second one meanwhile makes it; it is kept where there is none.
#pragma once

#include <zstd.h>

#include <memory>
#include <utility>

#include "messages/check.hpp"

namespace blixard::storage {

struct free_zstd {
  void operator()(ZSTD_CCtx* c) const noexcept { ZSTD_freeCCtx(c); }
  void operator()(ZSTD_DCtx* c) const noexcept { ZSTD_freeDCtx(c); }
};

/// A context as new, back to the thread that lets it go.
template <class Context>
class lent_context {
 public:
  lent_context() : context_(std::exchange(spare(), nullptr)) {
    if (!context_) context_.reset(make(static_cast<Context*>(nullptr)));
    CHECK(context_ != nullptr);
  }
  lent_context(const lent_context&) = delete;
  lent_context& operator=(const lent_context&) = delete;
  ~lent_context() {
    if (!spare() && renew(context_.get())) spare() = std::move(context_);
  }
  [[nodiscard]] Context* get() const noexcept { return context_.get(); }

 private:
  using owner = std::unique_ptr<Context, free_zstd>;
  static owner& spare() noexcept {
    thread_local owner one;
    return one;
  }
  static ZSTD_CCtx* make(ZSTD_CCtx*) { return ZSTD_createCCtx(); }
  static ZSTD_DCtx* make(ZSTD_DCtx*) { return ZSTD_createDCtx(); }
  static bool renew(ZSTD_CCtx* c) {
    return ZSTD_isError(ZSTD_CCtx_reset(c, ZSTD_reset_session_and_parameters)) == 0;
  }
  static bool renew(ZSTD_DCtx* c) {
    return ZSTD_isError(ZSTD_DCtx_reset(c, ZSTD_reset_session_and_parameters)) == 0;
  }

  owner context_;
};

using lent_compressor = lent_context<ZSTD_CCtx>;
using lent_decompressor = lent_context<ZSTD_DCtx>;

}  // namespace blixard::storage
