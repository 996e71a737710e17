#include "runtime/net/tls_credentials.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <vector>

namespace blixard::net {
namespace {

constexpr std::uint64_t look_every_ns = 1'000'000'000;
// What was refused may be good by now, with the same bytes: a certificate that was not valid yet, a
// file that could not be opened.
constexpr std::uint64_t retry_every_ns = 30 * look_every_ns;
constexpr long long file_max_bytes = 1 << 20;

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);
  }
};
using bio_ptr = std::unique_ptr<BIO, freed_by<BIO_free>>;
using x509_ptr = std::unique_ptr<X509, freed_by<X509_free>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using store_ptr = std::unique_ptr<X509_STORE, freed_by<X509_STORE_free>>;
using verify_ptr = std::unique_ptr<X509_STORE_CTX, freed_by<X509_STORE_CTX_free>>;
using names_ptr = std::unique_ptr<GENERAL_NAMES, freed_by<GENERAL_NAMES_free>>;

struct stack_free {
  void operator()(STACK_OF(X509) * s) const noexcept { sk_X509_free(s); }  // not what is in it
};
using stack_ptr = std::unique_ptr<STACK_OF(X509), stack_free>;

constexpr const char* make_new = "make a new one (scripts/certs does for a try-out)";

tl::unexpected<error> refuse(std::string message, std::string hint = {},
                             errc code = errc::invalid_argument) {
  ERR_clear_error();
  return tl::unexpected(make_error(code, std::move(message), std::move(hint)));
}

tl::expected<std::string, error> text_of(const std::string& path, const char* flag) {
  const auto named = std::string(flag) + ": " + path;
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0)
    return refuse(named + ": " + std::strerror(errno), "is the path right?");  // NOLINT
  if (!S_ISREG(s.st_mode) || s.st_size > file_max_bytes)
    return refuse(named + " is not a file of certificates or keys");
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return refuse(named + ": " + std::strerror(errno),  // NOLINT
                  "the user that this process runs as must be able to read it");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

/// All certificates of a file, in their order; at least one.
tl::expected<std::vector<x509_ptr>, error> certificates(const std::string& path, const char* flag) {
  const auto text = text_of(path, flag);
  if (!text) return tl::unexpected(text.error());
  const bio_ptr bio{BIO_new_mem_buf(text->data(), static_cast<int>(text->size()))};
  std::vector<x509_ptr> out;
  while (auto* one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) out.emplace_back(one);
  // The end is "no start line"; anything else is a certificate that is broken.
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (out.empty() || !at_end)
    return refuse(std::string(flag) + ": " + path + " holds " +
                      (out.empty() ? "no certificate" : "a certificate that cannot be read"),
                  "a PEM file is expected: -----BEGIN CERTIFICATE-----");
  return out;
}

tl::expected<key_ptr, error> private_key(const std::string& path) {
  const auto text = text_of(path, "tls-key");
  if (!text) return tl::unexpected(text.error());
  const bio_ptr bio{BIO_new_mem_buf(text->data(), static_cast<int>(text->size()))};
  // A server cannot ask for a pass phrase.
  const auto none = [](char*, int, int, void*) { return -1; };
  key_ptr key{PEM_read_bio_PrivateKey(bio.get(), nullptr, none, nullptr)};
  if (!key)
    return refuse("tls-key: " + path + " holds no private key that can be read",
                  "a PEM file without a pass phrase is expected: -----BEGIN PRIVATE KEY-----");
  return key;
}

std::string date_of(const ASN1_TIME* t) {
  std::tm when{};
  char text[32] = "?";
  if (ASN1_TIME_to_tm(t, &when) == 1) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &when);
  return text;
}

std::int64_t seconds_of(const ASN1_TIME* t) {
  std::tm when{};
  return ASN1_TIME_to_tm(t, &when) == 1 ? ::timegm(&when) : 0;
}

tl::expected<void, error> check_dates(const X509* c, const std::string& named) {
  if (X509_cmp_current_time(X509_get0_notAfter(c)) < 0)
    return refuse(named + " has expired on " + date_of(X509_get0_notAfter(c)), make_new,
                  errc::unauthenticated);
  if (X509_cmp_current_time(X509_get0_notBefore(c)) > 0)
    return refuse(named + " is valid from " + date_of(X509_get0_notBefore(c)) + " only",
                  "is the clock of this host right?", errc::unauthenticated);
  return {};
}

/// What the other side will check: a chain to the authority, for that use.
tl::expected<void, error> check_chain(const tls_files& files, X509_STORE* store,
                                      const std::vector<x509_ptr>& own, int purpose) {
  const stack_ptr rest{sk_X509_new_null()};
  for (std::size_t i = 1; i < own.size(); ++i) sk_X509_push(rest.get(), own[i].get());
  const verify_ptr check{X509_STORE_CTX_new()};
  X509_STORE_CTX_init(check.get(), store, own[0].get(), rest.get());
  X509_STORE_CTX_set_purpose(check.get(), purpose);
  if (X509_verify_cert(check.get()) == 1) return {};
  const auto why = X509_STORE_CTX_get_error(check.get());
  if (why == X509_V_ERR_CERT_HAS_EXPIRED)
    return refuse("tls-ca: the authority in " + files.ca + " has expired", make_new,
                  errc::unauthenticated);
  return refuse("tls-cert: " + files.cert + " is no certificate of the authority in " + files.ca +
                    " for this use: " + X509_verify_cert_error_string(why),
                "all nodes and clients of a cluster need certificates of one authority",
                errc::unauthenticated);
}

tl::expected<certified, error> check_identity(const tls_files& files, X509* own,
                                              std::optional<node_id> self) {
  const auto who = identity_of(own);
  if (!who)
    return refuse("tls-cert: " + files.cert + " does not say whose it is",
                  "its subject alternative name must be one URI:blixard://node/ID or "
                  "URI:blixard://client/NAME",
                  errc::unauthenticated);
  if (self && (who->as != certified::role::node || who->node != *self))
    return refuse("tls-cert: " + files.cert + " is the certificate of " + to_string(*who) +
                      ", and this is node " + to_string(*self),
                  "give node " + to_string(*self) + " a certificate of its own, or the right --id",
                  errc::unauthenticated);
  return *who;
}

std::shared_ptr<SSL_CTX> new_context() {
  std::shared_ptr<SSL_CTX> out{SSL_CTX_new(TLS_method()), SSL_CTX_free};
  auto* c = out.get();
  SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION);
  // The strongest is not needed between machines of one owner, and costs a third more.
  SSL_CTX_set_ciphersuites(
      c, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // Connections are few and long: no resumption, no tickets, no early data.
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(c, 0);
  SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_max_cert_list(c, 32 * 1024);  // of a stranger
  return out;
}

}  // namespace

std::optional<certified> identity_of(x509_st* certificate) {
  const names_ptr names{static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
  std::vector<std::string> uris;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const auto* one = sk_GENERAL_NAME_value(names.get(), i);
    if (one->type != GEN_URI) continue;
    const auto* text = one->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                      static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  return identity_among(uris);
}

tl::expected<tls_credentials::loaded, error> tls_credentials::read(const tls_files& files,
                                                                   std::optional<node_id> self) {
  const auto authorities = certificates(files.ca, "tls-ca");
  if (!authorities) return tl::unexpected(authorities.error());
  const auto own = certificates(files.cert, "tls-cert");
  if (!own) return tl::unexpected(own.error());
  const auto key = private_key(files.key);
  if (!key) return tl::unexpected(key.error());
  auto* first = own->front().get();
  if (X509_check_private_key(first, key->get()) != 1)
    return refuse("tls-key: " + files.key + " is not the key of the certificate in " + files.cert,
                  "they are made together: take both from one place");
  if (auto ok = check_dates(first, "tls-cert: the certificate in " + files.cert); !ok)
    return tl::unexpected(ok.error());
  const auto who = check_identity(files, first, self);
  if (!who) return tl::unexpected(who.error());

  auto context = new_context();
  store_ptr store{X509_STORE_new()};
  for (const auto& a : *authorities) X509_STORE_add_cert(store.get(), a.get());
  if (auto ok = check_chain(files, store.get(), *own, X509_PURPOSE_SSL_CLIENT); !ok)
    return tl::unexpected(ok.error());
  if (who->as == certified::role::node)
    if (auto ok = check_chain(files, store.get(), *own, X509_PURPOSE_SSL_SERVER); !ok)
      return tl::unexpected(ok.error());
  SSL_CTX_set_cert_store(context.get(), store.release());
  bool usable = SSL_CTX_use_certificate(context.get(), first) == 1 &&
                SSL_CTX_use_PrivateKey(context.get(), key->get()) == 1;
  for (std::size_t i = 1; i < own->size(); ++i)
    usable = usable && SSL_CTX_add1_chain_cert(context.get(), (*own)[i].get()) == 1;
  if (!usable) {
    const char* said = ERR_reason_error_string(ERR_peek_error());
    return refuse("tls-cert: " + files.cert + " cannot be used: " + (said != nullptr ? said : "?"),
                  "ECDSA P-256 is what scripts/certs makes");
  }
  return loaded{std::move(context), *who, seconds_of(X509_get0_notAfter(first))};
}

tl::expected<std::shared_ptr<tls_credentials>, error> tls_credentials::load(
    tls_files files, std::optional<node_id> self, event_fn on_event) {
  const auto seen = look(files);
  auto first = read(files, self);
  if (!first) return tl::unexpected(std::move(first.error()));
  return std::shared_ptr<tls_credentials>(
      new tls_credentials(std::move(files), std::move(on_event), std::move(*first), seen));
}

tls_credentials::tls_credentials(tls_files files, event_fn on_event, loaded first,
                                 const stamps& seen)
    : files_(std::move(files)),
      identity_(first.identity),
      on_event_(std::move(on_event)),
      current_(std::move(first)),
      seen_(seen) {}

std::shared_ptr<ssl_ctx_st> tls_credentials::context(std::uint64_t now_ns) {
  const std::lock_guard guard(lock_);
  if (looked_ns_ == 0 || now_ns - looked_ns_ >= look_every_ns) {
    looked_ns_ = now_ns;
    renew(now_ns);
  }
  return current_.context;
}

std::int64_t tls_credentials::not_after() const {
  const std::lock_guard guard(lock_);
  return current_.not_after;
}

void tls_credentials::renew(std::uint64_t now_ns) {
  const auto seen = look(files_);
  const bool retries = refused_ns_ != 0 && now_ns - refused_ns_ >= retry_every_ns;
  if (seen == seen_ && !retries) return;
  seen_ = seen;
  const bool is_node = identity_.as == certified::role::node;
  auto fresh = read(files_, is_node ? std::optional{identity_.node} : std::nullopt);
  if (fresh && fresh->identity != identity_)
    fresh = refuse("tls-cert: " + files_.cert + " is of " + to_string(fresh->identity) +
                   " now, not of " + to_string(identity_));
  refused_ns_ = fresh ? 0 : now_ns;
  if (fresh) current_ = std::move(*fresh);
  const bool told = !fresh && retries && fresh.error().message == refusal_;
  refusal_ = fresh ? "" : fresh.error().message;
  if (!on_event_ || told) return;
  if (fresh)
    on_event_(true, "new TLS certificates were read from " + files_.cert);
  else
    on_event_(false, "the TLS files have changed and are not used, the former ones stay: " +
                         fresh.error().message +
                         (fresh.error().hint.empty() ? "" : " (" + fresh.error().hint + ")"));
}

tls_credentials::stamps tls_credentials::look(const tls_files& files) noexcept {
  stamps out{};
  std::size_t i = 0;
  for (const auto* path : {&files.ca, &files.cert, &files.key}) {
    struct stat s {};
    if (::stat(path->c_str(), &s) == 0)
      out[i] = {static_cast<std::int64_t>(s.st_size), static_cast<std::int64_t>(s.st_ino),
                static_cast<std::int64_t>(s.st_mtim.tv_sec),
                static_cast<std::int64_t>(s.st_mtim.tv_nsec)};
    ++i;
  }
  return out;
}

}  // namespace blixard::net
