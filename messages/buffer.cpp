#include "messages/buffer.hpp"

#include "messages/block_pool.hpp"

namespace blixard {

class buffer::brief_home final : public buffer::recycler {
 public:
  void recycle(buffer* b) noexcept override {
    const auto bytes = sizeof(buffer) + b->capacity();
    b->~buffer();
    block_pool::release(b, bytes);
  }
};

ref<buffer> buffer::make_brief(std::size_t capacity) {
  // Has no state and is never destroyed: buffers may outlive everything.
  static constinit brief_home home;
  CHECK_LE(capacity, std::size_t{UINT32_MAX});
  void* memory = block_pool::allocate(sizeof(buffer) + capacity);
  return ref<buffer>::adopt(new (memory) buffer(static_cast<std::uint32_t>(capacity), &home));
}

}  // namespace blixard
