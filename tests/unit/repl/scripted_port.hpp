// A port that a test plays: keeps what is submitted, calls back when told to.
#pragma once

#include <deque>
#include <map>

#include "messages/cluster.pb.h"
#include "runtime/repl/port.hpp"

namespace blixard::repl::test {

class scripted_port final : public port {
 public:
  struct call {
    call_id id = 0;
    request what;
    reply_fn done;

    [[nodiscard]] pb::Command command() const {
      pb::Command out;
      EXPECT_TRUE(out.ParseFromArray(what.body.data(), static_cast<int>(what.body.size())));
      return out;
    }
  };

  call_id submit(const request& r, reply_fn done) override {
    calls.push_back({++last_, r, std::move(done)});
    return last_;
  }
  void cancel(call_id id) override {
    std::erase_if(calls, [id](const call& c) { return c.id == id; });
    ++cancelled;
  }
  [[nodiscard]] int wait_fd() const override { return -1; }
  [[nodiscard]] int wait_ms() const override { return calls.empty() ? -1 : 0; }
  void process() override {}

  /// Ends the call at `index` with an answer, or with an error of this side.
  void answer(std::size_t index, const pb::Answer& a) {
    auto c = take(index);
    const auto bytes = a.SerializeAsString();
    c.done(std::as_bytes(std::span(bytes)));
  }
  void fail(std::size_t index, errc code) {
    auto c = take(index);
    c.done(tl::unexpected(make_error(code, "as the test says")));
  }

  std::deque<call> calls;
  int cancelled = 0;

 private:
  call take(std::size_t index) {
    auto c = std::move(calls.at(index));
    calls.erase(calls.begin() + static_cast<std::ptrdiff_t>(index));
    return c;
  }
  call_id last_ = 0;
};

}  // namespace blixard::repl::test
