// The three files of mutual TLS: the authority, a certificate, its key; checked before they are
// used, and read again when they change.
//
// Every check that the other side would make at the first connection is made at the start, where a
// message can name the file: PEM that can be read, a key that fits, an identity, a certificate of
// the authority and within its dates.
//
// Rotation: `context` looks at the files' times, at most once a second; it is called for every
// connection that is about to be made, and by a node's transport with every tick. New files that
// pass the same checks (and carry the same identity) serve later connections; others are told once,
// and what was loaded goes on. Connections that are open stay as they are. Limit: no revocation
// lists; who must be kept out at once needs a new authority.
//
// Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "messages/errc.hpp"
#include "runtime/base/config.hpp"
#include "runtime/net/tls_identity.hpp"

struct ssl_ctx_st;
struct x509_st;

namespace blixard::net {

/// The identity in a certificate's subject alternative names.
[[nodiscard]] std::optional<certified> identity_of(x509_st* certificate);

class tls_credentials {
 public:
  /// Rotated (ok), or why the new files were left alone. Called in the thread that asked for a
  /// context.
  using event_fn = std::function<void(bool ok, const std::string& line)>;

  /// Loads and checks the files. `self`: the certificate must be this node's; nothing: any
  /// identity. Errors name the file and the remedy: invalid_argument where a file is missing or is
  /// not what it should be, unauthenticated where nobody would accept it (expired, of another
  /// authority, without an identity).
  [[nodiscard]] static tl::expected<std::shared_ptr<tls_credentials>, error> load(
      tls_files files, std::optional<node_id> self, event_fn on_event = {});

  tls_credentials(const tls_credentials&) = delete;
  tls_credentials& operator=(const tls_credentials&) = delete;
  ~tls_credentials() = default;

  /// What the next connection uses.
  [[nodiscard]] std::shared_ptr<ssl_ctx_st> context(std::uint64_t now_ns);
  [[nodiscard]] const certified& identity() const noexcept { return identity_; }
  [[nodiscard]] const tls_files& files() const noexcept { return files_; }
  /// When the certificate in use ends, in seconds since 1970.
  [[nodiscard]] std::int64_t not_after() const;

 private:
  // Size, inode and time of change of each file.
  using stamps = std::array<std::array<std::int64_t, 4>, 3>;

  struct loaded {
    std::shared_ptr<ssl_ctx_st> context;
    certified identity;
    std::int64_t not_after = 0;
  };

  tls_credentials(tls_files files, event_fn on_event, loaded first, const stamps& seen);
  [[nodiscard]] static stamps look(const tls_files& files) noexcept;
  [[nodiscard]] static tl::expected<loaded, error> read(const tls_files& files,
                                                        std::optional<node_id> self);
  void renew(std::uint64_t now_ns);

  const tls_files files_;
  const certified identity_;
  const event_fn on_event_;
  mutable std::mutex lock_;
  loaded current_;                // under lock_
  stamps seen_;                   // under lock_; of what was loaded or refused last
  std::uint64_t looked_ns_ = 0;   // under lock_
  std::uint64_t refused_ns_ = 0;  // under lock_; when seen_ was refused; 0: it was not
  std::string refusal_;           // under lock_; the last that was told
};

}  // namespace blixard::net
