#include "actors/frames.hpp"

#include <google/protobuf/message_lite.h>

#include <climits>

#include "messages/cluster.pb.h"
#include "metrics/instruments.hpp"

namespace blixard::actors {

namespace {

slice written(const google::protobuf::MessageLite& m, ref<buffer> (*make)(std::size_t)) {
  const auto size = m.ByteSizeLong();
  if (size == 0) return {};
  auto b = make(size);
  m.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(b->data()));
  const auto* p = b->data();
  return {std::move(b), p, size};
}

}  // namespace

slice to_slice(const google::protobuf::MessageLite& m) { return written(m, buffer::make); }

bool parse(google::protobuf::MessageLite& m, const slice& bytes) {
  return bytes.size() <= INT_MAX && m.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

slice encode_command(const pb::Command& c, const metrics::counter& encodes) {
  encodes.add();
  return to_slice(c);
}

frame_ptr answer_frame(request_id request, const google::protobuf::MessageLite& answer) {
  return frame::make({.kind = frame_kind::answer, .cls = priority::normal, .request = request},
                     written(answer, buffer::make_brief));
}

frame_ptr error_answer(request_id request, const error& e, node_id self) {
  pb::Answer a;
  a.set_error(static_cast<std::uint32_t>(e.code));
  a.set_message(e.message);
  a.set_hint(e.hint);
  a.set_retry_after_ms(e.retry_after_ms);
  a.set_node(self.value());
  return answer_frame(request, a);
}

}  // namespace blixard::actors
