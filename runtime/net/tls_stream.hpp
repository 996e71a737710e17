// Bytes through mutual TLS 1.3, over memory instead of over the socket.
//
//   connection ─ write ─► records of up to 16 KiB ─► sealed ─► one send ─► socket
//              ◄─ read ── plain text ◄─ opened ◄──── recv ◄────────────── socket
//
// OpenSSL reads from and writes to memory (a BIO of two spans); the socket calls are here. So one
// turn's frames, which come gathered, become few full records and one send, and nothing blocks or
// calls back. At most `sealed_max_bytes` are sealed ahead of the socket: what is sealed can no
// longer be overtaken by a critical frame, so that is kept far below what the kernel takes ahead
// (256 KiB) anyway.
//
// The handshake happens inside the first reads and writes. Nothing of the caller's leaves, and
// nothing is handed to it, before the other side's certificate was verified: chain, dates, use, and
// whose it is. `tls_outcome` then says who that is, or what was wrong, in words for a person.
//
// End: close_notify, then the end of the TCP stream. Without the first the stream was cut
// (io_status::cut): whoever sits between could have done that. Each direction ends alone.
//
// Memory: scratch space is shared by all streams of a thread; a stream itself holds what the socket
// did not take (at most sealed_max_bytes and the records' overhead) and OpenSSL's state (about
// 40 KiB in the handshake, up to 190 where the other side announces a large message; less when
// idle: buffers are let go).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/net/byte_stream.hpp"
#include "runtime/net/tls_identity.hpp"
#include "runtime/net/traffic.hpp"

struct bio_st;
struct ssl_st;
struct ssl_ctx_st;

namespace blixard::net {

/// Why two sides do not talk. Texts speak of the other side as "it".
struct tls_problem {
  tls_failure what = tls_failure::protocol;
  std::string message;  // "its certificate has expired"
  std::string hint;     // may be empty
};

/// What became of a handshake; outlives the stream.
struct tls_outcome {
  std::optional<certified> other;      // once the handshake is done
  std::optional<tls_problem> problem;  // before `other`: refused; after: the stream broke
};

/// Space that the streams of one thread use in turn.
struct tls_scratch {
  /// Before the first stream.
  void make();
  std::vector<std::byte> wire;    // from the socket
  std::vector<std::byte> plain;   // small pieces of one record
  std::vector<std::byte> sealed;  // for the socket; empty between calls
};

struct tls_stream_options {
  bool dials = false;  // else: accepts
  // Of a dialler: the node that must answer; nothing: any node. Who accepts takes any certificate
  // of the authority and judges the hello.
  std::optional<node_id> meant;
  // Who accepts says this to one that speaks frames without TLS, before it closes; outlives the
  // stream.
  std::string_view plain_answer;
  // A new key for what this side sends after so many records; RFC 8446 (5.5) allows AES-GCM 2^24.5.
  std::uint32_t records_per_key = 1U << 22;
};

class tls_stream final : public byte_stream {
 public:
  static constexpr std::size_t record_max_bytes = 16 * 1024;
  static constexpr std::size_t sealed_max_bytes = 4 * record_max_bytes;

  /// `context` is kept alive by OpenSSL's own count.
  tls_stream(unique_fd fd, const tls_stream_options& options, ssl_ctx_st* context,
             tls_scratch& scratch, std::shared_ptr<tls_outcome> outcome);
  ~tls_stream() override;
  tls_stream(const tls_stream&) = delete;
  tls_stream& operator=(const tls_stream&) = delete;

  io_result read(std::span<const iovec> into) noexcept override;
  io_result write(std::span<const iovec> from) noexcept override;
  std::size_t finish_writing() noexcept override;
  [[nodiscard]] int fd() const noexcept override { return fd_.get(); }

 private:
  struct memory_bio;  // the callbacks that OpenSSL gets
  class cursor;

  [[nodiscard]] bool shake();
  void check_identity();
  void open_records(cursor& to);
  [[nodiscard]] bool seal(cursor& from);
  void count_talk(int content_type, std::byte first) noexcept;
  void note_error(int result);
  void note_verification(long code);
  void note_alert(int alert);
  void refuse(tls_failure what, std::string message, std::string hint = {});
  void refuse_plaintext();
  void take_last_words();
  [[nodiscard]] bool push();
  [[nodiscard]] std::size_t held() const noexcept { return held_.size() - held_sent_; }
  [[nodiscard]] io_result result(io_status status, std::size_t bytes = 0) const noexcept;
  [[nodiscard]] io_result end_of_stream();

  unique_fd fd_;
  const tls_stream_options options_;
  tls_scratch& scratch_;
  const std::shared_ptr<tls_outcome> outcome_;
  ssl_st* ssl_;
  std::span<const std::byte> incoming_;  // what OpenSSL may read now
  std::vector<std::byte> held_;          // sealed, and not taken by the socket
  std::size_t held_sent_ = 0;
  std::uint32_t records_ = 0;  // sealed with the present key
  std::uint32_t talk_ = 0;     // messages of TLS itself since the last that brought something
  int error_ = 0;              // errno of a send that failed
  bool heard_ = false;
  bool ready_ = false;   // both sides are verified
  bool ending_ = false;  // finish_writing was called
};

}  // namespace blixard::net
