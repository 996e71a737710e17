// What the tests and benchmarks of TLS share: an authority that issues any certificate, also wrong
// ones, and a folder of files.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "messages/check.hpp"
#include "runtime/net/tls_credentials.hpp"

namespace blixard::net::test {

inline constexpr long day_s = 24 * 60 * 60;

/// What a certificate says. The defaults are those of a good one.
struct certificate_wish {
  std::vector<std::string> uris;
  long from_s = -day_s;  // from now
  long to_s = day_s;
  const char* use = nullptr;  // extended key usage; null: none, which is any
};

/// A certificate with its key, as PEM and as OpenSSL has them.
struct issued {
  std::shared_ptr<X509> certificate;
  std::shared_ptr<EVP_PKEY> key;

  [[nodiscard]] std::string certificate_pem() const {
    return pem([this](BIO* b) { PEM_write_bio_X509(b, certificate.get()); });
  }
  [[nodiscard]] std::string key_pem() const {
    return pem([this](BIO* b) {
      PEM_write_bio_PrivateKey(b, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
  }

 private:
  template <class Write>
  static std::string pem(Write&& write) {
    BIO* bio = BIO_new(BIO_s_mem());
    write(bio);
    char* text = nullptr;
    const auto size = BIO_get_mem_data(bio, &text);
    std::string out(text, static_cast<std::size_t>(size));
    BIO_free(bio);
    return out;
  }
};

class authority {
 public:
  explicit authority(const certificate_wish& own = {}) {
    self_.key = {EVP_EC_gen("P-256"), EVP_PKEY_free};
    self_.certificate = sign(own, *self_.key, "authority", "critical,CA:TRUE");
  }
  [[nodiscard]] issued issue(const certificate_wish& wish) const {
    issued out;
    out.key = {EVP_EC_gen("P-256"), EVP_PKEY_free};
    out.certificate = sign(wish, *out.key, "somebody", "critical,CA:FALSE");
    return out;
  }
  [[nodiscard]] issued node(int id) const {
    return issue({.uris = {"blixard://node/" + std::to_string(id)}});
  }
  [[nodiscard]] issued client(const std::string& name) const {
    return issue({.uris = {"blixard://client/" + name}});
  }
  [[nodiscard]] std::string pem() const { return self_.certificate_pem(); }
  [[nodiscard]] X509* certificate() const { return self_.certificate.get(); }

 private:
  std::shared_ptr<X509> sign(const certificate_wish& wish, EVP_PKEY& key, const char* name,
                             const char* basic) const {
    static long serial = 0;
    std::shared_ptr<X509> c{X509_new(), X509_free};
    X509_set_version(c.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c.get()), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(c.get()), wish.from_s);
    X509_gmtime_adj(X509_getm_notAfter(c.get()), wish.to_s);
    X509_set_pubkey(c.get(), &key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    const bool is_own = !self_.certificate;
    X509* issuer = is_own ? c.get() : certificate();
    const auto add = [&c, issuer](int nid, const char* value) { extend(*c, *issuer, nid, value); };
    X509_set_issuer_name(c.get(), X509_get_subject_name(issuer));
    add(NID_subject_key_identifier, "hash");
    if (!is_own)
      add(NID_authority_key_identifier, "keyid:always");  // all authorities have one name
    add(NID_basic_constraints, basic);
    std::string names;
    for (const auto& uri : wish.uris) names += (names.empty() ? "URI:" : ",URI:") + uri;
    if (!names.empty()) add(NID_subject_alt_name, names.c_str());
    if (wish.use != nullptr) add(NID_ext_key_usage, wish.use);
    CHECK_GT(X509_sign(c.get(), self_.key.get(), EVP_sha256()), 0);
    return c;
  }
  static void extend(X509& to, X509& issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, &issuer, &to, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    CHECK(extension != nullptr);
    X509_add_ext(&to, extension, -1);
    X509_EXTENSION_free(extension);
  }

  issued self_;
};

/// A folder that goes with the test.
class files {
 public:
  files() {
    std::string name = (std::filesystem::temp_directory_path() / "blixard-tls.XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
  }
  ~files() { std::filesystem::remove_all(folder_); }
  files(const files&) = delete;
  files& operator=(const files&) = delete;

  /// Replaces a file as a whole, so that its inode is another one.
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream{folder_ / "new", std::ios::binary} << text;
    std::filesystem::rename(folder_ / "new", folder_ / name);
    return path(name);
  }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ / name; }
  tls_files put(const authority& ca, const issued& own) const {
    return {.ca = write("ca.pem", ca.pem()),
            .cert = write("own.pem", own.certificate_pem()),
            .key = write("own.key", own.key_pem())};
  }

 private:
  std::filesystem::path folder_;
};

/// Loaded from files that are gone by then.
inline std::shared_ptr<tls_credentials> credentials_of(const authority& ca, const issued& own) {
  const files f;
  auto out = tls_credentials::load(f.put(ca, own), std::nullopt);
  CHECK(out.has_value());
  return *out;
}

/// A context without the checks of `tls_credentials`, for those that should not pass them; without
/// a certificate where `own` is null.
inline std::shared_ptr<SSL_CTX> context_of(const authority& trusted, const issued* own,
                                           int version = TLS1_3_VERSION) {
  std::shared_ptr<SSL_CTX> out{SSL_CTX_new(TLS_method()), SSL_CTX_free};
  SSL_CTX_set_min_proto_version(out.get(), version);
  SSL_CTX_set_max_proto_version(out.get(), version);
  SSL_CTX_set_verify(out.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_num_tickets(out.get(), 0);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(out.get()), trusted.certificate());
  if (own == nullptr) return out;
  CHECK_EQ(SSL_CTX_use_certificate(out.get(), own->certificate.get()), 1);
  CHECK_EQ(SSL_CTX_use_PrivateKey(out.get(), own->key.get()), 1);
  return out;
}

}  // namespace blixard::net::test
