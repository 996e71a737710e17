// Why the durable side of a node cannot go on, and what that means for the process.
//
// Every failure of runtime/storage is a value of this kind. The code decides the exit code
// (CLIENT "Node exit codes"); the message is for a person and says what to do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace blixard::storage {

enum class storage_errc : std::uint8_t {
  io,           // a read, write or sync failed; after a failed sync the process must stop
  no_space,     // ENOSPC or EDQUOT: nothing was lost, the write may be tried again later
  no_files,     // EMFILE or ENFILE: nothing could be opened, and all the rest as above
  locked,       // another process has the data directory
  other_owner,  // data of another node or cluster
  too_new,      // written by a newer format
  corrupt,      // damage that cannot be told from lost data
  not_found,    // no such file or directory
  read_only,    // the data directory cannot be written (permissions, read-only mount)
  not_usable,   // a file lies where a directory is needed, or the other way round
};

struct storage_error {
  storage_errc code = storage_errc::io;
  int sys = 0;  // errno, 0 where no call failed
  std::string message;
};

template <class T>
using result = tl::expected<T, storage_error>;

[[nodiscard]] std::string_view to_string(storage_errc code) noexcept;
/// The node's exit code for an error that ends it (CLIENT): 5, 6, 7, 10, 11 or 12;
/// 3 where the data directory is not made as one.
[[nodiscard]] int exit_code(storage_errc code) noexcept;
/// The error for a failed system call; classifies ENOSPC, EMFILE, EROFS, EACCES, ENOENT,
/// ENOTDIR, EISDIR.
[[nodiscard]] storage_error system_error(int sys, std::string_view what, std::string_view path);
/// What is lacking may come back, and nothing has happened: no_space, no_files.
[[nodiscard]] bool may_be_repeated(storage_errc code) noexcept;
/// The disk has a bad place there; asking again, or for something else, is another matter.
[[nodiscard]] bool is_unreadable(const storage_error& e) noexcept;
[[nodiscard]] inline tl::unexpected<storage_error> fail(storage_errc code, std::string message) {
  return tl::unexpected(storage_error{code, 0, std::move(message)});
}

}  // namespace blixard::storage
