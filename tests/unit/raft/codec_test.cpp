#include "runtime/raft/codec.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "messages/raft.pb.h"

namespace blixard::raft {
namespace {

class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return state_ >> 16;
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  // Often small, sometimes zero, sometimes all bits.
  std::uint64_t number() { return next() >> below(48); }

 private:
  std::uint64_t state_;
};

slice bytes_of(dice& d, std::size_t size) {
  std::string s(size, '\0');
  for (char& c : s) c = static_cast<char>(d.next());
  return slice::copy_of(std::string_view{s});
}

std::vector<node_id> random_ids(dice& d) {
  std::vector<node_id> out;
  for (std::uint64_t n = d.below(4); n > 0; --n) out.emplace_back(d.number());
  return out;
}

message random_message(dice& d) {
  message m;
  m.type = static_cast<message_type>(d.below(message_type_count));
  m.from = node_id{d.number()};
  m.to = node_id{d.number()};
  m.term = term{d.number()};
  m.log_term = term{d.number()};
  m.log_index = log_index{d.number() / 2};
  m.commit = log_index{d.number()};
  m.match = log_index{d.number()};
  m.rejected = log_index{d.number()};
  m.reject = d.below(2) == 1;
  m.force = d.below(2) == 1;
  m.notice = d.below(2) == 1;
  m.rank = static_cast<std::uint32_t>(d.below(16));
  m.promise_us = d.number();
  m.context = d.number();
  m.nonce = d.number();
  m.repair = d.number();
  m.target = node_id{d.number()};
  if (m.type == message_type::append || m.type == message_type::propose) {
    log_index at = m.log_index;
    for (std::uint64_t n = d.below(6); n > 0; --n) {
      at = at.next();
      m.entries.push_back({term{d.number()}, at, static_cast<entry_kind>(d.below(2)),
                           bytes_of(d, d.below(3) == 0 ? 400 + d.below(400) : d.below(40))});
    }
  }
  if (m.type == message_type::snapshot) {
    auto s = std::make_shared<snapshot>();
    s->index = log_index{d.number()};
    s->term = term{d.number()};
    s->conf = {random_ids(d), random_ids(d),   random_ids(d),
               random_ids(d), d.below(2) == 1, random_ids(d)};
    s->data = bytes_of(d, d.below(2000));
    m.snapshot = s;
  }
  return m;
}

slice joined(const std::vector<slice>& pieces) {
  std::string all;
  for (const slice& p : pieces) all += p.text();
  return slice::copy_of(std::string_view{all});
}

slice encoded(const message& m) {
  std::vector<slice> pieces;
  const std::size_t size = encode(m, pieces);
  slice all = joined(pieces);
  EXPECT_EQ(all.size(), size);
  return all;
}

void expect_same(const message& m, const pb::RaftMessage& p) {
  EXPECT_EQ(static_cast<int>(m.type), static_cast<int>(p.type()));
  EXPECT_EQ(m.from.value(), p.from());
  EXPECT_EQ(m.to.value(), p.to());
  EXPECT_EQ(m.term.value(), p.term());
  EXPECT_EQ(m.log_term.value(), p.log_term());
  EXPECT_EQ(m.log_index.value(), p.log_index());
  EXPECT_EQ(m.commit.value(), p.commit());
  EXPECT_EQ(m.match.value(), p.match());
  EXPECT_EQ(m.rejected.value(), p.rejected());
  EXPECT_EQ(m.reject, p.reject());
  EXPECT_EQ(m.force, p.force());
  EXPECT_EQ(m.notice, p.notice());
  EXPECT_EQ(m.rank, p.rank());
  EXPECT_EQ(m.promise_us, p.promise_us());
  EXPECT_EQ(m.context, p.context());
  EXPECT_EQ(m.nonce, p.nonce());
  EXPECT_EQ(m.repair, p.repair());
  EXPECT_EQ(m.target.value(), p.target());
  ASSERT_EQ(m.entries.size(), static_cast<std::size_t>(p.entries_size()));
  for (std::size_t i = 0; i < m.entries.size(); ++i) {
    const auto& e = p.entries(static_cast<int>(i));
    EXPECT_EQ(m.entries[i].term.value(), e.term());
    EXPECT_EQ(m.entries[i].index.value(), e.index());
    EXPECT_EQ(static_cast<int>(m.entries[i].kind), static_cast<int>(e.kind()));
    EXPECT_EQ(m.entries[i].data.text(), e.data());
  }
  ASSERT_EQ(m.snapshot != nullptr, p.has_snapshot());
  if (m.snapshot == nullptr) return;
  EXPECT_EQ(m.snapshot->index.value(), p.snapshot().index());
  EXPECT_EQ(m.snapshot->term.value(), p.snapshot().term());
  EXPECT_EQ(m.snapshot->conf.auto_leave, p.snapshot().conf().auto_leave());
  ASSERT_EQ(m.snapshot->conf.voters.size(),
            static_cast<std::size_t>(p.snapshot().conf().voters_size()));
  for (std::size_t i = 0; i < m.snapshot->conf.voters.size(); ++i)
    EXPECT_EQ(m.snapshot->conf.voters[i].value(), p.snapshot().conf().voters(static_cast<int>(i)));
  ASSERT_EQ(m.snapshot->conf.witnesses.size(),
            static_cast<std::size_t>(p.snapshot().conf().witnesses_size()));
  for (std::size_t i = 0; i < m.snapshot->conf.witnesses.size(); ++i)
    EXPECT_EQ(m.snapshot->conf.witnesses[i].value(),
              p.snapshot().conf().witnesses(static_cast<int>(i)));
}

void expect_same(const message& a, const message& b) {
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.from, b.from);
  EXPECT_EQ(a.to, b.to);
  EXPECT_EQ(a.term, b.term);
  EXPECT_EQ(a.log_term, b.log_term);
  EXPECT_EQ(a.log_index, b.log_index);
  EXPECT_EQ(a.commit, b.commit);
  EXPECT_EQ(a.match, b.match);
  EXPECT_EQ(a.rejected, b.rejected);
  EXPECT_EQ(a.reject, b.reject);
  EXPECT_EQ(a.force, b.force);
  EXPECT_EQ(a.notice, b.notice);
  EXPECT_EQ(a.rank, b.rank);
  EXPECT_EQ(a.promise_us, b.promise_us);
  EXPECT_EQ(a.context, b.context);
  EXPECT_EQ(a.nonce, b.nonce);
  EXPECT_EQ(a.repair, b.repair);
  EXPECT_EQ(a.target, b.target);
  EXPECT_EQ(a.entries, b.entries);
}

TEST(codec, what_protobuf_reads_is_what_was_encoded) {
  dice d(1);
  for (int i = 0; i < 3000; ++i) {
    const message m = random_message(d);
    const slice body = encoded(m);
    pb::RaftMessage p;
    ASSERT_TRUE(p.ParseFromArray(body.data(), static_cast<int>(body.size())));
    expect_same(m, p);
    EXPECT_EQ(p.snapshot_data(), m.snapshot ? m.snapshot->data.text() : std::string_view{});
  }
}

TEST(codec, what_protobuf_writes_is_read_the_same) {
  dice d(2);
  for (int i = 0; i < 3000; ++i) {
    const message m = random_message(d);
    const slice body = encoded(m);
    pb::RaftMessage p;
    ASSERT_TRUE(p.ParseFromArray(body.data(), static_cast<int>(body.size())));
    const auto back = decode(slice::copy_of(std::string_view{p.SerializeAsString()}));
    ASSERT_TRUE(back) << back.error().message;
    expect_same(m, back->msg);
    if (m.snapshot == nullptr) continue;
    EXPECT_EQ(back->msg.snapshot->conf, m.snapshot->conf);
    EXPECT_EQ(back->chunk.data, m.snapshot->data);
    EXPECT_EQ(back->chunk.total, m.snapshot->data.size());
  }
}

TEST(codec, large_data_is_neither_copied_out_nor_in) {
  message m;
  m.type = message_type::append;
  m.log_index = log_index{7};
  const slice small = slice::copy_of(std::string_view{"small"});
  dice d(3);
  const slice large = bytes_of(d, codec_inline_max_bytes + 1);
  m.entries = {{term{1}, log_index{8}, entry_kind::normal, small},
               {term{1}, log_index{9}, entry_kind::normal, large},
               {term{1}, log_index{10}, entry_kind::normal, small}};
  std::vector<slice> pieces;
  encode(m, pieces);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].data(), large.data());
  EXPECT_EQ(pieces[0].owner(), pieces[2].owner()) << "one buffer for all heads";
  const slice body = joined(pieces);
  const auto back = decode(body);
  ASSERT_TRUE(back);
  for (const entry& e : back->msg.entries) EXPECT_EQ(e.data.owner(), body.owner());
}

TEST(codec, fills_a_buffer_of_the_caller) {
  dice d(4);
  const message m = random_message(d);
  auto head = buffer::make(head_size(m));
  std::vector<slice> pieces;
  encode(m, pieces, head);
  EXPECT_EQ(pieces[0].owner(), head);
}

// What a leader says at one moment: several messages, some with the same entries.
TEST(codec, entries_that_several_followers_need_are_assembled_once) {
  dice d(5);
  message m;
  m.type = message_type::append;
  m.term = term{3};
  m.log_index = log_index{7};
  for (std::uint64_t i = 8; i < 12; ++i)
    m.entries.push_back({term{3}, log_index{i}, entry_kind::normal, bytes_of(d, i * 80)});
  encoder e;
  std::vector<slice> first;
  std::vector<slice> second;
  m.to = node_id{2};
  const std::size_t size = e.encode(m, first);
  EXPECT_EQ(size, joined(first).size());
  m.to = node_id{3};
  m.commit = log_index{6};
  e.encode(m, second);
  EXPECT_EQ(e.assembled(), 4u);
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 1; i < first.size(); ++i) EXPECT_EQ(first[i].data(), second[i].data());
  const auto back = decode(joined(second));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->msg.to, m.to);
  EXPECT_EQ(back->msg.commit, m.commit);
  EXPECT_EQ(back->msg.entries, m.entries);

  e.forget();
  EXPECT_TRUE(first[1].owner() && second[1].owner()) << "who has a piece keeps it";
  second.clear();
  e.encode(m, second);
  EXPECT_EQ(e.assembled(), 8u);
}

TEST(codec, what_an_encoder_makes_is_what_encode_makes) {
  dice d(6);
  encoder e;
  for (int moment = 0; moment < 300; ++moment) {
    message m = random_message(d);
    if (m.type == message_type::snapshot) continue;
    for (std::uint64_t i = 0; i < 6; ++i) {
      m.to = node_id{i + 1};
      message sent = m;
      // Some get the same, some a part of it, some terms without data.
      const auto part = d.below(4);
      for (auto& one : sent.entries)
        if (part == 1) one.data = {};
      if (part == 2 && !sent.entries.empty()) sent.entries.pop_back();
      if (part == 3 && !sent.entries.empty()) {
        sent.log_index = sent.entries.front().index;
        sent.entries.erase(sent.entries.begin());
      }
      std::vector<slice> pieces;
      EXPECT_EQ(e.encode(sent, pieces), encoded(sent).size());
      const auto back = decode(joined(pieces));
      const auto plain = decode(encoded(sent));
      ASSERT_EQ(back.has_value(), plain.has_value());
      if (!back) continue;
      EXPECT_EQ(encoded(back->msg), encoded(plain->msg)) << "receiver " << i;
    }
    e.forget();
  }
}

TEST(codec, a_snapshot_travels_in_chunks_that_name_their_place) {
  message m;
  m.type = message_type::snapshot;
  auto s = std::make_shared<snapshot>();
  s->index = log_index{5};
  m.snapshot = s;
  std::vector<slice> pieces;
  encode_chunk(m, {10, 30, slice::copy_of(std::string_view{"0123456789"})}, pieces);
  const auto back = decode(joined(pieces));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->chunk.offset, 10u);
  EXPECT_EQ(back->chunk.total, 30u);
  EXPECT_EQ(back->chunk.data.text(), "0123456789");
  EXPECT_TRUE(back->msg.snapshot->data.empty());
}

TEST(codec, refuses_what_makes_no_sense) {
  const auto refused = [](const auto& fill) {
    pb::RaftMessage p;
    fill(p);
    return !decode(slice::copy_of(std::string_view{p.SerializeAsString()}));
  };
  EXPECT_FALSE(refused([](pb::RaftMessage& p) { p.set_type(pb::MSG_HEARTBEAT); }));
  EXPECT_TRUE(refused([](pb::RaftMessage& p) { p.set_type(static_cast<pb::MessageType>(99)); }));
  EXPECT_TRUE(refused([](pb::RaftMessage& p) { p.add_entries()->set_index(1); }))
      << "entries in a vote";
  EXPECT_TRUE(refused([](pb::RaftMessage& p) {
    p.set_type(pb::MSG_APPEND);
    p.set_log_index(3);
    p.add_entries()->set_index(5);
  })) << "a gap";
  EXPECT_TRUE(refused([](pb::RaftMessage& p) {
    p.set_type(pb::MSG_PROPOSE);
    p.add_entries()->set_kind(static_cast<pb::EntryKind>(7));
  }));
  EXPECT_TRUE(refused([](pb::RaftMessage& p) { p.set_type(pb::MSG_SNAPSHOT); }));
  EXPECT_TRUE(refused([](pb::RaftMessage& p) { p.mutable_snapshot(); }));
  EXPECT_TRUE(refused([](pb::RaftMessage& p) {
    p.set_type(pb::MSG_SNAPSHOT);
    p.mutable_snapshot();
    p.set_snapshot_offset(~0ULL);
    p.set_snapshot_total(5);
    p.set_snapshot_data("xyz");
  })) << "offset + size would wrap";
}

TEST(codec, unknown_fields_are_skipped) {
  std::string s;
  pb::RaftMessage p;
  p.set_type(pb::MSG_HEARTBEAT);
  p.set_from(3);
  p.SerializeToString(&s);
  s += std::string("\xF8\x07\x05", 3);                 // 127: varint
  s += std::string("\xFA\x07\x02hi", 5);               // 127: bytes
  s += std::string("\xF9\x07") + std::string(8, 'x');  // 127: fixed64
  s += std::string("\xFD\x07") + std::string(4, 'x');  // 127: fixed32
  const auto m = decode(slice::copy_of(std::string_view{s}));
  ASSERT_TRUE(m);
  EXPECT_EQ(m->msg.from, node_id{3});
}

// Whatever comes in: no crash, nothing read outside the body (address sanitizer), and whatever is
// accepted is also accepted by Protobuf with the same content.
TEST(codec, damaged_messages_are_refused_or_mean_what_protobuf_says) {
  dice d(5);
  int accepted = 0;
  for (int i = 0; i < 40'000; ++i) {
    std::string s(encoded(random_message(d)).text());
    for (std::uint64_t n = d.below(4); n > 0 && !s.empty(); --n) {
      const std::size_t at = d.below(s.size());
      switch (d.below(4)) {
        case 0:
          s[at] = static_cast<char>(d.next());
          break;
        case 1:
          s[at] = static_cast<char>(s[at] ^ (1 << d.below(8)));
          break;
        case 2:
          s.resize(at);
          break;
        default:
          s.insert(at, 1, static_cast<char>(d.next()));
          break;
      }
    }
    const auto m = decode(slice::copy_of(std::string_view{s}));
    if (!m) continue;
    ++accepted;
    pb::RaftMessage p;
    ASSERT_TRUE(p.ParseFromString(s));
    expect_same(m->msg, p);
  }
  EXPECT_GT(accepted, 1000);
  for (int i = 0; i < 20'000; ++i) (void)decode(bytes_of(d, d.below(64)));
}

TEST(codec, every_truncation_of_a_message_is_handled) {
  dice d(6);
  for (int i = 0; i < 50; ++i) {
    const slice body = encoded(random_message(d));
    for (std::size_t n = 0; n < body.size(); ++n) {
      const slice part = slice::copy_of(body.bytes().first(n));
      pb::RaftMessage p;
      const bool whole = p.ParseFromArray(part.data(), static_cast<int>(part.size()));
      EXPECT_TRUE(whole || !decode(part));
    }
  }
}

TEST(codec, entries_for_the_disk) {
  const entry e{term{3}, log_index{9}, entry_kind::conf, slice::copy_of(std::string_view{"abc"})};
  std::byte head[entry_head_max_bytes];
  const std::size_t n = encode_entry_head(e, head);
  std::string s(reinterpret_cast<const char*>(head), n);
  s += e.data.text();
  pb::Entry p;
  ASSERT_TRUE(p.ParseFromString(s));
  EXPECT_EQ(p.data(), "abc");
  const auto back = decode_entry(slice::copy_of(std::string_view{s}));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, e);
}

TEST(codec, configuration_changes_and_configurations) {
  const conf_change change{{{conf_op::voter, node_id{3}}, {conf_op::remove, node_id{300}}},
                           conf_transition::explicit_,
                           slice::copy_of(std::string_view{"127.0.0.1:1"})};
  const slice encoded_change = encode_conf_change(change);
  pb::ConfChange p;
  ASSERT_TRUE(p.ParseFromArray(encoded_change.data(), static_cast<int>(encoded_change.size())));
  EXPECT_EQ(p.changes(1).node(), 300u);
  EXPECT_EQ(p.transition(), pb::CONF_EXPLICIT);
  EXPECT_EQ(p.context(), "127.0.0.1:1");
  EXPECT_EQ(decode_conf_change(encoded_change), change);
  EXPECT_EQ(decode_conf_change({}), conf_change{}) << "leave";

  conf_state conf{{node_id{1}, node_id{200}}, {node_id{1}}, {node_id{5}}, {}, true};
  const slice encoded_conf = encode_conf_state(conf);
  pb::ConfState q;
  ASSERT_TRUE(q.ParseFromArray(encoded_conf.data(), static_cast<int>(encoded_conf.size())));
  EXPECT_EQ(q.voters(1), 200u);
  EXPECT_EQ(decode_conf_state(encoded_conf), conf);
  // One by one instead of packed: the same.
  const std::string unpacked("\x08\x01\x08\x02", 4);
  EXPECT_EQ(decode_conf_state(slice::copy_of(std::string_view{unpacked}))->voters.size(), 2u);
}

}  // namespace
}  // namespace blixard::raft
