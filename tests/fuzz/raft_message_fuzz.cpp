// Raft messages, entries, configurations and their changes off the wire: what the hand-written
// decoder accepts, Protobuf accepts too, and it is the same after a round trip.
#include "messages/raft.pb.h"
#include "runtime/raft/codec.hpp"
#include "runtime/raft/confchange.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {
namespace {

using namespace raft;

std::string joined(const std::vector<slice>& pieces) {
  std::string out;
  for (const slice& p : pieces) out += p.text();
  return out;
}

std::string encoded(const decoded_message& d) {
  std::vector<slice> pieces;
  const std::size_t size = d.msg.type == message_type::snapshot
                               ? encode_chunk(d.msg, d.chunk, pieces)
                               : encode(d.msg, pieces);
  std::string out = joined(pieces);
  CHECK_EQ(out.size(), size);
  return out;
}

void message_round_trip(const slice& body) {
  const auto got = decode(body);
  if (!got) return;
  pb::RaftMessage proto;
  CHECK(proto.ParseFromArray(body.data(), static_cast<int>(body.size())));
  log_index expected = got->msg.log_index;
  for (const entry& e : got->msg.entries) {
    if (got->msg.type == message_type::append) CHECK_EQ(e.index, expected.next());
    expected = e.index;
  }
  const std::string wire = encoded(*got);
  const auto again = decode(whole(wire));
  CHECK(again.has_value());
  CHECK_EQ(encoded(*again), wire);
  CHECK(again->msg.entries == got->msg.entries);
  CHECK_EQ(again->msg.term, got->msg.term);
}

void entry_round_trip(const slice& body) {
  const auto got = decode_entry(body);
  if (!got) return;
  std::byte head[entry_head_max_bytes];
  const std::size_t size = encode_entry_head(*got, head);
  std::string wire(reinterpret_cast<const char*>(head), size);
  wire += got->data.text();
  const auto again = decode_entry(whole(wire));
  CHECK(again.has_value());
  CHECK(*again == *got);
}

void change_round_trip(const slice& body) {
  const auto got = decode_conf_change(body);
  if (!got) return;
  const auto again = decode_conf_change(encode_conf_change(*got));
  CHECK(again.has_value());
  CHECK(*again == *got);
  // Whatever it asks for, a sound configuration stays one.
  const conf_state from{{node_id{1}, node_id{2}}, {}, {node_id{3}}, {}, false};
  if (const auto next = apply_change(from, *got)) CHECK(check_conf(*next).has_value());
}

void conf_round_trip(const slice& body) {
  const auto got = decode_conf_state(body);
  if (!got) return;
  const auto again = decode_conf_state(encode_conf_state(*got));
  CHECK(again.has_value());
  CHECK(*again == *got);
}

std::string example(const message& m) {
  std::vector<slice> pieces;
  encode(m, pieces);
  return std::string(1, '\0') + joined(pieces);
}

}  // namespace

void one(input in) {
  const auto what = in.byte() % 4;
  const slice body = whole(in.rest());
  if (what == 0) message_round_trip(body);
  if (what == 1) entry_round_trip(body);
  if (what == 2) change_round_trip(body);
  if (what == 3) conf_round_trip(body);
}

std::vector<std::string> examples() {
  message append(message_type::append, node_id{1}, node_id{2});
  append.term = term{3};
  append.log_term = term{2};
  append.log_index = log_index{7};
  append.entries = {{term{2}, log_index{8}, entry_kind::normal, whole("some data")},
                    {term{3}, log_index{9}, entry_kind::normal, whole(std::string(600, 'd'))}};
  message snap(message_type::snapshot, node_id{1}, node_id{2});
  snap.term = term{3};
  const conf_state conf{{node_id{1}, node_id{2}}, {node_id{1}}, {node_id{3}}, {}, true};
  snap.snapshot = std::make_shared<snapshot>(snapshot{log_index{5}, term{2}, conf, whole("S")});
  message refused(message_type::append_resp, node_id{2}, node_id{1});
  refused.term = term{3};
  refused.reject = true;
  refused.rejected = log_index{7};
  refused.log_index = log_index{3};
  const conf_change change{{{conf_op::voter, node_id{4}}, {conf_op::remove, node_id{1}}},
                           conf_transition::implicit,
                           whole("context")};
  std::byte head[entry_head_max_bytes];
  const std::size_t size = encode_entry_head(append.entries[0], head);
  return {example(append),
          example(snap),
          example(refused),
          '\1' + std::string(reinterpret_cast<const char*>(head), size) + "some data",
          '\2' + std::string{encode_conf_change(change).text()},
          '\3' + std::string{encode_conf_state(conf).text()}};
}

}  // namespace blixard::fuzz
