// A VM's console in bounded files: console.log and older ones (.1, .2, ...), each of a fixed size.
//
// The guard writes raw bytes as the guest sends them; readers see text: control characters and
// terminal escape sequences are taken out, so that showing a log cannot drive a person's terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"
#include "messages/limits.hpp"
#include "runtime/vm/files.hpp"

namespace blixard::vm {

struct console_limits {
  std::size_t file_bytes = limits::console_max_bytes;  // then the file is rotated
  std::size_t files = limits::console_files;           // current and older ones
};

/// Appends to a rotating log. A write error (full disk) loses output, never the VM: it is counted
/// and the next write tries again.
class console_writer {
 public:
  [[nodiscard]] static tl::expected<console_writer, error> open(const std::string& path,
                                                                console_limits limits);
  void append(std::string_view bytes);
  /// A line of the guard itself: on a line of its own, marked with "[blixard]".
  void note(std::string_view text);
  [[nodiscard]] std::uint64_t lost_bytes() const noexcept { return lost_; }

 private:
  console_writer(std::string path, console_limits limits, unique_fd fd, std::size_t size)
      : path_(std::move(path)), limits_(limits), fd_(std::move(fd)), size_(size) {}
  void rotate();

  std::string path_;
  console_limits limits_;
  unique_fd fd_;
  std::size_t size_ = 0;
  std::uint64_t lost_ = 0;
  bool at_line_start_ = true;
};

/// The last `lines` lines over all files of the log, oldest first, cleaned as above.
[[nodiscard]] std::vector<std::string> read_tail(const std::string& path, std::size_t lines,
                                                 console_limits limits = {});

/// One line without escape sequences, carriage returns and other control characters; bytes that are
/// no UTF-8 become '?'. At most 4096 bytes are kept. Pure.
[[nodiscard]] std::string clean_line(std::string_view raw);

}  // namespace blixard::vm
