// Names of the enums, as they stand in logs, in raftlab and in `cluster status`.
#include "runtime/raft/message.hpp"
#include "runtime/raft/types.hpp"

namespace blixard::raft {

std::string_view to_string(message_type type) noexcept {
  switch (type) {
    case message_type::vote:
      return "vote";
    case message_type::vote_resp:
      return "vote_resp";
    case message_type::prevote:
      return "prevote";
    case message_type::prevote_resp:
      return "prevote_resp";
    case message_type::append:
      return "append";
    case message_type::append_resp:
      return "append_resp";
    case message_type::heartbeat:
      return "heartbeat";
    case message_type::heartbeat_resp:
      return "heartbeat_resp";
    case message_type::snapshot:
      return "snapshot";
    case message_type::timeout_now:
      return "timeout_now";
    case message_type::propose:
      return "propose";
    case message_type::read_index:
      return "read_index";
    case message_type::read_index_resp:
      return "read_index_resp";
    case message_type::transfer:
      return "transfer";
  }
  return "?";
}

std::string_view to_string(role r) noexcept {
  switch (r) {
    case role::follower:
      return "follower";
    case role::precandidate:
      return "precandidate";
    case role::candidate:
      return "candidate";
    case role::leader:
      return "leader";
  }
  return "?";
}

std::string_view to_string(refusal r) noexcept {
  switch (r) {
    case refusal::dropped:
      return "dropped";
    case refusal::no_leader:
      return "no_leader";
    case refusal::not_leader:
      return "not_leader";
    case refusal::not_promotable:
      return "not_promotable";
    case refusal::conf_refused:
      return "conf_refused";
    case refusal::unknown_peer:
      return "unknown_peer";
    case refusal::invalid:
      return "invalid";
    case refusal::unsupported:
      return "unsupported";
  }
  return "?";
}

std::string_view to_string(progress_state s) noexcept {
  switch (s) {
    case progress_state::probe:
      return "probe";
    case progress_state::replicate:
      return "replicate";
    case progress_state::snapshot:
      return "snapshot";
  }
  return "?";
}

}  // namespace blixard::raft
