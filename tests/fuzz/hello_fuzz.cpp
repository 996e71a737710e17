// The first frame of a stranger: what is accepted says the same after a round trip, and can be
// judged.
#include "runtime/net/handshake.hpp"

#include <google/protobuf/stubs/logging.h>

#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {

void one(input in) {
  const slice body = whole(in.rest());
  const auto h = net::decode_hello(body.bytes());
  if (!h) return;
  const frame_ptr f = net::encode_hello(*h);
  const auto again = net::decode_hello(f->body().bytes());
  CHECK(again.has_value());
  CHECK(*again == *h);
  const net::local_identity us{node_id{1}, cluster_id{77}};
  (void)net::judge_listener(*h, us, node_id{2});
  const auto refused = net::judge_dialler(*h, us);
  // Whom we let in as a peer has an id that is not ours.
  if (!refused && h->role == net::peer_role::peer) CHECK(h->node && h->node != us.self);
  // With TLS, only the node whose certificate it is; a client's is nobody's.
  const net::certified client{.name = "ops"};
  const net::certified node{.as = net::certified::role::node, .node = node_id{2}};
  if (h->role == net::peer_role::client) return;
  CHECK(net::judge_certificate(*h, client).has_value());
  CHECK(net::judge_certificate(*h, node).has_value() == (h->node != node.node));
}

std::vector<std::string> examples() {
  // Text that is not UTF-8 is the fuzzer's daily bread, not news.
  google::protobuf::SetLogHandler(nullptr);
  net::hello h;
  h.role = net::peer_role::peer;
  h.cluster = cluster_id{77};
  h.node = node_id{2};
  h.expected_node = node_id{1};
  h.advertise = "127.0.0.1:7002";
  h.version = "0.1.0";
  const std::string plain{net::encode_hello(h)->body().text()};
  h.refusal = errc::permission_denied;
  h.refusal_message = "no";
  return {plain, std::string{net::encode_hello(h)->body().text()}};
}

}  // namespace blixard::fuzz
