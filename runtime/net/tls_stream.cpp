#include "runtime/net/tls_stream.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "messages/check.hpp"
#include "messages/frame.hpp"
#include "runtime/net/tls_credentials.hpp"

namespace blixard::net {
namespace {

// What a record adds to its plain text, and what OpenSSL may keep of one that is half here.
constexpr std::size_t record_overhead_bytes = 256;
constexpr std::size_t half_record_bytes = tls_stream::record_max_bytes + 2 * record_overhead_bytes;
// A read goes on while there is room for this much after a half record.
constexpr std::size_t worth_reading_bytes = 16 * 1024;
// More than this held means that somebody makes this side talk (key updates) and does not read.
constexpr std::size_t held_max_bytes = 2 * tls_stream::sealed_max_bytes;
// Each key update costs a derivation of keys. Nobody who means well sends two of them in a row.
constexpr std::uint32_t talk_max = 32;
static_assert(byte_stream::read_min_bytes >= half_record_bytes + worth_reading_bytes);

constexpr const char* one_authority =
    "all nodes and clients of a cluster need certificates of one authority (tls-ca)";

bool is_tls_record(std::byte first) {
  const auto type = std::to_integer<int>(first);  // change_cipher_spec to application_data
  return type >= 20 && type <= 23;
}

bool is_frame(std::byte first) { return first == std::byte{frame_magic & 0xff}; }

}  // namespace

void tls_scratch::make() {
  wire.resize(64 * 1024);
  plain.resize(tls_stream::record_max_bytes);
  sealed.reserve(tls_stream::sealed_max_bytes + 8 * record_overhead_bytes);
}

/// A walk over regions.
class tls_stream::cursor {
 public:
  explicit cursor(std::span<const iovec> regions) noexcept : regions_(regions) {
    for (const auto& r : regions) left_ += r.iov_len;
  }
  [[nodiscard]] std::size_t left() const noexcept { return left_; }
  /// The bytes up to the end of the present region; not empty while there are any left.
  [[nodiscard]] std::span<std::byte> piece() noexcept {
    while (!regions_.empty() && regions_.front().iov_len == at_) {
      regions_ = regions_.subspan(1);
      at_ = 0;
    }
    if (regions_.empty()) return {};
    const auto& r = regions_.front();
    return {static_cast<std::byte*>(r.iov_base) + at_, r.iov_len - at_};
  }
  void advance(std::size_t n) noexcept {
    at_ += n;
    left_ -= n;
  }

 private:
  std::span<const iovec> regions_;
  std::size_t at_ = 0;  // in the first of them
  std::size_t left_ = 0;
};

// What OpenSSL takes for the network: reads come from `incoming_`, writes go to the scratch space.
struct tls_stream::memory_bio {
  static int read(BIO* bio, char* to, int n) {
    auto& in = static_cast<tls_stream*>(BIO_get_data(bio))->incoming_;
    BIO_clear_retry_flags(bio);
    if (in.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const auto taken = std::min(in.size(), static_cast<std::size_t>(n));
    std::memcpy(to, in.data(), taken);
    in = in.subspan(taken);
    return static_cast<int>(taken);
  }
  static int write(BIO* bio, const char* from, int n) {
    auto& out = static_cast<tls_stream*>(BIO_get_data(bio))->scratch_.sealed;
    BIO_clear_retry_flags(bio);
    const auto* bytes = reinterpret_cast<const std::byte*>(from);
    out.insert(out.end(), bytes, bytes + n);
    return n;
  }
  static long ctrl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO* make(tls_stream& owner) {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "blixard memory");
      BIO_meth_set_read(m, read);
      BIO_meth_set_write(m, write);
      BIO_meth_set_ctrl(m, ctrl);
      return m;
    }();
    BIO* bio = BIO_new(method);
    CHECK(bio != nullptr);
    BIO_set_data(bio, &owner);
    BIO_set_init(bio, 1);
    return bio;
  }
};

tls_stream::tls_stream(unique_fd fd, const tls_stream_options& options, ssl_ctx_st* context,
                       tls_scratch& scratch, std::shared_ptr<tls_outcome> outcome)
    : fd_(std::move(fd)),
      options_(options),
      scratch_(scratch),
      outcome_(std::move(outcome)),
      ssl_(SSL_new(context)) {
  CHECK(ssl_ != nullptr);
  auto* bio = memory_bio::make(*this);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_msg_callback_arg(ssl_, this);
  SSL_set_msg_callback(
      ssl_, [](int write, int, int type, const void* bytes, std::size_t size, SSL*, void* self) {
        if (write == 0 && size > 0)
          static_cast<tls_stream*>(self)->count_talk(type, *static_cast<const std::byte*>(bytes));
      });
  if (options_.dials)
    SSL_set_connect_state(ssl_);
  else
    SSL_set_accept_state(ssl_);
}

// Without a bound one that sends nothing but key updates, each smaller than a frame, would keep the
// loop deriving keys for as long as it likes.
void tls_stream::count_talk(int content_type, std::byte first) noexcept {
  if (!ready_ || content_type != SSL3_RT_HANDSHAKE) return;
  if (first != std::byte{SSL3_MT_KEY_UPDATE} || ++talk_ <= talk_max) return;
  refuse(tls_failure::protocol, "it changes its keys again and again, and says nothing");
  incoming_ = {};
}

// Closed by choice: said so, where it can be said at once. Frames that were cut are noticed by the
// other side's framing.
tls_stream::~tls_stream() {
  if (!ending_ && held() == 0) (void)finish_writing();
  SSL_free(ssl_);
}

io_result tls_stream::result(io_status status, std::size_t bytes) const noexcept {
  return {.status = status, .bytes = bytes, .error = error_, .held = held()};
}

io_result tls_stream::read(std::span<const iovec> into) noexcept {
  if (outcome_->problem) return result(io_status::refused);
  cursor to{into};
  const auto room = to.left();
  auto status = io_status::would_block;
  // Opened text never exceeds what was received and the half record before it, so everything that
  // is received here can be handed over here: nothing is left inside that no event would announce.
  while (to.left() >= half_record_bytes + worth_reading_bytes) {
    const auto wanted = std::min(scratch_.wire.size(), to.left() - half_record_bytes);
    const auto n = ::recv(fd_.get(), scratch_.wire.data(), wanted, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n <= 0) {
      error_ = n < 0 ? errno : 0;
      status = n < 0 ? io_status::failed : io_status::end;
      break;
    }
    incoming_ = std::span{scratch_.wire}.first(static_cast<std::size_t>(n));
    const auto before = to.left();
    open_records(to);
    // What brings nothing to hand over waits for its next turn like everybody.
    if (outcome_->problem || static_cast<std::size_t>(n) < wanted || to.left() == before) break;
  }
  const bool pushed = push();  // handshake, alerts, key updates
  if (outcome_->problem) return result(io_status::refused);
  if (room > to.left()) return result(io_status::ok, room - to.left());
  if ((SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0) return result(io_status::end);
  if (status != io_status::would_block) return end_of_stream();
  return result(pushed ? status : io_status::failed);
}

// The TCP stream is over (`error_`: how), and TLS has not said so.
io_result tls_stream::end_of_stream() {
  if (ready_) return result(error_ != 0 ? io_status::failed : io_status::cut);
  refuse(tls_failure::closed, "it closed the connection during the TLS handshake",
         options_.dials
             ? "is that a Blixard node with the flags --tls-ca, --tls-cert and --tls-key?"
             : "");
  return result(io_status::refused);
}

// Feeds `incoming_` to OpenSSL and hands out what it opens.
void tls_stream::open_records(cursor& to) {
  if (!heard_) {
    heard_ = true;
    if (!is_tls_record(incoming_.front())) return refuse_plaintext();
  }
  if (!ready_ && !shake()) return;
  for (;;) {
    const auto piece = to.piece();
    CHECK(!piece.empty());  // see read()
    ERR_clear_error();
    std::size_t n = 0;
    const int done = SSL_read_ex(ssl_, piece.data(), piece.size(), &n);
    if (done != 1) return note_error(done);
    to.advance(n);
    talk_ = 0;
  }
}

// One step of the handshake with what is here. True: it is done, and the other side is who it
// should be.
bool tls_stream::shake() {
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_);
  if (done != 1) {
    note_error(done);
    return false;
  }
  check_identity();
  ready_ = !outcome_->problem;
  return ready_;
}

void tls_stream::check_identity() {
  X509* certificate = SSL_get1_peer_certificate(ssl_);
  CHECK(certificate != nullptr);  // SSL_VERIFY_FAIL_IF_NO_PEER_CERT
  auto who = identity_of(certificate);
  X509_free(certificate);
  if (!who)
    return refuse(tls_failure::wrong_identity, "its certificate does not say whose it is",
                  "a subject alternative name URI:blixard://node/ID or URI:blixard://client/NAME "
                  "is needed");
  if (options_.dials && who->as != certified::role::node)
    return refuse(tls_failure::wrong_identity,
                  "it answers with the certificate of " + to_string(*who) + ", not of a node",
                  "check which address belongs to which node");
  if (options_.meant && who->node != *options_.meant)
    return refuse(tls_failure::wrong_identity,
                  "it has the certificate of " + to_string(*who) + " where node " +
                      to_string(*options_.meant) + " was meant",
                  "check which address belongs to which node, and which files each was given");
  outcome_->other = std::move(who);
}

io_result tls_stream::write(std::span<const iovec> from) noexcept {
  if (outcome_->problem) return result(io_status::refused);
  if (!ready_ && !from.empty()) {
    // Begins the handshake of a dialler; everything later comes with reads.
    if (!shake()) {
      if (!push()) return result(io_status::failed);
      if (outcome_->problem) return result(io_status::refused);
      return result(held() > 0 ? io_status::would_block : io_status::needs_read);
    }
  }
  cursor left{from};
  const auto all = left.left();
  bool taken = push();
  bool sealed = true;
  while (taken && sealed && held() == 0 && left.left() > 0 && !outcome_->problem) {
    sealed = seal(left);
    taken = push();
  }
  if (!taken) take_last_words();
  if (outcome_->problem) return result(io_status::refused);
  if (!taken) return result(io_status::failed);
  if (all > 0 && left.left() == all)
    return result(sealed ? io_status::would_block : io_status::needs_read);
  return result(io_status::ok, all - left.left());
}

// Up to sealed_max_bytes into records that are as full as can be. False: a message of TLS itself is
// half here, and nothing can be sealed before the rest of it was read.
bool tls_stream::seal(cursor& from) {
  ERR_clear_error();
  for (std::size_t sealed = 0; sealed < sealed_max_bytes && from.left() > 0;) {
    cursor behind = from;
    std::span<const std::byte> record = behind.piece();
    if (record.size() < record_max_bytes && record.size() < behind.left()) {
      std::size_t n = 0;  // gathered
      while (n < record_max_bytes && behind.left() > 0) {
        const auto piece = behind.piece();
        const auto some = std::min(piece.size(), record_max_bytes - n);
        std::memcpy(scratch_.plain.data() + n, piece.data(), some);
        behind.advance(some);
        n += some;
      }
      record = std::span{scratch_.plain}.first(n);
    } else {
      record = record.first(std::min(record.size(), record_max_bytes));
      behind.advance(record.size());
    }
    if (++records_ > options_.records_per_key) {
      records_ = 1;
      SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED);
    }
    std::size_t n = 0;
    const int done = SSL_write_ex(ssl_, record.data(), record.size(), &n);
    if (done != 1) {
      note_error(done);
      return false;
    }
    from = behind;
    sealed += record.size();
  }
  return true;
}

// Sends what is sealed; what the socket does not take is held. False: the socket is broken.
bool tls_stream::push() {
  auto& sealed = scratch_.sealed;
  if (!held_.empty()) {
    held_.insert(held_.end(), sealed.begin(), sealed.end());
    sealed.clear();
  }
  const std::span<const std::byte> all = held_.empty() ? sealed : held_;
  auto left = all.subspan(held_.empty() ? 0 : held_sent_);
  while (!left.empty()) {
    const auto n = ::send(fd_.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (n > 0) {
      left = left.subspan(static_cast<std::size_t>(n));
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) error_ = errno;
    break;
  }
  if (held_.empty()) {
    held_.assign(left.begin(), left.end());
    held_sent_ = 0;
  } else {
    held_sent_ = held_.size() - left.size();
  }
  sealed.clear();
  if (held() == 0) {
    held_ = {};
    held_sent_ = 0;
    if (ending_) ::shutdown(fd_.get(), SHUT_WR);
  } else if (held() > held_max_bytes && !outcome_->problem) {
    refuse(tls_failure::protocol, "it makes this side talk and does not listen");
  }
  return error_ == 0;
}

std::size_t tls_stream::finish_writing() noexcept {
  ending_ = true;
  ERR_clear_error();
  if (ready_ && !outcome_->problem) SSL_shutdown(ssl_);
  (void)push();
  ERR_clear_error();
  return error_ == 0 ? held() : 0;
}

// The socket takes nothing more: perhaps the other side has said why before it closed.
void tls_stream::take_last_words() {
  const auto n = ::recv(fd_.get(), scratch_.wire.data(), scratch_.wire.size(), 0);
  if (n <= 0) return;
  std::vector<std::byte> unread(static_cast<std::size_t>(n));
  const iovec region{unread.data(), unread.size()};
  cursor to{{&region, 1}};
  incoming_ = std::span{scratch_.wire}.first(static_cast<std::size_t>(n));
  if (!ready_ && !shake()) return;
  while (to.left() > 0) {
    std::size_t got = 0;
    ERR_clear_error();
    const int done = SSL_read_ex(ssl_, to.piece().data(), to.piece().size(), &got);
    if (done != 1) return note_error(done);
    to.advance(got);
  }
}

// ---------------------------------------------------------------- what went wrong

void tls_stream::refuse(tls_failure what, std::string message, std::string hint) {
  if (!outcome_->problem)
    outcome_->problem = tls_problem{what, std::move(message), std::move(hint)};
}

// The first byte is not TLS's. One that speaks frames is told what is missing, in frames.
void tls_stream::refuse_plaintext() {
  if (!is_frame(incoming_.front()))
    return refuse(tls_failure::plaintext, "it speaks neither TLS nor Blixard's protocol");
  if (!options_.dials)
    (void)::send(fd_.get(), options_.plain_answer.data(), options_.plain_answer.size(),
                 MSG_NOSIGNAL);
  refuse(tls_failure::plaintext, "it speaks without TLS, and this side with it",
         "all nodes and clients of a cluster need --tls-ca, --tls-cert and --tls-key, or none");
}

void tls_stream::note_error(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_ZERO_RETURN:
      return;
    default:
      break;
  }
  // The layers below complain, too; what TLS makes of it comes last.
  unsigned long code = 0;
  while (const auto next = ERR_get_error())
    if (ERR_GET_LIB(next) == ERR_LIB_SSL || code == 0) code = next;
  const int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
    return note_verification(SSL_get_verify_result(ssl_));
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
    return refuse(tls_failure::no_certificate, "it has no certificate",
                  "clients need --tls-ca, --tls-cert and --tls-key");
  if (reason > SSL_AD_REASON_OFFSET) return note_alert(reason - SSL_AD_REASON_OFFSET);
  const char* said = ERR_reason_error_string(code);
  refuse(tls_failure::protocol,
         std::string("TLS 1.3 does not work with it: ") + (said != nullptr ? said : "unknown"));
}

void tls_stream::note_verification(long code) {
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return refuse(tls_failure::expired, "its certificate has expired",
                    "renew it (scripts/certs does for a try-out), or set the clocks right");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return refuse(tls_failure::expired, "its certificate is not valid yet",
                    "set the clocks of both hosts right");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return refuse(tls_failure::untrusted, "its certificate is of another authority",
                    one_authority);
    default:
      return refuse(
          tls_failure::untrusted,
          std::string("its certificate is not accepted: ") + X509_verify_cert_error_string(code),
          one_authority);
  }
}

// The other side has said no, and TLS has a number for why.
void tls_stream::note_alert(int alert) {
  switch (alert) {
    case SSL_AD_CERTIFICATE_EXPIRED:
      return refuse(tls_failure::refused, "it says that the certificate of this side has expired",
                    "renew the file of --tls-cert, or set the clocks right");
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_DECRYPT_ERROR:
      return refuse(tls_failure::refused,
                    "it says that the certificate of this side is of another authority",
                    one_authority);
    case TLS13_AD_CERTIFICATE_REQUIRED:
      return refuse(tls_failure::refused, "it wants a certificate of this side",
                    "give --tls-ca, --tls-cert and --tls-key");
    default: {
      const char* said = SSL_alert_desc_string_long(alert);
      return refuse(tls_failure::refused, std::string("it has ended the TLS connection: ") +
                                              (said != nullptr ? said : "?"));
    }
  }
}

}  // namespace blixard::net
