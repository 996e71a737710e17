// One message of the protocol, as the core produces and consumes it.
//
// A plain struct with the union of all fields; the comment at each field says which types use it.
// In memory a message owns its entries, and an entry shares the bytes of its command
// (messages/entry.hpp). The wire form is pb::RaftMessage, made and read by runtime/raft/codec.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "messages/entry.hpp"
#include "messages/ids.hpp"

namespace blixard::raft {

/// The numbers are those of pb::MessageType.
enum class message_type : std::uint8_t {
  vote = 0,            // RequestVote (Raft section 5.2)
  vote_resp = 1,       //
  prevote = 2,         // would you vote for me in `term`? (thesis section 9.6)
  prevote_resp = 3,    //
  append = 4,          // AppendEntries (section 5.3)
  append_resp = 5,     //
  heartbeat = 6,       // liveness, commit index and read rounds; carries no entries
  heartbeat_resp = 7,  //
  snapshot = 8,        // InstallSnapshot (section 7), whole; chunks are the transport's business
  timeout_now = 9,     // leader transfer: campaign at once (thesis section 3.10)
  propose = 10,        // a follower forwards proposals
  read_index = 11,     // a follower asks for a read index (thesis section 6.4)
  read_index_resp = 12,
  transfer = 13,  // a follower forwards a transfer request
};
inline constexpr int message_type_count = 14;

[[nodiscard]] std::string_view to_string(message_type type) noexcept;

/// True for answers to what a node sent as candidate or leader.
[[nodiscard]] constexpr bool is_response(message_type type) noexcept {
  return type == message_type::vote_resp || type == message_type::prevote_resp ||
         type == message_type::append_resp || type == message_type::heartbeat_resp;
}

/// True for requests of votes and pre-votes.
[[nodiscard]] constexpr bool asks_for_vote(message_type type) noexcept {
  return type == message_type::vote || type == message_type::prevote;
}

/// True for votes and pre-votes, requests and answers.
[[nodiscard]] constexpr bool is_about_votes(message_type type) noexcept {
  return asks_for_vote(type) || type == message_type::vote_resp ||
         type == message_type::prevote_resp;
}

struct message {
  message() = default;
  message(message_type what, node_id sender, node_id receiver) noexcept
      : type(what), from(sender), to(receiver) {}

  message_type type = message_type::vote;
  node_id from;
  node_id to;
  /// The sender's term; for prevote and its grant the term that would be campaigned for. 0 for
  /// propose, read_index, read_index_resp and transfer, which are true in any term.
  blixard::term term;
  /// vote, prevote: of the sender's last entry. append: of the entry before `entries`.
  /// append_resp with reject: of `log_index`. vote_resp, prevote_resp: of `commit`.
  blixard::term log_term;
  /// vote, prevote: the sender's last entry. append: the entry before `entries`. append_resp with
  /// reject: the hint, the newest index where the logs might still agree. read_index_resp: the
  /// index.
  blixard::log_index log_index;
  blixard::log_index commit;  // append, heartbeat, vote_resp, prevote_resp
  /// append_resp without reject: everything up to here is durable. append, heartbeat with `repair`:
  /// the leader's last entry.
  blixard::log_index match;
  blixard::log_index rejected;  // append_resp with reject: `log_index` of the refused append
  /// vote_resp, prevote_resp, append_resp. snapshot: this answers a chunk (raft/transfer).
  bool reject = false;
  bool force = false;  // vote, prevote: by leader transfer, disregards leases
  /// append: brings a commit index only, needs no answer. snapshot with reject: the chunk did not
  /// follow what was there.
  bool notice = false;
  /// heartbeat, heartbeat_resp: the leader's read round (0 none). read_index, read_index_resp: the
  /// asker's context.
  std::uint64_t context = 0;
  /// read_index, read_index_resp: tells a repeated question with the same context from the first;
  /// an answer with 0 answers any of them. snapshot: names the bytes.
  std::uint64_t nonce = 0;
  /// From a node that is being repaired: the number of its repair, 0 from any other. append,
  /// heartbeat: the receiver's repair as the leader knows it (core_repair.cpp).
  std::uint64_t repair = 0;
  std::uint32_t rank = 0;  // heartbeat_resp: config::election_rank
  /// heartbeat_resp, append_resp: what the sender promises a leader with lease reads: no vote for
  /// another one for so long, at least, after it got what it answers. 0: nothing.
  std::uint64_t promise_us = 0;
  node_id target;                                     // transfer
  std::vector<entry> entries;                         // append, propose
  std::shared_ptr<const blixard::snapshot> snapshot;  // snapshot
  /// Not sent. The message must not leave this node before persisted(after); 0: at once.
  persist_seq after;
};

}  // namespace blixard::raft
