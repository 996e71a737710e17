#include "runtime/net/timer_queue.hpp"

#include <utility>

namespace blixard::net {

timer_id timer_queue::add(std::uint64_t due_ns, std::uint64_t period_ns, callback fn) {
  std::uint32_t index;
  if (free_.empty()) {
    index = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  slot& s = slots_[index];
  s.due_ns = due_ns;
  s.period_ns = period_ns;
  s.fn = std::move(fn);
  enqueue(index);
  return {index, s.generation};
}

bool timer_queue::cancel(timer_id id) noexcept {
  if (!id || id.slot >= slots_.size() || slots_[id.slot].generation != id.generation) return false;
  if (slots_[id.slot].queued) dequeue(id.slot);
  retire(id.slot);
  return true;
}

std::size_t timer_queue::run_due(std::uint64_t now_ns, std::size_t max) {
  std::size_t ran = 0;
  for (; ran < max && !heap_.empty(); ++ran) {
    const std::uint32_t index = heap_.front();
    slot& s = slots_[index];
    if (s.due_ns > now_ns) break;
    dequeue(index);
    const std::uint32_t generation = s.generation;
    // The callback may add timers (slots_ may move) and cancel this one: it runs outside its slot.
    callback fn = std::move(s.fn);
    if (s.period_ns == 0) {
      retire(index);
      fn();
      continue;
    }
    const std::uint64_t missed = (now_ns - s.due_ns) / s.period_ns;
    s.due_ns += (missed + 1) * s.period_ns;
    fn();
    if (slots_[index].generation != generation) continue;
    slots_[index].fn = std::move(fn);
    enqueue(index);
  }
  return ran;
}

std::optional<std::uint64_t> timer_queue::next_due() const noexcept {
  if (heap_.empty()) return std::nullopt;
  return slots_[heap_.front()].due_ns;
}

bool timer_queue::earlier(std::uint32_t a, std::uint32_t b) const noexcept {
  const slot& x = slots_[a];
  const slot& y = slots_[b];
  return x.due_ns != y.due_ns ? x.due_ns < y.due_ns : x.order < y.order;
}

void timer_queue::put(std::size_t place, std::uint32_t index) noexcept {
  heap_[place] = index;
  slots_[index].place = static_cast<std::uint32_t>(place);
}

void timer_queue::sift_up(std::size_t place) noexcept {
  const std::uint32_t index = heap_[place];
  while (place > 0 && earlier(index, heap_[(place - 1) / 2])) {
    put(place, heap_[(place - 1) / 2]);
    place = (place - 1) / 2;
  }
  put(place, index);
}

void timer_queue::sift_down(std::size_t place) noexcept {
  const std::uint32_t index = heap_[place];
  for (;;) {
    std::size_t child = place * 2 + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && earlier(heap_[child + 1], heap_[child])) ++child;
    if (!earlier(heap_[child], index)) break;
    put(place, heap_[child]);
    place = child;
  }
  put(place, index);
}

void timer_queue::enqueue(std::uint32_t index) {
  slots_[index].order = ++order_;
  slots_[index].queued = true;
  heap_.push_back(index);
  sift_up(heap_.size() - 1);
}

void timer_queue::dequeue(std::uint32_t index) noexcept {
  const std::size_t place = slots_[index].place;
  slots_[index].queued = false;
  const std::uint32_t last = heap_.back();
  heap_.pop_back();
  if (last == index) return;
  put(place, last);
  sift_up(place);
  sift_down(slots_[last].place);
}

// The slot is free again; ids that name its past are void. Generation 0 is never used.
void timer_queue::retire(std::uint32_t index) noexcept {
  slot& s = slots_[index];
  s.fn = nullptr;
  if (++s.generation == 0) s.generation = 1;
  free_.push_back(index);
}

}  // namespace blixard::net
