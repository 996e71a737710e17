// Protobuf messages as frames, and back.
#pragma once

#include <cstdint>

#include "messages/errc.hpp"
#include "messages/frame.hpp"

namespace google::protobuf {
class MessageLite;
}

namespace blixard::pb {
class Command;
}

namespace blixard::metrics {
class counter;
}

namespace blixard::actors {

/// The message's bytes in a buffer of its own.
[[nodiscard]] slice to_slice(const google::protobuf::MessageLite& m);
/// False if the bytes are not a message of that type.
[[nodiscard]] bool parse(google::protobuf::MessageLite& m, const slice& bytes);

/// A command that this node proposes: as to_slice, and counted, so that it can be seen that no
/// entry is encoded twice (raft_command_encodes).
[[nodiscard]] slice encode_command(const pb::Command& c, const metrics::counter& encodes);

/// A frame of kind answer that carries only an error.
[[nodiscard]] frame_ptr error_answer(request_id request, const error& e, node_id self);
/// A frame of kind answer with this pb::Answer.
[[nodiscard]] frame_ptr answer_frame(request_id request,
                                     const google::protobuf::MessageLite& answer);

}  // namespace blixard::actors
