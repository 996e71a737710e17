#include "runtime/net/handshake.hpp"

#include <gtest/gtest.h>

namespace blixard::net {
namespace {

hello full() {
  hello h;
  h.role = peer_role::peer;
  h.chan = channel::bulk;
  h.cluster = cluster_id{0xfeedfacecafebeef};
  h.node = node_id{3};
  h.expected_node = node_id{4};
  h.advertise = "10.0.0.3:7001";
  h.version = "1.2.3";
  h.refusal = errc::overloaded;
  h.refusal_message = "later";
  return h;
}

TEST(handshake, a_hello_round_trips_every_field) {
  const auto f = encode_hello(full());
  EXPECT_EQ(f->header().kind, frame_kind::hello);
  EXPECT_EQ(f->header().cls, priority::critical);
  EXPECT_EQ(decode_hello(f->body().bytes()), full());
  const auto blank = encode_hello(hello{});
  EXPECT_EQ(decode_hello(blank->body().bytes()), hello{});
}

TEST(handshake, every_truncation_of_a_hello_is_refused_or_a_valid_hello) {
  const auto f = encode_hello(full());
  const auto bytes = f->body().bytes();
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto h = decode_hello(bytes.first(n));
    if (h) {
      EXPECT_NE(*h, full());
    }
  }
}

TEST(handshake, values_of_no_known_role_or_channel_are_refused) {
  const unsigned char role_7[] = {0x08, 7};
  const unsigned char channel_9[] = {0x10, 9};
  EXPECT_FALSE(decode_hello(std::as_bytes(std::span{role_7})));
  EXPECT_FALSE(decode_hello(std::as_bytes(std::span{channel_9})));
}

TEST(handshake, an_error_code_of_a_later_version_still_refuses) {
  const unsigned char code_200[] = {0x40, 0xc8, 0x01};
  const auto h = decode_hello(std::as_bytes(std::span{code_200}));
  ASSERT_TRUE(h);
  EXPECT_EQ(h->refusal, errc::internal);
}

TEST(handshake, an_oversized_hello_is_refused) {
  auto h = full();
  h.version.assign(hello_max_bytes, 'v');
  const auto f = encode_hello(h);
  EXPECT_FALSE(decode_hello(f->body().bytes()));
}

struct verdict {
  const char* what;
  peer_role role;
  std::uint64_t theirs, ours;  // clusters
  std::uint64_t sender, meant;
  errc expected;
};

TEST(handshake, the_listener_judges_the_dialler) {
  const verdict table[] = {
      {"a member", peer_role::peer, 7, 7, 2, 1, errc::ok},
      {"a node that joins", peer_role::peer, 0, 7, 2, 0, errc::ok},
      {"we join", peer_role::peer, 7, 0, 2, 1, errc::ok},
      {"a client", peer_role::client, 0, 7, 0, 0, errc::ok},
      {"another cluster", peer_role::peer, 8, 7, 2, 1, errc::permission_denied},
      {"a client of another cluster", peer_role::client, 8, 7, 0, 0, errc::permission_denied},
      {"another node was meant", peer_role::peer, 7, 7, 2, 3, errc::not_found},
      {"no id", peer_role::peer, 7, 7, 0, 1, errc::invalid_argument},
      {"our id", peer_role::peer, 7, 7, 1, 1, errc::invalid_argument},
  };
  for (const auto& v : table) {
    hello h;
    h.role = v.role;
    h.cluster = cluster_id{v.theirs};
    h.node = node_id{v.sender};
    h.expected_node = node_id{v.meant};
    const auto e = judge_dialler(h, {node_id{1}, cluster_id{v.ours}});
    EXPECT_EQ(e ? e->code : errc::ok, v.expected) << v.what;
  }
}

TEST(handshake, clusters_are_named_as_everywhere_else) {
  hello h;
  h.cluster = cluster_id{0xfeedfacecafebeef};
  const auto e = judge_dialler(h, {node_id{1}, cluster_id{7}});
  ASSERT_TRUE(e);
  EXPECT_NE(e->message.find("cluster 0000000000000007 "), std::string::npos) << e->message;
  EXPECT_NE(e->message.find("cluster feedfacecafebeef"), std::string::npos) << e->message;
}

TEST(handshake, the_dialler_judges_the_listener) {
  const local_identity us{node_id{1}, cluster_id{7}};
  hello h;
  h.node = node_id{2};
  h.cluster = cluster_id{7};
  EXPECT_FALSE(judge_listener(h, us, node_id{2}));
  EXPECT_FALSE(judge_listener(h, us, node_id{}));
  EXPECT_EQ(judge_listener(h, us, node_id{3})->code, errc::not_found);
  h.cluster = cluster_id{8};
  EXPECT_EQ(judge_listener(h, us, node_id{2})->code, errc::permission_denied);
  h.refusal = errc::overloaded;
  h.refusal_message = "full";
  const auto e = judge_listener(h, us, node_id{2});
  EXPECT_EQ(e->code, errc::overloaded);
  EXPECT_EQ(e->message, "full");
}

}  // namespace
}  // namespace blixard::net
