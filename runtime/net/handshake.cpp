#include "runtime/net/handshake.hpp"

#include "messages/cluster.pb.h"
#include "runtime/base/names.hpp"

namespace blixard::net {
namespace {

std::optional<error> judge_cluster(const hello& theirs, const local_identity& us) {
  if (!theirs.cluster || !us.cluster || theirs.cluster == us.cluster) return std::nullopt;
  return make_error(errc::permission_denied,
                    "cluster " + hex_digits(us.cluster.value()) +
                        " does not talk to members of cluster " +
                        hex_digits(theirs.cluster.value()),
                    "check the addresses and the data directories: they belong to two clusters");
}

}  // namespace

frame_ptr encode_hello(const hello& h) {
  pb::Hello m;
  m.set_role(h.role == peer_role::peer ? pb::Hello::PEER : pb::Hello::CLIENT);
  m.set_channel(h.chan == channel::bulk ? pb::Hello::BULK : pb::Hello::MAIN);
  m.set_cluster_id(h.cluster.value());
  m.set_node_id(h.node.value());
  m.set_expected_node(h.expected_node.value());
  m.set_advertise(h.advertise);
  m.set_version(h.version);
  m.set_packs(h.packs);
  m.set_error(static_cast<std::uint32_t>(h.refusal));
  m.set_error_message(h.refusal_message);
  frame_header header;
  header.kind = frame_kind::hello;
  header.cls = priority::critical;
  return frame::make(header, slice::copy_of(m.SerializeAsString()));
}

std::optional<hello> decode_hello(std::span<const std::byte> bytes) {
  pb::Hello m;
  if (bytes.size() > hello_max_bytes ||
      !m.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      !pb::Hello::Role_IsValid(m.role()) || !pb::Hello::Channel_IsValid(m.channel()))
    return std::nullopt;
  hello h;
  h.role = m.role() == pb::Hello::PEER ? peer_role::peer : peer_role::client;
  h.chan = m.channel() == pb::Hello::BULK ? channel::bulk : channel::main;
  h.cluster = cluster_id{m.cluster_id()};
  h.node = node_id{m.node_id()};
  h.expected_node = node_id{m.expected_node()};
  h.advertise = m.advertise();
  h.version = m.version();
  h.packs = m.packs();
  // A code of a later version still refuses.
  h.refusal = m.error() < errc_count ? static_cast<errc>(m.error()) : errc::internal;
  h.refusal_message = m.error_message();
  return h;
}

std::optional<error> judge_dialler(const hello& theirs, const local_identity& us) {
  if (auto wrong = judge_cluster(theirs, us)) return wrong;
  if (theirs.expected_node && theirs.expected_node != us.self)
    return make_error(
        errc::not_found,
        "this is node " + to_string(us.self) + ", not node " + to_string(theirs.expected_node),
        "check which address belongs to which node");
  if (theirs.role == peer_role::client) return std::nullopt;
  if (!theirs.node) return make_error(errc::invalid_argument, "a peer must say its node id");
  if (theirs.node == us.self)
    return make_error(errc::invalid_argument,
                      "node " + to_string(us.self) + " is this node: two nodes have the same id",
                      "give every node its own --id");
  return std::nullopt;
}

std::optional<error> judge_listener(const hello& theirs, const local_identity& us, node_id meant) {
  if (theirs.refusal != errc::ok) return make_error(theirs.refusal, theirs.refusal_message);
  if (auto wrong = judge_cluster(theirs, us)) return wrong;
  if (meant && theirs.node != meant)
    return make_error(errc::not_found,
                      "node " + to_string(theirs.node) + " answered where node " +
                          to_string(meant) + " was meant",
                      "check which address belongs to which node");
  return std::nullopt;
}

std::optional<error> judge_certificate(const hello& theirs, const certified& by) {
  if (theirs.role == peer_role::client) return std::nullopt;
  if (by.as == certified::role::node && by.node == theirs.node) return std::nullopt;
  return make_error(
      errc::permission_denied,
      "the certificate of " + to_string(by) + " does not speak for node " + to_string(theirs.node),
      "every node needs a certificate of its own: URI:blixard://node/ID");
}

}  // namespace blixard::net
