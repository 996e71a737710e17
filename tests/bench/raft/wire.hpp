// What becomes of a core's output between two nodes, without the system calls: bytes.
//
//   core ── output ──► records of the log: header, checksum              (persist)
//                 ├──► message ► bytes ► socket ► bytes ► message ──► core  (carry)
//
// `wire_hot` uses the node's own pieces: a command's bytes are checksummed once per log and moved
// once per receiver, by the copy that stands for the socket. `wire_ordinary` is what one writes
// first: an object of the schema for each message, serialised for each receiver, parsed and copied
// out there, and serialised once more for the log; the checksum is the same.
//
// Only what a leader and followers in agreement say: no snapshots.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "messages/check.hpp"
#include "messages/limits.hpp"
#include "messages/raft.pb.h"
#include "runtime/raft/codec.hpp"
#include "runtime/raft/core.hpp"
#include "runtime/routing/buffer_pool.hpp"
#include "runtime/storage/checksum.hpp"
#include "runtime/storage/format.hpp"

namespace blixard::raft {

class wire_hot {
 public:
  void persist(const output& written) {
    encoder_.forget();
    heads_.resize(written.entries.size() * storage::record_header_bytes);
    std::byte* at = heads_.data();
    for (const entry& e : written.entries) {
      const storage::record_header head{static_cast<std::uint32_t>(e.data.size()),
                                        storage::record_type::normal,
                                        1,
                                        previous_,
                                        e.index,
                                        e.term,
                                        {1, storage::segment_header_bytes}};
      previous_ = storage::encode_record(at, head, e.data.bytes());
      at += storage::record_header_bytes;
    }
  }

  void carry(message& m, core& to) {
    pieces_.clear();
    const std::size_t size = encoder_.encode(m, pieces_);
    if (!decode_into(received(size), incoming_)) CHECK(false);
    (void)to.step(std::move(incoming_.msg));
    incoming_.msg.entries.clear();
  }

 private:
  static constexpr std::size_t chunk_bytes = limits::large_buffer_bytes;

  // The socket: what was sent piece by piece lies in one chunk that many messages share.
  slice received(std::size_t size) {
    CHECK_LE(size, chunk_bytes);
    if (!chunk_ || used_ + size > chunk_bytes) {
      chunk_ = pool_.acquire(chunk_bytes);
      used_ = 0;
    }
    std::byte* const begin = chunk_->data() + used_;
    std::byte* at = begin;
    for (const slice& p : pieces_) {
      std::memcpy(at, p.data(), p.size());
      at += p.size();
    }
    used_ += size;
    return {chunk_, begin, size};
  }

  routing::buffer_pool pool_;
  encoder encoder_{[this](std::size_t bytes) { return pool_.acquire(bytes); }};
  std::vector<slice> pieces_;
  decoded_message incoming_;
  ref<buffer> chunk_;
  std::size_t used_ = 0;
  std::vector<std::byte> heads_;
  std::uint32_t previous_ = 0;
};

class wire_ordinary {
 public:
  void persist(const output& written) {
    for (const entry& e : written.entries) {
      pb::Entry record;
      fill(record, e);
      record.SerializeToString(&record_);
      previous_ = storage::crc32c(previous_, record_.data(), record_.size());
    }
  }

  void carry(message& m, core& to) {
    pb::RaftMessage out;
    fill(out, m);
    std::string sent;
    out.SerializeToString(&sent);
    const std::string arrived = sent;  // the socket
    pb::RaftMessage in;
    CHECK(in.ParseFromString(arrived));
    (void)to.step(read(in));
  }

 private:
  static void fill(pb::Entry& to, const entry& e) {
    to.set_term(e.term.value());
    to.set_index(e.index.value());
    to.set_kind(static_cast<pb::EntryKind>(e.kind));
    to.set_data(e.data.data(), e.data.size());
  }

  static void fill(pb::RaftMessage& to, const message& m) {
    CHECK(m.snapshot == nullptr);
    to.set_type(static_cast<pb::MessageType>(m.type));
    to.set_from(m.from.value());
    to.set_to(m.to.value());
    to.set_term(m.term.value());
    to.set_log_term(m.log_term.value());
    to.set_log_index(m.log_index.value());
    to.set_commit(m.commit.value());
    to.set_match(m.match.value());
    to.set_rejected(m.rejected.value());
    to.set_reject(m.reject);
    to.set_force(m.force);
    to.set_notice(m.notice);
    to.set_context(m.context);
    for (const entry& e : m.entries) fill(*to.add_entries(), e);
  }

  static message read(const pb::RaftMessage& p) {
    message m(static_cast<message_type>(p.type()), node_id{p.from()}, node_id{p.to()});
    m.term = blixard::term{p.term()};
    m.log_term = blixard::term{p.log_term()};
    m.log_index = blixard::log_index{p.log_index()};
    m.commit = blixard::log_index{p.commit()};
    m.match = blixard::log_index{p.match()};
    m.rejected = blixard::log_index{p.rejected()};
    m.reject = p.reject();
    m.force = p.force();
    m.notice = p.notice();
    m.context = p.context();
    for (const auto& e : p.entries())
      m.entries.push_back({blixard::term{e.term()}, blixard::log_index{e.index()},
                           static_cast<entry_kind>(e.kind()),
                           slice::copy_of(std::string_view{e.data()})});
    return m;
  }

  std::string record_;
  std::uint32_t previous_ = 0;
};

}  // namespace blixard::raft
