#include "runtime/raft/transfers.hpp"

#include "runtime/base/planted.hpp"

namespace blixard::raft {

bool snapshots_out::start(message m, std::uint64_t now_ns) {
  const auto to = m.to;
  snapshot_sender sender{m.snapshot, now_ns, limits_};
  if (const auto it = all_.find(to); it != all_.end()) {
    if (it->second.sender.name() == sender.name()) return false;
    all_.erase(it);
  }
  m.nonce = sender.name().content;
  all_.emplace(to, one{std::move(m), std::move(sender)});
  return true;
}

const snapshot_sender* snapshots_out::answered(const decoded_message& d, std::uint64_t now_ns) {
  const auto it = all_.find(d.msg.from);
  if (it == all_.end()) return nullptr;
  auto& sender = it->second.sender;
  const auto& meta = *d.msg.snapshot;
  if (sender.name() != snapshot_name{meta.index, meta.term, d.chunk.total, d.msg.nonce})
    return nullptr;
  const bool jumps = d.msg.notice || d.chunk.offset > sender.received() + limits_.window_bytes;
  sender.answered(d.chunk.offset, d.msg.notice, now_ns);
  return jumps ? &sender : nullptr;
}

bool snapshots_in::is_believable(const core& self, const message& m, bool known) {
  if (m.term < self.current_term()) return false;
  const auto& conf = self.configuration();
  const bool led_by_it =
      m.term == self.current_term() && m.from == self.lead() && !planted(bug::leader_unknown);
  return known || led_by_it || self.recovering() || conf.contains(m.from) ||
         !conf.contains(self.id());
}

snapshots_in::taken snapshots_in::take(const core& self, const decoded_message& d) {
  const auto& meta = *d.msg.snapshot;
  taken out;
  out.name = {meta.index, meta.term, d.chunk.total, d.msg.nonce};
  out.answer = message{message_type::snapshot, self.id(), d.msg.from};
  out.answer.term = self.current_term();
  out.answer.reject = true;
  out.answer.nonce = d.msg.nonce;
  out.answer.snapshot = std::make_shared<const snapshot>(snapshot{meta.index, meta.term, {}, {}});
  out.state.total = d.chunk.total;
  if (meta.index <= self.commit() && !self.recovering()) {
    out.state.offset = d.chunk.total;  // it has come another way
    return out;
  }
  auto got = receiver_.take(out.name, d.chunk);
  out.answer.notice = got.gap;
  out.state.offset = got.received;
  const bool complete = !got.gap && receiver_.complete();
  if (!complete) {
    out.offset = got.received - got.fresh.size();
    out.fresh = std::move(got.fresh);
    return out;
  }
  out.whole = receiver_.finish();
  return out;
}

}  // namespace blixard::raft
