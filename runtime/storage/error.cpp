#include "runtime/storage/error.hpp"

#include <cerrno>
#include <system_error>

namespace blixard::storage {

std::string_view to_string(storage_errc code) noexcept {
  switch (code) {
    case storage_errc::io:
      return "io";
    case storage_errc::no_space:
      return "no_space";
    case storage_errc::no_files:
      return "no_files";
    case storage_errc::locked:
      return "locked";
    case storage_errc::other_owner:
      return "other_owner";
    case storage_errc::too_new:
      return "too_new";
    case storage_errc::corrupt:
      return "corrupt";
    case storage_errc::not_found:
      return "not_found";
    case storage_errc::read_only:
      return "read_only";
    case storage_errc::not_usable:
      return "not_usable";
  }
  return "io";
}

int exit_code(storage_errc code) noexcept {
  switch (code) {
    case storage_errc::not_usable:
      return 3;
    case storage_errc::locked:
      return 5;
    case storage_errc::other_owner:
      return 6;
    case storage_errc::too_new:
      return 7;
    case storage_errc::corrupt:
      return 10;
    case storage_errc::no_space:
      return 11;
    case storage_errc::io:
    case storage_errc::no_files:
    case storage_errc::not_found:
    case storage_errc::read_only:
      return 12;
  }
  return 12;
}

bool may_be_repeated(storage_errc code) noexcept {
  return code == storage_errc::no_space || code == storage_errc::no_files;
}

bool is_unreadable(const storage_error& e) noexcept { return e.sys == EIO; }

storage_error system_error(int sys, std::string_view what, std::string_view path) {
  storage_errc code = storage_errc::io;
  if (sys == ENOSPC || sys == EDQUOT) code = storage_errc::no_space;
  if (sys == EMFILE || sys == ENFILE) code = storage_errc::no_files;
  if (sys == EROFS || sys == EACCES || sys == EPERM) code = storage_errc::read_only;
  if (sys == ENOTDIR || sys == EISDIR) code = storage_errc::not_usable;
  if (sys == ENOENT) code = storage_errc::not_found;
  std::string message{"cannot "};
  message.append(what).append(" ").append(path).append(": ");
  message.append(std::generic_category().message(sys));
  if (code == storage_errc::no_space) message += "; free some space on this file system";
  if (code == storage_errc::no_files) message += "; allow more of them (LimitNOFILE, ulimit -n)";
  if (code == storage_errc::read_only) message += "; the node must be able to write there";
  return {code, sys, std::move(message)};
}

}  // namespace blixard::storage
