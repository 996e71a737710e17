// Term, vote and commit hint: small, rewritten often, and fatal to get wrong (a node that forgets
// its vote can elect two leaders).
//
// Two slots are written in turn, so that the last durable value is never overwritten; each slot is
// written twice, 8 KiB apart, so that one bad sector never takes the newest value away:
//
//   offset 0       4096    8192    12288
//          slot A  slot B  slot A  slot B      512 bytes each, with a checksum
//
// A 512-byte sector is written whole or not at all. So both copies of one slot unreadable is not a
// crash, it is damage, and reported as such.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "messages/entry.hpp"
#include "runtime/storage/file_system.hpp"
#include "runtime/storage/format.hpp"

namespace blixard::storage {

struct meta_state {
  hard_state hard;       // commit: a hint, never above what is durable in the log
  wal_position durable;  // the log was durable up to here
  log_index last_index;  // of the log at that place
  log_index repair_to;   // see recovery::repair_to

  friend bool operator==(const meta_state&, const meta_state&) = default;
};

struct loaded_meta {
  meta_state state;
  std::uint64_t version = 0;  // counts writes
  unsigned bad_copies = 0;    // unreadable, of four
  bool damaged = false;       // a slot is lost as a whole: the newest value may be gone
  bool missing = false;       // there is no file
};

class meta_file {
 public:
  static constexpr std::string_view name = "meta";

  /// What is in the file; changes nothing.
  [[nodiscard]] static result<loaded_meta> load(file_system& fs, const std::string& dir,
                                                node_id node);
  /// Makes the file with `state` in both slots (replacing what was there, which had `version`);
  /// durable on return. Its version is higher by versions_made.
  static constexpr std::uint64_t versions_made = 2;
  [[nodiscard]] static result<meta_file> make(file_system& fs, const std::string& dir, node_id node,
                                              const meta_state& state, std::uint64_t version);

  /// Writes without making durable: survives the process, maybe not the machine.
  [[nodiscard]] result<void> write(const meta_state& state);
  [[nodiscard]] result<void> sync();
  [[nodiscard]] const meta_state& written() const noexcept { return written_; }
  [[nodiscard]] bool dirty() const noexcept { return dirty_; }

 private:
  meta_file(std::unique_ptr<file> f, node_id node) : file_(std::move(f)), node_(node) {}

  std::unique_ptr<file> file_;
  node_id node_;
  meta_state written_;
  std::uint64_t version_ = 0;
  unsigned slot_ = 0;   // the one that may be overwritten: the other is durable
  bool dirty_ = false;  // the slot was written and not synced
};

}  // namespace blixard::storage
